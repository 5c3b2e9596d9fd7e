//! The identity of a Pod: its service account, and the tokens and certificates that its containers reach.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use serde::Deserialize;
use serde_json::json;

use super::{Faults, Section, Subject, must, word};
use crate::{
    patterns::{has_form, is_one_of},
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
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceAccount {
    pub(crate) default: Option<String>,
    pub(crate) allowed: Vec<String>,
    pub(crate) automount_token: bool,
    pub(crate) tokens: Vec<Token>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    pub(crate) audience: String,
    #[serde(default = "an_hour")]
    pub(crate) max_expiration_seconds: i64,
}

fn an_hour() -> i64 {
    3600
}

/// The default of each key, as the documentation of the policy file has it.
const DEFAULTS: &str = r"
serviceAccount: {default: workflow-runner, allowed: [workflow-runner], automountToken: false, tokens: []}
";

/// The values of each key that generated policies draw from.
const DRAWN: &str = r#"
serviceAccount.default: [null, workflow-runner, agent-a]
serviceAccount.allowed: [[workflow-runner], [workflow-runner, "agent-*"], ["*"], [default, workflow-runner, agent-a], [admin, agent-a, workflow-runner]]
serviceAccount.automountToken: [true, false]
serviceAccount.tokens:
- [{audience: sts.amazonaws.com, maxExpirationSeconds: 86400}]
- [{audience: istio-ca, maxExpirationSeconds: 43200}, {audience: sts.amazonaws.com}]
- [{audience: "spiffe://td/ns/*/dapr-sentry", maxExpirationSeconds: 7200}]
"#;

/// The lifetime of the token that the API server mounts, in seconds.
const API_TOKEN_SECONDS: i64 = 3607;

fn check(subject: &Subject, faults: &mut Faults) {
    let (spec, keys) = (subject.spec, subject.keys);
    let name = match word(spec.service_account_name.as_ref()) {
        "" => "default",
        name => name,
    };
    must(is_one_of(&keys.service_account.allowed, name), "service account", faults);
    // The name goes before its alias; "default" is what the API server writes beside a name that is not set.
    let alias = word(spec.service_account.as_ref());
    must(matches!(alias, "" | "default") || alias == name, "service account alias", faults);
    let all_may_have_it = keys.service_account.automount_token
        && subject.containers.iter().all(|placed| placed.keys.service_account.automount_token);
    must(all_may_have_it || spec.automount_service_account_token == Some(false), "automount", faults);
    for volume in spec.volumes.iter().flatten() {
        check_volume(subject, volume, faults);
    }
}

/// A source counts, not the name of its volume; who mounts the volume reaches all of it.
fn check_volume(subject: &Subject, volume: &Volume, faults: &mut Faults) {
    let sources: Vec<_> = volume.projected.iter().flat_map(|all| all.sources.iter().flatten()).collect();
    let is_api_volume = is_api_volume(&sources);
    for token in sources.iter().filter_map(|source| source.service_account_token.as_ref()) {
        let may_have = |keys: &Keys| is_allowed(token, is_api_volume, keys);
        let someone_may =
            may_have(subject.keys) || subject.containers.iter().any(|placed| may_have(placed.keys));
        must(someone_may, "token", faults);
        for (_, placed, ..) in subject.mounts_of(&volume.name) {
            placed.must(may_have(placed.keys), "token", faults);
        }
    }
    let projected = &subject.keys.volumes.projected;
    for source in sources {
        if let Some(certificate) = &source.pod_certificate {
            let may_have = is_one_of(&projected.pod_certificate_signers, &certificate.signer_name);
            must(may_have, "Pod certificate", faults);
        }
        if let Some(bundle) = &source.cluster_trust_bundle {
            let name = bundle.name.as_ref().or(bundle.signer_name.as_ref());
            must(is_one_of(&projected.cluster_trust_bundles, word(name)), "trust bundle", faults);
        }
    }
}

fn is_allowed(token: &ServiceAccountTokenProjection, is_in_api_volume: bool, keys: &Keys) -> bool {
    let audience = word(token.audience.as_ref());
    if audience.is_empty() {
        return is_in_api_volume && keys.service_account.automount_token;
    }
    let seconds = token.expiration_seconds.unwrap_or(3600);
    keys.service_account
        .tokens
        .iter()
        .any(|allowed| is_for(allowed, audience) && (1..=allowed.max_expiration_seconds).contains(&seconds))
}

/// The audience is exact; only the path of a `spiffe://` id may be a pattern.
fn is_for(allowed: &Token, audience: &str) -> bool {
    if allowed.audience.starts_with("spiffe://") {
        return has_form(&allowed.audience, audience);
    }
    allowed.audience == audience
}

/// Exactly what the API server mounts: a token for itself, its certificates and the namespace's name.
pub(super) fn is_api_volume(sources: &[&VolumeProjection]) -> bool {
    let only = |source: &VolumeProjection, kept: VolumeProjection| *source == kept;
    let mut tokens = 0;
    let mut certificates = 0;
    let mut service_certificates = 0;
    let mut namespaces = 0;
    for source in sources {
        if let Some(token) = &source.service_account_token {
            let kept = VolumeProjection { service_account_token: Some(token.clone()), ..Default::default() };
            let is_its_own = only(source, kept)
                && word(token.audience.as_ref()).is_empty()
                && token.expiration_seconds.unwrap_or(3600) <= API_TOKEN_SECONDS
                && token.path == "token";
            if !is_its_own {
                return false;
            }
            tokens += 1;
        } else if let Some(map) = &source.config_map {
            let kept = VolumeProjection { config_map: Some(map.clone()), ..Default::default() };
            if !only(source, kept) {
                return false;
            }
            if is_file(map, "kube-root-ca.crt", "ca.crt") {
                certificates += 1;
            } else if is_file(map, "openshift-service-ca.crt", "service-ca.crt") {
                service_certificates += 1;
            } else {
                return false;
            }
        } else if let Some(fields) = &source.downward_api {
            let kept = VolumeProjection { downward_api: Some(fields.clone()), ..Default::default() };
            if !only(source, kept) || !is_namespace(fields) {
                return false;
            }
            namespaces += 1;
        } else {
            return false;
        }
    }
    (tokens, certificates, namespaces) == (1, 1, 1) && service_certificates <= 1
}

fn is_file(map: &ConfigMapProjection, name: &str, file: &str) -> bool {
    let items = map.items.as_deref().unwrap_or_default();
    map.name == name && items.len() == 1 && items[0].key == file && items[0].path == file
}

fn is_namespace(fields: &DownwardAPIProjection) -> bool {
    let items = fields.items.as_deref().unwrap_or_default();
    items.len() == 1
        && items[0].path == "namespace"
        && items[0].resource_field_ref.is_none()
        && items[0].field_ref.as_ref().is_some_and(|field| field.field_path == "metadata.namespace")
}

fn rule_cases() -> Vec<RuleCase> {
    vec![
        rule_case(
            "service-account",
            vec![
                (
                    "spec/serviceAccountName",
                    vec![json!("admin"), json!("Workflow-runner"), json!("default ")],
                ),
                ("spec/serviceAccount", vec![json!("admin")]),
            ],
            vec![
                ("spec/serviceAccountName", vec![json!("default"), json!(""), json!("!remove")]),
                ("spec/serviceAccount", vec![json!("workflow-runner"), json!("default"), json!("")]),
            ],
        ),
        rule_case(
            "token-volumes",
            vec![("spec/automountServiceAccountToken", vec![json!(true), json!(null)])],
            vec![
                ("spec/automountServiceAccountToken", vec![json!(false), json!("!remove")]),
                ("spec/volumes+", vec![crate::edits::token_volume()]),
            ],
        ),
    ]
}

/// Cases under policies that open or close something.
const CASES_UNDER_POLICIES: &str = r#"
- rule: token-volumes
  spec: {serviceAccount: {tokens: [{audience: sts.amazonaws.com, maxExpirationSeconds: 86400}]}}
  violating:
    spec/volumes+: [{name: extra, projected: {sources: [{serviceAccountToken: {path: token}}]}}, {name: extra, projected: {sources: [{serviceAccountToken: {audience: sts.amazonaws.com, expirationSeconds: 86401, path: token}}]}}, {name: extra, projected: {sources: [{serviceAccountToken: {audience: sts.amazonaws.com.evil, path: token}}]}}]
    spec/automountServiceAccountToken: [true]
  boundary:
    spec/volumes+: [{name: extra, projected: {sources: [{serviceAccountToken: {audience: sts.amazonaws.com, expirationSeconds: 86400, path: token}}]}}]
- rule: service-account
  spec: {serviceAccount: {default: null, allowed: ["agent-*"]}}
  base: {/spec/serviceAccountName: agent-a}
  violating:
    spec/serviceAccountName: [admin, "!remove", default, agent/x]
  boundary:
    spec/serviceAccountName: [agent-, agent-b]
"#;
