//! Who may change what the sandbox depends on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    facts::{ClusterCheck, Facts},
    finding::{Answer, Check, Section, Severity, Verdict},
    reader::{Unread, items, name, some},
    release::gives,
};

pub(super) const CHECKS: &[ClusterCheck] = &[
    (Check::new(Section::Rights, Severity::High, "who-edits-webhooks"), webhooks),
    (Check::new(Section::Rights, Severity::High, "who-edits-runtime-classes"), runtime_classes),
    (Check::new(Section::Rights, Severity::High, "who-edits-policies"), policies),
    (Check::new(Section::Rights, Severity::High, "who-labels-namespaces"), namespace_labels),
    (Check::new(Section::Rights, Severity::Info, "exempt"), exempt),
];

const EDIT: [&str; 3] = ["update", "patch", "delete"];

/// Administrators, whom a cluster cannot do without.
const ADMINISTRATORS: [&str; 2] = ["Group system:masters", "Group kubeadm:cluster-admins"];

fn webhooks(facts: &Facts) -> Answer<'_> {
    const RESOURCES: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
    let found = cluster_wide(facts, "admissionregistration.k8s.io", &RESOURCES, &EDIT)?;
    Ok(verdict(&found, "edit webhook configurations, and so switch sandgate off"))
}

fn runtime_classes(facts: &Facts) -> Answer<'_> {
    let verbs = ["create", "update", "patch", "delete"];
    let found = cluster_wide(facts, "node.k8s.io", &["runtimeclasses"], &verbs)?;
    Ok(verdict(&found, "replace the RuntimeClass by one of another handler"))
}

fn policies(facts: &Facts) -> Answer<'_> {
    let mut found = cluster_wide(facts, "", &["configmaps"], &EDIT)?;
    let (roles, bindings) = (facts.release.roles.as_ref()?, facts.release.role_bindings.as_ref()?);
    let cluster_roles = facts.cluster_roles.as_ref()?;
    for binding in bindings {
        let role = match binding["roleRef"]["kind"].as_str() {
            Some("Role") => roles.iter(),
            _ => cluster_roles.iter(),
        };
        let mut named = role.filter(|role| binding["roleRef"]["name"] == name(role));
        if named.any(|role| may(role, "", &["configmaps"], &EDIT)) {
            found.extend(subjects(binding, &facts.release.namespace));
        }
    }
    Ok(verdict(
        &found,
        &format!("edit the ConfigMaps of namespace {} with the policies", facts.release.namespace),
    ))
}

fn namespace_labels(facts: &Facts) -> Answer<'_> {
    let selects =
        facts.policies.as_ref()?.policies().iter().any(|policy| policy.header.namespace_selector.is_some());
    if !selects {
        return Ok(Verdict::ok("no policy selects namespaces by a label"));
    }
    let found = cluster_wide(facts, "", &["namespaces"], &["update", "patch"])?;
    Ok(verdict(&found, "take the label from a namespace that a policy selects by it"))
}

fn exempt(facts: &Facts) -> Answer<'_> {
    let policies = facts.policies.as_ref()?.policies();
    let exempts = policies.iter().filter_map(|policy| {
        let exempt = &policy.header.exempt;
        let names: Vec<&str> = exempt.users.iter().chain(&exempt.groups).map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("{} (policy {})", names.join(", "), policy.name))
    });
    let exempts: Vec<String> = exempts.collect();
    if exempts.is_empty() {
        return Ok(Verdict::ok("no user is exempt from a policy"));
    }
    Ok(Verdict::fail(
        format!("exempt from policies: {}", some(&exempts)),
        "look through what they let in: sandgate audit list --verdict exempt",
    ))
}

