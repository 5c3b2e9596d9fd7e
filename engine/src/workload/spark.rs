//! The Pods of Spark applications: a driver and executors, described by fields of their own.

use super::{
    argo::{add_all, add_containers, take, take_as},
    build::{Fields, at, child, container, fields, item_of_spec, of_spec, text},
    location::TemplateLocation,
    template::{Note, OwnerNames, PodTemplateRef, Workload, pod},
};
use crate::{
    json::{Object, Value},
    path::{FieldPath, METADATA, Step},
};

/// Fields of a driver or an executor that are the Pod's own.
const OF_ROLE: [&str; 10] = [
    "affinity",
    "dnsConfig",
    "hostAliases",
    "hostNetwork",
    "nodeSelector",
    "priorityClassName",
    "schedulerName",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "tolerations",
];

/// Returns the driver's Pod and an executor's of the application at `base`, as far as they can be seen.
pub(super) fn workload(object: &Value, names: &OwnerNames, base: &str) -> Workload {
    let Some(application) = at(object, base) else { return Workload::default() };
    let base_path = &fields(base);
    let mut workload = Workload::default();
    for role in ["driver", "executor"] {
        let Some(value) = child(application, role) else { continue };
        let path = base_path.with(Step::Field(role));
        workload.pods.push(of_role(application, names, base_path, value, &path));
        workload.notes.extend(unreadable_template(value, &path));
    }
    let configuration = child(application, "sparkConf").and_then(Value::as_object);
    if configuration.is_some_and(|all| all.iter().any(|(key, _)| key.starts_with("spark.kubernetes."))) {
        workload.notes.push(Note::Unreadable { path: base_path.with(Step::Field("sparkConf")) });
    }
    workload.notes.push(Note::Partial);
    workload
}

fn of_role<'v>(
    application: &Value<'v>,
    names: &OwnerNames,
    base: &FieldPath,
    role: &Value<'v>,
    path: &FieldPath,
) -> PodTemplateRef {
    let mut location = TemplateLocation::default();
    let mut main = container(role);
    // Its own `securityContext`, `env`, `volumeMounts` … are the container's.
    for key in ["image", "imagePullPolicy"] {
        if let Some(value) = child(application, key) {
            main.set_default(key, value.clone());
        }
    }
    main.retain(|key| key != "name");
    // Spark begins with the Pod template, whose first container is its own.
    let template_path = path.with(Step::Field("template")).with(Step::Field("spec"));
    let template = at(role, "template.spec");
    let containers = template.and_then(|template| child(template, "containers"));
    let first = containers.and_then(|containers| child(containers, "0"));
    let of_template = template_path.with(Step::Field("containers")).with(Step::Index(0));
    let here = item_of_spec("containers", 0);
    location.add(here.clone(), path.clone());
    for (key, value) in first.and_then(Value::as_object).into_iter().flat_map(Object::iter) {
        if main.set_default(key, value.clone()) {
            location.add(here.with(Step::Field(key)), of_template.with(Step::Field(key)));
        }
    }
    main.set_default("name", text("spark-kubernetes"));
    let mut spec = Fields::default();
    spec.push("containers", main.into_value());
    add_containers(&mut spec, &mut location, "containers", (role, path), "sidecars");
    add_containers(&mut spec, &mut location, "initContainers", (role, path), "initContainers");
    for field in OF_ROLE {
        take(&mut spec, &mut location, field, &[(role, path), (application, base)]);
    }
    take_as(&mut spec, &mut location, "serviceAccountName", "serviceAccount", &[(role, path)]);
    take_as(&mut spec, &mut location, "securityContext", "podSecurityContext", &[(role, path)]);
    add_all(&mut spec, &mut location, "volumes", "volumes", &[(application, base)]);
    add_template(&mut spec, &mut location, template, &template_path);
    spec.set_default("restartPolicy", text("Never"));

    let mut metadata = Fields::default();
    for field in ["labels", "annotations"] {
        let own = child(role, field);
        if own.is_some() {
            location.add(METADATA.child(field).into(), path.with(Step::Field(field)));
        }
        // Anything but an object goes on to the rules, which deny it.
        if let Some(other) = own.filter(|own| own.as_object().is_none()) {
            metadata.set_default(field, other.clone());
            continue;
        }
        let mut members = Fields::of(own);
        let of_template = at(role, "template.metadata").and_then(|metadata| child(metadata, field));
        let in_template = fields("template.metadata").under(path).with(Step::Field(field));
        for (key, value) in of_template.and_then(Value::as_object).into_iter().flat_map(Object::iter) {
            if members.set_default(key, value.clone()) {
                location.add(METADATA.child(field).key(key).into(), in_template.with(Step::Key(key)));
            }
        }
        if own.or(of_template).is_some() {
            metadata.set_default(field, members.into_value());
        }
    }
    pod(names, None, Some(metadata.into_value()), Some(spec.into_value()), location)
}

/// Adds what only the Pod template of a role has.
fn add_template<'v>(
    spec: &mut Fields<'v>,
    location: &mut TemplateLocation,
    template: Option<&Value<'v>>,
    path: &FieldPath,
) {
    const LISTS: [&str; 3] = ["containers", "initContainers", "volumes"];
    let Some(members) = template.and_then(Value::as_object) else { return };
    for (key, value) in members.iter() {
        let path = path.with(Step::Field(key));
        if !LISTS.contains(&key) {
            if spec.set_default(key, value.clone()) {
                location.add(of_spec(key), path);
            }
            continue;
        }
        let Value::List(items) = value else { continue };
        // The first container is that of the role.
        for (index, item) in items.iter().skip(usize::from(key == "containers")) {
            if let Some(position) = spec.push(key, item.clone()) {
                location.add(item_of_spec(key, position), path.with(Step::Index(index)));
            }
        }
    }
}

/// Returns a note if the Pod template of a role has another shape than a Pod.
fn unreadable_template(role: &Value, path: &FieldPath) -> Option<Note> {
    let template = child(role, "template")?;
    let is_list = |path| at(template, path).is_none_or(|value| matches!(value, Value::List(_)));
    let is_object = |path| at(template, path).is_none_or(|value| value.as_object().is_some());
    let is_read = template.as_object().is_some()
        && ["spec", "metadata", "metadata.labels", "metadata.annotations"].into_iter().all(is_object)
        && ["spec.containers", "spec.initContainers", "spec.volumes"].into_iter().all(is_list);
    (!is_read).then(|| Note::Unreadable { path: path.with(Step::Field("template")) })
}
