//! Reports in the cluster: one object for each namespace and policy, with failures only, as other tools show them.
//!
//! `openreports.io/v1alpha1` and its predecessor `wgpolicyk8s.io/v1alpha2` have the same fields.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Request, StatusCode, header};
use clap::ValueEnum;
use kube::client::Body;
use serde_json::{Value, json};

use super::cluster::{Cluster, Scope, message};
use crate::cli::CliError;
use sandgate_engine::{
    hash::short_hash,
    policy::{FLOOR_RULES, Level, Policy},
    scan::{Class, Owner, Scanned},
    text::{cut, sanitize},
    violations::Violation,
};

/// The most results of one report. A result takes about 500 bytes, and an object may have 1.5 MB.
const MAX_RESULTS: usize = 500;
/// The most results that are kept for all reports together; further ones are counted.
const MAX_ALL_RESULTS: usize = 50_000;
/// The most characters of a message.
const MAX_MESSAGE_CHARS: usize = 600;
/// The most namespaces whose Pods are counted.
const MAX_REPORTS: usize = 20_000;

/// The annotation with the hash of the content.
const HASH: &str = "sandgate.dev/report-hash";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const SOURCE: &str = "sandgate";

/// The kind of reports that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportChoice {
    /// The first of the others that the cluster has
    Auto,
    /// Report of openreports.io/v1alpha1
    Openreports,
    /// `PolicyReport` of wgpolicyk8s.io/v1alpha2
    Wgpolicy,
}

/// A kind of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReportKind {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
}

const OPENREPORTS: ReportKind =
    ReportKind { group: "openreports.io", version: "v1alpha1", plural: "reports", kind: "Report" };
const WGPOLICY: ReportKind = ReportKind {
    group: "wgpolicyk8s.io",
    version: "v1alpha2",
    plural: "policyreports",
    kind: "PolicyReport",
};

/// The results of all namespaces, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Reports {
    by_place: BTreeMap<(String, String), Content>,
    /// The number of results that are kept.
    kept: usize,
}

/// What one report says.
#[derive(Debug, Default)]
struct Content {
    results: Vec<Value>,
    /// The number of results that are not kept.
    more: u64,
    fail: u64,
    warn: u64,
    pass: u64,
}

impl Reports {
    /// Adds a Pod that was checked.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        (namespace, pod, uid): (&str, &str, Option<&str>),
        owner: &Owner,
        scanned: &Scanned,
    ) {
        let place = (namespace.to_owned(), policy.name.clone());
        if self.by_place.len() >= MAX_REPORTS && !self.by_place.contains_key(&place) {
            return;
        }
        let content = self.by_place.entry(place).or_default();
        if !scanned.class.is_finding() {
            content.pass += u64::from(scanned.class == Class::Conforms);
            return;
        }
        let rules: BTreeSet<&str> = scanned.violations.iter().map(|violation| violation.rule.id).collect();
        for rule in rules {
            let of_rule: Vec<&Violation> =
                scanned.violations.iter().filter(|violation| violation.rule.id == rule).collect();
            let is_enforced = policy.level_of(rule) == Level::Enforce;
            if is_enforced {
                content.fail += 1
            } else {
                content.warn += 1
            }
            if content.results.len() >= MAX_RESULTS || self.kept >= MAX_ALL_RESULTS {
                content.more += 1;
                continue;
            }
            self.kept += 1;
            let sentences: Vec<String> = of_rule.iter().map(ToString::to_string).collect();
            let owner = format!("{} {}", owner.kind, owner.name);
            content.results.push(json!({
                "source": SOURCE,
                "policy": policy.name,
                "rule": rule,
                "severity": if FLOOR_RULES.contains(&rule) { "high" } else { "medium" },
                "result": if is_enforced { "fail" } else { "warn" },
                "scored": true,
                "message": cut(&sanitize(&sentences.join("; ")), MAX_MESSAGE_CHARS),
                "resources": [reference(namespace, pod, uid)],
                "properties": {
                    "class": scanned.class.as_str(),
                    "owner": cut(&sanitize(&owner), MAX_MESSAGE_CHARS),
                    "policyHash": policy.hash,
                },
            }));
        }
    }

    /// Writes the reports that changed, and empties those of namespaces without a finding. Returns how many were written.
    pub(super) async fn write(
        self,
        cluster: &Cluster,
        kind: ReportKind,
        scopes: &[Scope<'_>],
    ) -> Result<usize, CliError> {
        let mut stored = BTreeMap::new();
        for scope in scopes {
            stored.extend(kind.stored(cluster, *scope).await?);
        }
        let mut by_place = self.by_place;
        // A report of a namespace whose Pods are gone has nothing left to say.
        for place in stored.keys() {
            by_place.entry(place.clone()).or_default();
        }
        let mut written = 0;
        for ((namespace, policy), content) in by_place {
            let hash = content.hash();
            let before = stored.get(&(namespace.clone(), policy.clone()));
            if before == Some(&hash) {
                continue;
            }
            kind.apply(cluster, &namespace, &policy, content, &hash).await?;
            written += 1;
        }
        Ok(written)
    }
}

