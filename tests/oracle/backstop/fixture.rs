//! Two namespaces of a cluster without webhooks: one with the backstop of a policy, one with nothing.

use std::collections::BTreeSet;

use sandgate_engine::{
    backstop::{self, Settings},
    policy::{PolicySet, Source},
    review::Endpoint,
    rules,
};
use serde_json::{Value as Json, json};

use crate::{apiserver::create_as, generator::yaml, policy::Creator};
use testbed::{ControlPlane, Denial, Rest, admission_list, eventually, shared, store_admission};

/// A policy and where its backstop holds.
pub(super) struct Fixture {
    /// The policy as the engine has it, for the namespace `workflows`.
    policies: PolicySet,
    /// The policy as the API server has it.
    guarded_policies: PolicySet,
    pub(super) guarded: String,
    open: String,
    pub(super) rest: Rest,
    user: String,
    groups: Vec<String>,
    /// The objects of the backstop.
    objects: Vec<Json>,
}

/// What became of a Pod.
#[derive(Debug)]
pub(super) enum Comparison {
    /// The API server itself denied it: neither statement was asked.
    NotAsked,
    /// Both admitted it.
    Admitted,
    /// Both denied it.
    Denied,
    /// The statements differ.
    Different(String),
}

fn policies(name: &str, spec: &Json, namespace: &str) -> PolicySet {
    let mut spec = spec.clone();
    spec["namespaces"] = json!([namespace]);
    let policy = json!({
        "apiVersion": "sandgate.dev/v1beta1",
        "kind": "SandboxPolicy",
        "metadata": {"name": name},
        "spec": spec,
    });
    PolicySet::from_sources(&[Source { name: "policy.yaml".into(), text: policy.to_string() }]).unwrap()
}

impl Fixture {
    /// Makes the namespaces; nothing is denied before [`Self::arm`].
    pub(super) async fn new(name: &str, spec: &Json) -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.expect("a client");
        let guarded = new_namespace(bed, &rest, name).await;
        let open = new_namespace(bed, &rest, name).await;
        let whoami = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let whoami = rest.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &whoami).await.unwrap();
        let user = &whoami["status"]["userInfo"];
        let groups = user["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap().into());
        let set = policies(name, spec, &guarded);
        let objects = backstop::render(&set, &Settings::default()).unwrap_or_else(|refusals| {
            panic!("{name}: {}", refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        Self {
            policies: policies(name, spec, "workflows"),
            guarded_policies: set,
            guarded,
            open,
            user: user["username"].as_str().unwrap().into(),
            groups: groups.collect(),
            rest,
            objects,
        }
    }

    /// Adds objects that are stored with the backstop.
    pub(super) fn add(&mut self, objects: Vec<Json>) {
        self.objects.extend(objects);
    }

    pub(super) fn policies(&self) -> &PolicySet {
        &self.policies
    }

    pub(super) fn guarded_policies(&self) -> &PolicySet {
        &self.guarded_policies
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn groups(&self) -> Vec<&str> {
        self.groups.iter().map(String::as_str).collect()
    }

    /// Stores the backstop and waits until it denies.
    pub(super) async fn arm(&self) {
        for object in &self.objects {
            let path = path_of(object);
            let stored = store_admission(&self.rest, object).await;
            stored.unwrap_or_else(|error| panic!("{path}: {}", cut(&error.to_string())));
        }
        let hostile = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "hostile"},
            "spec": {"containers": [{"name": "main", "image": "x", "securityContext": {"privileged": true}}]},
        });
        eventually("the backstop denies", async || {
            let denial = self.send(&self.guarded, &hostile).await.err();
            Ok(denial.filter(|denial| denial.message.contains("(backstop)")).map(drop))
        })
        .await
        .unwrap();
    }

    /// Removes the backstop, so that the next test does not pay for it.
    pub(super) async fn disarm(&self) {
        for object in self.objects.iter().rev() {
            self.rest.delete(&path_of(object)).await.unwrap();
        }
    }

    /// Sends a Pod where nothing decides, as a dry run.
    pub(super) async fn send_open(&self, pod: &Json) -> Result<Json, Denial> {
        self.send(&self.open, pod).await
    }

    /// Sends a Pod as a dry run.
    pub(super) async fn send(&self, namespace: &str, pod: &Json) -> Result<Json, Denial> {
        let mut pod = pod.clone();
        if let Some(metadata) = pod["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        self.rest.post(&format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), &pod).await
    }

    /// Sends a Pod to both namespaces, and compares what the backstop says with what `/validate` says of the Pod as it
    /// would be stored.
    pub(super) async fn compare(&self, pod: &Json) -> Comparison {
        let Ok(stored) = self.send(&self.open, pod).await else { return Comparison::NotAsked };
        let groups = self.groups();
        let creator = Creator { user: &self.user, groups: &groups };
        let reply = create_as(creator, &self.policies, Endpoint::Validate, &stored);
        let expected: BTreeSet<&str> = reply.causes.iter().map(|(rule, _)| rule.as_str()).collect();
        let (found, message) = match self.send(&self.guarded, pod).await {
            Ok(_) => (BTreeSet::new(), String::new()),
            Err(Denial { message, .. }) if message.contains("(backstop), ") => (rules_of(&message), message),
            Err(denial) => (BTreeSet::from(["an error"]), denial.to_string()),
        };
        let is_cut = message.ends_with('…');
        if found == expected || (is_cut && !found.is_empty() && found.is_subset(&expected)) {
            return if expected.is_empty() { Comparison::Admitted } else { Comparison::Denied };
        }
        let only = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
            one.difference(other).copied().collect::<Vec<_>>().join(", ")
        };
        Comparison::Different(format!(
            "only the engine: [{}]; only the backstop: [{}]\n{}\n{:?}\n{}",
            only(&expected, &found),
            only(&found, &expected),
            cut(&message),
            reply.causes,
            yaml(&stored)
        ))
    }
}

/// Returns the ids of the rules in a message of the backstop.
pub(super) fn rules_of(message: &str) -> BTreeSet<&'static str> {
    let texts = message.split_once(" violations: ").map_or("", |(_, texts)| texts);
    let ids = rules::ALL.iter().map(|rule| rule.id).chain(["provenance"]);
    ids.filter(|id| texts.starts_with(&format!("{id}: ")) || texts.contains(&format!("; {id}: "))).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(1500).collect()
}

fn path_of(object: &Json) -> String {
    format!("{}/{}", admission_list(object), object["metadata"]["name"].as_str().unwrap())
}

/// A namespace with every service account that the generator names and that may exist.
async fn new_namespace(bed: &ControlPlane, rest: &Rest, name: &str) -> String {
    let prefix = format!("backstop-{}-", &name[..name.len().min(30)]);
    let namespace = bed.namespace(rest, &json!({"generateName": prefix})).await.expect("a namespace");
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    for account in ["admin", "agent-1", "builder"] {
        rest.post(&path, &json!({"metadata": {"name": account}})).await.expect("a service account");
    }
    namespace
}
