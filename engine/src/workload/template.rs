//! From an object to the Pods it makes.

use super::{
    argo,
    build::{Fields, at, child},
    kinds::{TemplatePath, Templates, WorkloadKind},
    location::TemplateLocation,
    owner::{Addition, owner_references},
    spark,
    suspect::suspects,
    tekton,
};
use crate::{
    json::Value,
    path::{FieldPath, Step},
    yaml::steps,
};

/// A Pod that an object makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTemplateRef {
    /// The Pod as its controller would create it, as JSON.
    pub pod: String,
    /// The paths of its fields in the object.
    pub location: TemplateLocation,
}

/// Facts about the Pods of an object that are not in the Pods themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The kind is unknown, and what is at these paths looks like a Pod template, the spec of a Pod or a container.
    UnknownKind {
        /// The paths, with `[*]` for a list's items.
        paths: Vec<String>,
    },
    /// The kind is known, and this version of it is not; its Pods were looked for where another version has them.
    UnknownVersion,
    /// The Pods come from the template of another object.
    Reference {
        /// The other object's kind.
        kind: String,
        /// The other object's name.
        name: String,
    },
    /// The object changes its Pods in a way that is not understood, at this path.
    Unreadable {
        /// The path of the field.
        path: FieldPath,
    },
    /// The controller adds containers of its own to the Pods, which are not seen here.
    Partial,
}

impl Note {
    /// Returns whether Pods, or a part of what the author wrote about them, were not looked at.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        !matches!(self, Self::Partial)
    }
}

/// The Pods of an object, and what must be known about them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    /// The Pods that can be seen.
    pub pods: Vec<PodTemplateRef>,
    /// The parts that cannot be seen, and the reason.
    pub notes: Vec<Note>,
}

/// The names of an object that its Pods take over.
pub(super) struct OwnerNames<'n> {
    api_version: &'n str,
    kind: &'n str,
    name: &'n str,
    namespace: &'n str,
}

impl OwnerNames<'_> {
    fn of<'n>(object: &'n Value, namespace: &'n str) -> OwnerNames<'n> {
        let text = |path| at(object, path).and_then(Value::as_str);
        let name = text("metadata.name").or(text("metadata.generateName")).unwrap_or_default();
        OwnerNames {
            api_version: text("apiVersion").unwrap_or_default(),
            kind: text("kind").unwrap_or_default(),
            name: name.trim_end_matches('-'),
            namespace,
        }
    }
}

/// Returns the Pods that an object makes in `namespace`.
///
/// # Errors
/// Returns the path at which a known kind must have a Pod template and has none.
pub fn pod_templates(object: &Value, namespace: &str) -> Result<Workload, String> {
    let names = OwnerNames::of(object, namespace);
    let (group, version) = names.api_version.split_once('/').unwrap_or(("", names.api_version));
    let Some(known) = WorkloadKind::find(group, names.kind) else {
        let paths = suspects(object);
        let notes = if paths.is_empty() { Vec::new() } else { vec![Note::UnknownKind { paths }] };
        return Ok(Workload { pods: Vec::new(), notes });
    };
    let mut workload = match &known.templates {
        Templates::Whole => Workload { pods: vec![whole(object, namespace)], notes: Vec::new() },
        Templates::At(paths) => from_paths(object, &names, paths)?,
        Templates::Argo(path) => argo::workload(object, &names, path),
        Templates::Tekton(paths) => tekton::workload(object, &names, paths),
        Templates::Spark(path) => spark::workload(object, &names, path),
        Templates::Reference(kind, path) => {
            let name = at(object, path).and_then(Value::as_str).unwrap_or_default();
            let note = Note::Reference { kind: (*kind).into(), name: name.into() };
            Workload { pods: Vec::new(), notes: vec![note] }
        }
    };
    if !known.versions.contains(&version) {
        workload.notes.push(Note::UnknownVersion);
    }
    if group == "serving.knative.dev" {
        workload.notes.push(Note::Partial);
    }
    Ok(workload)
}

/// Returns the Pods of an object whose Pod template, or spec of a Pod, is at `path`. `[*]` in the path is every item of
/// a list or every member of a mapping.
#[must_use]
pub fn pod_templates_at(object: &Value, namespace: &str, path: &str) -> Vec<PodTemplateRef> {
    let names = OwnerNames::of(object, namespace);
    let owner = OwnerType { api_version: names.api_version, kind: names.kind };
    let found = expand(object, path).into_iter();
    found.map(|(path, value)| from_template(object, &names, &owner, Addition::None, path, value)).collect()
}

