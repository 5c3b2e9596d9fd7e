//! The tokens that containers get: the API server's, those of other services, and Pod certificates.

use std::{
    collections::{HashMap, HashSet},
    ptr,
};

use super::{
    Group, Rule,
    helpers::VOLUMES,
    projected::{
        AllowedTokens, Token, cel_may_have, check_pod_certificate, is_added_by_api_server, is_api_volume,
        sources,
    },
};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{List, Value},
    path::SPEC,
    pod::{Pod, each_container_mut, spec_mut},
    policy::{Profile, ServiceAccount, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static TOKEN_VOLUMES: Rule = Rule {
    id: "token-volumes",
    group: Group::ServiceAccount,
    title: "Containers get no tokens but those that the policy allows them.",
    why: "A token is a credential for the API server or for another service. Unless every container may have the \
          API server's, automountServiceAccountToken is set to false, and the volume that the API server has already \
          added is removed, or kept for the containers of an exception alone. Projected tokens are compared by \
          audience and lifetime, Pod certificates by signer; one that the policy does not list is denied.",
    references: &[
        "CIS Kubernetes Benchmark 1.12, 5.1.6: Ensure that Service Account Tokens are only mounted where necessary",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Protecting Pod service account tokens",
        "Kubescape, C-0034: Automatic mapping of service account",
        "Kubescape, C-0309: Agent Sandbox service account token isolation",
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#opt-out-of-api-credential-automounting",
        "https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken",
    ],
    setting: "spec.serviceAccount.automountToken",
    fill: Some(fill_token_volumes),
    check: check_token_volumes,
    cel: Some(cel_token_volumes),
};

const AUTOMOUNT: &str = "automountServiceAccountToken";

fn fill_token_volumes<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    if may_all_have_token(profile, pod) {
        return 0;
    }
    let Some(spec) = spec_mut(pod) else { return 0 };
    let filled = usize::from(spec.set_default(AUTOMOUNT, false));
    let added = spec.objects("volumes").filter(|(_, volume)| is_added_by_api_server(volume));
    let added: HashSet<String> =
        added.filter_map(|(_, volume)| volume.str("name").map(str::to_owned)).collect();
    if added.is_empty() {
        return filled;
    }
    let mut kept = HashSet::new();
    let mut removed = 0;
    each_container_mut(pod, profile, |_, container, spec| {
        let Some(Value::List(mounts)) = container.get_mut("volumeMounts") else { return };
        let is_added = |mount: &Value| name_of(mount).is_some_and(|name| added.contains(name));
        if spec.service_account.automount_token {
            let names =
                mounts.iter().filter(|(_, mount)| is_added(mount)).filter_map(|(_, mount)| name_of(mount));
            kept.extend(names.map(str::to_owned));
        } else {
            removed += remove_where(mounts, is_added);
        }
    });
    if let Some(Value::List(volumes)) = spec_mut(pod).and_then(|spec| spec.get_mut("volumes")) {
        removed += remove_where(volumes, |volume| {
            volume.as_object().is_some_and(is_added_by_api_server)
                && !name_of(volume).is_some_and(|name| kept.contains(name))
        });
    }
    filled + removed
}

/// Returns true if every container of the Pod may have a token for the API server, debug containers included.
fn may_all_have_token<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> bool {
    let mut all = profile.spec.service_account.automount_token;
    if all && !profile.exceptions.is_empty() {
        each_container_mut(pod, profile, |_, _, spec| all &= spec.service_account.automount_token);
    }
    all
}

fn name_of<'v>(value: &'v Value) -> Option<&'v str> {
    value.as_object().and_then(|object| object.str("name"))
}

/// Takes out the items for which `unwanted` holds, and returns their number.
fn remove_where<'a>(list: &mut List<'a>, unwanted: impl Fn(&Value<'a>) -> bool) -> usize {
    let mut removed = 0;
    list.remove_where(|item| {
        let is_unwanted = unwanted(item);
        removed += usize::from(is_unwanted);
        is_unwanted
    });
    removed
}

