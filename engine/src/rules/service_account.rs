//! The identity of the Pod at the API server: a service account without rights or token.

use super::{
    Group, Rule,
    helpers::{VOLUMES, is_api_token_volume},
};
use crate::{
    json::{Object, Value},
    path::SPEC,
    pod::{Pod, each_container_mut, spec_mut},
    policy::{Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static SERVICE_ACCOUNT: Rule = Rule {
    id: "service-account",
    group: Group::ServiceAccount,
    title: "The Pod runs as the policy's service account.",
    why: "RBAC is granted to service accounts; this one should have none. It is filled if the Pod has no account or \
          the API default. The deprecated alias serviceAccount must not name another one.",
    references: &["https://kubernetes.io/docs/concepts/security/service-accounts/"],
    setting: "spec.serviceAccount.name",
    fill: Some(fill_service_account),
    check: check_service_account,
};

const DEFAULT_ACCOUNT: &str = "default";

fn fill_service_account<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    let Some(pod) = spec_mut(pod) else { return 0 };
    // The API server lets the alias follow the name by itself.
    if account(pod).is_some_and(|name| name != DEFAULT_ACCOUNT) {
        return 0;
    }
    let Some(default) = &spec.service_account.default else { return 0 };
    pod.set("serviceAccountName", default.as_str());
    1
}

fn check_service_account(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let wanted = &spec.service_account.allowed;
    let remedy = "leave it out on create, it is filled in";
    let (field, name) = account_field(pod.spec).unzip();
    if !name.is_some_and(|name| wanted.allows(name)) {
        let path = SPEC.child(field.unwrap_or("serviceAccountName"));
        out.report(path, name.map_or_else(|| "unset".into(), quote), wanted, remedy);
    }
    // The API server writes the name beside it, which is no second fault.
    let alias = pod.spec.str("serviceAccount").filter(|alias| !alias.is_empty() && Some(*alias) != name);
    if alias.is_some_and(|alias| alias != DEFAULT_ACCOUNT) {
        let alias = show(pod.spec.get("serviceAccount"));
        let found = format_args!("{alias} beside the name {}", quote(name.unwrap_or_default()));
        out.report(SPEC.child("serviceAccount"), found, wanted, remedy);
    }
}

fn account<'o>(pod: &'o Object) -> Option<&'o str> {
    account_field(pod).map(|(_, name)| name)
}

/// The field that names the account, and the name.
fn account_field<'o>(pod: &'o Object) -> Option<(&'static str, &'o str)> {
    ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|key| Some((key, pod.str(key).filter(|name| !name.is_empty())?)))
}

pub(super) static TOKEN_VOLUMES: Rule = Rule {
    id: "token-volumes",
    group: Group::ServiceAccount,
    title: "No container gets a service account token.",
    why: "A token is a credential for the API server. automountServiceAccountToken is set to false, and the volume \
          that the API server has already added is removed with its mounts. A token, certificate or trust bundle \
          that the Pod projects itself is denied.",
    references: &[
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#opt-out-of-api-credential-automounting",
    ],
    setting: "spec.serviceAccount.automountToken",
    fill: Some(fill_token_volumes),
    check: check_token_volumes,
};

fn fill_token_volumes<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let spec = &profile.spec;
    if spec.service_account.automount_token {
        return 0;
    }
    let Some(pod_spec) = spec_mut(pod) else { return 0 };
    let filled = usize::from(pod_spec.set_default("automountServiceAccountToken", false));
    let tokens: Vec<String> = pod_spec
        .objects("volumes")
        .filter(|(_, volume)| is_api_token_volume(volume))
        .filter_map(|(_, volume)| volume.str("name").map(str::to_owned))
        .collect();
    if tokens.is_empty() {
        return filled;
    }
    if let Some(volumes) = pod_spec.list_mut("volumes") {
        volumes.remove_where(|volume| volume.as_object().is_some_and(is_api_token_volume));
    }
    each_container_mut(pod, profile, |_, container, _| {
        if container.get("volumeMounts").is_none() {
            return;
        }
        let Some(mounts) = container.list_mut("volumeMounts") else { return };
        let name = |mount: &Value| mount.as_object().and_then(|mount| mount.str("name")).map(str::to_owned);
        mounts.remove_where(|mount| name(mount).is_some_and(|name| tokens.contains(&name)));
    });
    filled
}

