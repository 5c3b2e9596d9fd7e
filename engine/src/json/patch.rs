//! From the marks in a tree to the JSON patch (RFC 6902) that makes the same changes.

use super::{
    value::{List, Object, State, Value},
    write::{write_string_content, write_value},
};
use crate::text::{NEEDS_ESCAPE, OF_POINTERS, class};

/// One step from a value to a value inside it, as JSON has it: an object does not show whether it is a map.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JsonStep<'p> {
    /// The name of a member of an object.
    Key(&'p str),
    /// A position in a list.
    Index(usize),
}

/// The change of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueChange<'v, 'a> {
    /// The value was removed.
    Removed,
    /// It was added whole.
    Added(&'v Value<'a>),
    /// It replaced another value.
    Replaced(&'v Value<'a>),
}

/// Is led to the changes of a tree. The steps that were entered and not left are the path of a change.
pub(crate) trait ChangeVisitor<'v, 'a> {
    /// Goes one step down.
    fn enter(&mut self, step: JsonStep<'v>);

    /// Goes back up by one step.
    fn leave(&mut self);

    /// Takes the change of the value at the path.
    fn change(&mut self, change: ValueChange<'v, 'a>);
}

/// Writes the patch that turns the tree as it was read into the tree as it is; empty if nothing changed.
///
/// Removals come first, from the highest index down, so that every index is the one of the original;
/// what follows counts without the removed items. A value that was added whole is one operation.
#[must_use]
pub fn write_patch(root: &Value) -> Vec<u8> {
    if !is_changed(root) {
        return Vec::new();
    }
    let mut writer = PatchWriter {
        out: Vec::with_capacity(4096),
        pointer: Vec::with_capacity(128),
        ends: Vec::with_capacity(8),
    };
    visit_changes(root, &mut writer);
    writer.out.push(b']');
    writer.out
}

/// Returns whether anything in the tree differs from what was read.
#[must_use]
pub fn is_changed(root: &Value) -> bool {
    match root {
        Value::Object(Object { members, .. }) => {
            members.iter().any(|member| is_changed_inside(&member.value, member.state))
        }
        Value::List(List { items }) => items.iter().any(|(item, state)| is_changed_inside(item, *state)),
        _ => false,
    }
}

fn is_changed_inside(value: &Value, state: State) -> bool {
    match state {
        State::Kept => false,
        State::Entered => is_changed(value),
        State::Added | State::Replaced | State::Removed => true,
    }
}

/// Calls `visit` for each change with the steps to it, removals first.
pub(crate) fn each_change<'v, 'a>(
    root: &'v Value<'a>,
    visit: &mut impl FnMut(&[JsonStep<'v>], ValueChange<'v, 'a>),
) {
    visit_changes(root, &mut StepsVisitor { steps: Vec::with_capacity(8), visit });
}

/// Keeps the steps to a change.
struct StepsVisitor<'s, 'v, F> {
    steps: Vec<JsonStep<'v>>,
    visit: &'s mut F,
}

impl<'v, 'a, F: FnMut(&[JsonStep<'v>], ValueChange<'v, 'a>)> ChangeVisitor<'v, 'a>
    for StepsVisitor<'_, 'v, F>
{
    fn enter(&mut self, step: JsonStep<'v>) {
        self.steps.push(step);
    }

    fn leave(&mut self) {
        self.steps.pop();
    }

    fn change(&mut self, change: ValueChange<'v, 'a>) {
        (self.visit)(&self.steps, change);
    }
}

/// Calls `visit` with the steps to each value that was removed.
pub(crate) fn each_removal<'v>(root: &'v Value, visit: &mut impl FnMut(&[JsonStep<'v>])) {
    visit_removed(
        root,
        &mut StepsVisitor { steps: Vec::with_capacity(8), visit: &mut |steps: &[_], _| visit(steps) },
    );
}

/// Leads a visitor to each change, removals first.
pub(crate) fn visit_changes<'v, 'a>(root: &'v Value<'a>, visitor: &mut impl ChangeVisitor<'v, 'a>) {
    visit_removed(root, visitor);
    visit_set(root, visitor);
}

fn visit_removed<'v, 'a>(value: &'v Value<'a>, visitor: &mut impl ChangeVisitor<'v, 'a>) {
    match value {
        Value::Object(Object { members, .. }) => {
            for member in members.iter().filter(|member| matches!(member.state, State::Entered)) {
                visitor.enter(JsonStep::Key(&member.key));
                visit_removed(&member.value, visitor);
                visitor.leave();
            }
        }
        Value::List(List { items }) => {
            for (index, (item, state)) in items.iter().enumerate().rev() {
                if !matches!(state, State::Removed | State::Entered) {
                    continue;
                }
                visitor.enter(JsonStep::Index(index));
                if matches!(state, State::Removed) {
                    visitor.change(ValueChange::Removed);
                } else {
                    visit_removed(item, visitor);
                }
                visitor.leave();
            }
        }
        _ => {}
    }
}

fn visit_set<'v, 'a>(value: &'v Value<'a>, visitor: &mut impl ChangeVisitor<'v, 'a>) {
    match value {
        Value::Object(Object { members, .. }) => {
            for member in members {
                visit_set_at(JsonStep::Key(&member.key), &member.value, member.state, visitor);
            }
        }
        Value::List(List { items }) => {
            let standing = items.iter().filter(|(_, state)| !matches!(state, State::Removed));
            for (index, (item, state)) in standing.enumerate() {
                visit_set_at(JsonStep::Index(index), item, *state, visitor);
            }
        }
        _ => {}
    }
}

fn visit_set_at<'v, 'a>(
    step: JsonStep<'v>,
    value: &'v Value<'a>,
    state: State,
    visitor: &mut impl ChangeVisitor<'v, 'a>,
) {
    if matches!(state, State::Kept | State::Removed) {
        return;
    }
    visitor.enter(step);
    match state {
        State::Added => visitor.change(ValueChange::Added(value)),
        State::Replaced => visitor.change(ValueChange::Replaced(value)),
        State::Entered | State::Kept | State::Removed => visit_set(value, visitor),
    }
    visitor.leave();
}

struct PatchWriter {
    out: Vec<u8>,
    /// The JSON pointer (RFC 6901) of the value that is visited, with the escapes of a JSON string.
    pointer: Vec<u8>,
    /// The length of the pointer before each of its steps.
    ends: Vec<usize>,
}

impl<'v, 'a> ChangeVisitor<'v, 'a> for PatchWriter {
    fn enter(&mut self, step: JsonStep<'v>) {
        self.ends.push(self.pointer.len());
        self.pointer.push(b'/');
        match step {
            JsonStep::Index(index) => write_index(index, &mut self.pointer),
            JsonStep::Key(key) => write_pointer_key(key, &mut self.pointer),
        }
    }

    fn leave(&mut self) {
        self.pointer.truncate(self.ends.pop().unwrap_or_default());
    }

    fn change(&mut self, change: ValueChange<'v, 'a>) {
        // In a list "add" at an index inserts there; what was added stands at the end, so this appends.
        let (op, value): (&[u8], _) = match change {
            ValueChange::Removed => (br#"{"op":"remove","path":""#, None),
            ValueChange::Added(value) => (br#"{"op":"add","path":""#, Some(value)),
            ValueChange::Replaced(value) => (br#"{"op":"replace","path":""#, Some(value)),
        };
        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(op);
        self.out.extend_from_slice(&self.pointer);
        if let Some(value) = value {
            self.out.extend_from_slice(br#"","value":"#);
            write_value(value, &mut self.out);
            self.out.push(b'}');
        } else {
            self.out.extend_from_slice(br#""}"#);
        }
    }
}

fn write_index(index: usize, out: &mut Vec<u8>) {
    match u8::try_from(index) {
        Ok(digit @ 0..10) => out.push(b'0' + digit),
        _ => out.extend_from_slice(index.to_string().as_bytes()),
    }
}

/// In a JSON pointer `~` is written `~0`, and `/` is written `~1`.
fn write_pointer_key(key: &str, out: &mut Vec<u8>) {
    let classes = key.bytes().fold(0, |classes, byte| classes | class(byte));
    if classes & (OF_POINTERS | NEEDS_ESCAPE) == 0 {
        return out.extend_from_slice(key.as_bytes());
    }
    write_string_content(&key.replace('~', "~0").replace('/', "~1"), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::value_from_str;

    fn patched(text: &str, change: impl FnOnce(&mut Object<'_>)) -> (String, serde_json::Value) {
        let mut root = value_from_str(text).unwrap();
        change(root.as_object_mut().unwrap());
        let patch = String::from_utf8(write_patch(&root)).unwrap();
        let mut document: serde_json::Value = serde_json::from_str(text).unwrap();
        if !patch.is_empty() {
            json_patch::patch(&mut document, &serde_json::from_str::<json_patch::Patch>(&patch).unwrap())
                .unwrap();
        }
        assert_eq!(document, serde_json::to_value(&root).unwrap(), "patch applied = the changed tree");
        (patch, document)
    }

    #[test]
    fn nothing_changed_is_no_patch() {
        let (patch, _) = patched(r#"{"a":{"b":[1,2]}}"#, |_| {});
        assert_eq!(patch, "");
        assert!(!is_changed(&value_from_str(r#"{"a":[1]}"#).unwrap()));
    }

    #[test]
    fn missing_parents_are_created_in_one_operation() {
        let (patch, _) = patched("{}", |root| {
            let inner = root.object_mut("a").unwrap().object_mut("b").unwrap();
            inner.set("c", 1i64);
            inner.set("d", true);
        });
        assert_eq!(patch, r#"[{"op":"add","path":"/a","value":{"b":{"c":1,"d":true}}}]"#);
    }

    #[test]
    fn slashes_and_tildes_in_keys_are_escaped() {
        let (patch, _) = patched(r#"{"m":{}}"#, |root| root.object_mut("m").unwrap().set("a/b~c", "x"));
        assert_eq!(patch, r#"[{"op":"add","path":"/m/a~1b~0c","value":"x"}]"#);
    }

    #[test]
    fn removals_run_from_the_highest_index_down_and_appends_count_without_them() {
        let (patch, document) = patched(r#"{"l":[0,1,2,{"k":0}]}"#, |root| {
            let list = root.list_mut("l").unwrap();
            list.remove_where(|item| matches!(item.as_i64(), Some(0 | 2)));
            list.push("end");
            let (_, item) = list.iter_mut().find(|(index, _)| *index == 3).unwrap();
            item.as_object_mut().unwrap().set("k", 9i64);
        });
        assert_eq!(
            patch,
            r#"[{"op":"remove","path":"/l/2"},{"op":"remove","path":"/l/0"},{"op":"replace","path":"/l/1/k","value":9},{"op":"add","path":"/l/2","value":"end"}]"#
        );
        assert_eq!(document["l"], serde_json::json!([1, {"k": 9}, "end"]));
    }

    #[test]
    fn what_was_entered_and_not_changed_is_no_change() {
        let mut root = value_from_str(r#"{"a":{"b":[{"c":1}]}}"#).unwrap();
        let before = root.clone();
        let list = root.as_object_mut().unwrap().object_mut("a").unwrap().list_mut("b").unwrap();
        for (_, item) in list.iter_mut() {
            assert!(!item.as_object_mut().unwrap().set_default("c", 2i64));
        }
        assert!(!is_changed(&root) && write_patch(&root).is_empty());
        assert_eq!(root, before);
    }

    #[test]
    fn null_counts_as_absent() {
        let (_, document) = patched(r#"{"a":null}"#, |root| assert!(root.set_default("a", 5i64)));
        assert_eq!(document["a"], 5);
    }
}
