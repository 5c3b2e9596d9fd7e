//! The sources of projected volumes: what each is, and what the policy admits of it.
//!
//! A source is checked by its content, not by the name of its volume. Three rules share the work: `token-volumes` checks
//! tokens and Pod certificates, `secrets` checks Secrets, and `volume-types` checks all other sources with
//! [`check_projected`].

use std::fmt;

use super::volume_types::opens_secrets;
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    path::LazyPath,
    pod::Pod,
    policy::{Names, ServiceAccount, Spec},
    text::quote,
    violations::{Reporter, show},
};

/// The beginning of the name of the volume that the API server adds.
const API_VOLUME_PREFIX: &str = "kube-api-access-";
/// The highest lifetime of the token in the API server's own volume, in seconds.
const API_TOKEN_SECONDS: i64 = 3607;
/// The lifetime that the API server gives a projected token without one, in seconds.
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// A projected service account token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'v> {
    /// The audience; `None` for a token for the API server.
    audience: Option<&'v str>,
    /// The lifetime in seconds; `None` if it is not a number.
    seconds: Option<i64>,
    /// True if the volume has exactly the content that the API server gives its own.
    in_api_volume: bool,
}

impl<'v> Token<'v> {
    /// Returns the token of a `serviceAccountToken` source. The author of a Pod writes no audience as null or as an empty
    /// text too; a value of another type is an audience that no policy allows.
    pub(super) fn of(source: &'v Value, in_api_volume: bool) -> Self {
        let field = |key| source.as_object().and_then(|source| source.get(key));
        let audience = field("audience").map(|audience| audience.as_str().unwrap_or("\0"));
        let seconds = field("expirationSeconds").map_or(Some(DEFAULT_TOKEN_SECONDS), Value::as_i64);
        Self { audience: audience.filter(|audience| !audience.is_empty()), seconds, in_api_volume }
    }

    /// Returns true if a container with these keys may have the token.
    pub(super) fn is_allowed_by(self, account: &ServiceAccount) -> bool {
        let Some(audience) = self.audience else { return self.in_api_volume && account.automount_token };
        account.tokens.iter().any(|allowed| {
            let max = i64::from(allowed.max_expiration_seconds);
            allowed.is_for(audience) && self.seconds.is_some_and(|seconds| (1..=max).contains(&seconds))
        })
    }

    /// Returns the key of the policy that admits such a token.
    pub(super) fn policy_key(self) -> &'static str {
        if self.audience.is_some() { "serviceAccount.tokens" } else { "serviceAccount.automountToken" }
    }

    /// Returns what the author of the Pod can do about the token. Most tokens are written by a webhook of the cloud or of
    /// a service mesh, so the text names its switch.
    pub(super) fn remedy(self) -> &'static str {
        match self.audience {
            None if self.in_api_volume => "set automountServiceAccountToken: false, so that it is not added",
            None => {
                "remove this source: only the API server's own volume may have a token without an audience"
            }
            Some("sts.amazonaws.com") => {
                "EKS adds it for the IAM role of the service account: use an account without one"
            }
            Some("pods.eks.amazonaws.com") => {
                "EKS Pod Identity adds it for the service account: use one without an association"
            }
            Some("api://AzureADTokenExchange") => {
                "AKS workload identity adds it: leave out the label azure.workload.identity/use"
            }
            Some("istio-ca") => "Istio adds it: set the label sidecar.istio.io/inject to \"false\"",
            Some("identity.l5d.io") => "Linkerd adds it: set the annotation linkerd.io/inject to disabled",
            Some(audience) if audience.starts_with("spiffe://") && audience.ends_with("/dapr-sentry") => {
                "Dapr adds it: leave out the annotation dapr.io/enabled"
            }
            Some(_) => "remove this source, or stop the webhook that adds it",
        }
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.audience {
            None => f.write_str("a token for the API server")?,
            Some(audience) => write!(f, "a token for {}", quote(audience))?,
        }
        match self.seconds {
            Some(seconds) if self.in_api_volume && seconds <= API_TOKEN_SECONDS => Ok(()),
            Some(seconds) => write!(f, " of {seconds} s"),
            None => f.write_str(" of no number of seconds"),
        }
    }
}

/// The audiences and lifetimes that the policy allows, for a message.
pub(super) struct AllowedTokens<'p>(pub(super) &'p ServiceAccount);

impl fmt::Display for AllowedTokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.0.tokens.is_empty() {
            return f.write_str("absent");
        }
        for (index, token) in self.0.tokens.iter().enumerate() {
            let separator = if index == 0 { "a token for " } else { " or " };
            write!(f, "{separator}{} of at most {} s", token.audience, token.max_expiration_seconds)?;
        }
        Ok(())
    }
}

