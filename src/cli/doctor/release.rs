//! The Pods of sandgate itself.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    facts::{ClusterCheck, Facts},
    finding::{Answer, Check, Section, Severity, Verdict},
    reader::{Read, has, is_ready, name, some},
};

pub(super) const CHECKS: &[ClusterCheck] = &[
    (Check::new(Section::Sandgate, Severity::High, "replicas"), replicas),
    (Check::new(Section::Sandgate, Severity::Medium, "replica-nodes"), nodes),
    (Check::new(Section::Sandgate, Severity::Medium, "disruption-budget"), budget),
    (Check::new(Section::Sandgate, Severity::High, "policy-loaded"), policy_loaded),
    (Check::new(Section::Sandgate, Severity::Medium, "certificate"), certificate),
    (Check::new(Section::Sandgate, Severity::Low, "version"), version),
];

/// How long before its end a certificate that was not renewed is a finding.
const CERTIFICATE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

fn replicas(facts: &Facts) -> Answer<'_> {
    let (deployments, pods) = (facts.release.deployments.as_ref()?, facts.release.pods.as_ref()?);
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let namespace = &facts.release.namespace;
    if deployments.is_empty() {
        return Ok(Verdict::fail(
            format!("namespace {namespace} has no Deployment of sandgate"),
            "install the chart, or name its namespace by --sandgate-namespace",
        ));
    }
    if ready < 2 {
        return Ok(Verdict::fail(
            format!("{ready} replicas are ready: a restart or an eviction denies every Pod meanwhile"),
            format!("set replicas=3; kubectl -n {namespace} get pods"),
        ));
    }
    Ok(Verdict::ok(format!("{ready} replicas are ready")))
}

fn nodes(facts: &Facts) -> Answer<'_> {
    let pods = facts.release.pods.as_ref()?;
    let nodes: BTreeSet<&str> = pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    if nodes.len() < 2 {
        return Ok(Verdict::fail(
            format!("all replicas run on {} node", nodes.len()),
            "add a node, or set spread.nodes=DoNotSchedule",
        ));
    }
    Ok(Verdict::ok(format!("replicas run on {} nodes", nodes.len())))
}

fn budget(facts: &Facts) -> Answer<'_> {
    let (budgets, pods) = (facts.release.budgets.as_ref()?, facts.release.pods.as_ref()?);
    let covers = |budget: &&Value| {
        let labels = budget["spec"]["selector"]["matchLabels"].as_object();
        labels.is_some_and(|labels| {
            !pods.is_empty()
                && pods.iter().all(|pod| {
                    labels.iter().all(|(key, value)| pod["metadata"]["labels"][key.as_str()] == *value)
                })
        })
    };
    match budgets.iter().find(covers) {
        Some(budget) => Ok(Verdict::ok(format!("PodDisruptionBudget {}", name(budget)))),
        None => Ok(Verdict::fail(
            "no PodDisruptionBudget selects sandgate: a drain may evict all replicas at once",
            "set podDisruptionBudget.enabled=true",
        )),
    }
}

/// The values of a label in the lines of a metric.
fn label_values<'m>(metrics: &'m str, metric: &str, label: &str) -> BTreeSet<&'m str> {
    let lines =
        metrics.lines().filter_map(|line| line.strip_prefix(metric)).filter(|rest| rest.starts_with('{'));
    lines
        .filter_map(|rest| {
            let (_, value) = rest.split_once(&format!("{label}=\""))?;
            value.split('"').next()
        })
        .collect()
}

/// The metrics of each replica that could be read.
fn metrics(facts: &Facts) -> Result<Vec<(&str, &str)>, &super::reader::Unread> {
    facts.release.pods.as_ref()?;
    let mut found = Vec::new();
    for (pod, metrics) in &facts.release.metrics {
        found.push((pod.as_str(), Read::as_ref(metrics)?.as_str()));
    }
    Ok(found)
}

const NO_REPLICA: (&str, &str) = ("there is no replica to ask", "see replicas");

fn policy_loaded(facts: &Facts) -> Answer<'_> {
    let policies = facts.policies.as_ref()?;
    let replicas = metrics(facts)?;
    if replicas.is_empty() {
        return Ok(Verdict::unknown(NO_REPLICA.0, NO_REPLICA.1));
    }
    let wanted: BTreeSet<&str> = policies.policies().iter().map(|policy| policy.hash.as_str()).collect();
    let other: Vec<&str> = replicas
        .iter()
        .filter(|(_, metrics)| label_values(metrics, "sandgate_policy_info", "hash") != wanted)
        .map(|(pod, _)| *pod)
        .collect();
    if other.is_empty() {
        return Ok(Verdict::ok(format!(
            "{} replicas have loaded these {} policies",
            replicas.len(),
            wanted.len()
        )));
    }
    Ok(Verdict::fail(
        format!("replicas with other policies than these: {}", some(&other)),
        "wait a minute for the ConfigMap; if it stays so, their log says why the policy was not loaded",
    ))
}

