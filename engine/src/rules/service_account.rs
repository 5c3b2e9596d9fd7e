//! The identity of the Pod at the API server and at other services: its service account and its tokens.

use std::{
    collections::{HashMap, HashSet},
    fmt, ptr,
};

use super::{
    Group, Rule,
    helpers::VOLUMES,
    projected::{AllowedTokens, Token, check_pod_certificate, is_added_by_api_server, is_api_volume, sources},
};
use crate::{
    json::{List, Object, Value},
    path::SPEC,
    pod::{Pod, each_container_mut, spec_mut},
    policy::{Profile, ServiceAccount, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static SERVICE_ACCOUNT: Rule = Rule {
    id: "service-account",
    group: Group::ServiceAccount,
    title: "The Pod runs as an allowed service account.",
    why: "RBAC and cloud roles are granted to service accounts, and everybody who may create Pods may name any account \
          of the namespace. The policy's default is filled if the Pod has no account or the API default. The \
          deprecated alias serviceAccount must not name another one.",
    references: &["https://kubernetes.io/docs/concepts/security/service-accounts/"],
    setting: "spec.serviceAccount.allowed",
    fill: Some(fill_service_account),
    check: check_service_account,
};

/// The account that the API server fills into a Pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

fn fill_service_account<'a>(profile: &'a Profile, pod: &mut Value<'a>) -> usize {
    let Some(default) = &profile.spec.service_account.default else { return 0 };
    let Some(pod) = spec_mut(pod) else { return 0 };
    // The API server lets the alias follow the name by itself.
    if account(pod).is_some_and(|(_, name)| name != DEFAULT_ACCOUNT || default == DEFAULT_ACCOUNT) {
        return 0;
    }
    pod.set("serviceAccountName", default.as_str());
    1
}

fn check_service_account(spec: &Spec, pod: &Pod, out: &mut Reporter) {
    let settings = &spec.service_account;
    let allowed = &settings.allowed;
    let remedy = Remedy(match settings.default {
        Some(_) => "leave it out on create, it is filled in",
        None => "name an allowed account",
    });
    let (field, name) = account(pod.spec).unzip();
    if !allowed.allows(name.unwrap_or(DEFAULT_ACCOUNT)) {
        let path = SPEC.child(field.unwrap_or("serviceAccountName"));
        out.report(path, name.map_or_else(|| "unset".into(), quote), allowed, &remedy);
    }
    // The API server writes the name beside it, which is no second fault.
    let alias = pod.spec.str("serviceAccount").filter(|alias| !alias.is_empty() && Some(*alias) != name);
    if alias.is_some_and(|alias| alias != DEFAULT_ACCOUNT) {
        let alias = show(pod.spec.get("serviceAccount"));
        let found = format_args!("{alias} beside the name {}", quote(name.unwrap_or_default()));
        out.report(SPEC.child("serviceAccount"), found, allowed, &remedy);
    }
}

struct Remedy(&'static str);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} (policy key serviceAccount.allowed)", self.0)
    }
}

/// Returns the field that names the account, and the name.
fn account<'o>(pod: &'o Object) -> Option<(&'static str, &'o str)> {
    ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|key| Some((key, pod.str(key).filter(|name| !name.is_empty())?)))
}

pub(super) static TOKEN_VOLUMES: Rule = Rule {
    id: "token-volumes",
    group: Group::ServiceAccount,
    title: "Containers get no tokens but those that the policy allows them.",
    why: "A token is a credential for the API server or for another service. Unless every container may have the \
          API server's, automountServiceAccountToken is set to false, and the volume that the API server has already \
          added is removed, or kept for the containers of an exception alone. Projected tokens are compared by \
          audience and lifetime, Pod certificates by signer; one that the policy does not list is denied.",
    references: &[
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#opt-out-of-api-credential-automounting",
        "https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken",
    ],
    setting: "spec.serviceAccount.automountToken",
    fill: Some(fill_token_volumes),
    check: check_token_volumes,
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
            let names = mounts.iter().filter(|(_, mount)| is_added(mount)).filter_map(|(_, mount)| name_of(mount));
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
        for (position, kind, source) in sources(volume) {
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
