//! Labels and annotations.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use serde::Deserialize;
use serde_json::json;

use super::{Faults, Section, Subject, must, word};
use crate::{
    patterns::is_one_of,
    rule_cases::{RuleCase, rule_case},
};

/// The keys, the property and its cases.
pub(super) const SECTION: Section = Section {
    defaults: DEFAULTS,
    drawn: DRAWN,
    check,
    cases: rule_cases,
    cases_under_policies: CASES_UNDER_POLICIES,
};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Labels {
    pub(crate) required: BTreeMap<String, String>,
    pub(crate) forbidden: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Annotations {
    pub(crate) allowed: Vec<String>,
    pub(crate) forbidden: Vec<String>,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r#"
labels: {required: {app: workflow-runner}, forbidden: []}
annotations:
  allowed: []
  forbidden:
  - io.katacontainers.*
  - io.kubernetes.cri-o.*
  - "*.crio.io"
  - "*.crio.io/*"
  - "*.nri.io/*"
  - "*.nri.containerd.io/*"
  - cdi.k8s.io/*
  - k8s.v1.cni.cncf.io/*
  - v1.multus-cni.io/*
  - cni.projectcalico.org/*
  - k8s.ovn.org/*
  - ovn.kubernetes.io/*
  - "*.resources.beta.kubernetes.io/*"
  - iam.amazonaws.com/*
"#;

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
labels.required: [{}, {app: workflow-runner}, {tier: batch}, {sandgate.dev/sandbox: "true"}]
labels.forbidden: [[], [role], ["team/*"], [tier, "x*"]]
annotations.allowed: [[], ["*"], [iam.amazonaws.com/*], [dev.gvisor.empty-dir.workspace.force-shared], ["dev.gvisor.empty-dir.work*.force-shared"]]
annotations.forbidden: [[], [example.com/note], [iam.amazonaws.com/*, "*.crio.io"]]
"#;

fn check(subject: &Subject, faults: &mut Faults) {
    let keys = subject.keys;
    let labels = subject.pod.metadata.labels.clone().unwrap_or_default();
    for (key, value) in &keys.labels.required {
        must(labels.get(key) == Some(value), &format!("label {key}"), faults);
    }
    for key in labels.keys() {
        must(!is_one_of(&keys.labels.forbidden, key), "forbidden label", faults);
    }
    for (key, value) in subject.pod.metadata.annotations.iter().flatten() {
        check_annotation(subject, key, value, faults);
    }
}

fn check_annotation(subject: &Subject, key: &str, value: &str, faults: &mut Faults) {
    let annotations = &subject.keys.annotations;
    let is_our_own = key.starts_with("sandgate.dev/");
    let is_forbidden =
        is_one_of(&annotations.forbidden, key) && !is_one_of(&annotations.allowed, key) && !is_our_own;
    must(!is_forbidden, "forbidden annotation", faults);
    let is_seccomp = key == "seccomp.security.alpha.kubernetes.io/pod"
        || key.starts_with("container.seccomp.security.alpha.kubernetes.io/");
    must(!is_seccomp || value == "runtime/default", "seccomp annotation", faults);
    let is_apparmor = key.starts_with("container.apparmor.security.beta.kubernetes.io/");
    must(!is_apparmor || matches!(value, "" | "runtime/default"), "AppArmor annotation", faults);
    must(key != "kubernetes.io/config.mirror", "mirror annotation", faults);
    let is_harmless = is_mount_hint(key, value, subject.spec)
        || (is_sharing(key, value, subject.spec) && names_sharing(&annotations.allowed, key));
    must(!key.starts_with("dev.gvisor.") || is_harmless, "gVisor annotation", faults);
}

/// Whether each of the Pod's emptyDir volumes of that name is in memory; `None` if it has none that gVisor may be given
/// about.
fn medium_of(name: &str, spec: &PodSpec) -> Option<bool> {
    // gVisor opens the host's sockets to the first, and makes the second itself.
    if matches!(name, "gke-gcsfuse-tmp" | "gvisorinternaldevshm") {
        return None;
    }
    let volume = spec.volumes.iter().flatten().rfind(|volume| volume.name == name)?;
    volume.empty_dir.as_ref().map(|dir| word(dir.medium.as_ref()) == "Memory")
}

/// What gVisor's documentation has for the emptyDir volumes of a Pod, and what GKE adds for them.
fn is_mount_hint(key: &str, value: &str, spec: &PodSpec) -> bool {
    let hint = key.strip_prefix("dev.gvisor.spec.mount.").and_then(|hint| hint.rsplit_once('.'));
    let Some((volume, property)) = hint else { return false };
    let Some(in_memory) = medium_of(volume, spec) else { return false };
    let options = ["ro", "rw", "rprivate"];
    match property {
        "type" => value == "tmpfs" || (value == "bind" && !in_memory),
        "share" => matches!(value, "container" | "pod"),
        "options" => value.split(',').all(|option| options.contains(&option)),
        _ => false,
    }
}

fn is_sharing(key: &str, value: &str, spec: &PodSpec) -> bool {
    let volume =
        key.strip_prefix("dev.gvisor.empty-dir.").and_then(|rest| rest.strip_suffix(".force-shared"));
    volume.is_some_and(|volume| medium_of(volume, spec).is_some()) && matches!(value, "true" | "false")
}

/// The one order to gVisor that a policy can allow must be meant: `"*"` does not mean it.
fn names_sharing(allowed: &[String], key: &str) -> bool {
    let meant: Vec<String> =
        allowed.iter().filter(|pattern| pattern.starts_with("dev.gvisor.empty-dir.")).cloned().collect();
    is_one_of(&meant, key)
}

fn rule_cases() -> Vec<RuleCase> {
    vec![
        rule_case(
            "pod-schema",
            vec![
                ("spec/newField", vec![json!(true), json!({})]),
                ("spec/Containers", vec![json!([])]),
                ("C/stdin", vec![json!("true"), json!(1)]),
                ("C/command", vec![json!("sh"), json!([null])]),
                ("spec/hostAliases", vec![json!("x"), json!([null])]),
                ("spec/containers/*/ports", vec![json!([{"containerPort": 80.5}])]),
                ("spec/containers/*/livenessProbe", vec![json!({"periodSeconds": u64::MAX})]),
                ("spec/priority", vec![json!(i64::MAX.unsigned_abs() + 1)]),
                ("metadata/annotations/example.com~1note", vec![json!(1), json!([])]),
                ("metadata/finalizers", vec![json!([1])]),
                ("spec/schedulingGroup", vec![json!({"podGroupName": "g"})]),
            ],
            vec![
                ("spec/newField", vec![json!(null)]),
                ("spec/priority", vec![json!(i32::MAX)]),
                ("status", vec![json!({"phase": "Pending"})]),
                ("C/ports", vec![json!([{"containerPort": 65_535, "name": "http", "protocol": "SCTP"}])]),
                ("metadata/managedFields", vec![json!([])]),
            ],
        ),
        rule_case(
            "labels",
            vec![(
                "metadata/labels/app",
                vec![json!("Workflow-runner"), json!(""), json!("w\u{43e}rkflow-runner")],
            )],
            vec![
                ("metadata/labels/App", vec![json!("other")]),
                ("metadata/labels/app", vec![json!("workflow-runner"), json!("!remove")]),
            ],
        ),
        rule_case(
            "mirror-pod",
            vec![("metadata/annotations/kubernetes.io~1config.mirror", vec![json!("x"), json!("")])],
            vec![
                ("metadata/annotations/kubernetes.io~1config.source", vec![json!("file")]),
                ("metadata/annotations/kubernetes.io~1config.mirrors", vec![json!("x")]),
                ("metadata/annotations/Kubernetes.io~1config.mirror", vec![json!("x")]),
            ],
        ),
        rule_case(
            "gvisor-annotations",
            vec![
                ("metadata/annotations/dev.gvisor.host-uds", vec![json!("all"), json!("")]),
                (
                    "metadata/annotations/dev.gvisor.spec.mount.workspace.type",
                    vec![json!("Tmpfs"), json!("Bind")],
                ),
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.options", vec![json!("rw,rshared")]),
                ("metadata/annotations/dev.gvisor.spec.mount.workspace.source", vec![json!("/etc")]),
                ("metadata/annotations/dev.gvisor.spec.mount.nothere.type", vec![json!("bind")]),
            ],
            vec![
                (
                    "metadata/annotations/dev.gvisor.spec.mount.workspace.type",
                    vec![json!("bind"), json!("tmpfs")],
                ),
                (
                    "metadata/annotations/dev.gvisor.spec.mount.tmp.share",
                    vec![json!("pod"), json!("container")],
                ),
                ("metadata/annotations/dev.gvisor.spec.mount.tmp.options", vec![json!("ro,rprivate")]),
                ("metadata/annotations/dev.gvisor", vec![json!("x")]),
                ("metadata/annotations/x.dev.gvisor.host-uds", vec![json!("all")]),
            ],
        ),
    ]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: labels
  spec: {labels: {forbidden: [role, "team/*"]}}
  violating:
    metadata/labels/role: [x, ""]
    metadata/labels/team~1a: ["1"]
  boundary:
    metadata/labels/roles: [x]
    metadata/labels/team.example.com~1a: ["1"]
- rule: annotations
  spec: {annotations: {allowed: [iam.amazonaws.com/role]}}
  violating:
    metadata/annotations/iam.amazonaws.com~1external-id: [x]
    metadata/annotations/devices.crio.io: [x]
    metadata/annotations/io.katacontainers.config.hypervisor.path: [x, ""]
  boundary:
    metadata/annotations/iam.amazonaws.com~1role: [x]
    metadata/annotations/example.com~1note: [x]
- rule: gvisor-annotations
  spec: {annotations: {allowed: [dev.gvisor.empty-dir.workspace.force-shared]}}
  violating:
    metadata/annotations/dev.gvisor.empty-dir.nothere.force-shared: ["true"]
    metadata/annotations/dev.gvisor.empty-dir.workspace.force-shared: ["yes"]
    metadata/annotations/dev.gvisor.empty-dir.workspace.source: [/etc]
    metadata/annotations/dev.gvisor.host-uds: [all]
  boundary:
    metadata/annotations/dev.gvisor.empty-dir.workspace.force-shared: ["true"]
"#;
