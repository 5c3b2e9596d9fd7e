//! Three namespaces of one cluster: sandgate guards the first, Pod Security the first and the second, nobody the third.

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use k8s_openapi::api::core::v1::Pod;
use sandgate::policy::{PolicySet, Source};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use super::answers::Answer;
use crate::{
    bed::{ControlPlane, PATIENCE, Refusal, Rest, Sandgate, say},
    generator::yaml,
};

/// A policy to prove.
pub(super) struct Proof {
    /// Of the namespace that sandgate guards.
    pub(super) namespace: &'static str,
    /// The policy's `spec`, without its namespaces.
    pub(super) spec: Json,
    /// Says everything that is wrong with a stored Pod.
    pub(super) judge: fn(&Pod) -> Vec<String>,
}

/// Where Pods are sent, and the same policy in this process.
pub(super) struct Ground {
    pub(super) policies: PolicySet,
    pub(super) judge: fn(&Pod) -> Vec<String>,
    pub(super) guarded: String,
    /// With Pod Security alone.
    pub(super) restricted: String,
    /// With neither.
    pub(super) open: String,
    rest: Rest,
    _sandgate: Sandgate,
}

/// Whether a Pod is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    DryRun,
    /// It is, is read back, and is deleted.
    Create,
}

impl How {
    /// One of four Pods is really stored.
    pub(super) fn of(number: usize) -> Self {
        if number.is_multiple_of(4) { Self::Create } else { Self::DryRun }
    }
}

impl Ground {
    /// `None` where the cluster tests are skipped. `pod_security` is the level that the guarded namespace enforces.
    pub(super) async fn new(proof: Proof, pod_security: &str) -> Option<Self> {
        let bed = bed().await?;
        let rest = bed.rest().await.expect("a client");
        let Proof { namespace, spec, judge } = proof;
        let guarded = new_namespace(bed, &rest, namespace, pod_security).await;
        let restricted = new_namespace(bed, &rest, &format!("{namespace}-restricted"), "restricted").await;
        let open = new_namespace(bed, &rest, &format!("{namespace}-open"), "privileged").await;
        let on_the_wire = with(&spec, "namespaces", json!([guarded]));
        let sandgate = Sandgate::start_with(bed, &on_the_wire).await.expect("sandgate starts");
        sandgate.guard(bed, &rest).await.expect("the API server asks sandgate");
        let policies = policies(&with(&spec, "namespaces", json!(["workflows"])));
        Some(Self { policies, judge, guarded, restricted, open, rest, _sandgate: sandgate })
    }

    /// Sends `pod` to a namespace.
    pub(super) async fn send(&self, namespace: &str, pod: &Json, how: How) -> Answer {
        let answer = tokio::time::timeout(PATIENCE, self.send_and_wait(namespace, pod, how)).await;
        answer.unwrap_or_else(|_| panic!("no answer to {}", yaml(pod)))
    }

    async fn send_and_wait(&self, namespace: &str, pod: &Json, how: How) -> Answer {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let query = if how == How::DryRun { "?dryRun=All" } else { "" };
        let answered = match self.rest.post(&format!("{path}{query}"), pod).await {
            Ok(answered) => answered,
            Err(refusal) => return Answer::Refused(refusal),
        };
        if how == How::DryRun {
            return Answer::Stored { pod: answered, was_read: false };
        }
        self.read_and_delete(&path, answered).await.unwrap_or_else(Answer::Refused)
    }

    async fn read_and_delete(&self, pods: &str, answered: Json) -> Result<Answer, Refusal> {
        let path = format!("{pods}/{}", answered["metadata"]["name"].as_str().expect("a pod has a name"));
        let is_owned = answered["metadata"]["ownerReferences"].is_array();
        match self.rest.get(&path).await {
            // Its owner is made up, so the garbage collector may have been faster.
            Err(refusal) if refusal.code == 404 && is_owned => {
                Ok(Answer::Stored { pod: answered, was_read: false })
            }
            Err(refusal) => Err(refusal),
            Ok(pod) => match self.rest.delete(&format!("{path}?gracePeriodSeconds=0")).await {
                Err(refusal) if refusal.code != 404 => Err(refusal),
                _ => Ok(Answer::Stored { pod, was_read: true }),
            },
        }
    }
}

fn with(spec: &Json, key: &str, value: Json) -> Json {
    let mut spec = spec.clone();
    spec[key] = value;
    spec
}

/// A namespace with every service account that the generator names and that may exist.
async fn new_namespace(bed: &ControlPlane, rest: &Rest, name: &str, pod_security: &str) -> String {
    let labels = json!({"pod-security.kubernetes.io/enforce": pod_security});
    let namespace = bed.namespace(rest, &json!({"name": name, "labels": labels})).await.expect("a namespace");
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    rest.post(&path, &json!({"metadata": {"name": "admin"}})).await.expect("a service account");
    namespace
}

fn policies(spec: &Json) -> PolicySet {
    let policy = json!({
        "apiVersion": "sandgate.dev/v1alpha1",
        "kind": "SandboxPolicy",
        "metadata": {"name": "workflow-runner"},
        "spec": spec,
    });
    let source = Source { name: "policy.json".into(), text: policy.to_string() };
    PolicySet::from_sources(&[source]).expect("sandgate has read it too")
}

/// The control plane of this run, started by the first test that asks.
async fn bed() -> Option<&'static ControlPlane> {
    static BED: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();

    if env::var_os("SANDGATE_SKIP_CLUSTER").is_some_and(|value| value == "1") {
        say_skipped();
        return None;
    }
    let started =
        BED.get_or_init(|| async { ControlPlane::start().await.map_err(|error| error.to_string()) }).await;
    Some(started.as_ref().unwrap_or_else(|error| panic!("no control plane: {error}")))
}

fn say_skipped() {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);

    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let test = thread::current();
    let test = test.name().unwrap_or("a test");
    say(&format!("SKIPPED {test}, because SANDGATE_SKIP_CLUSTER=1; {count} skipped so far"));
}
