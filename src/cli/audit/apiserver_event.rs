//! The API server's own audit log: events of `audit.k8s.io/v1` that carry the annotations of an answer.

use std::collections::BTreeMap;

use serde::Deserialize;

use sandgate_engine::{
    review::{AuditOwner, AuditRecord, AuditViolation, Endpoint, PROVENANCE, annotations},
    rules,
};

/// An [`Event`](https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/), with the fields that are read
/// here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvent {
    #[serde(rename = "auditID")]
    audit_id: String,
    #[serde(default)]
    request_received_timestamp: String,
    #[serde(default, rename = "requestURI")]
    request_uri: String,
    verb: String,
    #[serde(default)]
    user: User,
    /// The user that was impersonated, who is the user of the admission review.
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// Only there at the levels `Request` and `RequestResponse`.
    #[serde(default)]
    request_object: RequestObject,
}

/// The annotation in which the API server records what ValidatingAdmissionPolicies with the action Audit found.
const POLICY_FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";
/// The word that each message of the backstop has behind the name of the policy.
const BACKSTOP_MARK: &str = "(backstop), ";
/// The endpoint of records of the backstop, which no webhook answered.
const BACKSTOP: &str = "backstop";

/// One failure of [`POLICY_FAILURES`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyFailure {
    #[serde(default)]
    message: String,
    #[serde(default)]
    validation_actions: Vec<String>,
}

/// The user of a request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

/// Returns true if a request was a dry run, as its query demands: `?dryRun=All`.
pub(super) fn is_dry_run(request_uri: &str) -> bool {
    let query = request_uri.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "dryRun" && value == "All")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RequestObject {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    generate_name: String,
    owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Deserialize)]
struct OwnerReference {
    #[serde(flatten)]
    owner: AuditOwner<'static>,
    #[serde(default)]
    controller: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    service_account_name: String,
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    image: String,
}

