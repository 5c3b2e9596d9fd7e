//! Whether the Pod can be understood at all.

use std::fmt;

use super::Rule;
use crate::{
    hash::short_hash,
    json::{Object, Value},
    pod::{
        Pod,
        schema::{self, Kind, Type},
    },
    policy::Spec,
    verdict::{Violations, quote, show},
};

pub(super) static POD_SHAPE: Rule = Rule {
    id: "pod-shape",
    title: "Every field is one that this build knows, with a value of the right kind.",
    why: "No rule can judge what it does not understand. A field that is not in the table of the Pod API comes from a \
          newer API server and may open a door; a string where a list belongs hides what is in it. Both are refused.",
    setting: "",
    fill: None,
    check: check_pod_shape,
};

/// A Pod of more containers is no workload.
pub(super) const MOST_CONTAINERS: usize = 500;

fn check_pod_shape(_: &Spec, pod: &Pod, out: &mut Violations) {
    if pod.root.get("kind").is_some_and(|kind| kind.as_str() != Some("Pod")) {
        out.report("kind", show(pod.root.get("kind")), "Pod", "send a Pod");
        return;
    }
    let count = pod.containers.len();
    if count > MOST_CONTAINERS {
        let wanted = format!("at most {MOST_CONTAINERS}");
        out.report(
            "spec.containers",
            format!("{count} containers"),
            wanted,
            "split the work into several Pods",
        );
    }
    walk_type(pod.root, &schema::POD, None, out);
    if pod.spec.list("containers").next().is_none()
        && pod.spec.get("containers").is_none_or(|list| list.as_list().is_some())
    {
        out.report(
            "spec.containers",
            show(pod.spec.get("containers")),
            "at least one container",
            "add a container",
        );
    }
}

/// Where a value stands; written out only where something is wrong with it.
#[derive(Clone, Copy)]
struct Place<'w> {
    above: Option<&'w Place<'w>>,
    step: Step<'w>,
}

#[derive(Clone, Copy)]
enum Step<'w> {
    Field(&'w str),
    Key(&'w str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.above.is_none() => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(key) => write!(f, "[{key}]"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn walk_type(object: &Object, of: &Type, above: Option<&Place>, out: &mut Violations) {
    for (key, value) in object.iter() {
        let place = Place { above, step: Step::Field(key) };
        let Some(kind) = of.field(key) else {
            let content = short_hash(serde_json::to_string(value).unwrap_or_default().as_bytes());
            let found = format!("a field of {} that this build does not know (content {content})", of.name);
            let remedy = "remove the field, or update sandgate if Kubernetes is newer";
            out.report(place.to_string(), found, "absent", remedy);
            continue;
        };
        walk(value, kind, &place, out);
    }
}

fn walk(value: &Value, kind: Kind, place: &Place, out: &mut Violations) {
    match (kind, value) {
        (Kind::Any, _)
        | (Kind::String | Kind::Quantity | Kind::IntOrString, Value::String(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Quantity, Value::Number(_)) => {}
        // All whole numbers of the API fit 64 bits; many only 32, and then the API server refuses the rest.
        (Kind::Integer | Kind::IntOrString, Value::Number(number)) if number.is_i64() => {}
        (Kind::Object(of), Value::Object(object)) => walk_type(object, of, Some(place), out),
        (Kind::Map(of), Value::Object(object)) => {
            for (key, value) in object.iter() {
                walk(value, *of, &Place { above: Some(place), step: Step::Key(key) }, out);
            }
        }
        (Kind::List(of), Value::List(list)) => {
            for (index, item) in list.iter() {
                walk(item, *of, &Place { above: Some(place), step: Step::Index(index) }, out);
            }
        }
        _ => out.report(place.to_string(), found(value), wanted(kind), "write it as the Pod API has it"),
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
        Kind::Integer => "a whole number",
        Kind::Boolean => "true or false",
        Kind::Quantity => "a quantity",
        Kind::IntOrString => "a whole number or a string",
        Kind::Any => "anything",
        Kind::List(_) => "a list",
        Kind::Map(_) | Kind::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    #[test]
    fn a_field_of_a_newer_kubernetes_is_refused_wherever_it_stands() {
        rejects("pod-shape spec.hostEverything", |pod| pod["spec"]["hostEverything"] = json!(true));
        rejects("pod-shape spec.containers[0].securityContext.newDoor", |pod| {
            pod["spec"]["containers"][0]["securityContext"]["newDoor"] = json!({});
        });
        rejects("pod-shape spec.Containers", |pod| pod["spec"]["Containers"] = json!([]));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused() {
        rejects("pod-shape spec.dnsConfig", |pod| pod["spec"]["dnsConfig"] = json!("x"));
        rejects("pod-shape spec.hostAliases[0]", |pod| pod["spec"]["hostAliases"] = json!([null]));
        rejects("pod-shape spec.containers[0].stdin", |pod| {
            pod["spec"]["containers"][0]["stdin"] = json!("true")
        });
        rejects("pod-shape metadata.annotations[a]", |pod| pod["metadata"]["annotations"] = json!({"a": 1}));
        rejects("pod-shape spec.containers[0].ports[0].containerPort", |pod| {
            pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80.5}]);
        });
        rejects("pod-shape spec.priority", |pod| pod["spec"]["priority"] = json!(u64::MAX));
    }

    #[test]
    fn a_string_where_a_list_belongs_hides_nothing() {
        for list in ["containers", "initContainers", "volumes", "tolerations"] {
            let mut pod = complete_pod();
            pod["spec"][list] = json!("x");
            let expected = format!("pod-shape spec.{list}");
            assert!(violations(&filled(&pod)).contains(&expected), "{list}");
        }
    }

    #[test]
    fn a_pod_has_containers_and_is_a_pod() {
        rejects("pod-shape spec.containers", |pod| pod["spec"]["containers"] = json!([]));
        rejects("pod-shape kind", |pod| pod["kind"] = json!("Deployment"));
    }

    #[test]
    fn a_pod_of_too_many_containers_is_refused() {
        rejects("pod-shape spec.containers", |pod| {
            let tiny = json!({"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"});
            let container = &mut pod["spec"]["containers"][0];
            container["resources"] = json!({"requests": tiny, "limits": tiny});
            pod["spec"]["containers"] = vec![container.clone(); 501].into();
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
