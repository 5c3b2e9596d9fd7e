//! What calls sandgate: the webhook configurations, and the answers to dry runs.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    facts::{ClusterCheck, Facts, labels},
    finding::{Answer, Check, Section, Severity, Verdict},
    namespaces::{Guarded, GuardedCheck},
    reader::{items, name, some},
};
use crate::{
    certs::{ca, plan::Kind},
    cli::{
        dry_run::Tried,
        rules_gone::{Rules, describe, rules_of},
        terminal::count,
    },
    cluster,
};
use sandgate_engine::{
    policy::LabelSelector,
    review::{
        Endpoint, POLICY_ANNOTATION,
        annotations::{MUTATE_WEBHOOK, VALIDATE_WEBHOOK, endpoint_of},
    },
};

pub(super) const CHECKS: &[ClusterCheck] = &[
    (Check::new(Section::Webhooks, Severity::Critical, "mutating-webhook"), mutating),
    (Check::new(Section::Webhooks, Severity::Critical, "validating-webhook"), validating),
    (Check::new(Section::Webhooks, Severity::Critical, "webhook-ca"), certificates),
    (Check::new(Section::Webhooks, Severity::High, "webhook-drift"), drift),
    (Check::new(Section::Webhooks, Severity::Low, "later-webhooks"), later_webhooks),
];

pub(super) const GUARDED_CHECKS: &[GuardedCheck] = &[
    (Check::new(Section::Webhooks, Severity::Critical, "namespace-selected"), namespace_selected),
    (Check::new(Section::Webhooks, Severity::Critical, "dry-run-plain"), plain),
    (Check::new(Section::Webhooks, Severity::Critical, "dry-run-hostile"), hostile),
];

fn mutating(facts: &Facts) -> Answer<'_> {
    webhook(facts, Kind::Mutating)
}

fn validating(facts: &Facts) -> Answer<'_> {
    webhook(facts, Kind::Validating)
}

fn configuration(facts: &Facts, kind: Kind) -> Result<Option<&Value>, &super::reader::Unread> {
    let all = match kind {
        Kind::Mutating => &facts.mutating,
        Kind::Validating => &facts.validating,
    };
    Ok(all.as_ref()?.iter().find(|object| name(object) == facts.configuration))
}

fn webhook(facts: &Facts, kind: Kind) -> Answer<'_> {
    let wanted = match kind {
        Kind::Mutating => Endpoint::Mutate,
        Kind::Validating => Endpoint::Validate,
    };
    let Some(object) = configuration(facts, kind)? else {
        return Ok(Verdict::fail(
            format!("there is no {} webhook configuration {}", kind.as_str(), facts.configuration),
            "helm upgrade brings it back; name another one by --webhook-configuration",
        ));
    };
    let was_armed =
        facts.release.was_armed.as_ref().ok().map(|armed| armed[usize::from(kind == Kind::Validating)]);
    if let Some(problem) = describe(kind, &facts.configuration, rules_of(object), was_armed) {
        let action = match rules_of(object) {
            Rules::Gone if was_armed == Some(true) => {
                "start sandgate, which restores them (kubectl -n NS get pods); find who replaced it in the API server's audit log"
            }
            _ => "wait until a replica is ready; if it stays so, see sandgate's log",
        };
        return Ok(Verdict::fail(problem, action));
    }
    let called: Vec<&Value> = items(&object["webhooks"])
        .iter()
        .filter(|webhook| webhook["name"].as_str().and_then(endpoint_of) == Some(wanted))
        .collect();
    let open: Vec<&str> = called
        .iter()
        .filter(|webhook| webhook["failurePolicy"] == "Ignore" && is_main(webhook))
        .filter_map(|webhook| webhook["name"].as_str())
        .collect();
    if !open.is_empty() {
        return Ok(Verdict::fail(
            format!(
                "failurePolicy Ignore of {}: whatever comes while sandgate does not answer is admitted",
                some(&open)
            ),
            "set webhook.failurePolicy=Fail",
        ));
    }
    let selecting: Vec<&str> = called
        .iter()
        .filter(|webhook| webhook["objectSelector"].as_object().is_some_and(|selector| !selector.is_empty()))
        .filter_map(|webhook| webhook["name"].as_str())
        .collect();
    if !selecting.is_empty() {
        return Ok(Verdict::fail(
            format!("{} has an objectSelector: authors of Pods can leave it by a label", some(&selecting)),
            "helm upgrade removes it",
        ));
    }
    Ok(Verdict::ok(format!("{} with rules, failurePolicy Fail", count(called.len(), "webhook"))))
}

