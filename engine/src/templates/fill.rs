//! Writes into a template of an object what was filled into its Pod.

use std::borrow::Cow;

use crate::{
    json::{List, Object, Value, ValueChange},
    path::{ANNOTATIONS, FieldPath, SPEC, Step},
    pod::each_changed_path,
    review::{HASH_ANNOTATION, POLICY_ANNOTATION},
    workload::{FillableFields, TemplateLocation, WorkloadKind},
};

/// The kinds, by group, whose templates can be changed by an update. What else an update changes in a template, such as
/// the placement of a suspended Job, is all that can be changed.
const CHANGEABLE: [(&str, &str); 19] = [
    ("", "PodTemplate"),
    ("", "ReplicationController"),
    ("actions.github.com", "AutoscalingRunnerSet"),
    ("actions.summerwind.dev", "RunnerDeployment"),
    ("actions.summerwind.dev", "RunnerSet"),
    ("agents.x-k8s.io", "Sandbox"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("argoproj.io", "Rollout"),
    ("batch", "CronJob"),
    ("batch.volcano.sh", "CronJob"),
    ("extensions.agents.x-k8s.io", "SandboxTemplate"),
    ("kubeflow.org", "Notebook"),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"),
    ("ray.io", "RayCluster"),
    ("ray.io", "RayCronJob"),
    ("ray.io", "RayService"),
];

/// Returns true if an update can change the templates of a kind.
pub(super) fn can_change(kind: &WorkloadKind) -> bool {
    CHANGEABLE.contains(&(kind.group, kind.kind))
}

/// A template that was filled.
#[derive(Debug)]
pub(super) struct Filled {
    /// The path of the template; `None` if the object has only the spec of a Pod.
    pub(super) template: Option<FieldPath>,
    /// The number of changes.
    pub(super) count: usize,
}

/// The error that a change of a Pod has no counterpart in the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CannotFill;

/// One change of a Pod.
struct Change {
    path: FieldPath,
    /// The new value; `None` if it was removed.
    value: Option<Value<'static>>,
}

/// Writes the changes of a filled Pod into the object that it is made from, and returns their number.
///
/// # Errors
/// Returns an error if something was removed from the Pod, or the object has another shape than its Pod. Then the object
/// is half changed.
pub(super) fn fill(
    object: &mut Value,
    location: &TemplateLocation,
    pod: &Value,
    fields: FillableFields,
) -> Result<usize, CannotFill> {
    let mut changes = Vec::new();
    each_changed_path(pod, &mut |path, change| {
        let value = match change {
            ValueChange::Removed => None,
            ValueChange::Added(value) | ValueChange::Replaced(value) => Some(owned(value)),
        };
        changes.extend(split(Change { path, value }));
    });
    let mut count = 0;
    for Change { path, value } in changes {
        let value = value.ok_or(CannotFill)?;
        if !is_for_template(&path, fields) {
            continue;
        }
        // What is only in the Pod is filled there.
        let Some(path) = location.path(&path) else { continue };
        set(object, &path, value)?;
        count += 1;
    }
    Ok(count)
}

/// Returns the entries of annotations that were added whole, each as a change of its own.
fn split(change: Change) -> Vec<Change> {
    match change {
        Change { path, value: Some(Value::Object(members)) } if path == ANNOTATIONS.into() => members
            .iter()
            .map(|(key, value)| Change { path: path.with(Step::Key(key)), value: Some(owned(value)) })
            .collect(),
        change => vec![change],
    }
}

/// Returns true if a field of the Pod is filled in its template too. The annotations that name the policy are not: a
/// template outlives a change of the policy, and each Pod gets them anew.
fn is_for_template(path: &FieldPath, fields: FillableFields) -> bool {
    let names_policy =
        [POLICY_ANNOTATION, HASH_ANNOTATION].into_iter().any(|key| *path == ANNOTATIONS.key(key).into());
    let is_deadline = *path == SPEC.child("activeDeadlineSeconds").into();
    !names_policy && (fields == FillableFields::All || !is_deadline)
}

/// Sets the value at a path, or appends it to the list that the path has an index of. What is missing on the way is made.
fn set(object: &mut Value, path: &FieldPath, value: Value<'static>) -> Result<(), CannotFill> {
    let steps: Vec<Step> = path.steps().collect();
    let Some((last, above)) = steps.split_last() else { return Err(CannotFill) };
    let mut parent = object;
    for (position, step) in above.iter().enumerate() {
        let empty = match steps[position + 1] {
            Step::Index(_) => Value::List(List::default()),
            Step::Field(_) | Step::Key(_) => Value::Object(Object::default()),
        };
        parent = child(parent, *step, empty).ok_or(CannotFill)?;
    }
    match (parent, *last) {
        (Value::Object(members), Step::Field(name) | Step::Key(name)) => {
            members.set(name.to_owned(), value);
            Ok(())
        }
        (Value::List(items), Step::Index(_)) => {
            items.push(value);
            Ok(())
        }
        _ => Err(CannotFill),
    }
}

/// Returns the value that a step leads to; a member that is missing is made as `empty`.
fn child<'v, 'a>(value: &'v mut Value<'a>, step: Step, empty: Value<'a>) -> Option<&'v mut Value<'a>> {
    match (value, step) {
        (Value::Object(members), Step::Field(name) | Step::Key(name)) => {
            if members.get(name).is_none() {
                members.set(name.to_owned(), empty);
            }
            members.get_mut(name)
        }
        (Value::List(items), Step::Index(index)) => {
            items.iter_mut().find(|(at, _)| *at == index).map(|(_, item)| item)
        }
        _ => None,
    }
}

/// Returns a copy that borrows nothing.
fn owned(value: &Value) -> Value<'static> {
    match value {
        Value::Null => Value::Null,
        Value::Bool(truth) => Value::Bool(*truth),
        Value::Number(number) => Value::Number(number.clone()),
        Value::String(text) => Value::String(Cow::Owned(text.to_string())),
        Value::List(items) => items.iter().map(|(_, item)| owned(item)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(key, value)| (Cow::Owned(key.to_owned()), owned(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::value_from_str, workload::KINDS};

    #[test]
    fn kinds_that_can_change_are_known_and_can_be_filled() {
        for (group, kind) in CHANGEABLE {
            let known = WorkloadKind::find(group, kind).unwrap_or_else(|| panic!("{group} {kind}"));
            assert_ne!(known.fillable_fields(), FillableFields::None, "{kind}");
        }
        let job = KINDS.iter().find(|kind| kind.kind == "Job").unwrap();
        assert!(!can_change(job));
    }

    #[test]
    fn missing_parents_are_made_and_items_are_appended() {
        let mut object = value_from_str(r#"{"spec":{"list":[1]}}"#).unwrap();
        let at = |steps: &[Step]| steps.iter().copied().collect::<FieldPath>();
        let (spec, list, new) = (Step::Field("spec"), Step::Field("list"), Step::Field("new"));
        set(&mut object, &at(&[spec, list, Step::Index(7)]), Value::Bool(true)).unwrap();
        set(&mut object, &at(&[spec, new, Step::Index(0)]), Value::Bool(true)).unwrap();
        set(&mut object, &at(&[new, Step::Key("a/b")]), Value::Bool(true)).unwrap();
        let text = serde_json::to_string(&object).unwrap();
        assert_eq!(text, r#"{"spec":{"list":[1,true],"new":[true]},"new":{"a/b":true}}"#);
        assert_eq!(set(&mut object, &at(&[spec, list, new]), Value::Null), Err(CannotFill));
    }
}
