//! Labels and annotations that others select by or act on.

use super::{Group, Rule};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    path::{ANNOTATIONS, LazyPath, METADATA},
    pod::{Pod, metadata_mut},
    policy::{Annotations, Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static LABELS: Rule = Rule {
    id: "labels",
    group: Group::Metadata,
    title: "The Pod has the labels that the policy requires and none that it forbids.",
    why: "Network policies select Pods by label: a Pod without the label, or with another value, is outside of \
          them. Absent labels are filled. A conflicting label is denied: overwriting it would break the selector of \
          a ReplicaSet and make it create Pods without end. Network policies add up, so that a Pod with the label of \
          another application also gets what that application may reach: a policy can forbid such labels.",
    references: &[
        "NIST SP 800-190, 4.3.3: Poorly separated inter-container network traffic",
        "https://kubernetes.io/docs/concepts/services-networking/network-policies/",
    ],
    setting: "spec.labels",
    fill: Some(fill_labels),
    check: check_labels,
    cel: Some(cel_labels),
};

fn fill_labels<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let required = &profile.spec.labels.required;
    if required.is_empty() {
        return 0;
    }
    let Some(labels) = metadata_mut(pod).and_then(|metadata| metadata.object_mut("labels")) else { return 0 };
    required.iter().filter(|(key, value)| labels.set_default(key, value.as_str())).count()
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
        let remedy =
            format_args!("set it to {wanted} or leave it out on create (policy key labels.required)");
        out.report(LABELS_PATH.key(key), show(found), &wanted, remedy);
    }
    let forbidden = &spec.labels.forbidden;
    if forbidden.is_empty() {
        return;
    }
    for (key, value) in labels.into_iter().flat_map(Object::iter).filter(|(key, _)| forbidden.allows(key)) {
        let remedy = "remove the label (policy key labels.forbidden)";
        out.report(LABELS_PATH.key(key), show(Some(value)), "absent", remedy);
    }
}

/// The labels that the API server copies from a node into each Binding.
const TOPOLOGY_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

fn cel_labels(keys: Keys) -> Vec<Statement> {
    let required = keys.spec.labels.required.iter().map(|(key, wanted)| {
        let (literal, value) = (cel::text(key), cel::text(wanted));
        let found = format!("v.labels[?{literal}]");
        let condition = format!("!({found}.hasValue() && v.labels[{literal}] == {value})");
        Statement::pod(condition, &format!("metadata.labels[{key}]"), &cel::shown(&found)).of_metadata()
    });
    let forbidden = cel::all([
        patterns::names(&keys.spec.labels.forbidden, "k"),
        format!("!(v.binding && k in {})", cel::list(TOPOLOGY_LABELS)),
    ]);
    required.chain((forbidden != "false").then(|| Statement::label(forbidden))).collect()
}

pub(super) static FORBIDDEN_ANNOTATIONS: Rule = Rule {
    id: "annotations",
    group: Group::Metadata,
    title: "The Pod has no annotation that other programs of the node or the cloud obey.",
    why: "Annotations are orders to programs outside of the sandbox: Kata Containers takes the path of a hypervisor \
          from one, Multus a second network past every network policy, CRI-O and NRI plugins devices, kiam a role of \
          the cloud. The policy lists the forbidden keys, and those of them that a Pod may have all the same. The \
          keys sandgate.dev/… are this program's own.",
    references: &[
        "NIST SP 800-190, 4.4.3: Insecure container runtime configurations",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/",
        "https://github.com/kata-containers/kata-containers/blob/main/docs/how-to/how-to-set-sandbox-config-kata.md",
    ],
    setting: "spec.annotations",
    fill: None,
    check: check_annotations,
    cel: Some(cel_annotations),
};

/// The prefix of the annotations that this program writes itself.
const OWN_PREFIX: &str = "sandgate.dev/";

fn check_annotations(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let Annotations { allowed, forbidden } = &spec.annotations;
    for (key, value) in pod.annotations.iter() {
        if key.starts_with(OWN_PREFIX) || !forbidden.allows(key) || allowed.allows(key) {
            continue;
        }
        let remedy =
            "remove it if you set it, or switch off the webhook that does (policy key annotations.allowed)";
        out.report(ANNOTATIONS.key(key), show(Some(value)), "absent", remedy);
    }
}

const MIRROR: &str = "kubernetes.io/config.mirror";

fn cel_annotations(keys: Keys) -> Vec<Statement> {
    let settings = &keys.spec.annotations;
    let forbidden = cel::all([
        patterns::names(&settings.forbidden, "k"),
        cel::not(&patterns::names(&settings.allowed, "k")),
        "!k.startsWith('sandgate.dev/')".into(),
        // The agents of a network record their work by an update of the status.
        "request.?subResource.orValue('') != 'status'".into(),
    ]);
    vec![Statement::annotation(forbidden)]
}

