//! What the checks look at, read once.

use serde_json::{Value, json};

use super::finding::{Answer, Check};
use super::reader::{Read, Reader, Resource, Right, Unread, has_ended, name, whole};
use crate::{
    certs,
    cli::{
        CliError, PolicyArgs,
        dry_run::{self, Tried},
        scan::{Cluster, without_policies},
    },
    cluster,
};
use sandgate_engine::policy::{Policy, PolicySet};

/// So many namespaces are checked if none is named.
const MAX_NAMESPACES: usize = 20;

const NODES: Resource = Resource::new("", "v1", "nodes");
const NAMESPACES: Resource = Resource::new("", "v1", "namespaces");
const ACCOUNTS: Resource = Resource::new("", "v1", "serviceaccounts");
const QUOTAS: Resource = Resource::new("", "v1", "resourcequotas");
const LIMIT_RANGES: Resource = Resource::new("", "v1", "limitranges");
const SECRETS: Resource = Resource::new("", "v1", "secrets");
pub(super) const PODS: Resource = Resource::new("", "v1", "pods");
const PODS_PROXY: Resource = Resource::new("", "v1", "pods/proxy");
const RUNTIME_CLASSES: Resource = Resource::new("node.k8s.io", "v1", "runtimeclasses");
const NETWORK_POLICIES: Resource = Resource::new("networking.k8s.io", "v1", "networkpolicies");
const DAEMON_SETS: Resource = Resource::new("apps", "v1", "daemonsets");
const DEPLOYMENTS: Resource = Resource::new("apps", "v1", "deployments");
const BUDGETS: Resource = Resource::new("policy", "v1", "poddisruptionbudgets");
const ADMISSION: &str = "admissionregistration.k8s.io";
const MUTATING: Resource = Resource::new(ADMISSION, "v1", "mutatingwebhookconfigurations");
const VALIDATING: Resource = Resource::new(ADMISSION, "v1", "validatingwebhookconfigurations");
const POLICIES: Resource = Resource::new(ADMISSION, "v1", "validatingadmissionpolicies");
const BINDINGS: Resource = Resource::new(ADMISSION, "v1", "validatingadmissionpolicybindings");
const MUTATING_POLICIES: Resource = Resource::new(ADMISSION, "v1", "mutatingadmissionpolicies");
const MUTATING_BINDINGS: Resource = Resource::new(ADMISSION, "v1", "mutatingadmissionpolicybindings");
const RBAC: &str = "rbac.authorization.k8s.io";
const CLUSTER_ROLES: Resource = Resource::new(RBAC, "v1", "clusterroles");
const CLUSTER_ROLE_BINDINGS: Resource = Resource::new(RBAC, "v1", "clusterrolebindings");
const ROLES: Resource = Resource::new(RBAC, "v1", "roles");
const ROLE_BINDINGS: Resource = Resource::new(RBAC, "v1", "rolebindings");

/// What is asked for.
pub(super) struct Questions<'a> {
    pub(super) policy: &'a PolicyArgs,
    pub(super) namespaces: &'a [String],
    pub(super) sandgate_namespace: &'a str,
    pub(super) configuration: &'a str,
    pub(super) ca_secret: &'a str,
    /// An image that the policies allow.
    pub(super) image: &'a str,
    /// True before sandgate is installed.
    pub(super) is_preflight: bool,
    /// The `OpenAPI` document of another Kubernetes, to be compared in the place of this one's.
    pub(super) openapi: Option<Value>,
}

/// What was read.
pub(super) struct Facts {
    /// The time.
    pub(super) now: jiff::Timestamp,
    pub(super) is_preflight: bool,
    pub(super) configuration: String,
    pub(super) policies: Read<PolicySet>,
    pub(super) version: Value,
    /// The types of the API, by name.
    pub(super) schemas: Read<Value>,
    pub(super) nodes: Read<Vec<Value>>,
    pub(super) runtime_classes: Read<Vec<Value>>,
    pub(super) daemon_sets: Read<Vec<Value>>,
    pub(super) mutating: Read<Vec<Value>>,
    pub(super) validating: Read<Vec<Value>>,
    pub(super) admission_policies: Read<Vec<Value>>,
    pub(super) admission_bindings: Read<Vec<Value>>,
    pub(super) mutating_policies: Read<Vec<Value>>,
    pub(super) mutating_bindings: Read<Vec<Value>>,
    pub(super) cluster_roles: Read<Vec<Value>>,
    pub(super) cluster_role_bindings: Read<Vec<Value>>,
    pub(super) apiserver_metrics: Read<String>,
    pub(super) release: Release,
    pub(super) namespaces: Vec<Namespace>,
}

