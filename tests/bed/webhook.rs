//! How a webhook is made known to the API server.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Rest, Result};

/// Which of the two phases of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookKind {
    Mutating,
    Validating,
}

/// A webhook of pods in some namespaces.
pub(crate) struct Webhook<'w> {
    pub(crate) kind: WebhookKind,
    /// Of the configuration: the API server calls them in the order of these names.
    pub(crate) configuration: &'w str,
    /// As it stands in messages.
    pub(crate) name: &'w str,
    pub(crate) url: &'w str,
    /// What its certificate is signed by, in PEM.
    pub(crate) ca: &'w str,
    pub(crate) namespaces: &'w [String],
    /// Whether a mutating one is asked again when another changed the object after it.
    pub(crate) reinvocation: Reinvocation,
}

/// `reinvocationPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reinvocation {
    IfNeeded,
    Never,
}

impl Webhook<'_> {
    /// Registers it. The API server takes notice some moments later.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(crate) async fn register(&self, rest: &Rest) -> Result<()> {
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
