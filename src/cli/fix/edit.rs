//! Removing fields from the text of a manifest, and adding some, so that everything else of the text stays.

use serde_json::Value;

use super::plan::{self, Removal};
use sandgate_engine::{
    path::{FieldPath, Step},
    yaml::{self, Node},
};

/// Returns the text without the fields that are removed from the object that begins on a line; `None` if that needs more
/// than taking out lines. Every step is read again and compared, so that the text never comes to mean something else.
pub(super) fn remove(text: &str, object_line: u64, removals: &[Removal]) -> Option<String> {
    let mut text = text.to_string();
    for Removal { path } in removals {
        let before = object_at(&text, object_line)?;
        let mut wanted = to_json(&before)?;
        plan::remove(&mut wanted, path);
        let changed = without(&text, &before, path)?;
        if to_json(&object_at(&changed, object_line)?)? != wanted || count(&text) != count(&changed) {
            return None;
        }
        text = changed;
    }
    Some(text)
}

/// Returns the text with what was added to the object that begins on a line; `None` if that needs more than new lines. The
/// text is read again and compared with `wanted`.
pub(super) fn add(
    text: &str,
    object_line: u64,
    added: &[(FieldPath, Value)],
    wanted: &Value,
) -> Option<String> {
    let mut changed = text.to_string();
    for (path, value) in added {
        changed = with(&changed, &object_at(&changed, object_line)?, path, value)?;
    }
    let is_meant = to_json(&object_at(&changed, object_line)?)? == *wanted && count(text) == count(&changed);
    is_meant.then_some(changed)
}

/// Returns the text with a value at a path, at the end of the mapping or list that it is in.
fn with(text: &str, object: &Node, path: &FieldPath, value: &Value) -> Option<String> {
    let steps: Vec<Step> = path.steps().collect();
    let (last, above) = steps.split_last()?;
    let parent = object.nearest(&above.iter().copied().collect());
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if let Some(changed) = with_in_flow(&lines, parent, above.last().copied(), *last, value) {
        return Some(changed);
    }
    let (first, column, block) = match (&parent.value, last) {
        (yaml::Value::Map(members), Step::Field(key) | Step::Key(key)) => {
            let (first_key, first_member) = members.first()?;
            let (first, column) = key_above(&lines, index_of_line(first_member)?, first_key)?;
            (first, column, to_block(&serde_json::json!({ *key: value }), column)?)
        }
        (yaml::Value::List(items), Step::Index(_)) => {
            let first = index_of_line(items.first()?)?;
            let column = lines.get(first)?.find("- ")?;
            (first, column, to_block(&serde_json::json!([value]), column)?)
        }
        _ => return None,
    };
    let is_list = matches!(last, Step::Index(_));
    let is_inside = |line: &str| {
        let indent = indent(line);
        // The items of a list may stand below its key without further indent, and a list ends with what is no item.
        indent > column || indent == column && (!is_list || is_item(line))
    };
    let end = end_of_block(&lines, first, |line| is_inside(line) && !is_open(line));
    let mut kept = lines[..end].concat();
    if !kept.ends_with('\n') {
        kept.push('\n');
    }
    Some(kept + &block + &lines[end..].concat())
}

/// Returns the text with a value in a mapping or list that stands on one line, such as `emptyDir: {}`.
fn with_in_flow(
    lines: &[&str],
    parent: &Node,
    parent_step: Option<Step>,
    last: Step,
    value: &Value,
) -> Option<String> {
    let at = index_of_line(parent)?;
    let (index, start) = match parent_step? {
        Step::Field(key) | Step::Key(key) => {
            let (index, column) = key_above(lines, at, key)?;
            (index, column + lines[index][column..].find(": ")? + 2)
        }
        Step::Index(_) => (at, lines.get(at)?.find("- ")? + 2),
    };
    let line = lines[index];
    let (open, added) = match last {
        Step::Field(key) | Step::Key(key) => ('{', format!("{}: {value}", Value::from(key))),
        Step::Index(_) => ('[', value.to_string()),
    };
    let start = start + line[start..].find(|c| c != ' ')?;
    if !line[start..].starts_with(open) {
        return None;
    }
    let end = start + end_of_flow(&line[start..])?;
    let comma = if line[start + 1..end].trim().is_empty() { "" } else { ", " };
    let changed = format!("{}{comma}{added}{}", line[..end].trim_end(), &line[end..]);
    Some(lines[..index].concat() + &changed + &lines[index + 1..].concat())
}