/// Returns every source of the field `projected` of a volume, with its position and its kind. An item that sets two kinds is two sources.
pub(super) fn sources<'v, 'a>(
    projected: &'v Object<'a>,
) -> impl Iterator<Item = (usize, &'v str, &'v Value<'a>)> {
    let items = projected.objects("sources");
    items.flat_map(|(position, item)| item.iter().map(move |(kind, source)| (position, kind, source)))
}

/// Returns true if a volume has exactly the content of the one that the API server's plugin `ServiceAccount` adds: a token
/// without an audience, the CA of the API server, and the namespace. `OpenShift` adds the CA of its Services.
pub(super) fn is_api_volume(volume: &Object) -> bool {
    let Some(projected) = volume.object("projected") else { return false };
    let mut seen = [false; 4];
    for (_, item) in projected.list("sources") {
        let Some(item) = item.as_object() else { return false };
        let mut kinds = item.iter();
        let (Some((kind, Value::Object(source))), None) = (kinds.next(), kinds.next()) else { return false };
        let position = match kind {
            "serviceAccountToken" if is_api_token(source) => 0,
            "configMap" if is_ca(source, "kube-root-ca.crt", "ca.crt") => 1,
            "downwardAPI" if gives_namespace_only(source) => 2,
            "configMap" if is_ca(source, "openshift-service-ca.crt", "service-ca.crt") => 3,
            _ => return false,
        };
        if std::mem::replace(&mut seen[position], true) {
            return false;
        }
    }
    seen[..3] == [true; 3]
}

/// Returns true if a volume is the one that the API server adds to a Pod: by its content and its name, since a volume of
/// another name was written by the author of the Pod.
pub(super) fn is_added_by_api_server(volume: &Object) -> bool {
    volume.str("name").is_some_and(|name| name.starts_with(API_VOLUME_PREFIX)) && is_api_volume(volume)
}

fn is_api_token(source: &Object) -> bool {
    let seconds = source.get("expirationSeconds").map_or(Some(DEFAULT_TOKEN_SECONDS), Value::as_i64);
    source.get("audience").is_none_or(|audience| audience.as_str() == Some(""))
        && seconds.is_some_and(|seconds| seconds <= API_TOKEN_SECONDS)
        && source.str("path") == Some("token")
}

fn is_ca(source: &Object, name: &str, file: &str) -> bool {
    let mut items = source.list("items").map(|(_, item)| item.as_object());
    let is_file = |item: &Object| item.str("key") == Some(file) && item.str("path") == Some(file);
    source.str("name") == Some(name) && items.next().flatten().is_some_and(is_file) && items.next().is_none()
}

fn gives_namespace_only(source: &Object) -> bool {
    let mut items = source.list("items").map(|(_, item)| item.as_object());
    let is_namespace = |item: &Object| {
        item.get("resourceFieldRef").is_none()
            && item.str("path") == Some("namespace")
            && item.object("fieldRef").and_then(|field| field.str("fieldPath")) == Some("metadata.namespace")
    };
    items.next().flatten().is_some_and(is_namespace) && items.next().is_none()
}

/// Reports each source of `projected`, the field at `path` of a volume, that the Pod may not use, apart from tokens, Pod certificates and
/// the names of Secrets. A type of source that is newer than this program is reported too.
pub(super) fn check_projected(
    pod: &Pod,
    volume: &Object,
    projected: &Object,
    path: &LazyPath,
    out: &mut Reporter,
) {
    // The rule token-volumes decides about the API server's own volume as a whole.
    if is_api_volume(volume) {
        return;
    }
    let spec = &pod.profile.spec;
    let list = path.child("sources");
    let mut is_empty = true;
    for (position, kind, source) in sources(projected) {
        is_empty = false;
        let item = list.index(position);
        let at = item.child(kind);
        let name = |key: &str| source.as_object().and_then(|source| source.get(key));
        match kind {
            "serviceAccountToken" | "podCertificate" => {}
            "secret" if secrets_may_be_mounted(pod) => {}
            "secret" => report_type(at, kind, "secrets.volumes", out),
            "downwardAPI" if spec.volumes.downward_api => {}
            "downwardAPI" => report_type(at, kind, "volumes.downwardAPI", out),
            "configMap" => {
                let names = &spec.volumes.config_map.names;
                if names.is_empty() {
                    report_type(at, kind, "volumes.configMap.names", out);
                } else if !names.allows_anything()
                    && !name("name").and_then(Value::as_str).is_some_and(|name| names.allows(name))
                {
                    let remedy = "name an allowed ConfigMap (policy key volumes.configMap.names)";
                    out.report(at.child("name"), show(name("name")), format_args!("one of {names}"), remedy);
                }
            }
            "clusterTrustBundle" => check_trust_bundle(spec, source, at, out),
            _ => out.report(
                at,
                format_args!("a source of the type {}", quote(kind)),
                "absent",
                "remove this source, or update sandgate if Kubernetes is newer",
            ),
        }
    }
    if is_empty {
        out.report(*path, "without a source", "with an allowed source", "remove this volume");
    }
}

