//! Labels and annotations that others select by or act on.

use super::{Group, Rule};
use crate::{
    json::Value,
    path::{ANNOTATIONS, LazyPath, METADATA},
    pod::{Pod, metadata_mut},
    policy::{Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static LABELS: Rule = Rule {
    id: "labels",
    group: Group::Metadata,
    title: "The Pod has the policy's labels.",
    why: "Network policies select Pods by label: a Pod without the label, or with another value, is outside of \
          them. Absent labels are filled. A conflicting label is denied: overwriting it would break the selector of \
          a ReplicaSet and make it create Pods without end.",
    references: &["https://kubernetes.io/docs/concepts/services-networking/network-policies/"],
    setting: "spec.labels",
    fill: Some(fill_labels),
    check: check_labels,
};

fn fill_labels<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    if spec.labels.required.is_empty() {
        return 0;
    }
    let Some(labels) = metadata_mut(pod).and_then(|metadata| metadata.object_mut("labels")) else { return 0 };
    spec.labels.required.iter().filter(|(key, value)| labels.set_default(key, value.as_str())).count()
}

static LABELS_PATH: LazyPath<'static> = METADATA.child("labels");

fn check_labels(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let labels = pod.metadata.object("labels");
    for (key, wanted) in &spec.labels.required {
        let found = labels.and_then(|labels| labels.get(key));
        if found.and_then(Value::as_str) == Some(wanted) {
            continue;
        }
        let wanted = quote(wanted);
        let remedy = format_args!("set it to {wanted} or leave it out on create");
        out.report(LABELS_PATH.key(key), show(found), &wanted, remedy);
    }
}

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) static MIRROR_POD: Rule = Rule {
    id: "mirror-pod",
    group: Group::Metadata,
    title: "The Pod does not claim to be the mirror of a static Pod.",
    why: "The API server treats a Pod with the annotation kubernetes.io/config.mirror as the kubelet's own and does \
          not give it a service account. Anyone can write the annotation, so it exempts from nothing here.",
    references: &[
        "https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror",
    ],
    setting: "",
    fill: None,
    check: check_mirror_pod,
};

fn check_mirror_pod(_: &Spec, pod: &Pod, out: &mut Reporter) {
    if let Some(value) = pod.annotations.get(MIRROR) {
        out.report(ANNOTATIONS.key(MIRROR), show(Some(value)), "absent", "remove the annotation");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    #[test]
    fn an_absent_label_is_filled() {
        let pod = fills("labels metadata.labels[app]", |pod| without(&mut pod["metadata"], "labels"));
        assert_eq!(pod["metadata"]["labels"], json!({"app": "workflow-runner"}));
    }

    #[test]
    fn other_labels_stay() {
        let pod =
            fills("labels metadata.labels[app]", |pod| pod["metadata"]["labels"] = json!({"team": "a"}));
        assert_eq!(pod["metadata"]["labels"], json!({"team": "a", "app": "workflow-runner"}));
    }

    #[test]
    fn a_conflicting_label_is_refused() {
        for value in [json!("web"), json!(""), json!("Workflow-runner")] {
            rejects("labels metadata.labels[app]", |pod| pod["metadata"]["labels"]["app"] = value);
        }
    }

    #[test]
    fn a_forged_mirror_annotation_is_refused() {
        rejects("mirror-pod metadata.annotations[kubernetes.io/config.mirror]", |pod| {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        });
    }
}
