//! The Pods of Argo Workflows, which have no Pod template: a template holds containers, the workflow what all share.

use super::{
    build::{Fields, at, child, container, fields, item_of_spec, of_spec, text},
    location::TemplateLocation,
    template::{Note, OwnerNames, PodTemplateRef, Workload, expand, pod},
};
use crate::{
    json::{Object, Value},
    path::{FieldPath, METADATA, Step},
};

/// Fields of the Pod's spec that a template may have, and that it else takes from the workflow.
const OF_TEMPLATE: [&str; 9] = [
    "affinity",
    "automountServiceAccountToken",
    "hostAliases",
    "nodeSelector",
    "priorityClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
];

/// Fields of the Pod's spec that only the workflow has.
const OF_WORKFLOW: [&str; 4] = ["dnsConfig", "dnsPolicy", "hostNetwork", "imagePullSecrets"];

/// Returns the Pods of the workflow at `base`, as far as they can be seen.
pub(super) fn workload(object: &Value, names: &OwnerNames, base: &str) -> Workload {
    let Some(workflow) = at(object, base) else { return Workload::default() };
    let base = &fields(base);
    let mut workload = Workload::default();
    let templates = workflow.as_object().into_iter().flat_map(|spec| spec.list("templates"));
    for (index, template) in templates {
        let path = base.with(Step::Field("templates")).with(Step::Index(index));
        workload.pods.extend(of_template(workflow, names, base, template, &path));
        workload.notes.extend(unreadable(template, &path));
        workload.notes.extend(references(template));
    }
    workload.notes.extend(unreadable(workflow, base));
    if let Some(reference) = at(workflow, "workflowTemplateRef") {
        workload.notes.extend(reference_to(reference));
        // They hold for the Pods of the other object.
        let fields = OF_TEMPLATE.iter().chain(&OF_WORKFLOW).chain(&["podMetadata", "volumes"]);
        let written = fields.filter(|field| child(workflow, field).is_some());
        workload.notes.extend(written.map(|field| Note::Unreadable { path: base.with(Step::Field(field)) }));
    }
    workload
        .notes
        .extend(expand(workflow, "hooks[*].templateRef").iter().filter_map(|(_, at)| reference_to(at)));
    if !workload.pods.is_empty() {
        workload.notes.push(Note::Partial);
    }
    workload
}

/// The templates of other objects that a template calls.
fn references(template: &Value) -> Vec<Note> {
    const PATHS: [&str; 4] = [
        "steps[*][*].templateRef",
        "steps[*][*].hooks[*].templateRef",
        "dag.tasks[*].templateRef",
        "dag.tasks[*].hooks[*].templateRef",
    ];
    let found = PATHS.into_iter().flat_map(|path| expand(template, path));
    found.filter_map(|(_, reference)| reference_to(reference)).collect()
}

fn reference_to(reference: &Value) -> Option<Note> {
    let name = child(reference, "name").and_then(Value::as_str)?;
    let is_of_cluster = matches!(child(reference, "clusterScope"), Some(Value::Bool(true)));
    let kind = if is_of_cluster { "ClusterWorkflowTemplate" } else { "WorkflowTemplate" };
    Some(Note::Reference { kind: kind.into(), name: name.into() })
}

/// A patch is a text that Argo applies to the Pod; defaults are merged by Argo's own rules. Argo runs the last four in
/// Pods of its own.
fn unreadable(value: &Value, path: &FieldPath) -> Vec<Note> {
    let unread =
        ["podSpecPatch", "templateDefaults", "executorPlugins", "resource", "data", "http", "plugin"];
    let found = unread.into_iter().filter(|field| child(value, field).is_some());
    found.map(|field| Note::Unreadable { path: path.with(Step::Field(field)) }).collect()
}

