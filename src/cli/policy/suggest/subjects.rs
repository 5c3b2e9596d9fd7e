//! The Pods that a policy is suggested for: those of one shape stand for one another, so that memory has a bound.

use std::fmt::Write as _;

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use serde_json::{Map, Value, json};

use crate::cli::CliError;
use sandgate_engine::{
    json::pod_from_str,
    scan::{Owner, owner},
    suggest::Subject,
};

/// The most shapes of Pods in one namespace. Pods of further shapes are counted, and not looked at.
const MAX_SHAPES: usize = 2000;

/// The most owners that are named for a shape.
const MAX_NAMED: usize = 3;

/// The shapes of Pods by namespace.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    namespaces: BTreeMap<String, Shapes>,
    /// The number of Pods of shapes beyond the maximum.
    pub(super) left_out: usize,
    /// The number of Pods that nodes run from files.
    pub(super) statics: usize,
}

#[derive(Debug, Default)]
struct Shapes {
    positions: HashMap<String, usize>,
    all: Vec<Shape>,
}

/// Pods that differ in nothing that a policy looks at.
#[derive(Debug)]
struct Shape {
    json: String,
    owners: Vec<Owner>,
    more_owners: usize,
    last: Owner,
    count: usize,
}

impl Subjects {
    /// Adds a Pod. `known_owner` is its owner if the Pod itself does not show it.
    pub(super) fn add(
        &mut self,
        namespace: &str,
        pod: &str,
        known_owner: Option<Owner>,
    ) -> Result<(), CliError> {
        let unreadable = |error: serde_json::Error| {
            CliError::new(format_args!("a Pod of namespace {namespace} cannot be read: {error}"))
        };
        let mut value: Value = serde_json::from_str(pod).map_err(unreadable)?;
        if is_static(&value) {
            self.statics += 1;
            return Ok(());
        }
        let owner = match known_owner {
            Some(owner) => owner,
            None => owner(&pod_from_str(pod).map_err(unreadable)?),
        };
        remove_runtime_fields(&mut value);
        let key = shape_of(&value);
        let shapes = self.namespaces.entry(namespace.to_owned()).or_default();
        let len = shapes.all.len();
        match shapes.positions.entry(key) {
            Entry::Occupied(entry) => shapes.all[*entry.get()].add(owner),
            Entry::Vacant(_) if len == MAX_SHAPES => self.left_out += 1,
            Entry::Vacant(entry) => {
                entry.insert(len);
                shapes.all.push(Shape::new(value.to_string(), owner));
            }
        }
        Ok(())
    }

    /// Returns the Pods of each namespace.
    pub(super) fn by_namespace(&self) -> impl Iterator<Item = (&str, Vec<Subject>)> {
        self.namespaces
            .iter()
            .map(|(namespace, shapes)| (namespace.as_str(), shapes.all.iter().map(Shape::subject).collect()))
    }
}

impl Shape {
    fn new(json: String, owner: Owner) -> Self {
        Self { json, owners: vec![owner.clone()], more_owners: 0, last: owner, count: 1 }
    }

    fn add(&mut self, owner: Owner) {
        self.count += 1;
        if self.owners.contains(&owner) || self.last == owner {
            return;
        }
        if self.owners.len() < MAX_NAMED {
            self.owners.push(owner.clone());
        } else {
            self.more_owners += 1;
        }
        self.last = owner;
    }

    fn subject(&self) -> Subject {
        let named: Vec<String> =
            self.owners.iter().map(|Owner { kind, name }| format!("{kind} {name}")).collect();
        let mut name = named.join(", ");
        if self.more_owners > 0 {
            let _ = write!(name, " and {} more", self.more_owners);
        }
        Subject { name, json: self.json.clone(), count: self.count }
    }
}

/// Returns true for the copy of a Pod that the kubelet makes for a file of its node: no webhook decides about it.
fn is_static(pod: &Value) -> bool {
    !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null()
}

