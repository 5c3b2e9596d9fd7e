//! The sources of projected volumes: what the policy admits of each.

use super::{
    helpers::is_api_token_volume,
    volume_types::{AllowedNames, opens_secrets, report_closed},
};
use crate::{json::Object, path::LazyPath, pod::Pod, policy::Spec, violations::Reporter};

/// Checks each source of a projected volume. The rule `token-volumes` checks tokens and Pod
/// certificates, the rule `secrets` the names of Secrets.
pub(super) fn check_projected(
    pod: &Pod,
    volume: &Object,
    projected: &Object,
    path: &LazyPath,
    out: &mut Reporter,
) {
    // The API server adds this volume; token-volumes decides whether it stays.
    if is_api_token_volume(volume) {
        return;
    }
    let spec = &pod.profile.spec;
    if projected.objects("sources").all(|(_, source)| source.is_empty()) {
        out.report(*path, "without a source", "with an allowed source", "remove this volume");
    }
    let path = path.child("sources");
    for (index, source) in projected.objects("sources") {
        for (kind, source) in source.iter() {
            let item = path.index(index);
            let at = item.child(kind);
            let name = |key: &str| source.as_object().and_then(|source| source.get(key));
            match kind {
                "serviceAccountToken" | "podCertificate" => {}
                "configMap" if !spec.volumes.config_map.names.is_empty() => {
                    AllowedNames::config_maps(spec).check(name("name"), at.child("name"), out);
                }
                "downwardAPI" if spec.volumes.downward_api => {}
                "secret" if opens_secrets(pod.profile) => {}
                "clusterTrustBundle" if name("name").is_some() => {
                    trust_bundles(spec).check(name("name"), at.child("name"), out);
                }
                "clusterTrustBundle" => {
                    trust_bundles(spec).check(name("signerName"), at.child("signerName"), out);
                }
                _ => report_closed(&at, kind, out),
            }
        }
    }
}

/// Returns the `ClusterTrustBundles` that may be projected, by name or signer.
fn trust_bundles(spec: &Spec) -> AllowedNames<'_> {
    AllowedNames {
        kind: "ClusterTrustBundle",
        names: &spec.volumes.projected.cluster_trust_bundles,
        key: "volumes.projected.clusterTrustBundles",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    fn with(source: Json) -> impl Fn(&mut Json) {
        move |pod| {
            let mut volume = source.clone();
            volume["name"] = json!("x");
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        }
    }

    #[test]
    fn projected_sources_are_admitted_each_by_its_own_key() {
        let open = spec(
            "{volumes: {configMap: {names: [c]}, downwardAPI: true, \
             projected: {clusterTrustBundles: [bundle], podCertificateSigners: [example.com/s]}}, \
             secrets: {volumes: [s]}}",
        );
        let projected = |source: Json| with(json!({"projected": {"sources": [source]}}));
        for (source, field) in [
            (json!({"configMap": {"name": "c"}}), ""),
            (json!({"downwardAPI": {"items": []}}), ""),
            (json!({"secret": {"name": "s"}}), ""),
            (json!({"clusterTrustBundle": {"name": "bundle", "path": "p"}}), ""),
            (json!({"configMap": {"name": "other"}}), "configMap.name"),
            (json!({"clusterTrustBundle": {"name": "other"}}), "clusterTrustBundle.name"),
            (json!({"clusterTrustBundle": {"signerName": "example.com/t"}}), "clusterTrustBundle.signerName"),
        ] {
            if field.is_empty() {
                accepts_under(&open, projected(source));
            } else {
                let expected = format!("volume-types spec.volumes[2].projected.sources[0].{field}");
                rejects_under(&open, &expected, projected(source));
            }
        }
        for kind in ["configMap", "downwardAPI"] {
            let expected = format!("volume-types spec.volumes[2].projected.sources[0].{kind}");
            rejects(&expected, projected(json!({kind: {}})));
        }
        rejects("volume-types spec.volumes[2].projected", with(json!({"projected": {"sources": []}})));
    }
}
