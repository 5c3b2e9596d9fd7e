//! The types of the Pod API: unknown fields and values of the wrong type.

use super::{Group, Rule, bounds};
use crate::{
    cel::{self, Keys, Statement},
    hash::hex_digest,
    json::{Value, is_same},
    path::{LazyPath, METADATA, SPEC},
    pod::{
        Pod,
        schema::{self, Kind, Type},
    },
    policy::Spec,
    text::{HASH_BYTES, quote},
    violations::{Reporter, Sink, show},
};

pub(super) static POD_SCHEMA: Rule = Rule {
    id: "pod-schema",
    group: Group::Schema,
    title: "Every field is in the Pod API of this build, with a value of its type.",
    why: "A field that the rules do not know cannot be checked: it comes from a newer API server and may allow an \
          escape. A value of the wrong type, such as a string in place of a list, hides what it contains. Both are \
          denied. An unknown field of the Pod's metadata changes nothing of how the Pod runs, and API servers write such \
          fields themselves, so that it is admitted and recorded. A Pod of more than 100 containers or volumes, 500 mounts, \
          2,000 environment variables, ports or envFrom sources, 200 tolerations, or 500 labels or annotations is denied, \
          since admission of such a Pod costs the API server seconds.",
    references: &["https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"],
    setting: "",
    fill: None,
    check: check_pod_schema,
    cel: Some(cel_pod_schema),
};

fn check_pod_schema(_: &Spec, pod: &Pod, out: &mut Reporter) {
    if pod.root.get("kind").is_some_and(|kind| kind.as_str() != Some("Pod")) {
        out.report(LazyPath::root("kind"), show(pod.root.get("kind")), "Pod", "send a Pod");
        return;
    }
    bounds::check(pod, out);
    for (key, value) in pod.root.iter() {
        let reports = if is_same(key, METADATA_KEY) { Reports::WrongTypes } else { Reports::All };
        Walk { reports, out }.field(LazyPath::root(key), key, value, &schema::POD);
    }
    if pod.spec.list("containers").next().is_none()
        && pod.spec.get("containers").is_none_or(|list| list.as_list().is_some())
    {
        out.report(
            SPEC.child("containers"),
            show(pod.spec.get("containers")),
            "at least one container",
            "add a container",
        );
    }
}

/// Reports the fields of a Pod's metadata that this build does not know, which deny nothing.
pub(super) fn report_unknown_metadata(pod: &Value, sink: &mut dyn Sink) {
    let out = &mut Reporter::new(&POD_SCHEMA, sink);
    if let Value::Object(pod) = pod
        && let Some(metadata) = pod.get(METADATA_KEY)
    {
        Walk { reports: Reports::Unknown, out }.field(METADATA, METADATA_KEY, metadata, &schema::POD);
    }
}

const METADATA_KEY: &str = "metadata";

/// What a walk reports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reports {
    All,
    WrongTypes,
    Unknown,
}

/// A walk over a part of a Pod.
struct Walk<'o, 's> {
    reports: Reports,
    out: &'o mut Reporter<'s>,
}

impl Walk<'_, '_> {
    fn field(&mut self, path: LazyPath, key: &str, value: &Value, of: &Type) {
        if let Some(kind) = of.field(key) {
            self.value(value, kind, path);
            return;
        }
        if self.reports == Reports::WrongTypes {
            return;
        }
        // The hash makes two values of the field differ for an update.
        let content = hex_digest(serde_json::to_string(value).unwrap_or_default().as_bytes(), HASH_BYTES);
        self.out.report(
            path,
            format_args!(
                "an unknown field (not in {} of Kubernetes {}; content {content})",
                of.name,
                schema::VERSIONS
            ),
            "absent",
            "remove the field, or update sandgate if Kubernetes is newer",
        );
    }