/// The subjects that have one of the verbs on one of the resources in the whole cluster, without those of Kubernetes itself.
fn cluster_wide<'f>(
    facts: &'f Facts,
    group: &str,
    resources: &[&str],
    verbs: &[&str],
) -> Result<BTreeSet<String>, &'f Unread> {
    let (roles, bindings) = (facts.cluster_roles.as_ref()?, facts.cluster_role_bindings.as_ref()?);
    let editing: BTreeSet<&str> =
        roles.iter().filter(|role| may(role, group, resources, verbs)).map(name).collect();
    // Those that Kubernetes itself brings are for its own controllers.
    let is_own =
        |binding: &&Value| binding["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults";
    let bound = bindings
        .iter()
        .filter(|binding| !is_own(binding))
        .filter(|binding| binding["roleRef"]["name"].as_str().is_some_and(|role| editing.contains(role)));
    Ok(bound.flat_map(|binding| subjects(binding, "")).collect())
}

fn may(role: &Value, group: &str, resources: &[&str], verbs: &[&str]) -> bool {
    // A rule for single names is one for objects of others, or one that was written with sandgate's in mind.
    let rules = items(&role["rules"]).iter().filter(|rule| items(&rule["resourceNames"]).is_empty());
    rules.into_iter().any(|rule| resources.iter().any(|resource| gives(rule, group, resource, verbs)))
}

fn subjects(binding: &Value, namespace: &str) -> BTreeSet<String> {
    let texts = items(&binding["subjects"]).iter().map(|subject| {
        let kind = subject["kind"].as_str().unwrap_or_default();
        let of = subject["name"].as_str().unwrap_or_default();
        match kind {
            "ServiceAccount" => format!("{kind} {}/{of}", subject["namespace"].as_str().unwrap_or(namespace)),
            _ => format!("{kind} {of}"),
        }
    });
    texts.filter(|text| !ADMINISTRATORS.contains(&text.as_str())).collect()
}

fn verdict(found: &BTreeSet<String>, what: &str) -> Verdict {
    if found.is_empty() {
        return Verdict::ok(format!("only administrators may {what}"));
    }
    let found: Vec<&String> = found.iter().collect();
    Verdict::fail(
        format!("{} may {what}", some(&found)),
        "remove what is not needed; accept the rest by --accept once you have looked through it",
    )
}

#[cfg(test)]
mod tests {
    use sandgate_engine::policy::{PolicySet, Source};
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::{facts::unread, finding::Outcome};

    #[test]
    fn who_may_label_namespaces_matters_if_a_policy_selects_by_a_label() {
        let mut facts = unread();
        facts.cluster_roles = Ok(vec![json!({
            "metadata": {"name": "labeller"},
            "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["patch"]}],
        })]);
        facts.cluster_role_bindings = Ok(vec![json!({
            "metadata": {"name": "x"},
            "roleRef": {"kind": "ClusterRole", "name": "labeller"},
            "subjects": [{"kind": "User", "name": "mallory"}],
        })]);
        assert_eq!(namespace_labels(&facts).unwrap().outcome, Outcome::Ok);
        let text = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: p}\n\
                    spec: {namespaceSelector: {matchLabels: {a: b}}}\n";
        let source = Source { name: "p.yaml".into(), text: text.into() };
        facts.policies = Ok(PolicySet::from_sources(&[source]).unwrap());
        let verdict = namespace_labels(&facts).unwrap();
        assert_eq!(verdict.outcome, Outcome::Fail);
        assert!(verdict.what.contains("User mallory"), "{}", verdict.what);
    }

    #[test]
    fn bindings_of_kubernetes_itself_are_expected() {
        let mut facts = unread();
        let role = json!({
            "metadata": {"name": "all"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        });
        facts.cluster_roles = Ok(vec![role]);
        let binding = |labels: serde_json::Value| {
            Ok(vec![json!({
                "metadata": {"name": "x", "labels": labels},
                "roleRef": {"kind": "ClusterRole", "name": "all"},
                "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": "kube-system"}],
            })])
        };
        facts.cluster_role_bindings = binding(json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
        assert_eq!(webhooks(&facts).unwrap().outcome, Outcome::Ok);
        facts.cluster_role_bindings = binding(json!({}));
        assert_eq!(webhooks(&facts).unwrap().outcome, Outcome::Fail);
    }
}
