//! The API server: its version, the fields of its Pods, what its metrics show.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    facts::{ClusterCheck, Facts},
    finding::{Answer, Check, Section, Severity, Verdict},
    reader::{Read, Unread, items, name, some},
};
use crate::cluster::{differences, is_of_backstop};
use sandgate_engine::{
    backstop::{FILLS_MINOR, Settings, fills, render},
    pod::schema::{DENIED_ON_PURPOSE, Kind, POD, Type, VERSIONS},
    review::annotations::endpoint_of,
};

/// The oldest minor version of Kubernetes 1 that sandgate runs on.
const OLDEST_MINOR: u32 = 30;

pub(super) const CHECKS: &[ClusterCheck] = &[
    (Check::new(Section::Cluster, Severity::High, "kubernetes-version"), version),
    (Check::new(Section::Cluster, Severity::Medium, "pod-schema"), pod_schema),
];

pub(super) const METRIC_CHECKS: &[ClusterCheck] = &[
    (Check::new(Section::Webhooks, Severity::Critical, "fail-open"), fail_open),
    (Check::new(Section::Webhooks, Severity::Medium, "backstop"), backstop),
    (Check::new(Section::Webhooks, Severity::High, "backstop-caught"), backstop_caught),
    (Check::new(Section::Webhooks, Severity::Low, "mutating-policies"), mutating_policies),
    (Check::new(Section::Cluster, Severity::Medium, "apiserver-audit"), audit),
];

/// The minor version, without the `+` that some clouds add.
fn minor(version: &Value) -> Option<u32> {
    version["minor"].as_str()?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

#[expect(clippy::unnecessary_wraps, reason = "every check has this type")]
fn version(facts: &Facts) -> Answer<'_> {
    let text = facts.version["gitVersion"].as_str().unwrap_or("an unknown version");
    match minor(&facts.version) {
        Some(minor) if minor < OLDEST_MINOR => Ok(Verdict::fail(
            format!("Kubernetes {text} is older than 1.{OLDEST_MINOR}"),
            format!("upgrade Kubernetes to 1.{OLDEST_MINOR} or newer"),
        )),
        Some(_) => Ok(Verdict::ok(format!("Kubernetes {text}"))),
        None => Ok(Verdict::unknown(format!("Kubernetes {text}"), "check the address of the API server")),
    }
}

fn pod_schema(facts: &Facts) -> Answer<'_> {
    let schemas = facts.schemas.as_ref()?;
    if !schemas["io.k8s.api.core.v1.Pod"].is_object() {
        return Ok(Verdict::unknown(
            "the API server does not describe its Pods (/openapi/v3/api/v1)",
            "give the document of its version by --openapi",
        ));
    }
    let mut unknown = unknown_fields(schemas);
    if unknown.is_empty() {
        return Ok(Verdict::ok(format!("sandgate knows every field of its Pods (Kubernetes {VERSIONS})")));
    }
    let shown = |fields: &BTreeSet<Field>| {
        some(&fields.iter().map(|(of, field)| format!("{of}.{field}")).collect::<Vec<_>>())
    };
    let all = shown(&unknown);
    unknown.retain(|(of, field)| !DENIED_ON_PURPOSE.contains(&(*of, field.as_str())));
    if unknown.is_empty() {
        return Ok(Verdict::ok(format!("fields that are denied on purpose: {all}")));
    }
    Ok(Verdict::fail(
        format!("fields of its Pods that sandgate does not know, and denies: {}", shown(&unknown)),
        format!("upgrade sandgate before Kubernetes: this version was written for {VERSIONS}"),
    ))
}