/// Returns the place of the bracket that ends the mapping or list which the text begins with.
fn end_of_flow(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') if depth == 1 => return Some(at),
            (None, '}' | ']') => depth -= 1,
            // Within quotes too. The text is read again, so that a quote behind a backslash does no harm.
            _ => {}
        }
    }
    None
}

/// Returns the index behind the last line of the block that begins at `first`. Blank lines and comments belong to what comes
/// next, unless that is inside too.
fn end_of_block(lines: &[&str], first: usize, is_inside: impl Fn(&str) -> bool) -> usize {
    let mut end = first + 1;
    for (index, line) in lines.iter().enumerate().skip(first + 1) {
        if is_inside(line) {
            end = index + 1;
        } else if !is_open(line) {
            break;
        }
    }
    end
}

fn index_of_line(node: &Node) -> Option<usize> {
    usize::try_from(node.line()).ok()?.checked_sub(1)
}

/// Returns a value in block style, each line behind so many spaces.
fn to_block(value: &Value, column: usize) -> Option<String> {
    let text = serde_saphyr::to_string(value).ok()?;
    let lines = text.trim_end().lines().map(|line| format!("{:column$}{line}\n", ""));
    Some(lines.collect())
}

/// Returns true for a line with an item of a list.
fn is_item(line: &str) -> bool {
    line.trim_start().starts_with("- ") || line.trim() == "-"
}

/// Returns true for a blank line or a comment, which belongs to what comes next.
fn is_open(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// Returns the number of documents and of the objects in their lists.
fn count(text: &str) -> usize {
    let objects = |node: &Node| node.list("items").map_or(1, <[Node]>::len);
    yaml::read(text).iter().flatten().map(objects).sum()
}

/// Returns the only object that begins on a line.
fn object_at(text: &str, line: u64) -> Option<Node> {
    let mut found: Vec<Node> = Vec::new();
    for document in yaml::read(text) {
        let mut document = document.ok()?;
        match document.take_list("items") {
            Some(items) => found.extend(items.into_iter().filter(|item| item.line() == line)),
            None => found.extend((document.line() == line).then_some(document)),
        }
    }
    let object = found.pop();
    object.filter(|_| found.is_empty())
}

fn to_json(node: &Node) -> Option<Value> {
    serde_json::to_value(node).ok()
}

/// Returns the text without the lines of the value at a path, which must stand in block style on lines of its own.
fn without(text: &str, object: &Node, path: &FieldPath) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let value = object.nearest(path);
    let at = index_of_line(value)?;
    let (first, column) = match path.steps().next_back()? {
        Step::Field(key) | Step::Key(key) => key_above(&lines, at, key)?,
        Step::Index(_) => (at, lines.get(at)?.find("- ")?),
    };
    let is_list_item = matches!(path.steps().next_back(), Some(Step::Index(_)));
    let is_inside = |line: &str| {
        let indent = indent(line);
        // The items of a list may stand below its key without further indent.
        indent > column || !is_list_item && indent == column && is_item(line)
    };
    let end = end_of_block(&lines, first, |line| is_inside(line) && !line.trim().is_empty());
    let mut kept: Vec<String> = lines.iter().map(|line| (*line).to_string()).collect();
    let lead = lines[first].get(..column)?;
    if !is_list_item && lead.contains('-') {
        // The first member of an item stands behind its dash, which goes to the next member.
        let next = kept.get_mut(end)?;
        if indent(next) != column {
            return None;
        }
        next.replace_range(..column, lead);
    }
    kept.drain(first..end);
    Some(kept.concat())
}

/// Returns the line at or above `at` that holds a key, and the column of the key.
fn key_above(lines: &[&str], at: usize, key: &str) -> Option<(usize, usize)> {
    (0..=at).rev().take(2 + MAX_COMMENT_LINES).find_map(|index| {
        let column = indent_of_key(lines.get(index)?);
        let rest = lines[index].get(column..)?;
        let quoted = [key.to_string(), format!("\"{key}\""), format!("'{key}'")];
        let is_key = quoted.iter().any(|key| {
            rest.strip_prefix(key.as_str())
                .is_some_and(|after| after.trim_end() == ":" || after.starts_with(": "))
        });
        is_key.then_some((index, column))
    })
}