fn value_of(metrics: &str, metric: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a time in whole seconds; what no time has becomes an error below"
)]
fn certificate(facts: &Facts) -> Answer<'_> {
    let replicas = metrics(facts)?;
    let ends = replicas.iter().filter_map(|(pod, metrics)| {
        Some((*pod, value_of(metrics, "sandgate_certificate_not_after_timestamp_seconds")?))
    });
    let Some((pod, end)) = ends.min_by(|(_, left), (_, right)| left.total_cmp(right)) else {
        return Ok(Verdict::unknown(NO_REPLICA.0, NO_REPLICA.1));
    };
    let Ok(end) = Timestamp::from_second(end as i64) else {
        return Ok(Verdict::unknown(
            format!("{pod} shows a time that does not exist: {end}"),
            "see sandgate's log",
        ));
    };
    let left = end.duration_since(facts.now);
    if left < CERTIFICATE_MARGIN {
        let expires = if left.is_positive() { "expires" } else { "expired" };
        return Ok(Verdict::fail(
            format!("the certificate that {pod} serves {expires} at {end}"),
            "sandgate certs show; renew it in mode files",
        ));
    }
    Ok(Verdict::ok(format!("served certificates are valid for {} days", left.as_hours() / 24)))
}

fn version(facts: &Facts) -> Answer<'_> {
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let replicas = metrics(facts)?;
    if replicas.is_empty() {
        return Ok(Verdict::unknown(NO_REPLICA.0, NO_REPLICA.1));
    }
    let versions: BTreeSet<&str> = replicas
        .iter()
        .flat_map(|(_, metrics)| label_values(metrics, "sandgate_build_info", "version"))
        .collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    if versions == [OWN] {
        return Ok(Verdict::ok(format!("this program and all replicas are {OWN}")));
    }
    Ok(Verdict::fail(
        format!("this program is {OWN}, the replicas are {}", some(&versions)),
        "use the program of the release: other versions know other rules",
    ))
}

/// Returns true if a rule of a role gives one of these verbs on a resource.
pub(super) fn gives(rule: &Value, group: &str, resource: &str, verbs: &[&str]) -> bool {
    let lists = |field: &str, text: &str| has(&rule[field], text) || has(&rule[field], "*");
    lists("apiGroups", group) && lists("resources", resource) && verbs.iter().any(|verb| lists("verbs", verb))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::{facts::unread, finding::Outcome, reader::Unread};

    /// What becomes of a check if a replica has these metrics.
    fn of(check: fn(&Facts) -> Answer<'_>, metrics: Read<String>) -> Outcome {
        let mut facts = unread();
        facts.release.pods = Ok(vec![json!({})]);
        facts.release.metrics = vec![("sandgate-1".into(), metrics)];
        check(&facts).map_or(Outcome::Unknown, |verdict| verdict.outcome)
    }

    #[test]
    fn a_replica_with_another_policy_certificate_or_version_fails() {
        let policies = unread().policies.unwrap();
        let hash = &policies.policies()[0].hash;
        let policy = |hash: &str| Ok(format!("sandgate_policy_info{{policy=\"p\",hash=\"{hash}\"}} 1\n"));
        assert_eq!(of(policy_loaded, policy(hash)), Outcome::Ok);
        assert_eq!(of(policy_loaded, policy("0123456789abcdef")), Outcome::Fail);
        let until = |end: i64| Ok(format!("sandgate_certificate_not_after_timestamp_seconds {end}\n"));
        assert_eq!(of(certificate, until(1_800_000_000 + 172_800)), Outcome::Ok);
        assert_eq!(of(certificate, until(1_800_000_000 + 3_600)), Outcome::Fail);
        let build = |version: &str| Ok(format!("sandgate_build_info{{version=\"{version}\"}} 1\n"));
        assert_eq!(of(version, build(env!("CARGO_PKG_VERSION"))), Outcome::Ok);
        assert_eq!(of(version, build("0.0.0")), Outcome::Fail);
    }

    #[test]
    fn metrics_that_cannot_be_read_make_checks_unknown() {
        for check in [policy_loaded, certificate, version] {
            assert_eq!(of(check, Err(Unread::new("missing right", ""))), Outcome::Unknown);
        }
    }

    #[test]
    fn labels_and_values_of_metrics_are_read() {
        let metrics = "sandgate_policy_info{policy=\"a\",hash=\"1f\",mode=\"enforce\"} 1\n\
                       sandgate_policy_info{policy=\"b\",hash=\"2e\",mode=\"audit\"} 1\nx 3.5\n";
        let hashes: Vec<&str> = label_values(metrics, "sandgate_policy_info", "hash").into_iter().collect();
        assert_eq!(hashes, ["1f", "2e"]);
        assert_eq!(value_of(metrics, "x"), Some(3.5));
        assert_eq!(value_of(metrics, "y"), None);
    }
}
