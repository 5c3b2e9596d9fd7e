//! The Pods of Tekton, which have no Pod template: a task has steps, each a container of one Pod.

use super::{
    argo::{add_all, add_containers, take},
    build::{Fields, at, child, container, fields, item_of_spec, text},
    location::TemplateLocation,
    template::{Note, OwnerNames, PodTemplateRef, Workload, expand, pod},
};
use crate::{
    json::Value,
    path::{FieldPath, Step},
};

/// The fields of `podTemplate` that are the Pod's own.
const OF_POD_TEMPLATE: [&str; 14] = [
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostNetwork",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "tolerations",
];

/// Returns the Pods of the task specs at `paths`, as far as they can be seen.
pub(super) fn workload(object: &Value, names: &OwnerNames, paths: &[&str]) -> Workload {
    let mut workload = Workload::default();
    for (path, task) in paths.iter().flat_map(|path| expand(object, path)) {
        workload.pods.push(of_task(object, names, task, &path));
        workload.notes.extend(step_references(task));
    }
    workload.notes.extend(references(object));
    workload.notes.extend(unseen_templates(object, workload.pods.is_empty()));
    if !workload.pods.is_empty() {
        workload.notes.push(Note::Partial);
    }
    workload
}

fn of_task(object: &Value, names: &OwnerNames, task: &Value, path: &FieldPath) -> PodTemplateRef {
    let mut location = TemplateLocation::default();
    let mut spec = Fields::default();
    let defaults = child(task, "stepTemplate").map(container);
    let steps = task.as_object().into_iter().flat_map(|task| task.list("steps"));
    for (index, step) in steps {
        let value = if step.as_object().is_some() {
            step_container(step, defaults.as_ref(), index)
        } else {
            // The rules deny it.
            step.clone()
        };
        if let Some(position) = spec.push("containers", value) {
            let step_path = path.with(Step::Field("steps")).with(Step::Index(index));
            location.add(item_of_spec("containers", position), step_path);
        }
    }
    add_containers(&mut spec, &mut location, "containers", (task, path), "sidecars");
    add_all(&mut spec, &mut location, "volumes", "volumes", &[(task, path)]);
    let templates = ["spec.podTemplate", "spec.taskRunTemplate.podTemplate"];
    for (path, template) in templates.into_iter().filter_map(|path| Some((path, at(object, path)?))) {
        let path = &fields(path);
        for field in OF_POD_TEMPLATE {
            take(&mut spec, &mut location, field, &[(template, path)]);
        }
        add_all(&mut spec, &mut location, "volumes", "volumes", &[(template, path)]);
    }
    for path in ["spec", "spec.taskRunTemplate"] {
        if let Some(owner) = at(object, path) {
            take(&mut spec, &mut location, "serviceAccountName", &[(owner, &fields(path))]);
        }
    }
    spec.set_default("restartPolicy", text("Never"));
    pod(names, Some(("tekton.dev/v1", "TaskRun")), None, Some(spec.into_value()), location)
}

/// A step takes what it leaves open from the step template.
fn step_container<'v>(step: &Value<'v>, defaults: Option<&Fields<'v>>, index: usize) -> Value<'v> {
    let mut fields = container(step);
    if let Some(resources) = child(step, "computeResources") {
        fields.set_default("resources", resources.clone());
    }
    for (key, value) in defaults.into_iter().flat_map(Fields::iter) {
        fields.set_default(key, value.clone());
    }
    fields.set_default("name", text(&format!("unnamed-{index}")));
    fields.into_value()
}

/// The parts of Pods that are in no Pod seen here: those of single tasks, and all of them if no task is written out.
fn unseen_templates(object: &Value, has_no_pods: bool) -> Vec<Note> {
    const OF_ALL: [&str; 2] = ["spec.podTemplate", "spec.taskRunTemplate.podTemplate"];
    let of_tasks = expand(object, "spec.taskRunSpecs[*].podTemplate");
    let of_all = OF_ALL.into_iter().filter(|_| has_no_pods).flat_map(|path| expand(object, path));
    of_tasks.into_iter().chain(of_all).map(|(path, _)| Note::Unreadable { path }).collect()
}

/// The tasks and pipelines that are named and not written out.
fn references(object: &Value) -> Vec<Note> {
    const PATHS: [(&str, &str); 6] = [
        ("spec.taskRef", "Task"),
        ("spec.pipelineRef", "Pipeline"),
        ("spec.tasks[*].taskRef", "Task"),
        ("spec.finally[*].taskRef", "Task"),
        ("spec.pipelineSpec.tasks[*].taskRef", "Task"),
        ("spec.pipelineSpec.finally[*].taskRef", "Task"),
    ];
    let found = PATHS.into_iter().flat_map(|(path, kind)| {
        expand(object, path).into_iter().map(move |(path, reference)| (path, kind, reference))
    });
    found.map(|(path, kind, reference)| reference_to(path, kind, reference)).collect()
}

fn step_references(task: &Value) -> Vec<Note> {
    let found = expand(task, "steps[*].ref").into_iter();
    found.map(|(path, step)| reference_to(path, "StepAction", step)).collect()
}

fn reference_to(path: FieldPath, kind: &str, reference: &Value) -> Note {
    match child(reference, "name").and_then(Value::as_str) {
        Some(name) => {
            let kind = child(reference, "kind").and_then(Value::as_str).unwrap_or(kind);
            Note::Reference { kind: kind.into(), name: name.into() }
        }
        // A resolver fetches it.
        None => Note::Unreadable { path },
    }
}
