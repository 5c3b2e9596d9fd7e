//! Kinds of other people, which the chart makes objects of where they are asked for.

use serde_json::json;

use testbed::{Rest, eventually};

/// What the API server must know of each: group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("cert-manager.io", "v1", "Certificate", "certificates"),
    ("cert-manager.io", "v1", "Issuer", "issuers"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
];

/// Makes the kinds known that the chart makes objects of.
pub(super) async fn define(rest: &Rest) {
    define_all(rest, &KINDS).await;
}

/// Makes kinds known, with nothing but a `spec` that may be anything: their owners' own schemas are not here.
pub(crate) async fn define_all(rest: &Rest, kinds: &[(&str, &str, &str, &str)]) {
    for (group, version, kind, plural) in kinds {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": anything}});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                "versions": [{
                    "name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}
                }],
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        rest.apply(&format!("{path}/{plural}.{group}"), &definition, true).await.expect("a definition");
        eventually("the kind is served", async || {
            Ok(rest.get(&format!("/apis/{group}/{version}/{plural}")).await.ok())
        })
        .await
        .expect("it is served");
    }
}
