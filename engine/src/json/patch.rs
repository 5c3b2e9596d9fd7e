//! From the marks in a tree to the JSON patch (RFC 6902) that makes the same changes.

use std::fmt::Write as _;

use super::value::{List, Object, State, Value};

/// One step on the way to a value.
#[derive(Clone, Copy)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// Receives each change, with the way to it.
trait Sink {
    fn removed(&mut self, path: &[Step]);
    fn set(&mut self, path: &[Step], state: State, value: &Value);
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
    walk(root, &mut writer);
    writer.out.push(b']');
    writer.out
}

/// The paths of what was added or replaced, in the notation of Kubernetes (`spec.containers[0].resources`).
#[must_use]
pub fn changed_paths(root: &Value) -> Vec<String> {
    let mut paths = Paths { paths: Vec::new() };
    walk(root, &mut paths);
    paths.paths
}

/// Whether anything in the tree differs from what was read.
#[must_use]
pub fn is_changed(root: &Value) -> bool {
    match root {
        Value::Object(Object { members }) => {
            members.iter().any(|member| member.state != State::Kept || is_changed(&member.value))
        }
        Value::List(List { items }) => {
            items.iter().any(|(item, state)| *state != State::Kept || is_changed(item))
        }
        _ => false,
    }
}

fn walk(root: &Value, sink: &mut impl Sink) {
    let mut path = Vec::with_capacity(8);
    walk_removed(root, &mut path, sink);
    walk_set(root, &mut path, sink);
}

fn walk_removed<'p>(value: &'p Value, path: &mut Vec<Step<'p>>, sink: &mut impl Sink) {
    match value {
        Value::Object(Object { members }) => {
            for member in members.iter().filter(|member| member.state == State::Kept) {
                path.push(Step::Key(&member.key));
                walk_removed(&member.value, path, sink);
                path.pop();
            }
        }
        Value::List(List { items }) => {
            for (index, (item, state)) in items.iter().enumerate().rev() {
                path.push(Step::Index(index));
                match state {
                    State::Removed => sink.removed(path),
                    State::Kept => walk_removed(item, path, sink),
                    State::Added | State::Replaced => {}
                }
                path.pop();
            }
        }
        _ => {}
    }
}

fn walk_set<'p>(value: &'p Value, path: &mut Vec<Step<'p>>, sink: &mut impl Sink) {
    match value {
        Value::Object(Object { members }) => {
            for member in members {
                path.push(Step::Key(&member.key));
                visit(&member.value, member.state, path, sink);
                path.pop();
            }
        }
        Value::List(List { items }) => {
            let standing = items.iter().filter(|(_, state)| *state != State::Removed);
            for (index, (item, state)) in standing.enumerate() {
                path.push(Step::Index(index));
                visit(item, *state, path, sink);
                path.pop();
            }
        }
        _ => {}
    }
}

fn visit<'p>(value: &'p Value, state: State, path: &mut Vec<Step<'p>>, sink: &mut impl Sink) {
    match state {
        State::Kept => walk_set(value, path, sink),
        State::Added | State::Replaced => sink.set(path, state, value),
        State::Removed => {}
    }
}

struct PatchWriter {
    out: Vec<u8>,
    /// The path of the operation that is being written.
    pointer: String,
}

impl PatchWriter {
    fn begin(&mut self, op: &str, path: &[Step]) {
        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(br#"{"op":""#);
        self.out.extend_from_slice(op.as_bytes());
        self.out.extend_from_slice(br#"","path":"#);
        self.pointer.clear();
        write_pointer(path, &mut self.pointer);
        write_json(&self.pointer, &mut self.out);
    }
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing JSON to memory cannot fail");
}

impl Sink for PatchWriter {
    fn removed(&mut self, path: &[Step]) {
        self.begin("remove", path);
        self.out.push(b'}');
    }

    fn set(&mut self, path: &[Step], state: State, value: &Value) {
        // In a list "add" at an index inserts there; what was added stands at the end, so this appends.
        let op = if state == State::Replaced { "replace" } else { "add" };
        self.begin(op, path);
        self.out.extend_from_slice(br#","value":"#);
        write_json(value, &mut self.out);
        self.out.push(b'}');
    }
}

/// The JSON pointer (RFC 6901): `~` is written `~0`, `/` is written `~1`.
fn write_pointer(path: &[Step], out: &mut String) {
    for step in path {
        out.push('/');
        match step {
            Step::Index(index) => out.push_str(&index.to_string()),
            Step::Key(key) if key.contains(['~', '/']) => {
                out.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Step::Key(key) => out.push_str(key),
        }
    }
}

struct Paths {
    paths: Vec<String>,
}

impl Sink for Paths {
    fn removed(&mut self, path: &[Step]) {
        self.paths.push(field_path(path));
    }

    fn set(&mut self, path: &[Step], _state: State, _value: &Value) {
        self.paths.push(field_path(path));
    }
}

fn field_path(path: &[Step]) -> String {
    /// Fields with free keys, which Kubernetes writes in brackets.
    const MAPS: [&str; 6] = ["annotations", "labels", "limits", "nodeSelector", "overhead", "requests"];

    let mut out = String::with_capacity(48);
    let mut in_map = false;
    for step in path {
        let key_of_map = std::mem::replace(&mut in_map, matches!(step, Step::Key(key) if MAPS.contains(key)));
        match step {
            Step::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
            Step::Key(key) if key_of_map => out.extend(["[", key, "]"]),
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => out.extend([".", key]),
        }
    }
    out
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
    fn null_counts_as_absent() {
        let (_, document) = patched(r#"{"a":null}"#, |root| assert!(root.set_default("a", 5i64)));
        assert_eq!(document["a"], 5);
    }

    #[test]
    fn paths_of_changes_read_like_kubernetes_field_paths() {
        let mut root = value_from_str(r#"{"metadata":{"annotations":{}},"spec":{"c":[{}]}}"#).unwrap();
        let object = root.as_object_mut().unwrap();
        object.object_mut("metadata").unwrap().object_mut("annotations").unwrap().set("x.dev/y", "1");
        for (_, item) in object.object_mut("spec").unwrap().list_mut("c").unwrap().iter_mut() {
            item.as_object_mut().unwrap().set("r", 1i64);
        }
        assert_eq!(changed_paths(&root), ["metadata.annotations[x.dev/y]", "spec.c[0].r"]);
    }
}
