//! Three namespaces of one cluster: sandgate guards the first, Pod Security the first and the second, nothing the third.

use sandgate_engine::policy::PolicySet;
use serde_json::{Value as Json, json};

use super::answers::Answer;
use crate::{apiserver::policy_with, generator::yaml, policy::Policy};
use testbed::{ControlPlane, Denial, Rest, STEP_TIMEOUT, Sandgate, shared};

/// A policy to prove.
pub(super) struct Proof {
    /// Of the namespace that sandgate guards.
    pub(super) namespace: &'static str,
    /// The policy's `spec`, without its namespaces.
    pub(super) spec: Json,
}

/// Where Pods are sent, and the same policy in this process.
pub(super) struct Fixture {
    pub(super) policies: PolicySet,
    pub(super) oracle: Policy,
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

impl Fixture {
    /// `pod_security` is the level that the guarded namespace enforces.
    pub(super) async fn new(proof: Proof, pod_security: &str) -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.expect("a client");
        let Proof { namespace, spec } = proof;
        let guarded = new_namespace(bed, &rest, namespace, pod_security).await;
        let restricted = new_namespace(bed, &rest, &format!("{namespace}-restricted"), "restricted").await;
        let open = new_namespace(bed, &rest, &format!("{namespace}-open"), "privileged").await;
        let mut on_the_wire = spec.clone();
        on_the_wire["namespaces"] = json!([guarded]);
        let sandgate = Sandgate::start_with(bed, &on_the_wire).await.expect("sandgate starts");
        sandgate.guard(bed, &rest).await.expect("the API server asks sandgate");
        let policies = policy_with(&spec);
        let oracle = Policy::read(&spec, &|_| Json::Null);
        Self { policies, oracle, guarded, restricted, open, rest, _sandgate: sandgate }
    }

    /// Sends `pod` to a namespace.
    pub(super) async fn send(&self, namespace: &str, pod: &Json, how: How) -> Answer {
        let answer = tokio::time::timeout(STEP_TIMEOUT, self.send_and_wait(namespace, pod, how)).await;
        answer.unwrap_or_else(|_| panic!("no answer to {}", yaml(pod)))
    }

    async fn send_and_wait(&self, namespace: &str, pod: &Json, how: How) -> Answer {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let query = if how == How::DryRun { "?dryRun=All" } else { "" };
        let answered = match self.rest.post(&format!("{path}{query}"), pod).await {
            Ok(answered) => answered,
            Err(denial) => return Answer::Denied(denial),
        };
        if how == How::DryRun {
            return Answer::Stored { pod: answered, was_read: false };
        }
        self.read_and_delete(&path, answered).await.unwrap_or_else(Answer::Denied)
    }

    async fn read_and_delete(&self, pods: &str, answered: Json) -> Result<Answer, Denial> {
        let path = format!("{pods}/{}", answered["metadata"]["name"].as_str().expect("a pod has a name"));
        let is_owned = answered["metadata"]["ownerReferences"].is_array();
        match self.rest.get(&path).await {
            // Its owner is made up, so the garbage collector may have been faster.
            Err(denial) if denial.code == 404 && is_owned => {
                Ok(Answer::Stored { pod: answered, was_read: false })
            }
            Err(denial) => Err(denial),
            Ok(pod) => match self.rest.delete(&format!("{path}?gracePeriodSeconds=0")).await {
                Err(denial) if denial.code != 404 => Err(denial),
                _ => Ok(Answer::Stored { pod, was_read: true }),
            },
        }
    }
}

/// A namespace with every service account that the generator names and that may exist.
async fn new_namespace(bed: &ControlPlane, rest: &Rest, name: &str, pod_security: &str) -> String {
    let labels = json!({"pod-security.kubernetes.io/enforce": pod_security});
    let namespace = bed.namespace(rest, &json!({"name": name, "labels": labels})).await.expect("a namespace");
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    rest.post(&path, &json!({"metadata": {"name": "admin"}})).await.expect("a service account");
    namespace
}
