//! The Pods of Spark applications: a driver and executors, described by fields of their own.

use super::{
    argo::{add_all, add_containers, take, take_as},
    build::{Fields, at, child, container, fields, item_of_spec, text},
    location::TemplateLocation,
    template::{Note, OwnerNames, PodTemplateRef, Workload, pod, pod_templates_at},
};
use crate::{
    json::Value,
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
        if child(value, "template").is_some() {
            let template = format!("{base}.{role}.template");
            workload.pods.extend(pod_templates_at(object, names.namespace(), &template));
        }
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
    main.set_default("name", text("spark-kubernetes"));
    let mut spec = Fields::default();
    spec.push("containers", main.into_value());
    location.add(item_of_spec("containers", 0), path.clone());
    add_containers(&mut spec, &mut location, "containers", (role, path), "sidecars");
    add_containers(&mut spec, &mut location, "initContainers", (role, path), "initContainers");
    for field in OF_ROLE {
        take(&mut spec, &mut location, field, &[(role, path), (application, base)]);
    }
    take_as(&mut spec, &mut location, "serviceAccountName", "serviceAccount", &[(role, path)]);
    take_as(&mut spec, &mut location, "securityContext", "podSecurityContext", &[(role, path)]);
    add_all(&mut spec, &mut location, "volumes", "volumes", &[(application, base)]);
    spec.set_default("restartPolicy", text("Never"));

    let mut metadata = Fields::default();
    for field in ["labels", "annotations"] {
        if let Some(value) = child(role, field) {
            metadata.set_default(field, value.clone());
            location.add(METADATA.child(field).into(), path.with(Step::Field(field)));
        }
    }
    pod(names, None, Some(metadata.into_value()), Some(spec.into_value()), location)
}
