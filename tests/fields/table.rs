//! `docs/pod-fields.md`, read.

use std::collections::BTreeMap;

/// What the document says of each field of each API type.
pub(crate) struct Table {
    pub(crate) types: BTreeMap<String, BTreeMap<String, Line>>,
}

/// One field.
pub(crate) struct Line {
    /// The minor version of the first Kubernetes that has it, where not all have it.
    #[allow(dead_code, reason = "it only matters where there is an API server")]
    pub(crate) since: Option<u32>,
    pub(crate) class: FieldClass,
}

/// How it is checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FieldClass {
    /// The ids of rules, each of which denies some value of it.
    Checked(Vec<String>),
    /// By no rule, for the reason that stands there.
    Harmless,
    /// The rule `pod-schema`, which denies the field itself.
    Unknown,
}

impl Table {
    /// Reads the document; a line that it cannot read is a fault of the document.
    pub(crate) fn read() -> Self {
        Self::parse(include_str!("../../docs/pod-fields.md"))
    }

    fn parse(text: &str) -> Self {
        let mut types = BTreeMap::<String, BTreeMap<String, Line>>::new();
        let mut current = None;
        for (index, text) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(name) = text.strip_prefix("## ") {
                assert!(!types.contains_key(name), "line {number}: {name} has a section already");
                current = Some(types.entry(name.to_owned()).or_default());
            }
            if !text.starts_with("| `") {
                continue;
            }
            let (field, line) =
                read_line(text).unwrap_or_else(|problem| panic!("line {number}: {problem}: {text}"));
            let fields = current.as_mut().unwrap_or_else(|| panic!("line {number} belongs to no type"));
            assert!(fields.insert(field.clone(), line).is_none(), "line {number}: {field} stands twice");
        }
        Self { types }
    }

    /// Every line with its type and field.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &str, &Line)> {
        self.types.iter().flat_map(|(of, fields)| {
            fields.iter().map(move |(field, line)| (of.as_str(), field.as_str(), line))
        })
    }
}

fn read_line(text: &str) -> Result<(String, Line), &'static str> {
    let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
    let [field, class, how] = cells[..] else { return Err("a line has three cells") };
    let (field, since) = read_field(field)?;
    let class = match class {
        "checked" => FieldClass::Checked(read_rules(how)?),
        "harmless" if how.is_empty() => return Err("a harmless field has a reason"),
        "harmless" => FieldClass::Harmless,
        "unknown" if how.starts_with("denied by `pod-schema`: ") => FieldClass::Unknown,
        "unknown" => return Err("an unknown field is denied by `pod-schema`: with a reason"),
        _ => return Err("a field is checked, harmless or unknown"),
    };
    Ok((field.to_owned(), Line { since, class }))
}

/// `` `name` `` or `` `name` (since 1.37) ``.
fn read_field(cell: &str) -> Result<(&str, Option<u32>), &'static str> {
    let (name, rest) = cell.strip_prefix('`').and_then(|cell| cell.split_once('`')).ok_or("no field")?;
    if rest.is_empty() {
        return Ok((name, None));
    }
    let minor = rest.strip_prefix(" (since 1.").and_then(|rest| rest.strip_suffix(')'));
    let minor = minor.and_then(|minor| minor.parse().ok()).ok_or("no version")?;
    Ok((name, Some(minor)))
}

/// The rules stand before the first colon, if there is one.
fn read_rules(cell: &str) -> Result<Vec<String>, &'static str> {
    let rules = cell.split_once(": ").map_or(cell, |(rules, _)| rules);
    rules
        .split(", ")
        .map(|rule| rule.strip_prefix('`')?.strip_suffix('`').map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or("a checked field names its rules first")
}