/// The metadata that a Pod has only because it runs.
const OF_METADATA: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Removes what a Pod has only because it runs, so that it is evaluated as it would be created.
fn remove_runtime_fields(pod: &mut Value) {
    let remove = |object: Option<&mut Value>, fields: &[&str]| {
        let Some(object) = object.and_then(Value::as_object_mut) else { return };
        for field in fields {
            object.remove(*field);
        }
    };
    remove(Some(pod), &["status"]);
    remove(pod.get_mut("metadata"), &OF_METADATA);
    remove(pod.get_mut("spec"), &["nodeName", "ephemeralContainers"]);
    let annotations = pod.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("sandgate.dev/"));
    }
}

/// The labels that controllers number their Pods with: they choose no profile.
const NUMBERED: [&str; 7] = [
    "pod-template-hash",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-index",
    "batch.kubernetes.io/",
    "statefulset.kubernetes.io/",
];

/// Returns the text that is the same for Pods that differ in names, values and commands only.
fn shape_of(pod: &Value) -> String {
    let mut shape = pod.clone();
    let metadata = &pod["metadata"];
    let keys = |map: &Value| map.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let owners = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
    let owners: Vec<Value> =
        owners.iter().map(|owner| json!([owner["apiVersion"], owner["kind"], owner["controller"]])).collect();
    let labels = metadata["labels"].as_object().cloned().unwrap_or_default();
    let labels: Map<String, Value> = labels
        .into_iter()
        .filter(|(key, _)| !NUMBERED.iter().any(|numbered| key.contains(numbered)))
        .collect();
    shape["metadata"] = json!([labels, keys(&metadata["annotations"]), owners]);
    for list in ["containers", "initContainers"] {
        let Some(containers) = shape["spec"][list].as_array_mut() else { continue };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            for field in ["command", "args"] {
                container.remove(field);
            }
            let variables = container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten();
            variables.filter_map(Value::as_object_mut).for_each(|variable| _ = variable.remove("value"));
        }
    }
    if let Some(spec) = shape["spec"].as_object_mut() {
        for field in ["hostname", "subdomain"] {
            spec.remove(field);
        }
    }
    without_token_names(&shape)
}

/// Gives the volumes that the API server names at random one name.
fn without_token_names(shape: &Value) -> String {
    const PREFIX: &str = "kube-api-access-";
    let text = shape.to_string();
    let volumes = shape["spec"]["volumes"].as_array();
    let names = volumes.into_iter().flatten().filter_map(|volume| volume["name"].as_str());
    names
        .filter(|name| name.starts_with(PREFIX))
        .fold(text.clone(), |text, name| text.replace(&format!("\"{name}\""), &format!("\"{PREFIX}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, image: &str) -> String {
        let token = format!("kube-api-access-{name}");
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "ci", "uid": name, "labels": {"app": "x", "controller-uid": name},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": format!("job-{name}"), "uid": name, "controller": true}],
            },
            "spec": {
                "nodeName": "node-1",
                "volumes": [{"name": token, "emptyDir": {}}],
                "containers": [{"name": "c", "image": image, "command": [name], "volumeMounts": [{"name": token, "mountPath": "/x"}]}],
            },
            "status": {"phase": "Running"},
        })
        .to_string()
    }

    #[test]
    fn pods_of_one_shape_stand_for_one_another() {
        let mut subjects = Subjects::default();
        for (name, image) in
            [("a", "one"), ("b", "one"), ("c", "two"), ("d", "one"), ("e", "one"), ("f", "one")]
        {
            subjects.add("ci", &pod(name, image), None).unwrap();
        }
        let all: Vec<(String, Vec<Subject>)> =
            subjects.by_namespace().map(|(name, pods)| (name.to_owned(), pods)).collect();
        let [(namespace, pods)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(namespace, "ci");
        let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["Job job-a, Job job-b, Job job-d and 2 more", "Job job-c"]);
        assert_eq!((pods[0].count, pods[1].count), (5, 1));
        assert!(!pods[0].json.contains("node-1") && !pods[0].json.contains("Running"), "{}", pods[0].json);
    }

    #[test]
    fn shapes_beyond_the_maximum_are_counted() {
        let mut subjects = Subjects::default();
        for number in 0..MAX_SHAPES + 3 {
            subjects.add("ci", &pod("a", &format!("image-{number}")), None).unwrap();
        }
        assert_eq!(subjects.left_out, 3);
        assert_eq!(subjects.by_namespace().next().unwrap().1.len(), MAX_SHAPES);
    }
}