/// A check of the whole cluster.
pub(super) type ClusterCheck = (Check, fn(&Facts) -> Answer<'_>);

/// What belongs to sandgate itself.
pub(super) struct Release {
    pub(super) namespace: String,
    pub(super) deployments: Read<Vec<Value>>,
    /// The Pods of the webhook.
    pub(super) pods: Read<Vec<Value>>,
    pub(super) budgets: Read<Vec<Value>>,
    pub(super) roles: Read<Vec<Value>>,
    pub(super) role_bindings: Read<Vec<Value>>,
    /// Which configurations the Secret records as having been armed once: mutating, validating.
    pub(super) was_armed: Read<[bool; 2]>,
    /// The metrics of each Pod, by its name.
    pub(super) metrics: Vec<(String, Read<String>)>,
}

/// A namespace of Pods.
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) object: Read<Option<Value>>,
    pub(super) accounts: Read<Vec<Value>>,
    pub(super) network_policies: Read<Vec<Value>>,
    pub(super) quotas: Read<Vec<Value>>,
    pub(super) limit_ranges: Read<Vec<Value>>,
    pub(super) role_bindings: Read<Vec<Value>>,
    pub(super) pods: Read<Vec<Value>>,
    /// What became of a plain Pod.
    pub(super) plain: Read<Tried>,
    /// What became of a Pod that every policy denies.
    pub(super) hostile: Read<Tried>,
}

impl Facts {
    /// Reads everything.
    pub(super) async fn read(
        cluster: &Cluster,
        reader: &Reader,
        asked: &Questions<'_>,
    ) -> Result<Self, CliError> {
        let version = reader.json("/version", &Right::to_path("/version")).await;
        // Without an answer to this there is nothing to check.
        let version = match version {
            Ok(version) => version.unwrap_or_default(),
            Err(unread) => return Err(CliError::new(unread.verdict().what)),
        };
        let policies = policies(cluster, asked).await?;
        let names = namespaces(reader, &policies, asked).await;
        let mut namespaces = Vec::new();
        for name in names {
            namespaces.push(Namespace::read(reader, name, asked).await);
        }
        let list = async |resource| reader.list(resource, None, whole).await;
        Ok(Self {
            now: certs::now(),
            is_preflight: asked.is_preflight,
            configuration: asked.configuration.to_owned(),
            policies,
            version,
            schemas: schemas(reader, asked).await,
            nodes: reader.list(NODES, None, only_of_node).await,
            runtime_classes: list(RUNTIME_CLASSES).await,
            daemon_sets: reader.list(DAEMON_SETS, None, only_metadata).await,
            mutating: list(MUTATING).await,
            validating: list(VALIDATING).await,
            admission_policies: reader.list(POLICIES, None, only_ours).await,
            admission_bindings: list(BINDINGS).await,
            mutating_policies: list(MUTATING_POLICIES).await,
            mutating_bindings: list(MUTATING_BINDINGS).await,
            cluster_roles: list(CLUSTER_ROLES).await,
            cluster_role_bindings: list(CLUSTER_ROLE_BINDINGS).await,
            apiserver_metrics: reader
                .text("/metrics", &Right::to_path("/metrics"))
                .await
                .and_then(super::apiserver::metrics),
            release: Release::read(reader, asked).await,
            namespaces,
        })
    }

    /// Returns the policy of a namespace.
    pub(super) fn policy_of(&self, namespace: &Namespace) -> Result<Option<&Policy>, &Unread> {
        let policies = self.policies.as_ref()?;
        let labels = labels(&namespace.object);
        Ok(policies.for_labelled_namespace(&namespace.name, |key| labels[key].as_str()))
    }
}