fn check_token_volumes(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let accounts = Accounts::of(pod);
    let automount = pod.spec.get(AUTOMOUNT);
    if !accounts.iter().all(|account| account.automount_token)
        && automount.and_then(Value::as_bool) != Some(false)
    {
        let remedy = "set it to false or leave it out on create (policy key serviceAccount.automountToken)";
        out.report(SPEC.child(AUTOMOUNT), show(automount), "false", remedy);
    }
    // For each volume with tokens that some containers may have and others may not: which of them may.
    let mut divided: HashMap<&str, Vec<bool>> = HashMap::new();
    for (index, volume) in pod.spec.objects("volumes") {
        let in_api_volume = is_api_volume(volume);
        let mut allowed: Option<Vec<bool>> = None;
        for (position, kind, source) in volume.object("projected").into_iter().flat_map(sources) {
            let volume = VOLUMES.index(index);
            let projected = volume.child("projected");
            let list = projected.child("sources");
            let item = list.index(position);
            let at = item.child(kind);
            if kind == "podCertificate" {
                check_pod_certificate(spec, source, at, out);
            }
            if kind != "serviceAccountToken" {
                continue;
            }
            let token = Token::of(source, in_api_volume);
            if !accounts.iter().any(|account| token.is_allowed_by(account)) {
                let remedy = format_args!("{} (policy key {})", token.remedy(), token.policy_key());
                out.report(at, token, AllowedTokens(&spec.service_account), remedy);
            } else if !accounts.of_exceptions.is_empty() {
                let allowed = allowed.get_or_insert_with(|| vec![true; accounts.iter().count()]);
                for (allowed, account) in allowed.iter_mut().zip(accounts.iter()) {
                    *allowed &= token.is_allowed_by(account);
                }
            }
        }
        if let (Some(allowed), Some(name)) = (allowed, volume.str("name")) {
            let of_name = divided.entry(name).or_insert_with(|| vec![true; allowed.len()]);
            of_name.iter_mut().zip(allowed).for_each(|(of_name, allowed)| *of_name &= allowed);
        }
    }
    if divided.is_empty() {
        return;
    }
    for container in &pod.containers {
        let position = accounts.position(container.spec);
        for (index, mount) in container.object.objects("volumeMounts") {
            let Some(name) = mount.str("name") else { continue };
            if divided.get(name).is_some_and(|allowed| !allowed[position]) {
                let found = format_args!("{}, which has a token", quote(name));
                out.report(
                    container.at("volumeMounts").index(index).child("name"),
                    found,
                    "a volume without a token",
                    "remove this mount: only containers of an exception have the token (policy key containers)",
                );
            }
        }
    }
}

/// The different keys `serviceAccount` that hold for a Pod and for its containers.
struct Accounts<'p> {
    of_pod: &'p ServiceAccount,
    of_exceptions: Vec<&'p ServiceAccount>,
}

impl<'p> Accounts<'p> {
    fn of(pod: &Pod<'p, '_>) -> Self {
        let of_pod = &pod.profile.spec.service_account;
        let mut of_exceptions: Vec<&ServiceAccount> = Vec::new();
        for container in &pod.containers {
            let own = &container.spec.service_account;
            if !ptr::eq(own, of_pod) && !of_exceptions.iter().any(|known| ptr::eq(*known, own)) {
                of_exceptions.push(own);
            }
        }
        Self { of_pod, of_exceptions }
    }

    /// Returns the keys of the Pod, then those of each exception that a container has.
    fn iter(&self) -> impl Iterator<Item = &'p ServiceAccount> {
        std::iter::once(self.of_pod).chain(self.of_exceptions.iter().copied())
    }

    fn position(&self, spec: &Spec) -> usize {
        self.iter().position(|known| ptr::eq(known, &raw const spec.service_account)).unwrap_or(0)
    }
}

