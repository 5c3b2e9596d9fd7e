//! The paths of what was changed in a Pod.

use std::str::FromStr;

use super::schema::{self, Kind};
use crate::{
    json::{ChangeVisitor, JsonStep, Value, ValueChange, each_change, visit_changes},
    path::{FieldPath, Step, push_step},
    yaml::steps,
};

/// Returns the paths of what was added, replaced or removed in a Pod since it was read.
#[must_use]
pub fn changed_paths(pod: &Value) -> Vec<FieldPath> {
    let mut paths = Vec::new();
    each_changed_path(pod, &mut |path, _| paths.push(path));
    paths
}

/// Calls `visit` for each change of a Pod since it was read, removals first.
pub(crate) fn each_changed_path(pod: &Value, visit: &mut impl FnMut(FieldPath, ValueChange)) {
    each_change(pod, &mut |steps, change| visit(field_steps(steps).collect(), change));
}

/// Returns the paths of [`changed_paths`] as they are written.
pub(crate) fn changed_path_texts(pod: &Value) -> Vec<String> {
    let mut texts =
        PathTexts { path: String::with_capacity(128), above: Vec::new(), kind: POD, texts: Vec::new() };
    visit_changes(pod, &mut texts);
    texts.texts
}

/// The kind of a whole Pod.
const POD: Option<Kind> = Some(Kind::Object(&schema::POD));

/// Collects the written paths of changes. What paths have in common is written once.
struct PathTexts {
    /// The path of the value that is visited.
    path: String,
    /// The length of the path before each of its steps, and the kind of the value there.
    above: Vec<(usize, Option<Kind>)>,
    /// The kind of the value that is visited.
    kind: Option<Kind>,
    texts: Vec<String>,
}

impl<'v, 'a> ChangeVisitor<'v, 'a> for PathTexts {
    fn enter(&mut self, step: JsonStep<'v>) {
        let (step, inner) = field_step(step, self.kind);
        let is_first = self.above.is_empty();
        self.above.push((self.path.len(), self.kind));
        self.kind = inner;
        push_step(step, is_first, &mut self.path);
    }

    fn leave(&mut self) {
        if let Some((length, kind)) = self.above.pop() {
            self.path.truncate(length);
            self.kind = kind;
        }
    }

    fn change(&mut self, _: ValueChange<'v, 'a>) {
        self.texts.push(self.path.clone());
    }
}

fn field_steps<'p>(steps: &[JsonStep<'p>]) -> impl Iterator<Item = Step<'p>> {
    let mut kind = POD;
    steps.iter().map(move |step| {
        let (step, inner) = field_step(*step, kind);
        kind = inner;
        step
    })
}

/// Returns the path in a Pod that is written so.
#[must_use]
pub fn path_from_text(text: &str) -> FieldPath {
    let mut kind = POD;
    let read = |word| {
        let step = match (kind, usize::from_str(word)) {
            (Some(Kind::Map(_)), _) | (_, Err(_)) => JsonStep::Key(word),
            (_, Ok(index)) => JsonStep::Index(index),
        };
        let (step, inner) = field_step(step, kind);
        kind = inner;
        step
    };
    steps(text).map(read).collect()
}

/// Returns a step into a value of this kind as a path has it, and the kind of the value there. The table of the Pod API
/// knows which objects are maps, whose keys Kubernetes writes in brackets.
fn field_step(step: JsonStep<'_>, kind: Option<Kind>) -> (Step<'_>, Option<Kind>) {
    match (step, kind) {
        (JsonStep::Index(index), Some(Kind::List(of))) => (Step::Index(index), Some(*of)),
        (JsonStep::Index(index), _) => (Step::Index(index), None),
        (JsonStep::Key(key), Some(Kind::Map(of))) => (Step::Key(key), Some(*of)),
        (JsonStep::Key(key), Some(Kind::Object(of))) => (Step::Field(key), of.field(key)),
        (JsonStep::Key(key), _) => (Step::Field(key), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::pod_from_str;

    #[test]
    fn paths_of_changes_have_the_notation_of_kubernetes() {
        let mut root = pod_from_str(
            r#"{"metadata":{"annotations":{"limits":""}},"spec":{"containers":[{"name":"c"}],"volumes":[{"name":"v"}]}}"#,
        )
        .unwrap();
        let object = root.as_object_mut().unwrap();
        let annotations = object.object_mut("metadata").unwrap().object_mut("annotations").unwrap();
        annotations.set("x.dev/y", "1");
        annotations.set("limits", "2");
        let spec = object.object_mut("spec").unwrap();
        for (_, item) in spec.list_mut("containers").unwrap().iter_mut() {
            let resources = item.as_object_mut().unwrap();
            resources.set("image", "i");
        }
        spec.object_mut("nodeSelector").unwrap().set("a/b", "c");
        spec.list_mut("volumes").unwrap().remove_where(|_| true);
        let paths: Vec<String> = changed_paths(&root).iter().map(ToString::to_string).collect();
        assert_eq!(changed_path_texts(&root), paths);
        let read: Vec<FieldPath> = paths.iter().map(|path| path_from_text(path)).collect();
        assert_eq!(read, changed_paths(&root));
        assert_eq!(
            paths,
            [
                "spec.volumes[0]",
                "metadata.annotations[limits]",
                "metadata.annotations[x.dev/y]",
                "spec.containers[0].image",
                "spec.nodeSelector",
            ]
        );
    }

    #[test]
    fn a_field_that_the_table_does_not_have_is_written_all_the_same() {
        let mut root = pod_from_str(r#"{"spec":{"new":[{"labels":{}}]}}"#).unwrap();
        let spec = root.as_object_mut().unwrap().object_mut("spec").unwrap();
        for (_, item) in spec.list_mut("new").unwrap().iter_mut() {
            item.as_object_mut().unwrap().object_mut("labels").unwrap().set("k", 1i64);
        }
        assert_eq!(changed_paths(&root)[0].to_string(), "spec.new[0].labels.k");
    }
}