impl AuditEvent {
    /// Returns the verdicts of sandgate's webhooks, one for each that was called, and what its backstop found.
    pub(super) fn records(&self) -> Vec<AuditRecord<'static>> {
        let webhooks = self.annotations.iter().filter_map(|(key, verdict)| {
            let webhook = annotations::webhook_of_verdict(key)?;
            let endpoint = annotations::endpoint_of(webhook)?;
            Some(self.record(webhook, endpoint, verdict))
        });
        let failures = self.annotations.get(POLICY_FAILURES);
        let failures: Vec<PolicyFailure> =
            failures.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let of_backstop = failures.iter().filter(|failure| failure.message.contains(BACKSTOP_MARK));
        webhooks.chain(of_backstop.map(|failure| self.record_of_backstop(failure))).collect()
    }

    fn record_of_backstop(&self, failure: &PolicyFailure) -> AuditRecord<'static> {
        let PolicyFailure { message, validation_actions } = failure;
        let has = |action: &str| validation_actions.iter().any(|other| other == action);
        let verdict = match () {
            () if has("Deny") => "denied",
            () if has("Warn") => "warned",
            () => "would-deny",
        };
        let policy = message.split('"').nth(1).unwrap_or_default().to_owned();
        let (_, texts) = message.split_once(" violations: ").unwrap_or_default();
        let mut ids: Vec<&str> =
            texts.split("; ").filter_map(|text| Some(text.split_once(": ")?.0)).collect();
        ids.retain(|id| rules::by_id(id).is_some() || *id == PROVENANCE.id);
        ids.dedup();
        let violation =
            |rule: &&str| AuditViolation { rule: (*rule).to_owned().into(), ..AuditViolation::default() };
        AuditRecord {
            endpoint: BACKSTOP.into(),
            policy: policy.into(),
            violations: ids.iter().map(violation).collect(),
            ..self.record("", Endpoint::Validate, verdict)
        }
    }

    fn record(&self, webhook: &str, endpoint: Endpoint, verdict: &str) -> AuditRecord<'static> {
        let annotation = |key| {
            let key = annotations::audit_key(webhook, key);
            self.annotations.get(&key).cloned().unwrap_or_default()
        };
        let rules = annotation(annotations::RULES);
        let rules = rules.split(',').filter(|rule| !rule.is_empty());
        let operation = match &*self.verb {
            "patch" | "update" => "UPDATE".into(),
            verb => verb.to_uppercase(),
        };
        let user = self.impersonated_user.as_ref().unwrap_or(&self.user);
        let RequestObject { metadata, spec } = &self.request_object;
        let owner = metadata.owner_references.iter().find(|reference| reference.controller);
        let containers = spec.init_containers.iter().chain(&spec.containers);
        let violation =
            |rule: &str| AuditViolation { rule: rule.to_owned().into(), ..AuditViolation::default() };
        AuditRecord {
            time: self.request_received_timestamp.clone().into(),
            verdict: verdict.to_owned().into(),
            endpoint: endpoint.as_str().into(),
            // The API server called the webhook itself.
            authenticated: true,
            uid: self.audit_id.clone().into(),
            dry_run: is_dry_run(&self.request_uri),
            operation: operation.into(),
            resource: self.object_ref.resource.clone().into(),
            subresource: self.object_ref.subresource.clone().into(),
            namespace: self.object_ref.namespace.clone().into(),
            name: self.object_ref.name.clone().into(),
            generate_name: metadata.generate_name.clone().into(),
            owner: owner.map(|reference| reference.owner.clone()),
            user: user.username.clone().into(),
            groups: user.groups.iter().map(|group| group.clone().into()).collect(),
            service_account: spec.service_account_name.clone().into(),
            policy: annotation(annotations::POLICY).into(),
            policy_hash: annotation(annotations::POLICY_HASH).into(),
            violations: rules.map(violation).collect(),
            images: containers.map(|container| container.image.clone().into()).collect(),
            ..AuditRecord::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1",
        "stage":"ResponseComplete","requestURI":"/api/v1/namespaces/workflows/pods?dryRun=All&fieldManager=x",
        "verb":"create","user":{"username":"alice","groups":["dev"],"extra":{"x":["y"]}},
        "objectRef":{"resource":"pods","namespace":"workflows","name":"p","apiVersion":"v1"},
        "responseStatus":{"code":403},"requestReceivedTimestamp":"2026-11-24T12:00:00.000000Z",
        "annotations":{"mutate.sandgate.dev/verdict":"denied","mutate.sandgate.dev/rules":"privileged,host-ports",
        "mutate.sandgate.dev/policy":"workflow-runner","mutate.sandgate.dev/policy-hash":"00","other/verdict":"x"}}"#;

    #[test]
    fn a_denial_is_found_with_its_user_and_its_rules() {
        let event: AuditEvent = serde_json::from_str(DENIED).unwrap();
        let [verdict] = event.records().try_into().unwrap();
        assert_eq!((&*verdict.verdict, &*verdict.endpoint, &*verdict.user), ("denied", "mutate", "alice"));
        assert_eq!((&*verdict.operation, verdict.dry_run), ("CREATE", true));
        let rules: Vec<_> = verdict.violations.iter().map(|violation| &*violation.rule).collect();
        assert_eq!(rules, ["privileged", "host-ports"]);
    }

    #[test]
    fn every_webhook_of_the_chart_is_recorded_with_the_endpoint_that_it_calls() {
        for (webhook, endpoint) in [
            ("patterns.mutate", "mutate"),
            ("validate", "validate"),
            ("status", "validate"),
            ("ci.selector.binding", "validate"),
        ] {
            let event = DENIED.replace("\"mutate.sandgate.dev", &format!("\"{webhook}.sandgate.dev"));
            let event: AuditEvent = serde_json::from_str(&event).unwrap();
            assert_eq!(event.records()[0].endpoint, endpoint, "{webhook}");
        }
    }

    #[test]
    fn a_denial_of_the_backstop_is_found_with_its_policy_and_its_rules() {
        let failures = serde_json::json!([
            {
                "message": "policy \"ci\" (backstop), 2 violations: privileged: spec.a is true; labels: b is \"c; d: e\"",
                "policy": "sandgate-ci", "binding": "sandgate-ci", "expressionIndex": 0,
                "validationActions": ["Deny", "Audit"]
            },
            {"message": "another policy", "policy": "x", "binding": "x", "validationActions": ["Audit"]}
        ]);
        let annotations = serde_json::json!({POLICY_FAILURES: failures.to_string()});
        let event = serde_json::json!({"auditID": "a", "verb": "create", "annotations": annotations});
        let event: AuditEvent = serde_json::from_value(event).unwrap();
        let [record] = event.records().try_into().unwrap();
        assert_eq!((&*record.verdict, &*record.endpoint, &*record.policy), ("denied", "backstop", "ci"));
        let rules: Vec<_> = record.violations.iter().map(|violation| &*violation.rule).collect();
        assert_eq!(rules, ["privileged", "labels"]);
    }

    #[test]
    fn only_the_parameter_dry_run_makes_a_dry_run() {
        for (query, is_dry_run) in [
            ("?dryRun=All", true),
            ("?pretty=true&dryRun=%41ll", true),
            ("?fieldManager=dryRun=All", false),
            ("?fieldManager=x%26dryRun%3DAll", false),
            ("", false),
        ] {
            let event = DENIED.replace("?dryRun=All&fieldManager=x", query);
            let event: AuditEvent = serde_json::from_str(&event).unwrap();
            assert_eq!(event.records()[0].dry_run, is_dry_run, "{query}");
        }
    }

    #[test]
    fn the_user_is_the_one_that_was_acted_as() {
        let event = DENIED.replace(r#""verb""#, r#""impersonatedUser":{"username":"mallory"},"verb""#);
        let event: AuditEvent = serde_json::from_str(&event).unwrap();
        assert_eq!(event.records()[0].user, "mallory");
    }

    #[test]
    fn an_event_without_our_annotations_has_no_verdict() {
        let event = r#"{"auditID":"a","verb":"get","annotations":{"authorization.k8s.io/decision":"allow"}}"#;
        assert_eq!(serde_json::from_str::<AuditEvent>(event).unwrap().records(), []);
    }
}
