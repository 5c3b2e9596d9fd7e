//! The service account that the Pod runs as.

use std::fmt;

use super::{Group, Rule};
use crate::{
    cel::{self, Keys, Statement, patterns},
    json::{Object, Value},
    path::SPEC,
    pod::{Pod, spec_mut},
    policy::{Profile, Spec},
    text::quote,
    violations::{Reporter, show},
};

pub(super) static SERVICE_ACCOUNT: Rule = Rule {
    id: "service-account",
    group: Group::ServiceAccount,
    title: "The Pod runs as an allowed service account.",
    why: "RBAC and cloud roles are granted to service accounts, and everyone who may create Pods may name any account \
          of the namespace. The policy's default is filled if the Pod has no account or the API default. The \
          deprecated alias serviceAccount must not name another one.",
    references: &[
        "CIS Kubernetes Benchmark 1.12, 5.1.5: Ensure that default service accounts are not actively used",
        "NSA/CISA Kubernetes Hardening Guide 1.2, Protecting Pod service account tokens",
        "Kubescape, C-0053: Access container service account",
        "https://kubernetes.io/docs/concepts/security/service-accounts/",
    ],
    setting: "spec.serviceAccount.allowed",
    fill: Some(fill_service_account),
    check: check_service_account,
    cel: Some(cel_service_account),
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

const CEL_NAME: &str = "(v.o.?spec.?serviceAccountName.orValue('') != '' ? v.o.spec.serviceAccountName : \
                    v.o.?spec.?serviceAccount.orValue(''))";

fn cel_service_account(keys: Keys) -> Vec<Statement> {
    let allowed = &keys.spec.service_account.allowed;
    let name = format!("({CEL_NAME} == '' ? 'default' : {CEL_NAME})");
    let alias = "v.o.?spec.?serviceAccount.orValue('')";
    vec![
        Statement::pod(
            cel::not(&patterns::names(allowed, &name)),
            "spec.serviceAccountName",
            &format!("strings.quote({CEL_NAME})"),
        ),
        Statement::pod(
            format!("!({alias} in ['', 'default']) && {alias} != {CEL_NAME}"),
            "spec.serviceAccount",
            &format!("strings.quote({alias})"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;

    #[test]
    fn absent_or_default_account_becomes_the_policys() {
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
    fn another_account_is_denied_by_either_name() {
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
    fn two_wrong_accounts_are_two_violations_and_one_by_both_names_is_one() {
        let with_alias = |alias: &str| {
            let mut pod = complete_pod();
            pod["spec"]["serviceAccountName"] = json!("admin");
            pod["spec"]["serviceAccount"] = json!(alias);
            violations(&pod)
        };
        let name = "service-account spec.serviceAccountName";
        assert_eq!(with_alias("admin"), [name]);
        assert_eq!(with_alias("root"), [name, "service-account spec.serviceAccount"]);
    }

    #[test]
    fn allowed_accounts_are_names_with_patterns() {
        let spec = spec("{serviceAccount: {default: null, allowed: [agent-*, runner]}}");
        for name in ["agent-a", "runner"] {
            accepts_under(&spec, |pod| pod["spec"]["serviceAccountName"] = json!(name));
            accepts_under(&spec, |pod| {
                without(&mut pod["spec"], "serviceAccountName");
                pod["spec"]["serviceAccount"] = json!(name);
            });
        }
        rejects_under(&spec, "service-account spec.serviceAccountName", |pod| {
            pod["spec"]["serviceAccountName"] = json!("agent");
        });
        // Two names, although each is allowed: which one holds is the API server's choice.
        rejects_under(&spec, "service-account spec.serviceAccount", |pod| {
            pod["spec"]["serviceAccountName"] = json!("agent-a");
            pod["spec"]["serviceAccount"] = json!("agent-b");
        });
    }

    #[test]
    fn without_a_default_no_account_is_filled() {
        let none = spec("{serviceAccount: {default: null, allowed: [runner]}}");
        for account in [json!(null), json!(""), json!("default")] {
            rejects_under(&none, "service-account spec.serviceAccountName", |pod| {
                pod["spec"]["serviceAccountName"] = account;
            });
        }
        let api_default = spec("{serviceAccount: {default: null, allowed: [default]}}");
        for account in [json!(null), json!("default")] {
            accepts_under(&api_default, |pod| pod["spec"]["serviceAccountName"] = account);
        }
    }
}