fn report_type(at: LazyPath, kind: &str, key: &str, out: &mut Reporter) {
    let found = format_args!("a {kind} source");
    out.report(at, found, "absent", format_args!("remove this source (policy key {key})"));
}

/// Returns true if the policy allows a container of the Pod to mount a Secret; the rule `secrets` compares the names.
fn secrets_may_be_mounted(pod: &Pod) -> bool {
    let profile = pod.profile;
    let mut specs = std::iter::once(&profile.spec).chain(profile.exceptions.iter().map(|other| &other.spec));
    specs.any(|spec| !spec.secrets.volumes.is_empty())
}

fn check_trust_bundle(spec: &Spec, source: &Value, at: LazyPath, out: &mut Reporter) {
    let allowed = &spec.volumes.projected.cluster_trust_bundles;
    let mut is_named = false;
    for field in ["name", "signerName"] {
        let Some(found) = source.as_object().and_then(|source| source.get(field)) else { continue };
        is_named = true;
        if !found.as_str().is_some_and(|name| allowed.allows(name)) {
            report_name(at.child(field), Some(found), allowed, CLUSTER_TRUST_BUNDLES, out);
        }
    }
    if !is_named {
        report_name(at, Some(source), allowed, CLUSTER_TRUST_BUNDLES, out);
    }
}

const CLUSTER_TRUST_BUNDLES: &str = "volumes.projected.clusterTrustBundles";
const POD_CERTIFICATE_SIGNERS: &str = "volumes.projected.podCertificateSigners";

/// Reports the `podCertificate` source at `at` unless the policy allows its signer.
pub(super) fn check_pod_certificate(spec: &Spec, source: &Value, at: LazyPath, out: &mut Reporter) {
    let allowed = &spec.volumes.projected.pod_certificate_signers;
    let signer = source.as_object().and_then(|source| source.get("signerName"));
    if !signer.and_then(Value::as_str).is_some_and(|signer| allowed.allows(signer)) {
        report_name(at, Some(source), allowed, POD_CERTIFICATE_SIGNERS, out);
    }
}

fn report_name(at: LazyPath, found: Option<&Value>, allowed: &Names, key: &str, out: &mut Reporter) {
    let remedy = format_args!("remove this source (policy key {key})");
    if allowed.is_empty() {
        out.report(at, show(found), "absent", remedy);
    } else {
        out.report(at, show(found), format_args!("of {allowed}"), remedy);
    }
}

pub(super) fn cel_projected(keys: Keys) -> Statement {
    let spec: &Spec = keys.spec;
    let config_maps = &spec.volumes.config_map.names;
    let bundles = &spec.volumes.projected.cluster_trust_bundles;
    let is_bundle = |field: &str| {
        let name = format!("s.clusterTrustBundle.?{field}");
        format!("(!{name}.hasValue() || {})", patterns::names(bundles, &format!("{name}.orValue('')")))
    };
    let bundle = cel::all([
        "(s.clusterTrustBundle.?name.hasValue() || s.clusterTrustBundle.?signerName.hasValue())".into(),
        is_bundle("name"),
        is_bundle("signerName"),
    ]);
    let config_map = if config_maps.allows_anything() {
        "true".into()
    } else {
        cel::all([
            "s.configMap.?name.hasValue()".into(),
            patterns::names(config_maps, "s.configMap.?name.orValue('')"),
        ])
    };
    let kinds = [
        ("secret", opens_secrets(keys.profile).to_string()),
        ("downwardAPI", spec.volumes.downward_api.to_string()),
        ("configMap", config_map),
        ("clusterTrustBundle", bundle),
    ];
    let fits = kinds.into_iter().map(|(kind, fits)| cel::all([format!("f == '{kind}'"), fits]));
    let source =
        cel::any(std::iter::once("f in ['serviceAccountToken', 'podCertificate']".to_string()).chain(fits));
    let sources = "d.projected.?sources.orValue([])";
    let all_fit =
        format!("({sources}.exists(s, dyn(s).size() > 0) && {sources}.all(s, dyn(s).all(f, {source})))");
    let condition =
        cel::all(["d.?projected.hasValue()".into(), cel::not(&all_fit), format!("!{CEL_IS_API_VOLUME}")]);
    let found = format!(
        "'a volume of the sources ' + {sources}.map(s, dyn(s).map(f, f + ' ' + \
         (f == 'configMap' ? s.configMap.?name.orValue('') : '')).join(', ')).join(', ')"
    );
    Statement::volume(condition, ".projected", &found)
}