fn from_paths(object: &Value, names: &OwnerNames, paths: &[TemplatePath]) -> Result<Workload, String> {
    let mut pods = Vec::new();
    for TemplatePath { path, controller, addition, is_required } in paths {
        let found = expand(object, path);
        if found.is_empty() && *is_required {
            return Err((*path).into());
        }
        let owner = match controller {
            Some(controller) => OwnerType { api_version: controller.api_version, kind: controller.kind },
            None => OwnerType { api_version: names.api_version, kind: names.kind },
        };
        pods.extend(
            found
                .into_iter()
                .map(|(path, value)| from_template(object, names, &owner, *addition, path, value)),
        );
    }
    Ok(Workload { pods, notes: Vec::new() })
}

struct OwnerType<'o> {
    api_version: &'o str,
    kind: &'o str,
}

/// Follows a path to every value that it leads to.
pub(super) fn expand<'o, 'v>(object: &'o Value<'v>, path: &str) -> Vec<(FieldPath, &'o Value<'v>)> {
    let mut found = vec![(FieldPath::default(), object)];
    for step in steps(path) {
        found = found.into_iter().flat_map(|(path, value)| follow(&path, value, step)).collect();
    }
    found
}

fn follow<'o, 'v>(path: &FieldPath, value: &'o Value<'v>, step: &str) -> Vec<(FieldPath, &'o Value<'v>)> {
    match (value, step) {
        (Value::List(items), "*") => {
            items.iter().map(|(index, item)| (path.with(Step::Index(index)), item)).collect()
        }
        (Value::Object(members), "*") => {
            members.iter().map(|(key, member)| (path.with(Step::Field(key)), member)).collect()
        }
        _ => {
            let index = matches!(value, Value::List(_)).then(|| step.parse().ok()).flatten();
            let step_path = path.with(index.map_or(Step::Field(step), Step::Index));
            child(value, step).map(|child| (step_path, child)).into_iter().collect()
        }
    }
}

/// The Pod itself, in the namespace it is meant for.
fn whole(object: &Value, namespace: &str) -> PodTemplateRef {
    let mut pod = Fields::of(Some(object));
    pod.set_default("metadata", Fields::default().into_value());
    if let Some(Value::Object(metadata)) = pod.get_mut("metadata")
        && metadata.get("namespace").is_none()
    {
        metadata.set("namespace", namespace.to_string());
    }
    PodTemplateRef { pod: write(&pod.into_value()), location: TemplateLocation::whole() }
}

fn from_template(
    object: &Value,
    names: &OwnerNames,
    owner: &OwnerType,
    addition: Addition,
    path: FieldPath,
    value: &Value,
) -> PodTemplateRef {
    let is_spec = child(value, "containers").is_some() && child(value, "spec").is_none();
    let (metadata, spec, location) = if is_spec {
        (None, Some(value), TemplateLocation::spec(path))
    } else {
        (child(value, "metadata"), child(value, "spec"), TemplateLocation::template(path))
    };
    let spec = spec.map(|spec| match spec {
        Value::Object(_) => {
            let mut fields = Fields::of(Some(spec));
            addition.apply(object, &mut fields);
            fields.into_value()
        }
        other => other.clone(),
    });
    let metadata = metadata.map(|metadata| match metadata {
        Value::Object(_) => {
            let mut fields = Fields::of(Some(metadata));
            fields.retain(|key| matches!(key, "labels" | "annotations" | "finalizers"));
            fields.into_value()
        }
        // Anything else goes on to the rules, which deny it.
        other => other.clone(),
    });
    pod(names, Some(owner.api_version).zip(Some(owner.kind)), metadata, spec, location)
}

/// Puts a Pod together from the metadata and the spec that a controller gives it.
pub(super) fn pod<'v>(
    names: &OwnerNames,
    owner: Option<(&str, &str)>,
    metadata: Option<Value<'v>>,
    spec: Option<Value<'v>>,
    location: TemplateLocation,
) -> PodTemplateRef {
    let metadata = match metadata {
        None | Some(Value::Object(_)) => {
            let mut fields = Fields::of(metadata.as_ref());
            let (api_version, kind) = owner.unwrap_or((names.api_version, names.kind));
            if kind == "PodTemplate" {
                fields.set_default("name", super::build::text(names.name));
            } else {
                fields.set_default("generateName", super::build::text(&format!("{}-", names.name)));
                fields.set_default("ownerReferences", owner_references(api_version, kind, names.name));
            }
            fields.set_default("namespace", super::build::text(names.namespace));
            fields.into_value()
        }
        Some(other) => other,
    };
    let mut pod = Fields::default();
    pod.set_default("apiVersion", super::build::text("v1"));
    pod.set_default("kind", super::build::text("Pod"));
    pod.set_default("metadata", metadata);
    if let Some(spec) = spec {
        pod.set_default("spec", spec);
    }
    PodTemplateRef { pod: write(&pod.into_value()), location }
}

fn write(pod: &Value) -> String {
    serde_json::to_string(pod).unwrap_or_default()
}