fn reference(namespace: &str, pod: &str, uid: Option<&str>) -> Value {
    let mut reference = json!({"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod});
    if let Some(uid) = uid {
        reference["uid"] = json!(uid);
    }
    reference
}

impl Content {
    /// Returns the results, the last of which says how many were left out.
    fn results(mut self, policy: &str) -> Vec<Value> {
        if self.more > 0 {
            self.results.push(json!({
                "source": SOURCE,
                "policy": policy,
                "result": "skip",
                "message": format!("and {} more; sandgate scan shows all", self.more),
            }));
        }
        self.results
    }

    /// Returns the hash of what the report says. The number of Pods that conform is left out, or each new Pod would be a
    /// write.
    fn hash(&self) -> String {
        let content = json!([self.results, self.more, self.fail, self.warn]);
        short_hash(content.to_string().as_bytes())
    }
}

impl ReportKind {
    /// Returns the kind of reports that the cluster has.
    pub(super) async fn find(cluster: &Cluster, choice: ReportChoice) -> Result<Self, CliError> {
        let candidates: &[Self] = match choice {
            ReportChoice::Auto => &[OPENREPORTS, WGPOLICY],
            ReportChoice::Openreports => &[OPENREPORTS],
            ReportChoice::Wgpolicy => &[WGPOLICY],
        };
        for kind in candidates {
            let path = format!("/apis/{}/{}", kind.group, kind.version);
            let request = Request::get(path).body(Body::empty()).map_err(CliError::new)?;
            let (status, body) = cluster
                .send(request)
                .await
                .map_err(|error| CliError::new(format_args!("the API server does not answer: {error}")))?;
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            let mut resources = document["resources"].as_array().into_iter().flatten();
            if status.is_success() && resources.any(|resource| resource["name"] == kind.plural) {
                return Ok(*kind);
            }
        }
        let names: Vec<String> =
            candidates.iter().map(|kind| format!("{}.{}", kind.plural, kind.group)).collect();
        Err(CliError::new(format_args!(
            "the cluster has no reports to write: install the CustomResourceDefinition {}",
            names.join(" or ")
        )))
    }

    fn path(self, namespace: Option<&str>) -> String {
        let Self { group, version, plural, .. } = self;
        match namespace {
            Some(namespace) => format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/apis/{group}/{version}/{plural}"),
        }
    }

    /// Reads the hash of each report of sandgate, by its namespace and policy. Only metadata is read.
    async fn stored(
        self,
        cluster: &Cluster,
        scope: Scope<'_>,
    ) -> Result<BTreeMap<(String, String), String>, CliError> {
        const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let mut found = BTreeMap::new();
        let mut token = String::new();
        loop {
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("limit", "500"), ("labelSelector", "app.kubernetes.io/managed-by=sandgate")])
                .append_pair("continue", &token)
                .finish();
            let path = format!("{}?{query}", self.path(scope.0));
            let request = Request::get(path).header(header::ACCEPT, METADATA).body(Body::empty());
            let list = self.ask(cluster, "list", scope.0, request.map_err(CliError::new)?).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let metadata = &item["metadata"];
                let namespace = metadata["namespace"].as_str().unwrap_or_default();
                let name = metadata["name"].as_str().unwrap_or_default();
                if let Some(policy) = name.strip_prefix("sandgate-") {
                    let hash = metadata["annotations"][HASH].as_str().unwrap_or_default();
                    found.insert((namespace.to_owned(), policy.to_owned()), hash.to_owned());
                }
            }
            list["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            if token.is_empty() {
                return Ok(found);
            }
        }
    }

    async fn apply(
        self,
        cluster: &Cluster,
        namespace: &str,
        policy: &str,
        content: Content,
        hash: &str,
    ) -> Result<(), CliError> {
        let Self { group, version, kind, .. } = self;
        let Content { fail, warn, pass, more, .. } = content;
        let report = json!({
            "apiVersion": format!("{group}/{version}"),
            "kind": kind,
            "metadata": {
                "name": format!("sandgate-{policy}"),
                "namespace": namespace,
                "labels": {MANAGED_BY: SOURCE},
                "annotations": {HASH: hash},
            },
            "summary": {"pass": pass, "fail": fail, "warn": warn, "error": 0, "skip": u64::from(more > 0)},
            "results": content.results(policy),
        });
        let path =
            format!("{}/sandgate-{policy}?fieldManager=sandgate-scan&force=true", self.path(Some(namespace)));
        // JSON is YAML.
        let request = Request::patch(path)
            .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
            .body(Body::from(report.to_string().into_bytes()));
        self.ask(cluster, "patch", Some(namespace), request.map_err(CliError::new)?).await.map(drop)
    }

    async fn ask(
        self,
        cluster: &Cluster,
        verb: &str,
        namespace: Option<&str>,
        request: Request<Body>,
    ) -> Result<Value, CliError> {
        let Self { group, plural, .. } = self;
        let place = namespace.map_or_else(|| "of the cluster".into(), |name| format!("in namespace {name}"));
        let (status, body) = cluster.send(request).await.map_err(|error| {
            CliError::new(format_args!(
                "cannot {verb} {plural}.{group} {place}: the API server does not answer: {error}"
            ))
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(CliError::new);
        }
        let remedy = match status {
            StatusCode::FORBIDDEN => format!(
                "; add a rule {{apiGroups: [{group}], resources: [{plural}], verbs: [list, create, patch]}}"
            ),
            _ => String::new(),
        };
        let message = message(status, &body);
        Err(CliError::new(format_args!("cannot {verb} {plural}.{group} {place}: {message}{remedy}")))
    }
}

