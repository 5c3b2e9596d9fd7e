//! From the marks in a tree to the JSON patch (RFC 6902) that makes the same changes.

use super::value::{List, Object, State, Value};
use crate::text::is_plain;

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

/// Writes the patch that turns the tree as it was read into the tree as it is; empty if nothing changed.
///
/// Removals come first, from the highest index down, so that every index is the one of the original;
/// what follows counts without the removed items. A value that was added whole is one operation.
#[must_use]
pub fn write_patch(root: &Value) -> Vec<u8> {
    if !is_changed(root) {
        return Vec::new();
    }
    let mut writer = PatchWriter { out: Vec::with_capacity(4096), pointer: String::with_capacity(128) };
    each_change(root, &mut |path, change| writer.write(path, change));
    writer.out.push(b']');
    writer.out
}

/// Returns whether anything in the tree differs from what was read.
#[must_use]
pub fn is_changed(root: &Value) -> bool {
    match root {
        Value::Object(Object { members }) => {
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
pub(crate) fn each_change(root: &Value, visit: &mut impl FnMut(&[JsonStep], ValueChange)) {
    let mut path = Vec::with_capacity(8);
    walk_removed(root, &mut path, visit);
    walk_set(root, &mut path, visit);
}

fn walk_removed<'p>(
    value: &'p Value,
    path: &mut Vec<JsonStep<'p>>,
    visit: &mut impl FnMut(&[JsonStep], ValueChange),
) {
    match value {
        Value::Object(Object { members }) => {
            for member in members.iter().filter(|member| matches!(member.state, State::Entered)) {
                path.push(JsonStep::Key(&member.key));
                walk_removed(&member.value, path, visit);
                path.pop();
            }
        }
        Value::List(List { items }) => {
            for (index, (item, state)) in items.iter().enumerate().rev() {
                path.push(JsonStep::Index(index));
                match state {
                    State::Removed => visit(path, ValueChange::Removed),
                    State::Entered => walk_removed(item, path, visit),
                    State::Kept | State::Added | State::Replaced => {}
                }
                path.pop();
            }
        }
        _ => {}
    }
}

fn walk_set<'p>(
    value: &'p Value,
    path: &mut Vec<JsonStep<'p>>,
    visit: &mut impl FnMut(&[JsonStep], ValueChange),
) {
    match value {
        Value::Object(Object { members }) => {
            for member in members.iter().filter(|member| !matches!(member.state, State::Kept)) {
                path.push(JsonStep::Key(&member.key));
                walk_item(&member.value, member.state, path, visit);
                path.pop();
            }
        }
        Value::List(List { items }) => {
            let standing = items.iter().filter(|(_, state)| *state != State::Removed);
            for (index, (item, state)) in standing.enumerate() {
                path.push(JsonStep::Index(index));
                walk_item(item, *state, path, visit);
                path.pop();
            }
        }
        _ => {}
    }
}

fn walk_item<'p>(
    value: &'p Value,
    state: State,
    path: &mut Vec<JsonStep<'p>>,
    visit: &mut impl FnMut(&[JsonStep], ValueChange),
) {
    match state {
        State::Entered => walk_set(value, path, visit),
        State::Added => visit(path, ValueChange::Added(value)),
        State::Replaced => visit(path, ValueChange::Replaced(value)),
        State::Kept | State::Removed => {}
    }
}

struct PatchWriter {
    out: Vec<u8>,
    /// The path of the operation that is being written.
    pointer: String,
}

impl PatchWriter {
    fn write(&mut self, path: &[JsonStep], change: ValueChange) {
        // In a list "add" at an index inserts there; what was added stands at the end, so this appends.
        let (op, value) = match change {
            ValueChange::Removed => ("remove", None),
            ValueChange::Added(value) => ("add", Some(value)),
            ValueChange::Replaced(value) => ("replace", Some(value)),
        };

        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(br#"{"op":""#);
        self.out.extend_from_slice(op.as_bytes());
        self.out.extend_from_slice(br#"","path":"#);
        self.pointer.clear();
        write_pointer(path, &mut self.pointer);
        write_string(&self.pointer, &mut self.out);
        if let Some(value) = value {
            self.out.extend_from_slice(br#","value":"#);
            write_value(value, &mut self.out);
        }
        self.out.push(b'}');
    }
}

/// Writes what [`serde::Serialize`] does, with fewer looks at each byte of a text.
fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => write_string(text, out),
        Value::List(list) => {
            out.push(b'[');
            for (position, (_, item)) in list.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Object(Object { members }) => {
            out.push(b'{');
            for (position, member) in members.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_string(&member.key, out);
                out.push(b':');
                write_value(&member.value, out);
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => write_json(value, out),
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if !is_plain(text) {
        return write_json(text, out);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing JSON to memory cannot fail");
}

/// The JSON pointer (RFC 6901): `~` is written `~0`, `/` is written `~1`.
fn write_pointer(path: &[JsonStep], out: &mut String) {
    for step in path {
        out.push('/');
        match step {
            JsonStep::Index(index) => out.push_str(&index.to_string()),
            JsonStep::Key(key) if key.bytes().any(|byte| matches!(byte, b'~' | b'/')) => {
                out.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            JsonStep::Key(key) => out.push_str(key),
        }
    }
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

    /// The writer of the patch looks for texts that need no escape, and only then for those that do.
    #[test]
    fn a_value_is_written_as_serde_writes_it() {
        let text = r#"{"a\"b":["\u0001\n\\","ü","\ud83d\ude00",-1,1.5,18446744073709551615,true,null,{},[]],"c":{"d":""}}"#;
        let value = value_from_str(text).unwrap();
        let mut written = Vec::new();
        write_value(&value, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&value).unwrap());
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