/// Returns the Pod of a template; steps, DAGs, HTTP requests and suspensions have none.
fn of_template<'v>(
    workflow: &Value<'v>,
    names: &OwnerNames,
    base: &FieldPath,
    template: &Value<'v>,
    path: &FieldPath,
) -> Option<PodTemplateRef> {
    let mut location = TemplateLocation::default();
    let mut spec = Fields::default();
    containers(template, path, &mut spec, &mut location)?;
    let owners = [(template, path), (workflow, base)];
    for field in OF_TEMPLATE {
        take(&mut spec, &mut location, field, &owners);
    }
    for field in OF_WORKFLOW {
        take(&mut spec, &mut location, field, &owners[1..]);
    }
    // Set by a parameter, it is not known yet.
    if let Some(deadline) = child(template, "activeDeadlineSeconds")
        && deadline.as_i64().is_some()
    {
        take(&mut spec, &mut location, "activeDeadlineSeconds", &owners[..1]);
    }
    add_all(&mut spec, &mut location, "volumes", "volumes", &[(workflow, base), (template, path)]);
    spec.set_default("restartPolicy", text("Never"));

    let mut metadata = Fields::default();
    for field in ["labels", "annotations"] {
        let of_template = child(template, "metadata").and_then(|metadata| child(metadata, field));
        let of_workflow = child(workflow, "podMetadata").and_then(|metadata| child(metadata, field));
        let from = if of_template.is_some() {
            path.with(Step::Field("metadata"))
        } else {
            base.with(Step::Field("podMetadata"))
        };
        let mut members = Fields::of(of_template);
        for (key, value) in of_workflow.and_then(Value::as_object).into_iter().flat_map(Object::iter) {
            members.set_default(key, value.clone());
        }
        if of_template.or(of_workflow).is_some() {
            metadata.set_default(field, members.into_value());
            location.add(METADATA.child(field).into(), from.with(Step::Field(field)));
        }
    }
    Some(pod(
        names,
        Some(("argoproj.io/v1alpha1", "Workflow")),
        Some(metadata.into_value()),
        Some(spec.into_value()),
        location,
    ))
}

fn containers<'v>(
    template: &Value<'v>,
    path: &FieldPath,
    spec: &mut Fields<'v>,
    location: &mut TemplateLocation,
) -> Option<()> {
    let main = ["container", "script"].into_iter().find_map(|key| Some((key, child(template, key)?)));
    if let Some((key, value)) = main {
        let mut main = container(value);
        main.set_default("name", text("main"));
        spec.push("containers", main.into_value());
        location.add(item_of_spec("containers", 0), path.with(Step::Field(key)));
    } else {
        child(template, "containerSet")?;
        add_containers(spec, location, "containers", (template, path), "containerSet.containers");
    }
    add_containers(spec, location, "containers", (template, path), "sidecars");
    add_containers(spec, location, "initContainers", (template, path), "initContainers");
    Some(())
}

/// Appends the containers of the list `field` of an owner to those of the Pod.
pub(super) fn add_containers<'v>(
    spec: &mut Fields<'v>,
    location: &mut TemplateLocation,
    list: &str,
    (owner, path): (&Value<'v>, &FieldPath),
    field: &str,
) {
    let Some(Value::List(items)) = at(owner, field) else { return };
    let path = fields(field).under(path);
    for (index, item) in items.iter() {
        // Anything but an object goes on to the rules, which deny it.
        let item = if item.as_object().is_some() { container(item).into_value() } else { item.clone() };
        if let Some(position) = spec.push(list, item) {
            location.add(item_of_spec(list, position), path.with(Step::Index(index)));
        }
    }
}

/// Sets a field of the Pod's spec to the first owner's that has it.
pub(super) fn take<'v>(
    spec: &mut Fields<'v>,
    location: &mut TemplateLocation,
    field: &str,
    owners: &[(&Value<'v>, &FieldPath)],
) {
    take_as(spec, location, field, field, owners);
}

/// As [`take`], for a field that the owners call differently.
pub(super) fn take_as<'v>(
    spec: &mut Fields<'v>,
    location: &mut TemplateLocation,
    field: &str,
    name: &str,
    owners: &[(&Value<'v>, &FieldPath)],
) {
    let found = owners.iter().find_map(|(owner, path)| Some((child(owner, name)?, path)));
    if let Some((value, path)) = found {
        spec.set_default(field, value.clone());
        location.add(of_spec(field), path.with(Step::Field(name)));
    }
}

/// Appends the items of each owner's list.
pub(super) fn add_all<'v>(
    spec: &mut Fields<'v>,
    location: &mut TemplateLocation,
    list: &str,
    field: &str,
    owners: &[(&Value<'v>, &FieldPath)],
) {
    for (owner, path) in owners {
        let Some(Value::List(items)) = child(owner, field) else { continue };
        let path = path.with(Step::Field(field));
        for (index, item) in items.iter() {
            if let Some(position) = spec.push(list, item.clone()) {
                location.add(item_of_spec(list, position), path.with(Step::Index(index)));
            }
        }
    }
}
