//! Every place of a Pod where a field may stand, and a valid Pod that can have it there.

use std::{fmt, sync::LazyLock};

use sandgate_engine::pod::schema::{Kind, POD, Type};
use serde_json::{Value as Json, json};

/// A field of a Pod, as the engine knows it: `spec.containers[0].image` is another place than
/// `spec.initContainers[0].image`, and both are the field `image` of the type `Container`.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) of: &'static Type,
    pub(crate) field: &'static str,
    pub(crate) kind: Kind,
    /// The fields on the way, with the type of the object in each.
    way: Vec<Step>,
}

#[derive(Clone)]
struct Step {
    field: &'static str,
    is_list: bool,
    of: &'static Type,
}

impl fmt::Display for Place {
    /// As a person would write it, without the positions in lists.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for Step { field, is_list, .. } in &self.way {
            write!(f, "{field}{}.", if *is_list { "[]" } else { "" })?;
        }
        f.write_str(self.field)
    }
}

/// Every place.
pub(crate) fn places() -> Vec<Place> {
    let mut places = Vec::new();
    collect(&POD, &[], &mut places);
    places
}

fn collect(of: &'static Type, way: &[Step], places: &mut Vec<Place>) {
    for &(field, kind) in of.fields {
        places.push(Place { of, field, kind, way: way.to_vec() });
        let (is_list, below) = match kind {
            Kind::Object(below) => (false, below),
            Kind::List(Kind::Object(below)) => (true, *below),
            _ => continue,
        };
        collect(below, &[way, &[Step { field, is_list, of: below }]].concat(), places);
    }
}

/// A Pod with a free place.
pub(crate) struct Stage {
    pub(crate) pod: Json,
    pointer: String,
    /// The path of the place as violations write it.
    pub(crate) path: String,
}

impl Place {
    /// The complete Pod, with every object on the way to this place.
    pub(crate) fn stage(&self) -> Stage {
        let mut pod = complete_pod();
        let (mut pointer, mut path) = (String::new(), Vec::new());
        let mut here = &mut pod;
        for Step { field, is_list, of } in &self.way {
            here = &mut here[*field];
            pointer.extend(["/", field]);
            if *is_list {
                let index = free_place(here, field, of);
                here = &mut here[index];
                pointer.extend(["/", &index.to_string()]);
                path.push(format!("{field}[{index}]"));
            } else {
                path.push((*field).to_string());
                if here.is_null() {
                    *here = object(of);
                }
            }
        }
        path.push(self.field.to_string());
        let path = path.join(".");
        Stage { pod, pointer, path }
    }
}

impl Stage {
    /// The Pod with these fields set in the object that has the place; `null` takes one out.
    pub(crate) fn with(&self, fields: &Json) -> Json {
        let mut pod = self.pod.clone();
        let object =
            pod.pointer_mut(&self.pointer).and_then(Json::as_object_mut).expect("a stage is an object");
        for (field, value) in fields.as_object().into_iter().flatten() {
            match value {
                Json::Null => object.remove(field),
                value => object.insert(field.clone(), value.clone()),
            };
        }
        pod
    }
}

pub(crate) fn complete_pod() -> Json {
    static POD: LazyLock<Json> = LazyLock::new(|| {
        let mut pod: Json = serde_saphyr::from_str(include_str!("../../examples/pods/complete.yaml"))
            .expect("an example is YAML");
        // What the policy of these tests demands besides.
        pod["spec"]["hostUsers"] = json!(false);
        pod["spec"]["securityContext"]["supplementalGroupsPolicy"] = json!("Strict");
        pod
    });
    POD.clone()
}

/// The index of an item of a list that may be looked into: a new one where a sound one is known, else the first.
fn free_place(list: &mut Json, field: &str, of: &Type) -> usize {
    if list.is_null() {
        *list = json!([]);
    }
    let list = list.as_array_mut().expect("a list");
    match item(field, of) {
        Some(item) => list.push(item),
        None if list.is_empty() => list.push(object(of)),
        None => return 0,
    }
    list.len() - 1
}

/// A sound item for a list that has one already, or needs more than [`object`].
fn item(field: &str, of: &Type) -> Option<Json> {
    let mut container = complete_pod()["spec"]["containers"][0].take();
    match (field, of.name) {
        ("initContainers", _) => {
            container["name"] = json!("init");
            Some(container)
        }
        ("ephemeralContainers", _) => Some(
            json!({"name": "debug", "image": container["image"], "securityContext": container["securityContext"]}),
        ),
        (_, "Volume") => Some(json!({"name": "extra", "emptyDir": {"sizeLimit": "1Mi"}})),
        (_, "VolumeMount") => Some(json!({"name": "tmp", "mountPath": "/tmp/x"})),
        (_, "Toleration") => Some(
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
        ),
        _ => None,
    }
}

/// A sound object of a type.
fn object(of: &Type) -> Json {
    match of.name {
        "AppArmorProfile" | "SeccompProfile" => json!({"type": "RuntimeDefault"}),
        "PodAffinityTerm" => json!({"topologyKey": "kubernetes.io/hostname"}),
        "SecretKeySelector" | "SecretEnvSource" | "SecretProjection" => json!({"name": ALLOWED_SECRET}),
        "ImageVolumeSource" => json!({"reference": "registry.example.com/tools:1"}),
        "SecretVolumeSource" => json!({"secretName": ALLOWED_SECRET}),
        _ => json!({}),
    }
}

/// The only Secret that the tests' policy allows.
pub(crate) const ALLOWED_SECRET: &str = "allowed";