    fn value(&mut self, value: &Value, kind: Kind, path: LazyPath) {
        match (kind, value) {
            (Kind::Any, _)
            | (Kind::String | Kind::Quantity | Kind::IntOrString, Value::String(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Quantity, Value::Number(_)) => {}
            // All integers of the API fit 64 bits; many only 32, and the API server rejects the rest.
            (Kind::Integer | Kind::IntOrString, Value::Number(number)) if number.is_i64() => {}
            (Kind::Object(of), Value::Object(object)) => {
                for (key, value) in object.iter() {
                    self.field(path.child(key), key, value, of);
                }
            }
            (Kind::Map(of), Value::Object(object)) => {
                for (key, value) in object.iter() {
                    self.value(value, *of, path.key(key));
                }
            }
            (Kind::List(of), Value::List(list)) => {
                for (index, item) in list.iter() {
                    self.value(item, *of, path.index(index));
                }
            }
            _ if self.reports == Reports::Unknown => {}
            _ => self.out.report(path, found(value), wanted(kind), "write it as the Pod API defines it"),
        }
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {}", quote(text)),
        value => value.describe().into(),
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "a string",
        Kind::Integer => "an integer",
        Kind::Boolean => "true or false",
        Kind::Quantity => "a quantity",
        Kind::IntOrString => "an integer or a string",
        Kind::Any => "anything",
        Kind::List(_) => "a list",
        Kind::Map(_) | Kind::Object(_) => "an object",
    }
}

/// The fields of `spec` that have checks of their own.
const OWN_CHECKS: [&str; 4] = ["containers", "initContainers", "ephemeralContainers", "volumes"];
/// The sources of volumes that some policy opens; `volume-types` denies all others as a whole.
const OPEN_SOURCES: [&str; 9] = [
    "emptyDir",
    "projected",
    "configMap",
    "downwardAPI",
    "image",
    "persistentVolumeClaim",
    "ephemeral",
    "csi",
    "secret",
];

fn cel_pod_schema(_: Keys) -> Vec<Statement> {
    let (Some(Kind::Object(metadata)), Some(Kind::Object(spec))) =
        (schema::POD.field("metadata"), schema::POD.field("spec"))
    else {
        return Vec::new();
    };
    let type_of = |list: &str| match spec.field(list) {
        Some(Kind::List(Kind::Object(of))) => Some(*of),
        _ => None,
    };
    let (Some(container), Some(ephemeral), Some(volume)) =
        (type_of("containers"), type_of("ephemeralContainers"), type_of("volumes"))
    else {
        return Vec::new();
    };
    let all = |_: &str| true;
    let of_pod = cel::all([
        cel_known(metadata, "v.o.metadata", 0, &|field| field != "managedFields"),
        cel_known(spec, "v.o.spec", 0, &|field| !OWN_CHECKS.contains(&field)),
    ]);
    let of_container = format!(
        "(c.k == 'ephemeral' ? {} : {})",
        cel_known(ephemeral, "c.o", 0, &all),
        cel_known(container, "c.o", 0, &all)
    );
    let of_volume = cel_known(volume, "d", 0, &|field| OPEN_SOURCES.contains(&field));
    let found = "'with a field that the policy does not know'";
    vec![
        Statement::pod(format!("v.o.?spec.hasValue() && !{of_pod}"), "spec", found),
        Statement::container(format!("!{of_container}"), "fields", found),
        Statement::volume(format!("!{of_volume}"), "", found),
    ]
}

/// Returns the condition that all fields of `value` are in the table; `looks_into` chooses the fields of the first level
/// whose values are looked at.
fn cel_known(of: &Type, value: &str, depth: usize, looks_into: &dyn Fn(&str) -> bool) -> String {
    let names = of.fields.iter().map(|(name, _)| name);
    let keys = format!("dyn({value}).all(f{depth}, f{depth} in {})", cel::list(names));
    let below = of.fields.iter().filter(|(name, _)| looks_into(name)).filter_map(|(name, kind)| match kind {
        Kind::Object(of) => {
            let inner = cel_known(of, &format!("{value}.{name}"), depth + 1, &|_| true);
            Some(format!("(!{value}.?{name}.hasValue() || {inner})"))
        }
        Kind::List(Kind::Object(of)) => {
            let inner = cel_known(of, &format!("i{depth}"), depth + 1, &|_| true);
            Some(format!("{value}.?{name}.orValue([]).all(i{depth}, {inner})"))
        }
        _ => None,
    });
    cel::all(std::iter::once(keys).chain(below))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    #[test]
    fn field_of_a_newer_kubernetes_is_denied_at_any_path() {
        rejects("pod-schema spec.hostEverything", |pod| pod["spec"]["hostEverything"] = json!(true));
        rejects("pod-schema spec.containers[0].securityContext.newDoor", |pod| {
            pod["spec"]["containers"][0]["securityContext"]["newDoor"] = json!({});
        });
        rejects("pod-schema spec.Containers", |pod| pod["spec"]["Containers"] = json!([]));
    }

    #[test]
    fn unknown_field_of_the_metadata_is_admitted() {
        accepts(|pod| pod["metadata"]["newServerField"] = json!({"a": [1]}));
        accepts(|pod| {
            let owner = json!({"apiVersion": "v1", "kind": "Job", "name": "a", "uid": "b", "shard": 1});
            pod["metadata"]["ownerReferences"] = json!([owner]);
        });
        // Of a wrong type is what the rules know.
        rejects("pod-schema metadata.finalizers[0]", |pod| pod["metadata"]["finalizers"] = json!([1]));
    }

    #[test]
    fn value_of_the_wrong_kind_is_denied() {
        rejects("pod-schema spec.dnsConfig", |pod| pod["spec"]["dnsConfig"] = json!("x"));
        rejects("pod-schema spec.hostAliases[0]", |pod| pod["spec"]["hostAliases"] = json!([null]));
        rejects("pod-schema spec.containers[0].stdin", |pod| {
            pod["spec"]["containers"][0]["stdin"] = json!("true")
        });
        rejects("pod-schema metadata.annotations[a]", |pod| pod["metadata"]["annotations"] = json!({"a": 1}));
        rejects("pod-schema spec.containers[0].ports[0].containerPort", |pod| {
            pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80.5}]);
        });
        rejects("pod-schema spec.priority", |pod| pod["spec"]["priority"] = json!(u64::MAX));
    }

    #[test]
    fn a_string_where_a_list_belongs_hides_nothing() {
        for list in ["containers", "initContainers", "volumes", "tolerations"] {
            let mut pod = complete_pod();
            pod["spec"][list] = json!("x");
            let expected = format!("pod-schema spec.{list}");
            assert!(violations(&filled(&pod)).contains(&expected), "{list}");
        }
    }

    #[test]
    fn a_pod_has_containers_and_is_a_pod() {
        rejects("pod-schema spec.containers", |pod| pod["spec"]["containers"] = json!([]));
        rejects("pod-schema kind", |pod| pod["kind"] = json!("Deployment"));
    }

    #[test]
    fn pod_of_too_many_containers_is_denied() {
        rejects("pod-schema spec.containers", |pod| {
            let tiny = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
            let container = &mut pod["spec"]["containers"][0];
            container["resources"] = json!({"requests": tiny, "limits": tiny});
            pod["spec"]["containers"] = vec![container.clone(); 101].into();
        });
    }

    #[test]
    fn lists_that_are_too_long_are_denied() {
        let variable = |number: usize| json!({"name": format!("V{number}"), "value": "x"});
        for (count, is_denied) in [(2000, false), (2001, true)] {
            let mut pod = complete_pod();
            pod["spec"]["containers"][0]["env"] = (0..count).map(variable).collect::<Vec<_>>().into();
            let denied = violations(&pod).contains(&"pod-schema spec.containers".to_owned());
            assert_eq!(denied, is_denied, "{count} variables");
        }
        let mount = |number: usize| json!({"name": "tmp", "mountPath": format!("/tmp/{number}")});
        rejects("pod-schema spec.containers", |pod| {
            pod["spec"]["containers"][0]["volumeMounts"] = (0..501).map(mount).collect::<Vec<_>>().into();
        });
        let volume = |number: usize| json!({"name": format!("v{number}"), "emptyDir": {"sizeLimit": "1Mi"}});
        rejects("pod-schema spec.volumes", |pod| {
            pod["spec"]["volumes"] = (0..101).map(volume).collect::<Vec<_>>().into();
        });
    }

    #[test]
    fn null_counts_as_absent() {
        accepts(|pod| pod["spec"]["hostNetwork"] = json!(null));
    }

    #[test]
    fn status_and_managed_fields_are_not_looked_at() {
        accepts(|pod| pod["status"] = json!({"phase": 1}));
        accepts(|pod| pod["metadata"]["managedFields"] = json!("x"));
    }
}