/// A field, with its type before it.
type Field = (&'static str, String);

/// Returns the fields of a Pod that the API server knows and sandgate does not.
fn unknown_fields(schemas: &Value) -> BTreeSet<Field> {
    let mut unknown = BTreeSet::new();
    let mut seen = BTreeSet::new();
    compare(&POD, "io.k8s.api.core.v1.Pod", schemas, &mut seen, &mut unknown);
    unknown
}

fn compare(
    ours: &'static Type,
    theirs: &str,
    schemas: &Value,
    seen: &mut BTreeSet<String>,
    unknown: &mut BTreeSet<Field>,
) {
    if !seen.insert(theirs.to_owned()) {
        return;
    }
    // An unknown field of a Pod's metadata is admitted.
    let is_metadata = ["ObjectMeta", "OwnerReference"].contains(&ours.name);
    for (field, value) in schemas[theirs]["properties"].as_object().into_iter().flatten() {
        match ours.field(field) {
            None if is_metadata => {}
            None => {
                unknown.insert((ours.name, field.clone()));
            }
            Some(kind) => {
                if let (Some(of), Some(name)) = (object(kind), reference(value)) {
                    compare(of, name, schemas, seen, unknown);
                }
            }
        }
    }
}

/// The type of the objects that a field has, itself or as items.
fn object(kind: Kind) -> Option<&'static Type> {
    match kind {
        Kind::Object(of) => Some(of),
        Kind::List(items) => object(*items),
        Kind::Map(values) => object(*values),
        _ => None,
    }
}

/// The name of the type that a value, or an item of it, has; it may stand in an `allOf` beside a default.
fn reference(value: &Value) -> Option<&str> {
    let inner = [&value["items"], &value["additionalProperties"]].into_iter().find(|inner| inner.is_object());
    let value = inner.unwrap_or(value);
    let reference = value["$ref"].as_str().or_else(|| value.pointer("/allOf/0/$ref")?.as_str())?;
    reference.rsplit('/').next()
}

/// Returns the metrics, if they are those of an API server: a counter that is not among them shows nothing else.
pub(super) fn metrics(text: String) -> Read<String> {
    if text.lines().any(|line| line.starts_with("apiserver_")) {
        return Ok(text);
    }
    Err(Unread::new(
        "the answer to /metrics has no metric of an API server",
        "look at the metrics that your provider has of the API server",
    ))
}

/// The lines of a metric with all of these texts, and their sum.
fn sum<'m>(metrics: &'m str, metric: &str, texts: &[&str]) -> Option<(f64, Vec<&'m str>)> {
    let is_it = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let mut lines = metrics.lines().filter(is_it).peekable();
    lines.peek()?;
    let lines: Vec<&str> = lines.filter(|line| texts.iter().all(|text| line.contains(text))).collect();
    let values = lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Some((values.sum(), lines))
}

fn fail_open(facts: &Facts) -> Answer<'_> {
    let metrics = facts.apiserver_metrics.as_ref()?;
    let all = sum(metrics, "apiserver_admission_webhook_fail_open_count", &[]);
    let lines = all.map(|(_, lines)| lines).unwrap_or_default();
    // A webhook that only warns about templates fails open on purpose.
    let is_of_pods = |line: &&str| {
        let name = line.split_once("name=\"").and_then(|(_, rest)| rest.split('"').next());
        name.is_some_and(|name| endpoint_of(name).is_some())
    };
    let counts =
        lines.into_iter().filter(is_of_pods).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    let count: f64 = counts.sum();
    if count > 0.0 {
        return Ok(Verdict::fail(
            format!("{count} requests were admitted because sandgate did not answer"),
            "set webhook.failurePolicy=Fail; sandgate scan finds what came in",
        ));
    }
    Ok(Verdict::ok("this API server admitted no request because sandgate did not answer"))
}