fn check_token_volumes(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let automount = spec.service_account.automount_token;
    if !automount && pod.spec.bool("automountServiceAccountToken") != Some(false) {
        let found = show(pod.spec.get("automountServiceAccountToken"));
        out.report(
            SPEC.child("automountServiceAccountToken"),
            found,
            "false",
            "set it to false or leave it out on create",
        );
    }
    for (index, volume) in pod.spec.objects("volumes") {
        if automount && is_api_token_volume(volume) {
            continue;
        }
        for (position, source) in volume.object("projected").into_iter().flat_map(|p| p.objects("sources")) {
            for kind in ["serviceAccountToken", "podCertificate"] {
                if source.get(kind).is_some() {
                    out.report(
                        VOLUMES.index(index).child("projected").child("sources").index(position).child(kind),
                        "requested",
                        "absent",
                        "remove this source: the sandbox has no credentials",
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::*;
    use crate::policy::Spec;

    fn token_volume(name: &str) -> Json {
        json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
        ]}})
    }

    fn mount_token(pod: &mut Json, name: &str, volume: Json) {
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        let mount = json!({"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
        pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    }

    #[test]
    fn an_absent_or_default_account_becomes_the_policys() {
        let account = "service-account spec.serviceAccountName";
        let pod = fills(account, |pod| without(&mut pod["spec"], "serviceAccountName"));
        assert_eq!(pod["spec"]["serviceAccountName"], "workflow-runner");
        let pod = fills(account, |pod| {
            pod["spec"]["serviceAccountName"] = json!("default");
            pod["spec"]["serviceAccount"] = json!("default");
        });
        assert_eq!(pod["spec"]["serviceAccountName"], "workflow-runner");
    }

    #[test]
    fn another_account_is_refused_by_either_name() {
        rejects("service-account spec.serviceAccountName", |pod| {
            pod["spec"]["serviceAccountName"] = json!("admin")
        });
        rejects("service-account spec.serviceAccount", |pod| pod["spec"]["serviceAccount"] = json!("admin"));
        rejects("service-account spec.serviceAccount", |pod| {
            without(&mut pod["spec"], "serviceAccountName");
            pod["spec"]["serviceAccount"] = json!("admin");
        });
    }

    #[test]
    fn two_wrong_accounts_are_two_faults_and_one_by_both_names_is_one() {
        let told = |alias: &str| {
            let mut pod = complete_pod();
            pod["spec"]["serviceAccountName"] = json!("admin");
            pod["spec"]["serviceAccount"] = json!(alias);
            violations(&pod)
        };
        let name = "service-account spec.serviceAccountName";
        assert_eq!(told("admin"), [name]);
        assert_eq!(told("root"), [name, "service-account spec.serviceAccount"]);
    }

    #[test]
    fn the_api_servers_token_volume_is_taken_out_with_its_mounts() {
        let mut pod = complete_pod();
        without(&mut pod["spec"], "automountServiceAccountToken");
        mount_token(&mut pod, "kube-api-access-x7k2p", token_volume("kube-api-access-x7k2p"));
        assert_eq!(filled(&pod), complete_pod());
    }

    #[test]
    fn what_nobody_took_out_is_refused() {
        let name = "kube-api-access-x7k2p";
        let mut pod = complete_pod();
        mount_token(&mut pod, name, token_volume(name));
        let token = "token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken";
        assert_eq!(violations(&pod), [token, "volume-types spec.volumes[2].projected"]);
    }

    #[test]
    fn where_the_account_has_a_token_a_second_one_is_refused() {
        let mut spec = Spec::default();
        spec.service_account.automount_token = true;
        let mut pod = complete_pod();
        without(&mut pod["spec"], "automountServiceAccountToken");
        let token = json!({"serviceAccountToken": {"path": "t", "audience": "vault"}});
        mount_token(&mut pod, "vault", json!({"name": "vault", "projected": {"sources": [token]}}));
        let path = "token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken";
        assert!(violations_of(&spec, &pod).contains(&path.to_string()));
    }

    #[test]
    fn a_host_path_that_borrows_the_token_volumes_name_is_refused() {
        let mut pod = complete_pod();
        let name = "kube-api-access-x";
        mount_token(&mut pod, name, json!({"name": name, "hostPath": {"path": "/etc"}}));
        assert_eq!(violations(&filled(&pod)), ["volume-types spec.volumes[2].hostPath"]);
    }

    #[test]
    fn a_token_volume_with_anything_more_in_it_is_no_api_servers() {
        for extra in [
            json!({"secret": {"name": "s"}}),
            json!({"serviceAccountToken": {"path": "t", "audience": "vault"}}),
            json!(null),
        ] {
            let mut volume = token_volume("kube-api-access-x");
            volume["projected"]["sources"].as_array_mut().unwrap().push(extra);
            let mut pod = complete_pod();
            mount_token(&mut pod, "kube-api-access-x", volume);
            let found = violations(&filled(&pod));
            assert!(
                found.contains(
                    &"token-volumes spec.volumes[2].projected.sources[0].serviceAccountToken".into()
                ),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_projected_token_is_refused_even_where_projected_volumes_are_allowed() {
        let spec = Spec::default();
        for kind in ["serviceAccountToken", "podCertificate"] {
            rejects_under(
                &spec,
                &format!("token-volumes spec.volumes[2].projected.sources[0].{kind}"),
                |pod| {
                    let volume = json!({"name": "mine", "projected": {"sources": [{kind: {}}]}});
                    pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
                },
            );
        }
    }

    #[test]
    fn asking_for_a_token_is_refused() {
        rejects("token-volumes spec.automountServiceAccountToken", |pod| {
            pod["spec"]["automountServiceAccountToken"] = json!(true)
        });
        fills("token-volumes spec.automountServiceAccountToken", |pod| {
            without(&mut pod["spec"], "automountServiceAccountToken")
        });
    }

    #[test]
    fn a_policy_may_allow_the_token() {
        let mut spec = Spec::default();
        spec.service_account.automount_token = true;
        accepts_under(&spec, |pod| {
            without(&mut pod["spec"], "automountServiceAccountToken");
            mount_token(pod, "kube-api-access-x7k2p", token_volume("kube-api-access-x7k2p"));
        });
    }
}
