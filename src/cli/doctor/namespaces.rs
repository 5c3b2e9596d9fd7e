//! A namespace of Pods: what stands around them.

use serde_json::Value;

use super::{
    facts::{Facts, Namespace, labels},
    finding::{Answer, Check, Section, Severity, Verdict},
    nodes::{declares, handler_of, is_gvisor},
    reader::{has, has_ended, items, name, some},
};
use sandgate_engine::{
    json::pod_from_str,
    policy::Policy,
    scan::{Class, classify},
};

/// A namespace with its policy.
pub(super) struct Guarded<'f> {
    pub(super) facts: &'f Facts,
    pub(super) namespace: &'f Namespace,
    pub(super) policy: &'f Policy,
}

/// A check of one namespace.
pub(super) type GuardedCheck = (Check, for<'f> fn(&Guarded<'f>) -> Answer<'f>);

pub(super) const CHECKS: &[GuardedCheck] = &[
    (Check::new(Section::Boxes, Severity::High, "network-policy"), network_policy),
    (Check::new(Section::Boxes, Severity::High, "service-account"), service_account),
    (Check::new(Section::Namespaces, Severity::High, "account-bindings"), account_bindings),
    (Check::new(Section::Namespaces, Severity::Medium, "pod-security"), pod_security),
    (Check::new(Section::Namespaces, Severity::Medium, "quota"), quota),
    (Check::new(Section::Namespaces, Severity::Low, "limit-range"), limit_range),
    (Check::new(Section::Namespaces, Severity::High, "violating-pods"), violating_pods),
    (Check::new(Section::Namespaces, Severity::Critical, "pod-handlers"), pod_handlers),
];

/// Whether a namespace is there, and has a policy.
pub(super) const EXISTS: Check = Check::new(Section::Namespaces, Severity::Critical, "namespace");

pub(super) fn exists<'f>(namespace: &'f Namespace, policy: Option<&Policy>) -> Answer<'f> {
    let name = &namespace.name;
    if namespace.object.as_ref()?.is_none() {
        return Ok(Verdict::fail("the namespace is missing", format!("kubectl create namespace {name}")));
    }
    let Some(policy) = policy else {
        return Ok(Verdict::fail(
            "no policy covers it",
            "name it in spec.namespaces of a policy (chart: policies.NAME.namespaces)",
        ));
    };
    Ok(Verdict::ok(format!("policy {}, mode {}", policy.name, policy.mode().as_str())))
}

fn network_policy<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    const BOTH: [&str; 2] = ["Ingress", "Egress"];
    let policies = guarded.namespace.network_policies.as_ref()?;
    let of_all = |policy: &&Value| is_empty_selector(&policy["spec"]["podSelector"]);
    let denied: Vec<&str> = BOTH
        .into_iter()
        .filter(|direction| {
            policies.iter().filter(of_all).any(|policy| has(&policy["spec"]["policyTypes"], direction))
        })
        .collect();
    if denied.len() < BOTH.len() {
        let open: Vec<&str> = BOTH.into_iter().filter(|direction| !denied.contains(direction)).collect();
        return Ok(Verdict::fail(
            format!(
                "NetworkPolicy: none of {} selects every Pod for {}: a Pod without labels is not restricted",
                policies.len(),
                open.join(" and ")
            ),
            "add a NetworkPolicy with podSelector {} and both policyTypes (chart: workflowNamespaces.networkPolicy.enabled)",
        ));
    }
    let open = |policy: &&Value| {
        let rules = ["ingress", "egress"].iter().flat_map(|field| items(&policy["spec"][*field]));
        rules.into_iter().any(|rule| items(&rule["from"]).is_empty() && items(&rule["to"]).is_empty())
    };
    let wide: Vec<&str> = policies.iter().filter(open).map(name).collect();
    if !wide.is_empty() {
        return Ok(Verdict::fail(
            format!("NetworkPolicy: {} allow any peer", some(&wide)),
            "name the peers of each rule: an empty from or to is everything, the API server and metadata services too",
        ));
    }
    Ok(Verdict::ok(format!("NetworkPolicy: {}, all Pods denied by default", policies.len())))
}

fn service_account<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let accounts = guarded.namespace.accounts.as_ref()?;
    let spec = &guarded.policy.base().spec.service_account;
    let Some(wanted) = &spec.default else {
        return Ok(Verdict::ok("service account: the policy fills none"));
    };
    let Some(account) = accounts.iter().find(|account| name(account) == wanted) else {
        return Ok(Verdict::fail(
            format!("service account {wanted} is missing: every Pod is denied"),
            format!(
                "kubectl create serviceaccount {wanted} -n {} (chart: workflowNamespaces.names)",
                guarded.namespace.name
            ),
        ));
    };
    if account["automountServiceAccountToken"] != false {
        return Ok(Verdict::fail(
            format!("service account {wanted} has automountServiceAccountToken other than false"),
            format!(
                "kubectl patch serviceaccount {wanted} -n {} -p '{{\"automountServiceAccountToken\":false}}'",
                guarded.namespace.name
            ),
        ));
    }
    Ok(Verdict::ok(format!("service account: {wanted}, automount false")))
}