impl Release {
    async fn read(reader: &Reader, asked: &Questions<'_>) -> Self {
        let namespace = asked.sandgate_namespace.to_owned();
        let inside = Some(namespace.as_str());
        let deployments = reader.list(DEPLOYMENTS, inside, whole).await.map(|mut all| {
            all.retain(is_of_webhook);
            all
        });
        let pods = reader.list(PODS, inside, whole).await.map(|mut all| {
            all.retain(|pod| is_of_webhook(pod) && !is_leaving(pod));
            all
        });
        let mut metrics = Vec::new();
        let all = pods.as_ref().map(Vec::as_slice).unwrap_or_default();
        for pod in all.iter().filter(|pod| pod["status"]["phase"] == "Running") {
            metrics.push((name(pod).to_owned(), replica_metrics(reader, &namespace, pod).await));
        }
        let secret = reader.get(SECRETS, inside, asked.ca_secret).await;
        Self {
            deployments,
            pods,
            budgets: reader.list(BUDGETS, inside, whole).await,
            roles: reader.list(ROLES, inside, whole).await,
            role_bindings: reader.list(ROLE_BINDINGS, inside, whole).await,
            was_armed: secret.map(|secret| cluster::was_armed(secret.as_ref())),
            metrics,
            namespace,
        }
    }
}

impl Namespace {
    async fn read(reader: &Reader, name: String, asked: &Questions<'_>) -> Self {
        let inside = Some(name.as_str());
        let (plain, hostile) = if asked.is_preflight {
            let unread = || Unread::new("sandgate is not installed yet", "");
            (Err(unread()), Err(unread()))
        } else {
            let right = Right::to("create", PODS, inside);
            let attempt = async |pod: Value| match dry_run::try_pod(reader.client(), &name, &pod).await {
                Ok(Tried::Failed { code: 403, message }) if message.contains(" cannot create resource ") => {
                    Err(Unread::forbidden(&right))
                }
                Ok(tried) => Ok(tried),
                Err(problem) => Err(Unread::new(problem, "run the check again")),
            };
            (attempt(dry_run::plain_pod(asked.image)).await, attempt(dry_run::hostile_pod(asked.image)).await)
        };
        Self {
            object: reader.get(NAMESPACES, None, &name).await,
            accounts: reader.list(ACCOUNTS, inside, whole).await,
            network_policies: reader.list(NETWORK_POLICIES, inside, whole).await,
            quotas: reader.list(QUOTAS, inside, only_metadata).await,
            limit_ranges: reader.list(LIMIT_RANGES, inside, only_metadata).await,
            role_bindings: reader.list(ROLE_BINDINGS, inside, whole).await,
            pods: reader.list(PODS, inside, only_phase).await,
            plain,
            hostile,
            name,
        }
    }
}

/// Returns the labels of an object that may not be there.
pub(super) fn labels(object: &Read<Option<Value>>) -> &Value {
    const NONE: &Value = &Value::Null;
    object.as_ref().ok().and_then(Option::as_ref).map_or(NONE, |object| &object["metadata"]["labels"])
}

/// Reads the policies: of files, or those that the chart installed.
async fn policies(cluster: &Cluster, asked: &Questions<'_>) -> Result<Read<PolicySet>, CliError> {
    if asked.policy.policy.is_some() || asked.is_preflight {
        let policies = asked.policy.load()?;
        return Ok(Ok(policies.with_release_namespace(asked.sandgate_namespace)));
    }
    let action = "give the policies by --policy, or the namespace of the release by --sandgate-namespace";
    let sources = match cluster.policies(asked.sandgate_namespace).await {
        Ok(sources) if sources.is_empty() => {
            return Ok(Err(Unread::new(without_policies(asked.sandgate_namespace), action)));
        }
        Ok(sources) => sources,
        Err(error) => return Ok(Err(Unread::new(error.0.join("; "), action))),
    };
    let policies = PolicySet::from_sources(&sources)?;
    Ok(Ok(policies.with_release_namespace(asked.sandgate_namespace)))
}