/// Returns true for the webhooks that see creates.
fn is_main(webhook: &Value) -> bool {
    let name = webhook["name"].as_str().unwrap_or_default();
    name.ends_with(MUTATE_WEBHOOK) || name.ends_with(VALIDATE_WEBHOOK)
}

fn certificates(facts: &Facts) -> Answer<'_> {
    let mut first_end = None;
    for kind in Kind::ALL {
        for webhook in configuration(facts, kind)?.into_iter().flat_map(|object| items(&object["webhooks"])) {
            let of = webhook["name"].as_str().unwrap_or_default();
            let encoded = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            if encoded.is_empty() {
                // Only with a URL whose certificate the API server's own roots trust.
                if webhook["clientConfig"]["url"].is_string() {
                    continue;
                }
                return Ok(Verdict::fail(
                    format!("{of} has no caBundle: the API server trusts no certificate of sandgate"),
                    "see sandgate's log (managed), or cert-manager's cainjector",
                ));
            }
            let bundle = ca::read_bundle(&STANDARD.decode(encoded).unwrap_or_default());
            let Some(end) = bundle.iter().map(|certificate| certificate.not_after).max() else {
                return Ok(Verdict::fail(
                    format!("the caBundle of {of} has no certificate"),
                    "see sandgate's log; helm upgrade in mode files",
                ));
            };
            if end <= facts.now {
                return Ok(Verdict::fail(
                    format!("every CA of {of} has expired"),
                    "restart sandgate (managed), or renew the CA",
                ));
            }
            first_end = Some(first_end.map_or(end, |first: Timestamp| first.min(end)));
        }
    }
    match first_end {
        Some(end) => Ok(Verdict::ok(format!(
            "CAs are valid for {} days",
            end.duration_since(facts.now).as_hours() / 24
        ))),
        None => Ok(Verdict::unknown("there is no caBundle to look at", "see mutating-webhook")),
    }
}

fn drift(facts: &Facts) -> Answer<'_> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let Some(object) = configuration(facts, kind)? else {
            return Ok(Verdict::unknown(
                "a configuration is missing",
                "see mutating-webhook and validating-webhook",
            ));
        };
        found.extend(cluster::configuration_drift(object));
    }
    if found.is_empty() {
        return Ok(Verdict::ok("both configurations are as the chart rendered them"));
    }
    Ok(Verdict::fail(some(&found), "find who changed it in metadata.managedFields, then helm upgrade"))
}

fn later_webhooks(facts: &Facts) -> Answer<'_> {
    const OF_PODS: [&str; 4] = ["pods", "*", "pods/*", "*/*"];
    let is_of_pods = |webhook: &Value| {
        let rules = items(&webhook["rules"]).iter();
        rules
            .flat_map(|rule| items(&rule["resources"]))
            .any(|resource| resource.as_str().is_some_and(|resource| OF_PODS.contains(&resource)))
    };
    let found: Vec<&str> = facts
        .mutating
        .as_ref()?
        .iter()
        .filter(|object| {
            name(object) > facts.configuration.as_str() && items(&object["webhooks"]).iter().any(is_of_pods)
        })
        .map(name)
        .collect();
    if found.is_empty() {
        return Ok(Verdict::ok("no other webhook changes Pods after sandgate"));
    }
    Ok(Verdict::fail(
        format!("{} change Pods after sandgate; what they add is validated, not filled", some(&found)),
        "nothing, if Pods are admitted; see docs/attack-surface.md for injectors",
    ))
}