/// True of a volume `d` with exactly the content that the API server gives its own.
pub(crate) const CEL_IS_API_VOLUME: &str = concat!(
    "[d.?projected.?sources.orValue([])].exists(l, l.size() >= 3 && l.size() <= 4 && l.all(s, dyn(s).size() == 1) && ",
    "l.filter(s, s.?serviceAccountToken.hasValue() && s.serviceAccountToken.?audience.orValue('') == '' && ",
    "s.serviceAccountToken.?expirationSeconds.orValue(3600) <= 3607 && ",
    "s.serviceAccountToken.?path.orValue('') == 'token').size() == 1 && ",
    "l.filter(s, s.?configMap.?name.orValue('') == 'kube-root-ca.crt' && ",
    "s.configMap.?items.orValue([]).size() == 1 && s.configMap.items.all(i, i.key == 'ca.crt' && i.path == 'ca.crt')",
    ").size() == 1 && ",
    "l.filter(s, s.?downwardAPI.?items.orValue([]).size() == 1 && s.downwardAPI.items.all(i, ",
    "!i.?resourceFieldRef.hasValue() && i.path == 'namespace' && ",
    "i.?fieldRef.?fieldPath.orValue('') == 'metadata.namespace')).size() == 1 && ",
    "(l.size() == 3 || l.filter(s, s.?configMap.?name.orValue('') == 'openshift-service-ca.crt' && ",
    "s.configMap.?items.orValue([]).size() == 1 && s.configMap.items.all(i, i.key == 'service-ca.crt' && ",
    "i.path == 'service-ca.crt')).size() == 1))",
);

/// Returns the condition that containers with these keys may have the token of the source `s` of the volume `d`.
pub(super) fn cel_may_have(account: &ServiceAccount) -> String {
    let for_api_server = if account.automount_token {
        format!("(s.serviceAccountToken.?audience.orValue('') == '' && {CEL_IS_API_VOLUME})")
    } else {
        "false".into()
    };
    cel::any(std::iter::once(for_api_server).chain(account.tokens.iter().map(cel_is_token)))
}