#[cfg(test)]
mod tests {
    use sandgate_engine::{json::pod_from_str, scan::classify};

    use super::*;

    fn add(reports: &mut Reports, name: &str) {
        let text =
            json!({"metadata": {"name": name}, "spec": {"hostNetwork": true, "containers": [{"name": "c"}]}});
        let text = text.to_string();
        let pod = pod_from_str(&text).unwrap();
        let policy = Policy::default();
        let owner = Owner { kind: "Pod".into(), name: name.into() };
        reports.add(&policy, ("ci", name, None), &owner, &classify(&policy, &pod, None));
    }

    #[test]
    fn a_report_keeps_so_many_results_and_counts_the_rest() {
        let mut reports = Reports::default();
        for number in 0..100 {
            add(&mut reports, &format!("pod-{number}"));
        }
        let content = reports.by_place.remove(&("ci".into(), "workflow-runner".into())).unwrap();
        let fail = content.fail;
        assert!(fail > 1000, "{fail}");
        assert_eq!(content.more, fail - 500);
        let results = content.results("workflow-runner");
        assert_eq!(results.len(), MAX_RESULTS + 1);
        assert_eq!(
            results[MAX_RESULTS]["message"],
            format!("and {} more; sandgate scan shows all", fail - 500)
        );
        assert!(json!(results).to_string().len() < 1_000_000);
    }

    #[test]
    fn the_same_pods_have_the_same_hash_and_another_pod_another() {
        let hash = |names: &[&str]| {
            let mut reports = Reports::default();
            for name in names {
                add(&mut reports, name);
            }
            reports.by_place.values().next().unwrap().hash()
        };
        assert_eq!(hash(&["a"]), hash(&["a"]));
        assert_ne!(hash(&["a"]), hash(&["b"]));
    }
}
