//! The same objects for manifest-based admission: files of the control plane, which the API server reads before its first
//! request and which no one can delete by the API.

use serde_json::{Value as Json, json};

use super::objects::resource_rule;
use crate::{
    policy::{PolicySet, WebhookScope},
    review::annotations::{BINDING_WEBHOOK, MUTATE_WEBHOOK, STATUS_WEBHOOK, VALIDATE_WEBHOOK},
};

/// The end of the names of all objects in static files. The API server takes no such name from anywhere else.
const STATIC_SUFFIX: &str = ".static.k8s.io";
/// The first minor version of Kubernetes 1 that reads such files.
pub const MANIFESTS_MINOR: u32 = 36;
const CONFIG_VERSION: &str = "apiserver.config.k8s.io/v1";
/// How long the API server waits for an answer, in seconds.
const TIMEOUT_SECONDS: u32 = 5;

/// Returns the objects of [`super::render`] and [`super::guard`] as they are written into static files.
#[must_use]
pub fn manifests(objects: &[Json]) -> Vec<Json> {
    objects.iter().map(manifest).collect()
}

fn manifest(object: &Json) -> Json {
    let mut object = object.clone();
    for pointer in ["/metadata/name", "/spec/policyName"] {
        if let Some(Json::String(name)) = object.pointer_mut(pointer) {
            name.push_str(STATIC_SUFFIX);
        }
    }
    object
}

/// The folders of the control-plane nodes that the API server reads, as absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFolders {
    /// The folder with the validating admission policies and their bindings.
    pub policies: String,
    /// The folder with the mutating ones; none if nothing is filled without a webhook.
    pub fills: Option<String>,
    /// The folders with the mutating and the validating webhook configuration; none if webhooks are not static.
    pub webhooks: Option<[String; 2]>,
}

/// Returns the file for `kube-apiserver --admission-control-config-file`.
#[must_use]
pub fn admission_configuration(folders: &ManifestFolders) -> Json {
    let plugin = |name: &str, kind: &str, folder: &str| {
        let configuration = json!({"apiVersion": CONFIG_VERSION, "kind": kind, "staticManifestsDir": folder});
        json!({"name": name, "configuration": configuration})
    };
    let kind = "ValidatingAdmissionPolicyConfiguration";
    let mut plugins = vec![plugin("ValidatingAdmissionPolicy", kind, &folders.policies)];
    if let Some(folder) = &folders.fills {
        plugins.push(plugin("MutatingAdmissionPolicy", "MutatingAdmissionPolicyConfiguration", folder));
    }
    if let Some([mutating, validating]) = &folders.webhooks {
        for (name, folder) in
            [("MutatingAdmissionWebhook", mutating), ("ValidatingAdmissionWebhook", validating)]
        {
            plugins.push(plugin(name, "WebhookAdmissionConfiguration", folder));
        }
    }
    json!({"apiVersion": CONFIG_VERSION, "kind": "AdmissionConfiguration", "plugins": plugins})
}

/// Returns both webhook configurations, mutating and validating, for a replica at `url` on the same node. A static
/// configuration may not name a Service. `ca_bundle` is PEM in Base64.
#[must_use]
pub fn webhook_manifests(set: &PolicySet, url: &str, ca_bundle: &str) -> [Json; 2] {
    let scopes = set.webhook_scopes();
    let of = |kind: &str, path: &str, names: &[Called]| {
        let webhooks = scopes.iter().flat_map(|scope| {
            names.iter().map(move |called| {
                let mut webhook = called.webhook(scope);
                let path_policy = if scope.path_policy.is_empty() { "" } else { "/" };
                let url = format!("{url}{path}{path_policy}{}", scope.path_policy);
                webhook["clientConfig"] = json!({"url": url, "caBundle": ca_bundle});
                webhook
            })
        });
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": format!("sandgate{STATIC_SUFFIX}")},
            "webhooks": webhooks.collect::<Vec<Json>>(),
        })
    };
    [
        of("MutatingWebhookConfiguration", "/mutate", &[Called::Mutate]),
        of(
            "ValidatingWebhookConfiguration",
            "/validate",
            &[Called::Validate, Called::Status, Called::Binding],
        ),
    ]
}