fn cel_token_volumes(keys: Keys) -> Vec<Statement> {
    let tokens = "d.?projected.?sources.orValue([]).filter(s, s.?serviceAccountToken.hasValue())";
    // The Pod's own keys count, and those of each exception that a container has.
    let held = keys.specs().enumerate().map(|(number, spec)| {
        let may_have = cel_may_have(&spec.service_account);
        let is_held = if number == 0 { "true".into() } else { format!("v.all.exists(c, c.x == {number})") };
        (may_have, is_held)
    });
    let held: Vec<(String, String)> = held.collect();
    let any_may = cel::any(held.iter().map(|(may, is_held)| cel::all([is_held.clone(), may.clone()])));
    let signer = "s.podCertificate.?signerName";
    let signers = &keys.spec.volumes.projected.pod_certificate_signers;
    let is_allowed = cel::all([
        format!("{signer}.hasValue()"),
        patterns::names(signers, &format!("{signer}.orValue('')")),
    ]);
    let certificates = format!(
        "d.?projected.?sources.orValue([]).exists(s, s.?podCertificate.hasValue() && {})",
        cel::not(&is_allowed)
    );
    let mut checks = vec![
        cel_automount(keys),
        Statement::volume(
            certificates,
            ".projected",
            "'a certificate of ' + d.projected.sources.filter(s, s.?podCertificate.hasValue())\
             .map(s, s.podCertificate.?signerName.orValue('no signer')).join(', ')",
        ),
        Statement::volume(
            format!("{tokens}.exists(s, {})", cel::not(&any_may)),
            ".projected",
            &format!(
                "'a token for ' + {tokens}.map(s, strings.quote(s.serviceAccountToken.?audience.orValue('')) + ' of ' + \
                 string(s.serviceAccountToken.?expirationSeconds.orValue(3600)) + ' s').join(', ')"
            ),
        ),
    ];
    if held.len() > 1 {
        let own: Vec<String> = held.iter().map(|(may, _)| may.clone()).collect();
        let own = cel::selected("c.x", &own);
        let mounted = format!(
            "v.vols.exists(d, d.name == m.name && {tokens}.exists(s, {any_may} && {}))",
            cel::not(&own)
        );
        let has_token = format!("v.vols.exists(d, {tokens}.size() > 0)");
        checks.push(Statement::container(
            format!("{has_token} && c.o.?volumeMounts.orValue([]).exists(m, {mounted})"),
            "volumeMounts",
            &format!(
                "'a mount of a volume with a token: ' + c.o.?volumeMounts.orValue([]).filter(m, {mounted})\
                 .map(m, m.name).join(', ')"
            ),
        ));
    }
    checks
}

