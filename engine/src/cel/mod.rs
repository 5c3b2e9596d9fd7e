//! CEL as text: literals, lists, and the connectives that expressions are made of.
//!
//! Optional access (`a.?b.orValue(c)`) is the only way in which a field is read that may be absent: a missing key would
//! make the whole expression fail.

pub(crate) mod patterns;
mod statement;

use std::fmt::Write;

pub(crate) use statement::{Keys, Over, Statement, selected};

/// Returns a string literal.
pub(crate) fn text(content: &str) -> String {
    let mut literal = String::with_capacity(content.len() + 2);
    literal.push('\'');
    for character in content.chars() {
        match character {
            '\\' => literal.push_str(r"\\"),
            '\'' => literal.push_str(r"\'"),
            character if character.is_control() => {
                let _ = write!(literal, "\\u{:04x}", u32::from(character));
            }
            character => literal.push(character),
        }
    }
    literal.push('\'');
    literal
}

/// Returns a list of string literals.
pub(crate) fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| text(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// Returns the condition that at least one of `conditions` holds.
pub(crate) fn any(conditions: impl IntoIterator<Item = String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    for condition in conditions {
        match condition.as_str() {
            "true" => return condition,
            "false" => {}
            _ => kept.push(condition),
        }
    }
    joined(kept, " || ", "false")
}

/// Returns the condition that all of `conditions` hold.
pub(crate) fn all(conditions: impl IntoIterator<Item = String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    for condition in conditions {
        match condition.as_str() {
            "false" => return condition,
            "true" => {}
            _ => kept.push(condition),
        }
    }
    joined(kept, " && ", "true")
}

fn joined(mut conditions: Vec<String>, connective: &str, none: &str) -> String {
    match conditions.len() {
        0 => none.into(),
        1 => conditions.remove(0),
        _ => format!("({})", conditions.join(connective)),
    }
}

/// Returns the condition that `condition` does not hold.
pub(crate) fn not(condition: &str) -> String {
    match condition {
        "true" => "false".into(),
        "false" => "true".into(),
        _ => format!("!({condition})"),
    }
}

/// Returns the concatenation of lists.
pub(crate) fn concatenated(lists: &[String]) -> String {
    match lists {
        [] => "[]".into(),
        [one] => one.clone(),
        _ => lists.iter().map(|list| format!("({list})")).collect::<Vec<_>>().join(" + "),
    }
}

/// Returns the text of an optional string, quoted, or `unset`.
pub(crate) fn shown(optional: &str) -> String {
    format!("({optional}.hasValue() ? strings.quote({optional}.value()) : 'unset')")
}

/// Returns the text of an optional number or boolean, or `unset`.
pub(crate) fn shown_value(optional: &str) -> String {
    format!("({optional}.hasValue() ? string({optional}.value()) : 'unset')")
}

/// Escapes a text for a regular expression of RE2.
pub(crate) fn regex_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() && !character.is_ascii_alphanumeric() && !"/_-".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_holds_every_character() {
        assert_eq!(text("a'b\\c\nd"), r"'a\'b\\c\u000ad'");
        assert_eq!(list(["a", "b"]), "['a', 'b']");
        assert_eq!(list::<&str>([]), "[]");
    }

    #[test]
    fn connectives_drop_constants() {
        let conditions = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(any(conditions(&["a", "false", "b"])), "(a || b)");
        assert_eq!(any(conditions(&["a", "true"])), "true");
        assert_eq!(all(conditions(&["a", "true"])), "a");
        assert_eq!(all(conditions(&[])), "true");
        assert_eq!(not("true"), "false");
    }

    #[test]
    fn regular_expression_takes_text_literally() {
        assert_eq!(regex_escaped("a.b/c-d+e"), r"a\.b/c-d\+e");
    }
}
