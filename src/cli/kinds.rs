//! Which kinds make Pods: where they keep the template, what controls the Pods, what their controller adds.

use super::manifest::{Node, Value, steps};

/// Where in its object a Pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The object is the Pod.
    Whole,
    /// At this path stands a Pod template.
    Template(String),
    /// At this path stands a Pod's spec.
    Spec(String),
}

/// What controls the Pods that are made from a template.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    api_version: String,
    kind: String,
}

impl Controller {
    pub(super) fn new(api_version: &str, kind: &str) -> Self {
        Self { api_version: api_version.into(), kind: kind.into() }
    }

    /// The owner references of its Pods. The name of what a controller makes in between is not known yet, so the
    /// object's own stands for it.
    pub(super) fn owner_references(&self, name: &str) -> Value {
        let Self { api_version, kind } = self;
        list([map([
            ("apiVersion", api_version.as_str().into()),
            ("kind", kind.as_str().into()),
            ("name", name.into()),
            ("controller", Value::Bool(true)),
        ])])
    }
}

/// A kind that makes Pods.
#[derive(Debug)]
pub(super) struct Maker {
    group: &'static str,
    kind: &'static str,
    /// Where the template stands.
    pub(super) template: &'static str,
    /// Version and kind of the Pods' controller.
    controller: Option<(&'static str, &'static str)>,
    /// Adds to a Pod's spec what the controller adds.
    pub(super) complete: fn(&Node, &mut Node),
}

static MAKERS: [Maker; 8] = [
    Maker { group: "", kind: "PodTemplate", template: "template", controller: None, complete: nothing },
    Maker {
        group: "",
        kind: "ReplicationController",
        template: "spec.template",
        controller: Some(("v1", "ReplicationController")),
        complete: nothing,
    },
    Maker {
        group: "apps",
        kind: "DaemonSet",
        template: "spec.template",
        controller: Some(("apps/v1", "DaemonSet")),
        complete: daemon_tolerations,
    },
    Maker {
        group: "apps",
        kind: "Deployment",
        template: "spec.template",
        controller: Some(("apps/v1", "ReplicaSet")),
        complete: nothing,
    },
    Maker {
        group: "apps",
        kind: "ReplicaSet",
        template: "spec.template",
        controller: Some(("apps/v1", "ReplicaSet")),
        complete: nothing,
    },
    Maker {
        group: "apps",
        kind: "StatefulSet",
        template: "spec.template",
        controller: Some(("apps/v1", "StatefulSet")),
        complete: claimed_volumes,
    },
    Maker {
        group: "batch",
        kind: "CronJob",
        template: "spec.jobTemplate.spec.template",
        controller: Some(("batch/v1", "Job")),
        complete: nothing,
    },
    Maker {
        group: "batch",
        kind: "Job",
        template: "spec.template",
        controller: Some(("batch/v1", "Job")),
        complete: nothing,
    },
];

impl Maker {
    pub(super) fn of(group: &str, kind: &str) -> Option<&'static Self> {
        MAKERS.iter().find(|maker| maker.group == group && maker.kind == kind)
    }

    pub(super) fn controller(&self) -> Option<Controller> {
        self.controller.map(|(api_version, kind)| Controller::new(api_version, kind))
    }
}

/// For controllers that add nothing a rule looks at.
pub(super) fn nothing(_: &Node, _: &mut Node) {}

/// `kubernetes/pkg/controller/daemon/util`: a daemon stays on a node in trouble.
fn daemon_tolerations(_: &Node, spec: &mut Node) {
    const TROUBLES: [(&str, &str); 6] = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ];
    for (trouble, effect) in TROUBLES {
        let key = format!("node.kubernetes.io/{trouble}");
        let toleration =
            map([("key", key.as_str().into()), ("operator", "Exists".into()), ("effect", effect.into())]);
        spec.push("tolerations", toleration);
    }
}

