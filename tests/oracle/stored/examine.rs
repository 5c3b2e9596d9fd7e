//! One Pod: what the API server does with it, what the engine and the oracle say, and where they disagree.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use sandgate_engine::{policy::PolicySet, review::Endpoint};
use serde_json::Value as Json;

use super::{
    answers::{Answer, Denier, reason, rules},
    fixture::{Fixture, How},
};
use crate::{
    apiserver::{create, defaulted, items},
    exhaustive::without_digits,
    generator::Case,
    oracle,
};

/// What was seen of one Pod.
pub(super) struct Seen {
    pub(super) how: How,
    /// What became of it where sandgate and Pod Security are asked.
    pub(super) guarded: Answer,
    /// What became of it where Pod Security alone is asked.
    pub(super) restricted: Answer,
    /// The engine's verdict, and the same for what the API server makes of the Pod, where that is another one.
    pub(super) verdicts: Vec<Verdict>,
    /// What is wrong, if anything is.
    pub(super) problem: Option<String>,
}

/// The rules that both endpoints, asked in this process, say are violated; none where they admit.
pub(super) type Verdict = BTreeSet<String>;

/// A Pod that can be sent: with a name of its own, and to any namespace.
pub(super) fn to_send(case_pod: Json, number: usize) -> Json {
    let mut pod = case_pod;
    let metadata = &mut pod["metadata"];
    if metadata.is_null() {
        *metadata = Json::Object(serde_json::Map::default());
    }
    // What is no object is denied as it is.
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".into(), Json::from(format!("pod-{number}")));
        metadata.remove("namespace");
    }
    pod
}

/// Sends `pod` and looks at what becomes of it.
pub(super) async fn examine(fixture: &Fixture, pod: &Json, how: How) -> Seen {
    let guarded = fixture.send(&fixture.guarded, pod, how).await;
    let restricted = fixture.send(&fixture.restricted, pod, How::DryRun).await;
    let mut seen =
        Seen { how, guarded, restricted, verdicts: vec![verdict(&fixture.policies, pod)], problem: None };
    seen.problem = problem(fixture, pod, &mut seen).await;
    seen
}

/// The case without the edits that its problem does not need.
pub(super) fn reduced(fixture: &Fixture, case: Case, problem: &str) -> Case {
    let has_it = async |pod: &Json| {
        let seen = examine(fixture, &to_send(pod.clone(), 0), How::DryRun).await;
        seen.problem.is_some_and(|found| without_digits(&found) == without_digits(problem))
    };
    case.reduced(|pod| {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(has_it(pod)))
    })
}

async fn problem(fixture: &Fixture, pod: &Json, seen: &mut Seen) -> Option<String> {
    let Some((denier, denial)) = seen.guarded.denied() else {
        let stored = seen.guarded.stored().expect("it is stored or denied");
        let found = stored_problem(fixture, stored);
        return match found {
            None => disagreement(fixture, pod, seen, true).await,
            found => found,
        };
    };
    match denier {
        Denier::Mutate | Denier::Validate => disagreement(fixture, pod, seen, false).await,
        Denier::PodSecurity => seen.verdicts[0]
            .is_empty()
            .then(|| format!("sandgate admits what Pod Security denies: {}", denial.message)),
        Denier::Trouble => {
            let alone = fixture.send(&fixture.open, pod, seen.how).await;
            // The API server has troubles of its own: an empty runtimeClassName is an internal error.
            let is_its_own = alone.denied().is_some_and(|(denier, _)| denier == Denier::Trouble);
            (!is_its_own).then(|| denial.to_string())
        }
        Denier::Plugin | Denier::Validation | Denier::Decoding => {
            let is_fine_alone = fixture.send(&fixture.open, pod, How::DryRun).await.stored().is_some();
            // A container that a resize may restart, in a Pod that is filled to restart none: README, Limits.
            let is_known = reason(denial).ends_with("resizePolicy");
            (is_fine_alone && !is_known)
                .then(|| format!("{denier} denies what was filled: {}", reason(denial)))
        }
    }
}

