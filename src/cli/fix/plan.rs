//! Which fields of a Pod to remove so that the policy admits it.

use serde_json::Value;

use crate::cli::{
    evaluation::Evaluator,
    workload_pods::{Problem, WorkloadPod},
};
use sandgate_engine::{
    path::{FieldPath, Step},
    review::LeveledViolations,
};

/// So many removals are tried for one Pod.
const MAX_TRIALS: usize = 200;

/// The lists of which an item may be removed: each item is a permission of its own.
const LISTS: [&str; 4] = ["tolerations", "add", "sysctls", "supplementalGroups"];

/// Fields that say what the Pod is for, which a person has to change.
const PURPOSE: [&str; 16] = [
    "args",
    "command",
    "containers",
    "env",
    "envFrom",
    "ephemeralContainers",
    "image",
    "initContainers",
    "lifecycle",
    "metadata",
    "name",
    "namespace",
    "spec",
    "volumeDevices",
    "volumeMounts",
    "volumes",
];

/// The fields of volumes and mounts that only limit or widen them.
const OF_VOLUMES: [&str; 3] = ["medium", "mountPropagation", "sizeLimit"];

/// A field to remove from an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    /// The path in the object.
    pub(super) path: FieldPath,
}

/// What is removed for a Pod, and what is left to a person.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) removals: Vec<Removal>,
    pub(super) left: LeveledViolations,
}

/// Returns what to remove so that the Pod is admitted, as far as that is possible; `None` if no policy covers it. Each
/// removal is kept only if it leaves fewer enforced violations.
pub(super) fn plan(pod: &WorkloadPod, evaluator: &Evaluator) -> Result<Option<Plan>, Problem> {
    let mut json: Value = serde_json::from_str(pod.json()).unwrap_or_default();
    let Some(mut left) = evaluator.violations_of(pod, pod.json())? else { return Ok(None) };
    let mut removals = Vec::new();
    let mut tried: Vec<FieldPath> = Vec::new();
    while let Some(path) = next(&left, &tried, &json) {
        if tried.len() == MAX_TRIALS {
            break;
        }
        let whole = with_empty_parents(&json, &path);
        tried.push(path);
        let Some(in_object) = pod.path_in_object(&whole) else { continue };
        let mut changed = json.clone();
        remove(&mut changed, &whole);
        let Some(after) = evaluator.violations_of(pod, &changed.to_string())? else { continue };
        if after.enforce.len() < left.enforce.len() {
            (json, left) = (changed, after);
            removals.push(Removal { path: in_object });
            // An item that moved up has a path that was tried.
            tried.clear();
        }
    }
    let left = LeveledViolations { enforce: left.enforce, ..LeveledViolations::default() };
    Ok(Some(Plan { removals, left }))
}

/// Returns the path of the next violation to try.
fn next(left: &LeveledViolations, tried: &[FieldPath], json: &Value) -> Option<FieldPath> {
    let paths = left.enforce.iter().map(|violation| &violation.path);
    let mut open = paths.filter(|path| is_removable(path) && json.pointer(&pointer(path)).is_some());
    open.find(|path| !tried.contains(path)).cloned()
}

/// Returns whether a field only grants or limits something, so that it can be left to the policy.
pub(super) fn is_removable(path: &FieldPath) -> bool {
    let steps: Vec<Step> = path.steps().collect();
    let is_below = |name: &str| steps.contains(&Step::Field(name));
    match steps.as_slice() {
        [.., Step::Field(list), Step::Index(_)] => LISTS.contains(list),
        [.., Step::Field(name)] if is_below("volumes") || is_below("volumeMounts") => {
            OF_VOLUMES.contains(name)
        }
        _ if is_below("env") || is_below("envFrom") => false,
        [.., Step::Field(name)] => !PURPOSE.contains(name),
        [.., Step::Key(_)] => true,
        _ => false,
    }
}

/// Returns the path, or that of the highest mapping or list above it which would be empty without it.
fn with_empty_parents(json: &Value, path: &FieldPath) -> FieldPath {
    let mut whole = path.clone();
    loop {
        let steps: Vec<Step> = whole.steps().collect();
        let Some((_, parent)) = steps.split_last() else { return whole };
        let parent: FieldPath = parent.iter().copied().collect();
        let is_only = match json.pointer(&pointer(&parent)) {
            Some(Value::Object(members)) => members.len() == 1,
            Some(Value::Array(items)) => items.len() == 1,
            _ => false,
        };
        let may_go =
            matches!(parent.steps().next_back(), Some(Step::Field(name)) if !PURPOSE.contains(&name));
        if !is_only || !may_go {
            return whole;
        }
        whole = parent;
    }
}

/// Removes the value at a path.
pub(super) fn remove(json: &mut Value, path: &FieldPath) {
    let steps: Vec<Step> = path.steps().collect();
    let Some((last, parent)) = steps.split_last() else { return };
    let parent: FieldPath = parent.iter().copied().collect();
    match (json.pointer_mut(&pointer(&parent)), last) {
        (Some(Value::Object(members)), Step::Field(name) | Step::Key(name)) => {
            members.remove(*name);
        }
        (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
        }
        _ => {}
    }
}

/// Returns the JSON patch that removes the values at these paths.
pub(super) fn patch(paths: &[FieldPath]) -> String {
    let remove = |path: &FieldPath| serde_json::json!({"op": "remove", "path": pointer(path)});
    Value::from(paths.iter().map(remove).collect::<Vec<_>>()).to_string()
}

/// Returns a path as a JSON pointer.
pub(super) fn pointer(path: &FieldPath) -> String {
    let escape = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    path.steps()
        .map(|step| match step {
            Step::Field(name) | Step::Key(name) => escape(name),
            Step::Index(index) => format!("/{index}"),
        })
        .collect()
}