/// The most lines of comments between a key and its value.
const MAX_COMMENT_LINES: usize = 50;

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Returns the column of the key of a line: behind the dashes of the items that begin on it.
fn indent_of_key(line: &str) -> usize {
    let mut column = indent(line);
    while line[column..].starts_with("- ") {
        column += 2 + indent(&line[column + 2..]);
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "\
# a Pod
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  hostNetwork: true # why

  tolerations:
  # of the GPU nodes
  - key: a
    operator: Exists
  - {key: b, operator: Exists}
  containers:
  - securityContext:
      privileged: true
    name: main # the only one
    image: b
";

    fn path(text: &str) -> Removal {
        let step = |step: &'static str| step.parse().map_or(Step::Field(step), Step::Index);
        // Constants of these tests.
        let steps: Vec<&'static str> = yaml::steps(Box::leak(text.to_string().into_boxed_str())).collect();
        Removal { path: steps.into_iter().map(step).collect() }
    }

    fn edited(text: &str, paths: &[&str]) -> Option<String> {
        remove(text, 2, &paths.iter().map(|text| path(text)).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_lines_of_a_field_go() {
        assert_eq!(
            edited(POD, &["spec.hostNetwork"]).unwrap(),
            POD.replace("  hostNetwork: true # why\n", "")
        );
        let first = "  - key: a\n    operator: Exists\n";
        assert_eq!(edited(POD, &["spec.tolerations[0]"]).unwrap(), POD.replace(first, ""));
        assert_eq!(
            edited(POD, &["spec.tolerations[0]", "spec.tolerations[0].operator"]),
            None,
            "a member of a mapping on one line"
        );
        let list = "  tolerations:\n  # of the GPU nodes\n  - key: a\n    operator: Exists\n  - {key: b, operator: Exists}\n";
        assert_eq!(edited(POD, &["spec.tolerations"]).unwrap(), POD.replace(list, ""));
    }

    #[test]
    fn the_dash_of_an_item_goes_to_its_next_member() {
        let wanted =
            POD.replace("  - securityContext:\n      privileged: true\n    name: main", "  - name: main");
        assert_eq!(edited(POD, &["spec.containers[0].securityContext"]).unwrap(), wanted);
    }

    #[test]
    fn what_needs_more_than_taking_out_lines_is_not_done() {
        assert_eq!(edited(POD, &["metadata.name"]), None);
        assert_eq!(remove(POD, 7, &[path("spec.hostNetwork")]), None, "no object begins there");
        // Without its only member the mapping would be null.
        assert_eq!(edited(POD, &["spec.containers[0].securityContext.privileged"]), None);
    }

    #[test]
    fn fields_are_added_where_their_mapping_or_list_ends() {
        let wanted = |text: &str| to_json(&object_at(text, 2).unwrap()).unwrap();
        let add = |text: &str, fields: &[(&str, Value)], meant: &str| {
            let fields: Vec<_> = fields.iter().map(|(at, value)| (path(at).path, value.clone())).collect();
            add(text, 2, &fields, &wanted(meant))
        };
        let text = POD.replace(
            "    image: b\n",
            "    image: b\n  volumes:\n  - {name: v, emptyDir: {}} # scratch\n# end\n",
        );
        let meant = text
            .replace("{name: a}", "{name: a, \"labels\": {\"x\":\"y\"}}")
            .replace("  - {key: b, operator: Exists}\n", "  - {key: b, operator: Exists}\n  - key: c\n")
            .replace("      privileged: true\n", "      privileged: true\n      runAsUser: 7\n")
            .replace("emptyDir: {}} # scratch\n", "emptyDir: {}, \"x\": 1} # scratch\n  hostPID: false\n");
        let fields = [
            ("metadata.labels", serde_json::json!({"x": "y"})),
            ("spec.tolerations[2]", serde_json::json!({"key": "c"})),
            ("spec.containers[0].securityContext.runAsUser", 7.into()),
            ("spec.volumes[0].x", 1.into()),
            ("spec.hostPID", false.into()),
        ];
        assert_eq!(add(&text, &fields, &meant).as_deref(), Some(meant.as_str()));
        assert_eq!(
            add(&text, &[("spec.volumes[0].emptyDir.sizeLimit", 1.into())], &text),
            None,
            "deep in a line"
        );
        assert_eq!(add(&text, &[("spec.hostNetwork", false.into())], &text), None, "it is there already");
    }
}