/// `kubernetes/pkg/controller/statefulset`: each claim template becomes a volume of its name.
fn claimed_volumes(object: &Node, spec: &mut Node) {
    let claims = object.get("spec").and_then(|spec| spec.list("volumeClaimTemplates")).unwrap_or_default();
    for name in claims.iter().filter_map(|claim| claim.get("metadata")?.str("name")) {
        let claim = map([("claimName", format!("{name}-0").as_str().into())]);
        spec.push("volumes", map([("name", name.into()), ("persistentVolumeClaim", claim)]));
    }
}

fn map<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::Map(members.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into_iter().map(Node::from).collect())
}

/// Follows a path in which `[*]` stands for every item of a list, to a Pod template or a Pod's spec.
pub(super) fn places(node: &Node, path: &str) -> Vec<Place> {
    let mut found = Vec::new();
    expand(node, &steps(path).collect::<Vec<_>>(), String::new(), &mut found);
    found
}

fn expand(node: &Node, path: &[&str], so_far: String, found: &mut Vec<Place>) {
    match (path, &node.value) {
        ([], _) => {
            let is_spec = node.get("containers").is_some() && node.get("spec").is_none();
            found.push(if is_spec { Place::Spec(so_far) } else { Place::Template(so_far) });
        }
        (["*", rest @ ..], Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                expand(item, rest, format!("{so_far}[{index}]"), found);
            }
        }
        ([step, rest @ ..], value) => {
            let Some(child) = node.child(step) else { return };
            let so_far = match value {
                Value::List(_) => format!("{so_far}[{step}]"),
                _ => join(&so_far, step),
            };
            expand(child, rest, so_far, found);
        }
    }
}

/// The first thing in an object of an unknown kind that looks like a Pod template or a Pod's spec.
pub(super) fn suspect(node: &Node) -> Option<String> {
    search(node).filter(|path| !path.is_empty())
}

fn search(node: &Node) -> Option<String> {
    let has_image = |item: &Node| item.str("image").is_some();
    if node.list("containers").is_some_and(|items| items.iter().any(has_image)) {
        return Some(String::new());
    }
    match &node.value {
        Value::Map(members) => members.iter().find_map(|(key, child)| {
            let rest = search(child)?;
            // The template around a spec carries the labels.
            let is_template = key == "spec" && rest.is_empty() && node.get("kind").is_none();
            Some(if is_template { rest } else { join(key, &rest) })
        }),
        Value::List(items) => items.iter().find_map(search).map(|rest| join("[*]", &rest)),
        _ => None,
    }
}

fn join(path: &str, rest: &str) -> String {
    match rest {
        _ if path.is_empty() => rest.into(),
        "" => path.into(),
        rest if rest.starts_with('[') => format!("{path}{rest}"),
        rest => format!("{path}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_star_stands_for_every_item() {
        let object = node(
            r#"{"spec": {"groups": [{"template": {"spec": {}}}, {"template": {"containers": []}}, {}]}}"#,
        );
        let found = places(&object, "spec.groups[*].template");
        assert_eq!(
            found,
            [
                Place::Template("spec.groups[0].template".into()),
                Place::Spec("spec.groups[1].template".into())
            ]
        );
        assert_eq!(places(&object, "spec.groups[2]"), [Place::Template("spec.groups[2]".into())]);
        assert_eq!(places(&object, "spec.grops[*]"), []);
    }

    #[test]
    fn what_looks_like_a_pod_is_found() {
        let containers = r#"{"containers": [{"image": "x"}]}"#;
        let in_list =
            node(&format!(r#"{{"kind": "A", "spec": {{"l": [{{"template": {{"spec": {containers}}}}}]}}}}"#));
        assert_eq!(suspect(&in_list).as_deref(), Some("spec.l[*].template"));
        let bare = node(&format!(r#"{{"kind": "A", "spec": {containers}}}"#));
        assert_eq!(suspect(&bare).as_deref(), Some("spec"));
        assert_eq!(suspect(&node(r#"{"kind": "A", "spec": {"containers": 1}}"#)), None);
    }
}
