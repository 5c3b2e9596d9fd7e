//! Pods of engines and agents through the real API server and both webhooks: each under the policy that is meant for it,
//! created as the user that creates them in a cluster, with the owner that they have there.

#[path = "../../engine/tests/fixtures/table.rs"]
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};
use testbed::{ControlPlane, Denial, Rest, Sandgate, Version, shared};

use self::table::{ATTACKS, FIXTURES, Fixture};

/// The users that create Pods, by a part of the policy. All other Pods are those of Jobs.
const CONTROLLERS: [(&str, &str); 11] = [
    ("preset/agent-sandbox", "system:serviceaccount:agent-sandbox-system:agent-sandbox-controller"),
    ("preset/airflow", "system:serviceaccount:airflow:airflow-scheduler"),
    ("preset/argo-workflows", "system:serviceaccount:argo:argo"),
    ("preset/github-arc", "system:serviceaccount:arc-systems:arc-gha-rs-controller"),
    ("preset/gitlab-runner", "system:serviceaccount:gitlab-runner:gitlab-runner"),
    ("preset/gpu-serving", "system:serviceaccount:kube-system:replicaset-controller"),
    ("preset/jenkins", "system:serviceaccount:jenkins:jenkins"),
    ("preset/knative", "system:serviceaccount:kube-system:replicaset-controller"),
    ("preset/ray", "system:serviceaccount:ray-system:kuberay-operator"),
    ("preset/spark", "system:serviceaccount:spark:spark"),
    ("preset/tekton", "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"),
];

fn controller(policy: &str) -> &'static str {
    let known = CONTROLLERS.iter().find(|(part, _)| policy.contains(part));
    known.map_or("system:serviceaccount:kube-system:job-controller", |(_, user)| user)
}

/// A namespace for each policy of the table, with one sandgate in front of all.
struct Engines {
    namespaces: BTreeMap<&'static str, String>,
    clients: BTreeMap<&'static str, Rest>,
    _sandgate: Sandgate,
}

/// The Pods of engines, agents, and what identities and meshes add to them.
fn fixtures() -> impl Iterator<Item = &'static Fixture> {
    FIXTURES.iter().filter(|fixture| {
        ["engines/", "agents/", "addons/"].iter().any(|kind| fixture.file.starts_with(kind))
    })
}

fn pod(fixture: &Fixture, namespace: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/tests/fixtures");
    let mut pod = fixture.pod_in(&folder);
    pod["metadata"]["namespace"] = json!(namespace);
    pod
}

impl Engines {
    async fn start(bed: &ControlPlane) -> Self {
        let rest = bed.rest().await.unwrap();
        let mut namespaces = BTreeMap::new();
        let mut specs = Vec::new();
        for fixture in fixtures() {
            if namespaces.contains_key(fixture.policy) {
                continue;
            }
            let namespace = bed.namespace(&rest, &json!({"generateName": "engine-"})).await.unwrap();
            let mut spec: Value = serde_saphyr::from_str(&format!("{{{}}}", fixture.policy)).unwrap();
            spec["namespaces"] = json!([namespace]);
            specs.push(spec);
            namespaces.insert(fixture.policy, namespace);
        }
        create_accounts(&rest, &namespaces).await;
        create_classes(&rest).await;
        let sandgate = Sandgate::start_with(bed, &json!(specs)).await.unwrap();
        sandgate.guard(bed, &rest).await.unwrap();
        let users: BTreeSet<_> = fixtures().map(|fixture| controller(fixture.policy)).collect();
        grant(&rest, &users).await;
        let mut clients = BTreeMap::new();
        for user in users {
            clients.insert(user, bed.rest_as(user).await.unwrap());
        }
        Self { namespaces, clients, _sandgate: sandgate }
    }

    /// Sends a create that is admitted or denied like any other, and stores nothing.
    async fn create(&self, fixture: &Fixture, pod: &Value) -> Result<Value, Denial> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.namespaces[fixture.policy]);
        self.clients[controller(fixture.policy)].post(&path, pod).await
    }
}

/// Creates the accounts that Pods name, and one that a hostile Pod names: a Pod of an account that does not exist is
/// rejected before any webhook.
async fn create_accounts(rest: &Rest, namespaces: &BTreeMap<&str, String>) {
    let mut accounts = BTreeSet::new();
    for fixture in fixtures() {
        let namespace = &namespaces[fixture.policy];
        let name = pod(fixture, namespace)["spec"]["serviceAccountName"].as_str().map(str::to_owned);
        accounts.extend(name.into_iter().chain(["cluster-admin".to_owned()]).map(|name| (namespace, name)));
    }
    let there = ["default", "workflow-runner"];
    for (namespace, name) in accounts.into_iter().filter(|(_, name)| !there.contains(&&**name)) {
        let account = json!({"metadata": {"name": name}});
        rest.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account).await.unwrap();
    }
}

async fn create_classes(rest: &Rest) {
    for class in ["gvisor-gpu", "kata", "kata-qemu", "kata-vm-isolation"] {
        let class = json!({"metadata": {"name": class}, "handler": class});
        rest.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.unwrap();
    }
}

/// Lets the users create Pods everywhere.
async fn grant(rest: &Rest, users: &BTreeSet<&str>) {
    let subjects: Vec<_> = users
        .iter()
        .map(|user| json!({"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}))
        .collect();
    let binding = json!({
        "metadata": {"name": "controllers-of-engines"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": subjects,
    });
    rest.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await.unwrap();
}

#[tokio::test]
async fn every_pod_of_an_engine_is_stored_in_a_sandbox_and_no_hostile_variant_is() {
    let bed = shared().await;
    let engines = Engines::start(bed).await;
    let mut wrong = Vec::new();
    let (mut stored, mut denied) = (0, 0);
    // An older API server drops hostUsers, and so what the policy asks of root.
    let keeps_host_users = Version::chosen().expect("a version").is_at_least(33);
    for fixture in fixtures() {
        let usual = pod(fixture, &engines.namespaces[fixture.policy]);
        if usual["spec"]["hostUsers"].is_boolean() && !keeps_host_users {
            continue;
        }
        match engines.create(fixture, &usual).await {
            Ok(pod) if fixture.violates.is_empty() => {
                let class = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
                let is_sandbox = class.starts_with("gvisor") || class.starts_with("kata");
                stored += 1;
                if !is_sandbox {
                    wrong.push(format!("{}: class {class:?}", fixture.file));
                }
            }
            Err(denial) if !fixture.violates.is_empty() => {
                let is_named = fixture.violates.iter().all(|rule| denial.names(rule));
                denied += 1;
                if !is_named {
                    wrong.push(format!("{}: {denial}", fixture.file));
                }
                continue;
            }
            Ok(_) => wrong.push(format!("{}: stored, must be denied", fixture.file)),
            Err(denial) => wrong.push(format!("{}: {denial}", fixture.file)),
        }
        for (rule, attack) in ATTACKS.iter().filter(|(rule, _)| !fixture.opens(rule)) {
            let mut hostile = usual.clone();
            attack(&mut hostile);
            match engines.create(fixture, &hostile).await {
                Err(denial) if denial.names(rule) => denied += 1,
                other => wrong.push(format!("{} with {rule}: {other:?}", fixture.file)),
            }
        }
    }
    println!("{stored} Pods of engines stored, {denied} hostile ones denied");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
