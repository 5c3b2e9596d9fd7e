//! The Secrets that containers reach, by name.

use k8s_openapi::api::core::v1::Volume;
use serde::Deserialize;
use serde_json::json;

use super::{Faults, Placed, Section, Subject, must, word};
use crate::{
    patterns::is_one_of,
    policy::Keys,
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
pub(crate) struct Secrets {
    pub(crate) environment: Vec<String>,
    pub(crate) volumes: Vec<String>,
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r#"
secrets: {environment: ["*"], volumes: []}
env: {}
"#;

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
secrets.environment: [[], [s], ["s*", t], ["*"]]
secrets.volumes: [[s], ["*"], ["app-*", t]]
env: [{HOME: /tmp}, {HOME: /tmp, LANG: C}, {A: filled}]
"#;

fn check(subject: &Subject, faults: &mut Faults) {
    for placed in subject.containers {
        check_environment(placed, faults);
    }
    for volume in subject.spec.volumes.iter().flatten() {
        for name in secrets_of(volume) {
            let may_read = |keys: &Keys| is_one_of(&keys.secrets.volumes, &name);
            let someone_may = may_read(subject.keys)
                || subject.mounts_of(&volume.name).any(|(_, placed, ..)| may_read(placed.keys));
            must(someone_may, "Secret file", faults);
            for (_, placed, ..) in subject.mounts_of(&volume.name) {
                placed.must(may_read(placed.keys), "Secret file", faults);
            }
        }
    }
}

fn check_environment(placed: &Placed, faults: &mut Faults) {
    let container = &placed.container;
    let mut sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    placed.must(!sources.clone().any(|source| source.file_key_ref.is_some()), "fileKeyRef", faults);
    let allowed = &placed.keys.secrets.environment;
    let is_allowed = |name: &String| is_one_of(allowed, name);
    let single = sources.all(|source| source.secret_key_ref.as_ref().is_none_or(|key| is_allowed(&key.name)));
    placed.must(single, "Secret variable", faults);
    let mut sets = container.env_from.iter().flatten().filter_map(|source| source.secret_ref.as_ref());
    placed.must(sets.all(|secret| is_allowed(&secret.name)), "Secret as environment", faults);
}

/// The names of all Secrets that the node reads for a volume.
fn secrets_of(volume: &Volume) -> Vec<String> {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = projected.filter_map(|source| source.secret.as_ref()).map(|secret| secret.name.clone());
    let whole = volume.secret.iter().map(|secret| word(secret.secret_name.as_ref()).to_owned());
    let of_driver = volume.csi.iter().filter_map(|csi| csi.node_publish_secret_ref.as_ref());
    whole.chain(projected).chain(of_driver.map(|secret| secret.name.clone())).collect()
}

fn rule_cases() -> Vec<RuleCase> {
    vec![rule_case(
        "file-key-ref",
        vec![(
            "C/env",
            vec![
                json!([{"name": "F", "valueFrom": {"fileKeyRef": {"volumeName": "tmp", "path": "p", "key": "k"}}}]),
                json!([{"name": "A", "value": "x"}, {"name": "F", "valueFrom": {"fileKeyRef": {}}}]),
            ],
        )],
        vec![(
            "C/env",
            vec![
                json!([{"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
                json!([{"name": "F", "valueFrom": {"fileKeyRef": null}}]),
            ],
        )],
    )]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: secrets
  spec: {secrets: {environment: [s, "t-*"], volumes: [s, t]}}
  violating:
    C/env: [[{name: S, valueFrom: {secretKeyRef: {name: u, key: k}}}], [{name: S, valueFrom: {secretKeyRef: {name: S, key: k}}}], [{name: S, valueFrom: {secretKeyRef: {name: "", key: k}}}]]
    C/envFrom: [[{prefix: P_}, {secretRef: {name: u}}], [{secretRef: {name: "s "}}]]
    spec/volumes+: [{name: extra, secret: {secretName: u}}, {name: extra, secret: {}}, {name: extra, projected: {sources: [{secret: {name: u}}]}}]
  boundary:
    C/env: [[{name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}], [{name: S, valueFrom: {secretKeyRef: {name: t-1, key: k}}}], [{name: M, valueFrom: {configMapKeyRef: {name: u, key: k}}}]]
    C/envFrom: [[{secretRef: {name: t-}}], [{configMapRef: {name: u}}]]
    spec/volumes+: [{name: extra, secret: {secretName: s}}, {name: extra, projected: {sources: [{secret: {name: t}}]}}]
- rule: secrets
  spec: {secrets: {environment: []}}
  violating:
    C/env: [[{name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}]]
    C/envFrom: [[{secretRef: {name: s}}]]
  boundary:
    C/envFrom: [[{configMapRef: {name: s}}]]
- rule: secrets
  spec: {volumes: {csi: [{driver: csi.example.com}]}, secrets: {volumes: [s]}}
  violating:
    spec/volumes+: [{name: extra, csi: {driver: csi.example.com, nodePublishSecretRef: {name: u}}}]
  boundary:
    spec/volumes+: [{name: extra, csi: {driver: csi.example.com, nodePublishSecretRef: {name: s}}}]
"#;