fn backstop_caught(facts: &Facts) -> Answer<'_> {
    let metrics = facts.apiserver_metrics.as_ref()?;
    let texts = ["policy=\"sandgate-", "enforcement_action=\"deny\""];
    match sum(metrics, "apiserver_validating_admission_policy_check_total", &texts) {
        Some((count, _)) if count > 0.0 => Ok(Verdict::fail(
            format!(
                "the API server's own policies of sandgate denied {count} requests: Pods came past the webhook"
            ),
            "find out why the webhook was not asked: the API server's audit log has each denial",
        )),
        _ => Ok(Verdict::ok("the API server's own policies of sandgate had nothing to deny")),
    }
}

fn audit(facts: &Facts) -> Answer<'_> {
    let metrics = facts.apiserver_metrics.as_ref()?;
    match sum(metrics, "apiserver_audit_event_total", &[]) {
        Some((count, _)) if count > 0.0 => Ok(Verdict::ok("the API server writes an audit log")),
        _ => Ok(Verdict::fail(
            "the API server writes no audit log: changes of webhook configurations leave no trace",
            "start it with examples/audit-policy.yaml, or switch on audit logs of your cloud",
        )),
    }
}

fn backstop(facts: &Facts) -> Answer<'_> {
    let release_namespace = &facts.release.namespace;
    let of_release = |objects: &[Value]| -> Vec<Value> {
        objects.iter().filter(|object| is_of_backstop(object, release_namespace)).cloned().collect()
    };
    let policies = of_release(facts.admission_policies.as_ref()?);
    let bindings = of_release(facts.admission_bindings.as_ref()?);
    let filling = of_release(facts.mutating_policies.as_ref()?);
    let filling_bindings = of_release(facts.mutating_bindings.as_ref()?);
    let has_fills = !filling.is_empty() || !filling_bindings.is_empty();
    if policies.is_empty() && bindings.is_empty() && !has_fills {
        let fail = Verdict::fail(
            "no backstop: while sandgate is not asked, Pods are stored as they come",
            "sandgate backstop render prints ValidatingAdmissionPolicies of the same policies",
        );
        return Ok(fail.of_severity(Severity::Info));
    }
    let settings = Settings { release_namespace: release_namespace.clone(), ..Settings::default() };
    let in_force = facts.policies.as_ref()?;
    let wanted = render(in_force, &settings);
    let wanted_fills = if has_fills {
        fills(in_force, &Settings { kubernetes_minor: FILLS_MINOR, ..settings })
    } else {
        Ok(Vec::new())
    };
    let (wanted, wanted_fills) = match (wanted, wanted_fills) {
        (Ok(wanted), Ok(wanted_fills)) => (wanted, wanted_fills),
        (Err(refusals), _) | (_, Err(refusals)) => {
            return Ok(Verdict::fail(
                format!("the policies have no backstop: {}", some(&texts(&refusals))),
                "correct the policies, or delete what is left of the backstop",
            ));
        }
    };
    let mut found = differences(&policies, &bindings, &wanted);
    found.extend(differences(&filling, &filling_bindings, &wanted_fills));
    if found.is_empty() {
        let number = policies.len() + filling.len();
        return Ok(Verdict::ok(format!("{number} admission policies, of the policies in force")));
    }
    Ok(Verdict::fail(
        format!("the backstop is not that of the policies in force: {}", some(&texts(&found))),
        "apply what sandgate backstop render prints; sandgate backstop verify shows what is still wrong",
    ))
}