/// What is stored must satisfy the oracle, and sandgate itself, which must have nothing left to fill.
fn stored_problem(fixture: &Fixture, stored: &Json) -> Option<String> {
    let faults = match serde_json::from_value::<Pod>(stored.clone()) {
        Ok(pod) => oracle::faults_under(&fixture.oracle, &pod, None),
        Err(error) => vec![format!("no Pod: {error}")],
    };
    if !faults.is_empty() {
        return Some(format!("stored, an escape: {}", faults.join(", ")));
    }
    let stored = with_our_hash(stored.clone(), &fixture.policies);
    let again = create(&fixture.policies, Endpoint::Mutate, &stored);
    if again.patches {
        return Some("stored, and filled again in another round".into());
    }
    let last = create(&fixture.policies, Endpoint::Validate, &stored);
    (!again.allowed || !last.allowed)
        .then(|| format!("stored, and denied in another round: {:?} {:?}", again.causes, last.causes))
}

/// The hash also covers the policy's namespaces, which are others in this process.
fn with_our_hash(mut stored: Json, policies: &PolicySet) -> Json {
    let policy = policies.for_namespace("workflows", None).expect("the engine is always asked for this one");
    if let Some(hash) = stored.pointer_mut("/metadata/annotations/sandgate.dev~1policy-hash") {
        *hash = Json::from(policy.hash.as_str());
    }
    stored
}

/// Whether sandgate, in this process, says anything else to `pod` than answered on the wire.
///
/// The API server drops what it does not know and writes its defaults before sandgate is asked, so what it makes of
/// the Pod without sandgate has a say where the Pod as it was sent does not explain the answer.
async fn disagreement(fixture: &Fixture, pod: &Json, seen: &mut Seen, is_stored: bool) -> Option<String> {
    let explains = |verdict: &Verdict| verdict.is_empty() == is_stored;
    if explains(&seen.verdicts[0]) {
        return None;
    }
    match fixture.send(&fixture.open, pod, How::DryRun).await {
        Answer::Stored { pod: received, .. } => seen.verdicts.push(verdict(&fixture.policies, &received)),
        // It would not have been stored: an empty `os` is one without a name, which is neither Linux nor valid.
        Answer::Denied(_) if !is_stored => {
            seen.verdicts.push(Verdict::from(["invalid without sandgate too".to_owned()]));
        }
        // What only the fill makes valid is stored nowhere else. It has been checked as it is stored.
        Answer::Denied(_) => return None,
    }
    if seen.verdicts.iter().any(explains) {
        return None;
    }
    let on_the_wire = seen.guarded.denied().map(|(_, denial)| rules(denial));
    Some(match on_the_wire {
        Some(rules) => format!("denied on the wire, admitted in this process: {rules:?}"),
        None => format!("stored, denied in this process: {:?}", seen.verdicts),
    })
}

fn verdict(policies: &PolicySet, pod: &Json) -> Verdict {
    let mutate = create(policies, Endpoint::Mutate, &as_read(pod));
    let reply =
        if mutate.allowed { create(policies, Endpoint::Validate, &defaulted(&mutate.pod)) } else { mutate };
    reply.causes.into_iter().map(|(rule, _)| rule).collect()
}

/// The API server forgives spaces around an amount, and an amount of null is none at all: zero.
fn as_read(pod: &Json) -> Json {
    let mut pod = pod.clone();
    let spec = &mut pod["spec"];
    read_amounts(spec.pointer_mut("/overhead"));
    read_resources(spec);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        items(spec, list).for_each(read_resources);
    }
    for volume in items(spec, "volumes") {
        if let Some(Json::String(size)) = volume.pointer_mut("/emptyDir/sizeLimit") {
            *size = size.trim().to_owned();
        }
    }
    pod
}

fn read_resources(owner: &mut Json) {
    for path in ["/resources/limits", "/resources/requests"] {
        read_amounts(owner.pointer_mut(path));
    }
}

fn read_amounts(amounts: Option<&mut Json>) {
    for (_, amount) in amounts.and_then(Json::as_object_mut).into_iter().flatten() {
        match amount {
            Json::Null => *amount = Json::from("0"),
            Json::String(text) => *text = text.trim().to_owned(),
            _ => {}
        }
    }
}