fn namespace_selected<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    guarded.namespace.object.as_ref()?;
    let labels = labels(&guarded.namespace.object);
    for kind in Kind::ALL {
        let Some(object) = configuration(guarded.facts, kind)? else { continue };
        let is_selected =
            items(&object["webhooks"]).iter().filter(|webhook| is_main(webhook)).any(|webhook| {
                let selector = match &webhook["namespaceSelector"] {
                    Value::Null => LabelSelector::default(),
                    selector => serde_json::from_value(selector.clone()).unwrap_or_default(),
                };
                selector.matches(|key| labels[key].as_str())
            });
        if !is_selected {
            return Ok(Verdict::fail(
                format!("no {} webhook selects it: its Pods are stored without a review", kind.as_str()),
                "helm upgrade writes the selectors of the policies; if a label selects it, label the namespace",
            ));
        }
    }
    Ok(Verdict::ok("both configurations select it"))
}

fn plain<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    let pod = match guarded.namespace.plain.as_ref()? {
        Tried::Admitted(pod) => pod,
        Tried::Denied { message, .. } => {
            return Ok(Verdict::fail(
                format!("a plain Pod is denied: {}", message.replace('\n', " ")),
                "if the image is what is denied, name one that the policy allows by --image",
            ));
        }
        // What sandgate fills passes Pod Security, unless the policy opens more.
        Tried::Failed { message, .. } if message.contains("violates PodSecurity") => {
            return Ok(not_enforced(
                guarded,
                Verdict::fail(
                    "Pod Security denies a plain Pod: sandgate did not fill it",
                    "see mutating-webhook and namespace-selected; or lower the level, if the policy opens more",
                ),
            ));
        }
        Tried::Failed { message, .. } => return Ok(failed("a plain Pod", message)),
    };
    let policy = pod["metadata"]["annotations"][POLICY_ANNOTATION].as_str();
    match (policy, pod["spec"]["runtimeClassName"].as_str()) {
        (Some(policy), Some(class)) => {
            Ok(Verdict::ok(format!("a plain Pod is filled (policy {policy}, RuntimeClass {class})")))
        }
        _ => Ok(not_enforced(
            guarded,
            Verdict::fail(
                "a plain Pod is stored as it came: sandgate was not asked",
                "see mutating-webhook and namespace-selected",
            ),
        )),
    }
}

fn hostile<'f>(guarded: &Guarded<'f>) -> Answer<'f> {
    match guarded.namespace.hostile.as_ref()? {
        Tried::Denied { webhook, .. } => Ok(Verdict::ok(format!("a hostile Pod is denied by {webhook}"))),
        Tried::Admitted(_) => Ok(not_enforced(
            guarded,
            Verdict::fail("a hostile Pod is admitted", "see validating-webhook and namespace-selected"),
        )),
        // A deny of Pod Security or of a backstop shows nothing about sandgate.
        Tried::Failed { message, .. } => Ok(failed("a hostile Pod", message)),
    }
}

/// Returns a milder verdict for a policy that does not deny.
fn not_enforced(guarded: &Guarded<'_>, fail: Verdict) -> Verdict {
    if guarded.is_enforced() {
        return fail;
    }
    let mode = guarded.policy.mode().as_str();
    Verdict::fail(
        format!("mode {mode}: Pods are neither filled nor denied"),
        "set the mode to enforce when you are ready",
    )
    .of_severity(Severity::Medium)
}

/// Returns the verdict if the API server answers with another error than a denial of sandgate.
fn failed(pod: &str, message: &str) -> Verdict {
    let text = format!("{pod} cannot be tried: {}", message.replace('\n', " "));
    let action = match message {
        _ if message.contains("x509:") => {
            "the caBundle is not the CA of what sandgate serves: see sandgate certs show"
        }
        _ if message.contains("failed calling webhook") => {
            "see why sandgate does not answer: kubectl get pods, its NetworkPolicy, its log"
        }
        _ if message.contains("not found") => "create what is missing",
        _ => return Verdict::unknown(text, "another admission plugin denied it before sandgate was asked"),
    };
    Verdict::fail(text, action)
}