fn texts(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn mutating_policies(facts: &Facts) -> Answer<'_> {
    let of_pods = |policy: &&Value| {
        let rules = items(&policy["spec"]["matchConstraints"]["resourceRules"]).iter();
        let mut resources = rules.flat_map(|rule| items(&rule["resources"]));
        resources.any(|resource| {
            resource.as_str().is_some_and(|name| name.starts_with("pods") || name.starts_with('*'))
        }) && policy["metadata"]["labels"]["app.kubernetes.io/managed-by"] != "sandgate"
    };
    let found: Vec<&str> = facts.mutating_policies.as_ref()?.iter().filter(of_pods).map(name).collect();
    if found.is_empty() {
        return Ok(Verdict::ok("no MutatingAdmissionPolicy changes Pods"));
    }
    Ok(Verdict::fail(
        format!("MutatingAdmissionPolicies that change Pods before sandgate: {}", some(&found)),
        "nothing, if Pods are admitted: what they write looks like the author's own choice",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::{facts::unread, finding::Outcome};

    #[test]
    fn a_version_that_is_too_old_fails() {
        let mut facts = unread();
        for (minor, outcome) in
            [("29", Outcome::Fail), ("30", Outcome::Ok), ("36+", Outcome::Ok), ("", Outcome::Unknown)]
        {
            facts.version = json!({"gitVersion": format!("v1.{minor}.0"), "minor": minor});
            assert_eq!(version(&facts).unwrap().outcome, outcome, "{minor}");
        }
    }

    #[test]
    fn metrics_of_requests_that_came_past_sandgate_fail_and_those_of_others_do_not() {
        const OPEN: &str = "apiserver_admission_webhook_fail_open_count";
        const CAUGHT: &str = "apiserver_validating_admission_policy_check_total";
        let mut facts = unread();
        let mut of = |check: fn(&Facts) -> Answer<'_>, metrics: &str| {
            facts.apiserver_metrics = Ok(metrics.to_owned());
            check(&facts).unwrap().outcome
        };
        let open =
            |webhook: &str, count: u32| format!("{OPEN}{{name=\"{webhook}\",type=\"admit\"}} {count}\n");
        assert_eq!(of(fail_open, &open("validate.sandgate.dev", 2)), Outcome::Fail);
        assert_eq!(of(fail_open, &open("validate.sandgate.dev", 0)), Outcome::Ok);
        assert_eq!(of(fail_open, &open("other.example.com", 2)), Outcome::Ok);
        assert_eq!(of(fail_open, &open("templates.sandgate.dev", 2)), Outcome::Ok);
        let caught = |policy: &str, action: &str| {
            format!("{CAUGHT}{{enforcement_action=\"{action}\",policy=\"{policy}\"}} 1\n")
        };
        assert_eq!(of(backstop_caught, &caught("sandgate-ci", "deny")), Outcome::Fail);
        assert_eq!(of(backstop_caught, &caught("sandgate-ci", "allow")), Outcome::Ok);
        assert_eq!(of(backstop_caught, &caught("other", "deny")), Outcome::Ok);
        assert_eq!(of(audit, "apiserver_audit_event_total 0\n"), Outcome::Fail);
        assert_eq!(of(audit, "apiserver_audit_event_total 7\n"), Outcome::Ok);
    }

    #[test]
    fn an_answer_without_metrics_of_an_api_server_shows_nothing() {
        for text in ["", "{}", "go_goroutines 7\n"] {
            assert!(metrics(text.to_owned()).is_err(), "{text}");
        }
        assert!(metrics("# HELP x\napiserver_request_total 1\n".into()).is_ok());
    }

    #[test]
    fn a_field_that_sandgate_does_not_know_is_named_with_its_type() {
        let schemas = json!({
            "io.k8s.api.core.v1.Pod": {"properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/Spec"}]}}},
            "Spec": {"properties": {
                "hostNetwork": {},
                "escape": {},
                "containers": {"items": {"$ref": "#/x/Container"}},
            }},
            "Container": {"properties": {"image": {}, "novelty": {}}},
        });
        let unknown: Vec<Field> = unknown_fields(&schemas).into_iter().collect();
        assert_eq!(unknown, [("Container", "novelty".into()), ("PodSpec", "escape".into())]);
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let metrics = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n";
        assert_eq!(sum(metrics, "a", &[]).unwrap().0.to_string(), "5");
        assert_eq!(sum(metrics, "a", &["x=\"2\""]).unwrap().1, ["a{x=\"2\"} 3"]);
        assert_eq!(sum(metrics, "b", &[]), None);
    }
}