pub(super) static MIRROR_POD: Rule = Rule {
    id: "mirror-pod",
    group: Group::Metadata,
    title: "The Pod does not claim to be the mirror of a static Pod.",
    why: "The API server treats a Pod with the annotation kubernetes.io/config.mirror as the kubelet's own and does \
          not give it a service account. Anyone can write the annotation, so it exempts from nothing here.",
    references: &[
        "NIST SP 800-190, 4.4.5: Rogue containers",
        "https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror",
    ],
    setting: "",
    fill: None,
    check: check_mirror_pod,
    cel: Some(cel_mirror_pod),
};

fn check_mirror_pod(_: &Spec, pod: &Pod, out: &mut Reporter) {
    if let Some(value) = pod.annotations.get(MIRROR) {
        out.report(ANNOTATIONS.key(MIRROR), show(Some(value)), "absent", "remove the annotation");
    }
}

fn cel_mirror_pod(_: Keys) -> Vec<Statement> {
    vec![Statement::annotation("k == 'kubernetes.io/config.mirror'".into())]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    #[test]
    fn forbidden_label_is_denied_by_its_key() {
        let spec = spec("{labels: {forbidden: [team, example.com/*]}}");
        for key in ["team", "example.com/egress"] {
            rejects_under(&spec, &format!("labels metadata.labels[{key}]"), |pod| {
                pod["metadata"]["labels"][key] = json!("x");
            });
        }
        for key in ["teams", "other.example.com/egress"] {
            accepts_under(&spec, |pod| pod["metadata"]["labels"][key] = json!("x"));
        }
        accepts_under(&spec, |pod| pod["metadata"]["labels"]["team"] = json!(null));
    }

    #[test]
    fn required_label_of_the_policy_may_be_any_or_none() {
        let none = spec("{labels: {required: {}}}");
        accepts_under(&none, |pod| without(&mut pod["metadata"], "labels"));
        let two = spec("{labels: {required: {a.dev/x: '1', b: '2'}}}");
        let labels = filled_by(&two, &plain_pod())["metadata"]["labels"].clone();
        assert_eq!(labels, json!({"a.dev/x": "1", "b": "2"}));
    }

    #[test]
    fn annotation_that_others_obey_is_denied() {
        for key in [
            "io.katacontainers.config.hypervisor.path",
            "io.kubernetes.cri-o.Devices",
            "cpu-quota.crio.io",
            "irq-load-balancing.crio.io/main",
            "devices.nri.io/container.main",
            "cdi.k8s.io/gpu",
            "k8s.v1.cni.cncf.io/networks",
            "v1.multus-cni.io/default-network",
            "cni.projectcalico.org/ipAddrs",
            "k8s.ovn.org/pod-networks",
            "ovn.kubernetes.io/ip_address",
            "blockio.resources.beta.kubernetes.io/pod",
            "iam.amazonaws.com/role",
        ] {
            rejects(&format!("annotations metadata.annotations[{key}]"), |pod| {
                pod["metadata"]["annotations"] = json!({key: "x"});
            });
        }
        for key in [
            "openshift.io/scc",
            "autopilot.gke.io/resource-adjustment",
            "kubernetes.io/psp",
            "example.com/iam.amazonaws.com",
            "k8s.ovn.org",
        ] {
            accepts(|pod| pod["metadata"]["annotations"] = json!({key: "x"}));
        }
        accepts(|pod| pod["metadata"]["annotations"] = json!({"iam.amazonaws.com/role": null}));
    }

    #[test]
    fn policy_admits_single_keys_of_a_forbidden_pattern() {
        let spec = spec(
            "{annotations: {allowed: [k8s.v1.cni.cncf.io/networks, 'io.katacontainers.config.hypervisor.default_*']}}",
        );
        for key in ["k8s.v1.cni.cncf.io/networks", "io.katacontainers.config.hypervisor.default_vcpus"] {
            accepts_under(&spec, |pod| pod["metadata"]["annotations"] = json!({key: "x"}));
        }
        for key in ["k8s.v1.cni.cncf.io/networks2", "io.katacontainers.config.hypervisor.path"] {
            rejects_under(&spec, &format!("annotations metadata.annotations[{key}]"), |pod| {
                pod["metadata"]["annotations"] = json!({key: "x"});
            });
        }
    }

    #[test]
    fn own_annotations_cannot_be_forbidden() {
        let spec = spec("{annotations: {forbidden: ['sandgate.dev/*', '*/policy']}}");
        accepts_under(&spec, |pod| pod["metadata"]["annotations"] = json!({"sandgate.dev/policy": "p"}));
        rejects_under(&spec, "annotations metadata.annotations[example.com/policy]", |pod| {
            pod["metadata"]["annotations"] = json!({"example.com/policy": "p"});
        });
    }

    #[test]
    fn absent_label_is_filled() {
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
    fn conflicting_label_is_denied() {
        for value in [json!("web"), json!(""), json!("Workflow-runner")] {
            rejects("labels metadata.labels[app]", |pod| pod["metadata"]["labels"]["app"] = value);
        }
    }

    #[test]
    fn forged_mirror_annotation_is_denied() {
        rejects("mirror-pod metadata.annotations[kubernetes.io/config.mirror]", |pod| {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        });
    }
}