fn cel_automount(keys: Keys) -> Statement {
    let closed: Vec<String> = keys
        .specs()
        .enumerate()
        .filter(|(_, spec)| !spec.service_account.automount_token)
        .map(
            |(number, _)| {
                if number == 0 { "true".into() } else { format!("v.all.exists(c, c.x == {number})") }
            },
        )
        .collect();
    let field = "v.o.?spec.?automountServiceAccountToken";
    let condition = cel::all([cel::any(closed), format!("{field}.orValue(true) != false")]);
    Statement::pod(condition, "spec.automountServiceAccountToken", &cel::shown_value(field))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::{Profile, Spec};

    const API_VOLUME: &str = "kube-api-access-x7k2p";
    const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

    fn api_volume(name: &str) -> Json {
        json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
        ]}})
    }

    fn mount(name: &str) -> Json {
        json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH})
    }

    /// Adds a volume, and mounts it in the container `position`.
    fn add_volume(pod: &mut Json, position: usize, volume: Json) {
        let name = volume["name"].as_str().unwrap().to_owned();
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        let mounts = &mut pod["spec"]["containers"][position]["volumeMounts"];
        mounts.as_array_mut().unwrap().push(mount(&name));
    }

    fn token_volume(token: &Json) -> Json {
        json!({"name": "t", "projected": {"sources": [{"serviceAccountToken": token}]}})
    }

    #[test]
    fn api_servers_volume_is_removed_with_its_mounts() {
        let mut pod = complete_pod();
        without(&mut pod["spec"], "automountServiceAccountToken");
        add_volume(&mut pod, 0, api_volume(API_VOLUME));
        assert_eq!(filled(&pod), complete_pod());
        // What a Pod copied from a stored one has.
        pod["spec"]["automountServiceAccountToken"] = json!(false);
        assert_eq!(filled(&pod), complete_pod());
    }

    #[test]
    fn token_that_was_not_removed_is_denied() {
        let mut pod = complete_pod();
        add_volume(&mut pod, 0, api_volume(API_VOLUME));
        let token = "token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken";
        assert_eq!(violations(&pod), [token]);
        // Under a name of its own it was written by the author: it is not removed.
        rejects(token, |pod| {
            pod["spec"]["volumes"].as_array_mut().unwrap().push(api_volume("mine"));
        });
    }

    #[test]
    fn volume_with_the_api_servers_name_and_other_content_is_denied() {
        let mut pod = complete_pod();
        add_volume(&mut pod, 0, json!({"name": API_VOLUME, "hostPath": {"path": "/etc"}}));
        assert!(violations(&filled(&pod)).contains(&"volume-types spec.volumes[2].hostPath".to_string()));
        for extra in [
            json!({"secret": {"name": "s"}}),
            json!({"serviceAccountToken": {"path": "t", "audience": "vault"}}),
            json!(null),
        ] {
            let mut volume = api_volume(API_VOLUME);
            volume["projected"]["sources"].as_array_mut().unwrap().push(extra);
            let mut pod = complete_pod();
            add_volume(&mut pod, 0, volume);
            let found = violations(&filled(&pod));
            let token = "token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken";
            assert!(found.contains(&token.to_string()), "{found:?}");
        }
    }

    #[test]
    fn explicit_automount_is_denied_and_an_open_one_is_filled() {
        rejects("token-volumes spec.automountServiceAccountToken", |pod| {
            pod["spec"]["automountServiceAccountToken"] = json!(true)
        });
        fills("token-volumes spec.automountServiceAccountToken", |pod| {
            without(&mut pod["spec"], "automountServiceAccountToken")
        });
    }

    #[test]
    fn policy_may_give_the_api_token_to_every_container() {
        let spec = spec("{serviceAccount: {automountToken: true}}");
        for automount in [json!(null), json!(true), json!(false)] {
            for name in [API_VOLUME, "under-another-name"] {
                accepts_under(&spec, |pod| {
                    pod["spec"]["automountServiceAccountToken"] = automount.clone();
                    pod["spec"]["volumes"].as_array_mut().unwrap().push(api_volume(name));
                });
            }
        }
        // A token without an audience is admitted in the API server's own volume only, redteam's one is for a cloud.
        for token in [
            json!({"path": "t"}),
            json!({"path": "token", "audience": ""}),
            json!({"path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 31_536_000}),
        ] {
            rejects_under(
                &spec,
                "token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken",
                |pod| pod["spec"]["volumes"].as_array_mut().unwrap().push(token_volume(&token)),
            );
        }
    }

    fn excepted(keys: &str) -> Profile {
        let text = format!(
            "{{serviceAccount: {keys}, containers: [{{name: executor, match: {{images: [quay.io/argoproj/argoexec]}}, spec: {{serviceAccount: {{automountToken: true}}}}}}]}}"
        );
        policy(&text).base().clone()
    }

    /// The second container has the image of an exception.
    fn argo_pod() -> Json {
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("quay.io/argoproj/argoexec:v3.7");
        pod
    }

    #[test]
    fn api_servers_volume_is_kept_for_the_excepted_container_alone() {
        let profile = excepted("{}");
        let mut pod = argo_pod();
        without(&mut pod["spec"], "automountServiceAccountToken");
        pod["spec"]["volumes"].as_array_mut().unwrap().push(api_volume(API_VOLUME));
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().unwrap() {
                container["volumeMounts"].as_array_mut().unwrap().push(mount(API_VOLUME));
            }
        }
        let filled = filled_under(&profile, &pod);
        let mut expected = argo_pod();
        expected["spec"]["automountServiceAccountToken"] = json!(false);
        add_volume(&mut expected, 1, api_volume(API_VOLUME));
        for key in ["automountServiceAccountToken", "containers", "initContainers", "volumes"] {
            assert_eq!(filled["spec"][key], expected["spec"][key], "{key}");
        }
        let token_violations = |pod: &Json| {
            let all = violations_under(&profile, pod);
            all.into_iter().filter(|v| v.starts_with("token-volumes")).collect::<Vec<_>>()
        };
        assert_eq!(token_violations(&filled), Vec::<String>::new());
        assert_eq!(filled_under(&profile, &filled), filled, "the second call changes nothing");
        // The plugin may be ahead of the fill, or a webhook behind it: each wrong container is named.
        let mut unfilled = pod.clone();
        unfilled["spec"]["automountServiceAccountToken"] = json!(false);
        assert_eq!(
            token_violations(&unfilled),
            [
                "token-volumes spec.initContainers[0].volumeMounts[2].name",
                "token-volumes spec.containers[0].volumeMounts[2].name",
            ]
        );
        // An exception does not open automount for the Pod.
        unfilled["spec"]["automountServiceAccountToken"] = json!(true);
        assert_eq!(token_violations(&unfilled)[0], "token-volumes spec.automountServiceAccountToken");
    }

    #[test]
    fn exception_ends_with_the_image_and_is_none_for_debug_containers() {
        let profile = excepted("{}");
        let mut pod = argo_pod();
        add_volume(&mut pod, 1, api_volume("token-of-mine"));
        let token_violations = |pod: &Json| {
            let all = violations_under(&profile, pod);
            all.into_iter().filter(|v| v.starts_with("token-volumes")).collect::<Vec<_>>()
        };
        assert_eq!(token_violations(&pod), Vec::<String>::new());
        let mut other = pod.clone();
        other["spec"]["containers"][1]["image"] = json!("quay.io:8080/argoproj/argoexec:v3.7");
        assert_eq!(
            token_violations(&other),
            ["token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken"]
        );
        pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "quay.io/argoproj/argoexec", "volumeMounts": [mount("token-of-mine")]}]);
        assert_eq!(
            token_violations(&pod),
            ["token-volumes spec.ephemeralContainers[0].volumeMounts[0].name"]
        );
    }

    #[test]
    fn exception_may_take_the_token_from_a_container() {
        let text = "{serviceAccount: {automountToken: true}, containers: [{name: user-code, match: {images: [registry.example.com/user]}, spec: {serviceAccount: {automountToken: false}}}]}";
        let profile = policy(text).base().clone();
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][0]["image"] = json!("registry.example.com/user:1");
        without(&mut pod["spec"], "automountServiceAccountToken");
        pod["spec"]["volumes"].as_array_mut().unwrap().push(api_volume(API_VOLUME));
        for position in 0..2 {
            let mounts = &mut pod["spec"]["containers"][position]["volumeMounts"];
            mounts.as_array_mut().unwrap().push(mount(API_VOLUME));
        }
        let filled = filled_under(&profile, &pod);
        let mounts = |position: usize| {
            filled["spec"]["containers"][position]["volumeMounts"].as_array().unwrap().len()
        };
        assert_eq!((mounts(0), mounts(1)), (2, 3));
        assert_eq!(filled["spec"]["automountServiceAccountToken"], false);
    }

    #[test]
    fn token_is_admitted_by_audience_and_lifetime() {
        let spec = spec(
            "{serviceAccount: {tokens: [{audience: sts.amazonaws.com, maxExpirationSeconds: 86400}, {audience: vault}, {audience: 'spiffe://td.example/ns/*/dapr-sentry', maxExpirationSeconds: 7200}]}}",
        );
        let with = |token: &Json| {
            let volume = token_volume(token);
            move |pod: &mut Json| pod["spec"]["volumes"].as_array_mut().unwrap().push(volume)
        };
        for token in [
            json!({"path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 86400}),
            json!({"path": "token", "audience": "sts.amazonaws.com"}),
            json!({"path": "t", "audience": "vault", "expirationSeconds": null}),
            json!({"path": "t", "audience": "vault", "expirationSeconds": 600}),
            json!({"path": "t", "audience": "spiffe://td.example/ns/a/dapr-sentry", "expirationSeconds": 7200}),
        ] {
            accepts_under(&spec, with(&token));
        }
        for token in [
            json!({"path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 86401}),
            json!({"path": "t", "audience": "vault", "expirationSeconds": 3601}),
            json!({"path": "t", "audience": "vault", "expirationSeconds": 0}),
            json!({"path": "t", "audience": "vault", "expirationSeconds": -1}),
            json!({"path": "t", "audience": "Vault"}),
            json!({"path": "t", "audience": "vault "}),
            json!({"path": "t", "audience": ""}),
            json!({"path": "t", "audience": null}),
            json!({"path": "t", "audience": "https://kubernetes.default.svc"}),
            json!({"path": "t", "audience": "spiffe://td.example/ns/a/b/dapr-sentry"}),
            json!({"path": "t", "audience": "spiffe://other/ns/a/dapr-sentry"}),
        ] {
            rejects_under(
                &spec,
                "token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken",
                with(&token),
            );
        }
    }

    #[test]
    fn token_of_an_exception_is_for_its_container_alone() {
        let text = "{containers: [{name: proxy, match: {images: [docker.io/istio/proxyv2]}, spec: {serviceAccount: {tokens: [{audience: istio-ca, maxExpirationSeconds: 43200}]}}}]}";
        let profile = policy(text).base().clone();
        let mut pod = complete_pod_of_three();
        pod["spec"]["containers"][1]["image"] = json!("docker.io/istio/proxyv2:1.27");
        let token = json!({"path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200});
        add_volume(&mut pod, 1, token_volume(&token));
        assert_eq!(violations_under(&profile, &pod), Vec::<String>::new());
        pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount("t"));
        assert_eq!(
            violations_under(&profile, &pod),
            ["token-volumes spec.containers[0].volumeMounts[2].name"]
        );
    }

    #[test]
    fn denied_token_names_the_webhook_that_adds_it_and_the_key_of_the_policy() {
        for (audience, words) in [
            ("sts.amazonaws.com", "EKS adds it for the IAM role of the service account"),
            ("pods.eks.amazonaws.com", "EKS Pod Identity adds it"),
            ("api://AzureADTokenExchange", "leave out the label azure.workload.identity/use"),
            ("istio-ca", "set the label sidecar.istio.io/inject to \"false\""),
            ("identity.l5d.io", "set the annotation linkerd.io/inject to disabled"),
            ("spiffe://td/ns/a/dapr-sentry", "leave out the annotation dapr.io/enabled"),
            ("other", "remove this source, or stop the webhook that adds it"),
        ] {
            let mut pod = complete_pod();
            let volume = token_volume(&json!({"path": "t", "audience": audience}));
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
            let line = lines_of(&Spec::default(), &pod).join("\n");
            assert!(
                line.contains(&format!("is a token for \"{audience}\" of 3600 s, must be absent: ")),
                "{line}"
            );
            assert!(line.contains(words), "{line}");
            assert!(line.ends_with("(policy key serviceAccount.tokens) (token-volumes)"), "{line}");
        }
    }

    /// Each token is looked at once, and each mount once.
    #[test]
    fn many_tokens_and_many_mounts_are_checked() {
        let profile = excepted("{}");
        let mut pod = argo_pod();
        let volumes = (0..3_000).map(|i| api_volume(&format!("v{i}")));
        pod["spec"]["volumes"].as_array_mut().unwrap().extend(volumes);
        let mounts = (0..3_000).map(|_| mount("v2999"));
        pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().extend(mounts);
        let text = pod.to_string();
        let tree = crate::json::pod_from_str(&text).unwrap();
        let pod = crate::pod::Pod::of(&tree, &profile);
        let mut violations = crate::violations::Violations::default();
        super::TOKEN_VOLUMES.check_into(&pod, &mut violations);
        assert_eq!(violations.len(), 3_000);
    }
}