fn cel_is_token(token: &crate::policy::Token) -> String {
    let audience = "s.serviceAccountToken.?audience.orValue('')";
    let seconds = "s.serviceAccountToken.?expirationSeconds.orValue(3600)";
    let is_for = if token.audience.contains('*') {
        patterns::globs_match(std::iter::once(token.audience.as_str()), audience)
    } else {
        format!("{audience} == {}", cel::text(&token.audience))
    };
    format!(
        "({audience} != '' && {is_for} && {seconds} >= 1 && {seconds} <= {})",
        token.max_expiration_seconds
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;

    fn api_volume(name: &str) -> Json {
        json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}})
    }

    fn is_api(volume: &Json) -> bool {
        let text = json!({"v": volume}).to_string();
        let tree = crate::json::pod_from_str(&text).unwrap();
        super::is_api_volume(tree.as_object().unwrap().object("v").unwrap())
    }

    #[test]
    fn api_servers_volume_is_recognised_by_its_content_under_any_name() {
        assert!(is_api(&api_volume("kube-api-access-x")));
        assert!(is_api(&api_volume("token")));
        let mut of_openshift = api_volume("kube-api-access-x");
        let service_ca = json!({"configMap": {"name": "openshift-service-ca.crt", "items": [{"key": "service-ca.crt", "path": "service-ca.crt"}]}});
        of_openshift["projected"]["sources"].as_array_mut().unwrap().push(service_ca);
        assert!(is_api(&of_openshift));
    }

    #[test]
    fn volume_that_differs_in_any_part_is_not_the_api_servers() {
        for (place, value) in [
            ("/projected/sources/0/serviceAccountToken/audience", json!("sts.amazonaws.com")),
            ("/projected/sources/0/serviceAccountToken/expirationSeconds", json!(3608)),
            ("/projected/sources/0/serviceAccountToken/path", json!("t")),
            ("/projected/sources/1/configMap/name", json!("mine")),
            ("/projected/sources/1/configMap/items/0/path", json!("token")),
            ("/projected/sources/1/configMap/items", json!([])),
            ("/projected/sources/2/downwardAPI/items/0/fieldRef/fieldPath", json!("metadata.annotations")),
            ("/projected/sources/2/downwardAPI/items", json!([])),
            ("/projected/sources/2", json!({"secret": {"name": "s"}})),
            ("/projected/sources/2", json!(null)),
        ] {
            let mut volume = api_volume("kube-api-access-x");
            let (parent, key) = place.rsplit_once('/').unwrap();
            match volume.pointer_mut(parent).unwrap() {
                Json::Array(list) => list[key.parse::<usize>().unwrap()] = value,
                object => object[key] = value,
            }
            assert!(!is_api(&volume), "{place}");
        }
        for extra in [json!({"secret": {"name": "s"}}), json!({"serviceAccountToken": {"path": "token"}})] {
            let mut volume = api_volume("kube-api-access-x");
            volume["projected"]["sources"].as_array_mut().unwrap().push(extra);
            assert!(!is_api(&volume));
        }
        let mut two_kinds = api_volume("kube-api-access-x");
        two_kinds["projected"]["sources"][1]["secret"] = json!({"name": "s"});
        assert!(!is_api(&two_kinds));
    }

    fn sourced(source: &Json) -> impl FnOnce(&mut Json) {
        let volume = json!({"name": "p", "projected": {"sources": [source]}});
        move |pod| pod["spec"]["volumes"].as_array_mut().unwrap().push(volume)
    }

    #[test]
    fn every_source_is_denied_by_default() {
        let at = "spec.volumes[2].projected.sources[0]";
        for (source, expected) in [
            (json!({"configMap": {"name": "c"}}), format!("volume-types {at}.configMap")),
            (json!({"downwardAPI": {"items": []}}), format!("volume-types {at}.downwardAPI")),
            (
                json!({"clusterTrustBundle": {"name": "b", "path": "p"}}),
                format!("volume-types {at}.clusterTrustBundle.name"),
            ),
            (json!({"clusterTrustBundle": {"path": "p"}}), format!("volume-types {at}.clusterTrustBundle")),
            (json!({"podCertificate": {"signerName": "s"}}), format!("token-volumes {at}.podCertificate")),
        ] {
            rejects(&expected, sourced(&source));
        }
        let mut pod = complete_pod();
        sourced(&json!({"secret": {"name": "s"}}))(&mut pod);
        assert!(violations(&pod).contains(&format!("volume-types {at}.secret")));
        rejects("volume-types spec.volumes[2].projected", |pod| {
            pod["spec"]["volumes"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "p", "projected": {"sources": []}}));
        });
    }

    #[test]
    fn newer_source_is_denied_by_its_type() {
        let mut pod = complete_pod();
        sourced(&json!({"newSource": {}}))(&mut pod);
        let found = violations(&pod);
        assert!(
            found.contains(&"volume-types spec.volumes[2].projected.sources[0].newSource".into()),
            "{found:?}"
        );
    }

    #[test]
    fn allowed_sources_are_admitted_and_their_neighbours_are_not() {
        let spec = spec(
            "{volumes: {downwardAPI: true, configMap: {names: [team-*]}, projected: {clusterTrustBundles: [ca, example.com/*], podCertificateSigners: [example.com/tls]}}}",
        );
        let at = "spec.volumes[2].projected.sources[0]";
        for source in [
            json!({"configMap": {"name": "team-a"}}),
            json!({"downwardAPI": {"items": []}}),
            json!({"clusterTrustBundle": {"name": "ca", "path": "p"}}),
            json!({"clusterTrustBundle": {"signerName": "example.com/x", "path": "p"}}),
            json!({"podCertificate": {"signerName": "example.com/tls", "keyType": "ED25519"}}),
        ] {
            accepts_under(&spec, sourced(&source));
        }
        for (source, expected) in [
            (json!({"configMap": {"name": "other"}}), "volume-types", "configMap.name"),
            (json!({"configMap": {}}), "volume-types", "configMap.name"),
            (json!({"clusterTrustBundle": {"name": "cb"}}), "volume-types", "clusterTrustBundle.name"),
            (
                json!({"clusterTrustBundle": {"signerName": "other.com/x"}}),
                "volume-types",
                "clusterTrustBundle.signerName",
            ),
            (
                json!({"podCertificate": {"signerName": "example.com/tls2"}}),
                "token-volumes",
                "podCertificate",
            ),
            (json!({"podCertificate": {}}), "token-volumes", "podCertificate"),
        ]
        .map(|(source, rule, field)| (source, format!("{rule} {at}.{field}")))
        {
            rejects_under(&spec, &expected, sourced(&source));
        }
    }
}