/// Returns the namespaces to check: those that are named, else those that have a policy.
async fn namespaces(reader: &Reader, policies: &Read<PolicySet>, asked: &Questions<'_>) -> Vec<String> {
    let mut names = asked.namespaces.to_vec();
    if let (true, Ok(policies)) = (names.is_empty(), policies) {
        let patterns = policies.policies().iter().flat_map(|policy| policy.header.namespaces.iter());
        names.extend(patterns.filter(|name| name.is_literal()).map(|name| name.as_str().to_owned()));
        for namespace in reader.list(NAMESPACES, None, only_metadata).await.unwrap_or_default() {
            let label = |key: &str| namespace["metadata"]["labels"][key].as_str();
            if policies.for_labelled_namespace(name(&namespace), label).is_some() {
                names.push(name(&namespace).to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    names.truncate(MAX_NAMESPACES);
    names
}

/// Reads the types of the API: of this server, or of a file.
async fn schemas(reader: &Reader, asked: &Questions<'_>) -> Read<Value> {
    const PATH: &str = "/openapi/v3/api/v1";
    let mut document = match &asked.openapi {
        Some(document) => document.clone(),
        None => reader.json(PATH, &Right::to_path("/openapi/*")).await?.unwrap_or_default(),
    };
    Ok(document["components"]["schemas"].take())
}

/// Reads the metrics of a Pod through the API server.
async fn replica_metrics(reader: &Reader, namespace: &str, pod: &Value) -> Read<String> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let port = ports.find(|port| port["name"] == "admin").and_then(|port| port["containerPort"].as_u64());
    let port = port.unwrap_or(8080);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}:{port}/proxy/metrics", name(pod));
    reader.text(&path, &Right::to("get", PODS_PROXY, Some(namespace))).await
}

/// Returns true for objects of the chart that are no test.
fn is_of_webhook(object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    let selector = &object["spec"]["selector"]["matchLabels"];
    [labels, selector].iter().any(|labels| labels["app.kubernetes.io/component"] == "webhook")
        && [labels, selector].iter().any(|labels| labels["app.kubernetes.io/name"].is_string())
}

/// Returns true for a Pod that is being deleted or has ended: it is no replica any more.
fn is_leaving(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null() || has_ended(pod)
}

/// Leaves the whole object if sandgate wrote it: only such a one is compared.
fn only_ours(object: &mut Value) {
    if object["metadata"]["labels"]["app.kubernetes.io/managed-by"] != "sandgate" {
        only_metadata(object);
    }
}

fn only_metadata(object: &mut Value) {
    let metadata = object["metadata"].take();
    *object = json!({"metadata": metadata});
}

/// Leaves of the status of a Pod what the checks read.
fn only_phase(pod: &mut Value) {
    pod["status"] = json!({"phase": pod["status"]["phase"]});
}

/// Leaves of a node what the checks read: a node lists every image that it has.
fn only_of_node(node: &mut Value) {
    *node = json!({
        "metadata": {"name": node["metadata"]["name"], "labels": node["metadata"]["labels"]},
        "spec": {"taints": node["spec"]["taints"], "unschedulable": node["spec"]["unschedulable"]},
        "status": {
            "conditions": node["status"]["conditions"],
            "runtimeHandlers": node["status"]["runtimeHandlers"],
        },
    });
}

/// Facts of which none could be read, for tests that set some.
#[cfg(test)]
pub(super) fn unread() -> Facts {
    fn missing<T>() -> Read<T> {
        Err(Unread::new("missing right", "add it"))
    }
    Facts {
        now: jiff::Timestamp::constant(1_800_000_000, 0),
        is_preflight: false,
        configuration: "sandgate".into(),
        policies: Ok(PolicySet::builtin()),
        version: Value::Null,
        schemas: missing(),
        nodes: missing(),
        runtime_classes: missing(),
        daemon_sets: missing(),
        mutating: missing(),
        validating: missing(),
        admission_policies: missing(),
        admission_bindings: missing(),
        mutating_policies: missing(),
        mutating_bindings: missing(),
        cluster_roles: missing(),
        cluster_role_bindings: missing(),
        apiserver_metrics: missing(),
        release: Release {
            namespace: "sandgate-system".into(),
            deployments: missing(),
            pods: missing(),
            budgets: missing(),
            roles: missing(),
            role_bindings: missing(),
            was_armed: missing(),
            metrics: Vec::new(),
        },
        namespaces: Vec::new(),
    }
}