fn account_bindings<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let inside = guarded.namespace.role_bindings.as_ref()?;
    let anywhere = guarded.facts.cluster_role_bindings.as_ref()?;
    let namespace = guarded.namespace.name.as_str();
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let accounts = &guarded.policy.base().spec.service_account.allowed;
    let is_of_pods = |subject: &Value| match subject["kind"].as_str() {
        Some("ServiceAccount") => {
            let home = subject["namespace"].as_str().unwrap_or(namespace);
            home == namespace && subject["name"].as_str().is_some_and(|name| accounts.allows(name))
        }
        Some("Group") => groups.iter().any(|group| subject["name"] == group.as_str()),
        _ => false,
    };
    // Kubernetes itself lets every account find itself and its issuer.
    let is_harmless =
        |binding: &Value| binding["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults";
    let found: Vec<&str> = inside
        .iter()
        .chain(anywhere)
        .filter(|binding| !is_harmless(binding) && items(&binding["subjects"]).iter().any(is_of_pods))
        .map(name)
        .collect();
    if found.is_empty() {
        return Ok(Verdict::ok("no role is bound to the service accounts of its Pods"));
    }
    Ok(Verdict::fail(
        format!("roles are bound to service accounts of its Pods: {}", some(&found)),
        "remove these bindings: a Pod that gets a token has their rights",
    ))
}

fn pod_security<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    guarded.namespace.object.as_ref()?;
    let level = labels(&guarded.namespace.object)["pod-security.kubernetes.io/enforce"].as_str();
    if level == Some("restricted") {
        return Ok(Verdict::ok("Pod Security enforces restricted"));
    }
    Ok(Verdict::fail(
        format!("Pod Security enforces {}", level.unwrap_or("nothing")),
        format!(
            "kubectl label namespace {} pod-security.kubernetes.io/enforce=restricted, if the policy opens nothing beyond it",
            guarded.namespace.name
        ),
    ))
}

fn quota<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let quotas = guarded.namespace.quotas.as_ref()?;
    if quotas.is_empty() {
        return Ok(Verdict::fail(
            "no ResourceQuota bounds what its Pods use in all",
            "add one (chart: workflowNamespaces.resourceQuota.enabled)",
        ));
    }
    Ok(Verdict::ok(format!("ResourceQuota: {}", quotas.len())))
}

fn limit_range<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let ranges = guarded.namespace.limit_ranges.as_ref()?;
    let names: Vec<&str> = ranges.iter().map(name).collect();
    if names.is_empty() {
        return Ok(Verdict::ok("no LimitRange fills Pods before sandgate"));
    }
    Ok(Verdict::fail(
        format!("LimitRange {}: what it fills looks like the author's own choice", some(&names)),
        "remove it, or keep it below the limits of the policy",
    ))
}

fn violating_pods<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let pods = guarded.namespace.pods.as_ref()?;
    let (mut found, mut unchecked) = (Vec::new(), 0);
    for pod in pods {
        let text = pod.to_string();
        let class = pod_from_str(&text)
            .map(|tree| classify(guarded.policy, &tree, pod["status"]["phase"].as_str()).class);
        match class {
            Ok(Class::Ended | Class::Static) => unchecked += 1,
            Ok(class) if !class.is_finding() => {}
            // A Pod that cannot be read is none that conforms.
            Ok(_) | Err(_) => found.push(name(pod)),
        }
    }
    if found.is_empty() {
        let checked = pods.len() - unchecked;
        let rest = if unchecked == 0 {
            String::new()
        } else {
            format!("; {unchecked} ended or static ones are not checked")
        };
        return Ok(Verdict::ok(format!("{checked} Pods, none violates the policy{rest}")));
    }
    let fail = Verdict::fail(
        format!("{} of {} Pods violate the policy: {}", found.len(), pods.len(), some(&found)),
        format!("sandgate scan -n {} shows what to change", guarded.namespace.name),
    );
    // Before the installation they show what the policy would deny.
    let is_expected = guarded.facts.is_preflight || !guarded.is_enforced();
    Ok(if is_expected { fail.of_severity(Severity::Medium) } else { fail })
}

fn pod_handlers<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let pods = guarded.namespace.pods.as_ref()?;
    let (nodes, classes) = (guarded.facts.nodes.as_ref()?, guarded.facts.runtime_classes.as_ref()?);
    let running = pods.iter().filter(|pod| pod["spec"]["nodeName"].is_string() && !has_ended(pod));
    let (mut outside, mut proven, mut unproven) = (Vec::new(), 0, 0);
    for pod in running {
        let class = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
        let handler = handler_of(classes, class).unwrap_or_default();
        let node =
            nodes.iter().find(|node| name(node) == pod["spec"]["nodeName"].as_str().unwrap_or_default());
        match node.and_then(|node| declares(node, handler)) {
            _ if !is_gvisor(handler) => outside.push(name(pod)),
            Some(false) => outside.push(name(pod)),
            Some(true) => proven += 1,
            None => unproven += 1,
        }
    }
    if !outside.is_empty() {
        let fail = Verdict::fail(
            format!("running Pods outside of gVisor: {}", some(&outside)),
            "delete them so that they are created anew; see runtime-handler for nodes that lack the handler",
        );
        let is_expected = guarded.facts.is_preflight || !guarded.is_enforced();
        return Ok(if is_expected { fail.of_severity(Severity::Medium) } else { fail });
    }
    if unproven > 0 {
        return Ok(Verdict::unknown(
            format!("{unproven} running Pods: their nodes do not report the handlers of their runtime"),
            "prove it by --probe",
        ));
    }
    Ok(Verdict::ok(format!("{proven} running Pods, each with a handler of gVisor that its node has")))
}

impl Guarded<'_> {
    pub(super) fn is_enforced(&self) -> bool {
        self.policy.mode() == sandgate_engine::policy::Mode::Enforce
    }
}

fn is_empty_selector(selector: &Value) -> bool {
    ["matchLabels", "matchExpressions"].iter().all(|field| match &selector[*field] {
        Value::Null => true,
        Value::Object(labels) => labels.is_empty(),
        Value::Array(expressions) => expressions.is_empty(),
        _ => false,
    })
}
