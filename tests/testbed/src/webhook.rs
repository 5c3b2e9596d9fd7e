//! The registration of a webhook at the API server.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Rest, Result};

/// One of the two phases of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// A webhook of a `MutatingWebhookConfiguration`.
    Mutating,
    /// A webhook of a `ValidatingWebhookConfiguration`.
    Validating,
}

/// A webhook of pods in some namespaces.
pub struct Webhook<'w> {
    /// The kind of its configuration.
    pub kind: WebhookKind,
    /// Of the configuration: the API server calls them in the order of these names.
    pub configuration: &'w str,
    /// As it stands in messages.
    pub name: &'w str,
    /// The URL that the API server calls.
    pub url: &'w str,
    /// The CA of its certificate, in PEM.
    pub ca: &'w str,
    /// The namespaces whose Pods it is called for.
    pub namespaces: &'w [String],
    /// The policy on whether a mutating webhook is asked again after another one changed the object.
    pub reinvocation: Reinvocation,
}

/// The values of `reinvocationPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reinvocation {
    /// It is called again.
    IfNeeded,
    /// It is called once.
    Never,
}

impl Webhook<'_> {
    /// Registers it. The API server takes notice some moments later.
    ///
    /// # Errors
    /// Returns an error if the API server rejects it.
    pub async fn register(&self, rest: &Rest) -> Result<()> {
        let resource = match self.kind {
            WebhookKind::Mutating => "mutatingwebhookconfigurations",
            WebhookKind::Validating => "validatingwebhookconfigurations",
        };
        rest.post(&format!("/apis/admissionregistration.k8s.io/v1/{resource}"), &self.object()).await?;
        Ok(())
    }

    fn object(&self) -> Value {
        let Self { kind, configuration, name, url, ca, namespaces, reinvocation } = self;
        let mut webhook = json!({
            "name": name,
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(ca)},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "NoneOnDryRun",
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "timeoutSeconds": 5,
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
            ]},
            "rules": [
                pods(&["CREATE", "UPDATE"], "pods"),
                pods(&["UPDATE"], "pods/ephemeralcontainers"),
                pods(&["UPDATE"], "pods/resize"),
            ],
        });
        if *kind == WebhookKind::Mutating {
            webhook["reinvocationPolicy"] = json!(format!("{reinvocation:?}"));
        }
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind:?}WebhookConfiguration"),
            "metadata": {"name": configuration},
            "webhooks": [webhook],
        })
    }
}

fn pods(operations: &[&str], resource: &str) -> Value {
    json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": [resource], "scope": "Namespaced"})
}