/// The webhooks that the chart installs as well, `templates` left out: it only warns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    Mutate,
    Validate,
    Status,
    Binding,
}

impl Called {
    fn name(self) -> &'static str {
        match self {
            Self::Mutate => MUTATE_WEBHOOK,
            Self::Validate => VALIDATE_WEBHOOK,
            Self::Status => STATUS_WEBHOOK,
            Self::Binding => BINDING_WEBHOOK,
        }
    }

    fn rules(self) -> Json {
        match self {
            Self::Mutate | Self::Validate => json!([
                resource_rule(&["CREATE", "UPDATE"], &["pods"]),
                resource_rule(&["UPDATE"], &["pods/ephemeralcontainers", "pods/resize"]),
            ]),
            Self::Status => json!([resource_rule(&["UPDATE"], &["pods/status"])]),
            Self::Binding => json!([resource_rule(&["CREATE"], &["pods/binding", "bindings"])]),
        }
    }

    /// Returns the condition that something changes that a rule reads.
    fn condition(self) -> Json {
        let (name, expression) = match self {
            Self::Mutate | Self::Validate => (
                "changes-what-rules-read",
                "request.operation != \"UPDATE\" || object.?spec != oldObject.?spec || \
                 object.metadata.?labels != oldObject.metadata.?labels || \
                 object.metadata.?annotations != oldObject.metadata.?annotations || \
                 object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences",
            ),
            Self::Status => (
                "changes-metadata",
                "object.metadata.?labels != oldObject.metadata.?labels || \
                 object.metadata.?annotations != oldObject.metadata.?annotations",
            ),
            Self::Binding => (
                "carries-metadata",
                "object.metadata.?labels.orValue({}).exists(key, \
                 !(key in ['topology.kubernetes.io/zone', 'topology.kubernetes.io/region'])) || \
                 object.metadata.?annotations.orValue({}).size() > 0",
            ),
        };
        json!({"name": name, "expression": expression})
    }

    fn webhook(self, scope: &WebhookScope) -> Json {
        let mut conditions = json!(scope.match_conditions);
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.push(self.condition());
        }
        let mut webhook = json!({
            "name": format!("{}{}", scope.name_prefix(), self.name()),
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "matchConditions": conditions,
            "namespaceSelector": scope.namespace_selector,
            "rules": self.rules(),
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": TIMEOUT_SECONDS,
        });
        if self == Self::Mutate {
            webhook["reinvocationPolicy"] = json!("IfNeeded");
        }
        webhook
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_as_static_objects_must_and_bindings_name_their_policies() {
        let objects =
            super::super::render(&PolicySet::builtin(), &super::super::Settings::default()).unwrap();
        let objects = manifests(&objects);
        let name = "sandgate-workflow-runner.static.k8s.io";
        assert_eq!(objects[0]["metadata"]["name"], name);
        assert_eq!(objects[1]["metadata"]["name"], name);
        assert_eq!(objects[1]["spec"]["policyName"], name);
    }

    #[test]
    fn webhooks_of_static_files_have_a_url_and_no_service() {
        let [mutating, validating] =
            webhook_manifests(&PolicySet::builtin(), "https://127.0.0.1:9443", "Q0E=");
        let config = &mutating["webhooks"][0]["clientConfig"];
        assert_eq!(*config, json!({"url": "https://127.0.0.1:9443/mutate", "caBundle": "Q0E="}));
        let names: Vec<&Json> =
            validating["webhooks"].as_array().unwrap().iter().map(|webhook| &webhook["name"]).collect();
        assert_eq!(names, ["validate.sandgate.dev", "status.sandgate.dev", "binding.sandgate.dev"]);
    }

    #[test]
    fn configuration_names_only_the_plugins_that_have_files() {
        let folders = ManifestFolders { policies: "/etc/p".into(), fills: None, webhooks: None };
        assert_eq!(admission_configuration(&folders)["plugins"].as_array().unwrap().len(), 1);
        let folders = ManifestFolders { webhooks: Some(["/etc/m".into(), "/etc/v".into()]), ..folders };
        let plugins = &admission_configuration(&folders)["plugins"];
        assert_eq!(plugins[2]["configuration"]["staticManifestsDir"], "/etc/v");
    }
}
