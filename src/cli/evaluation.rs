//! What the webhook would do with a Pod of a file.

use std::{borrow::Cow, collections::BTreeMap};

use super::workload_pods::{Problem, WorkloadPod};
use sandgate_engine::{
    json::{self, Text},
    policy::{Creator, Level, Policy, PolicySet, Profile},
    review::{Defaults, Findings, LeveledViolations, Outcome, evaluate},
};

/// The labels of namespaces, by the names of the namespaces.
pub(super) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The user that Pods are evaluated for.
#[derive(Debug)]
pub(super) struct User {
    name: String,
    groups: Vec<Text<'static>>,
}

impl User {
    /// Returns the user with the groups that the API server adds: those of every authenticated user, and those of a service
    /// account if no group is given.
    pub(super) fn new(name: &str, groups: &[String]) -> Self {
        let mut all = groups.to_vec();
        if let (true, Some(account)) = (groups.is_empty(), name.strip_prefix("system:serviceaccount:")) {
            let namespace = account.split(':').next().unwrap_or_default();
            all.push("system:serviceaccounts".into());
            all.push(format!("system:serviceaccounts:{namespace}"));
        }
        all.push("system:authenticated".into());
        Self { name: name.into(), groups: all.into_iter().map(|group| Text(Cow::Owned(group))).collect() }
    }

    fn creator(&self) -> Creator<'_> {
        Creator { user: &self.name, groups: &self.groups }
    }
}

/// Evaluates Pods as the webhook would.
#[derive(Debug)]
pub(super) struct Evaluator<'a> {
    pub(super) policies: &'a PolicySet,
    /// The namespaces of the files, which policies may select by their labels.
    pub(super) namespaces: Namespaces,
    /// The user that creates the Pods, if one is named.
    pub(super) user: Option<User>,
}

/// What became of a Pod.
pub(super) struct Evaluation<'a> {
    /// The policy of its namespace.
    pub(super) policy: &'a Policy,
    /// The verdict.
    pub(super) outcome: Outcome,
    /// The Pod as it would be stored, if it is admitted.
    pub(super) pod: json::Value<'a>,
    /// What the policy found.
    pub(super) findings: Findings<'a>,
    /// The policy that is evaluated beside it and only recorded, and what violates that.
    pub(super) candidate: Option<(&'a Policy, LeveledViolations)>,
    /// The users for whom the Pod would be admitted, if it is denied and no user is named.
    pub(super) admitted_for: Vec<String>,
}

impl<'a> Evaluator<'a> {
    /// Returns the policy of a namespace. The labels of a namespace are known if its manifest is among the files.
    pub(super) fn policy_of(&self, namespace: &str) -> Option<&'a Policy> {
        let Some(labels) = self.namespaces.get(namespace) else {
            return self.policies.for_namespace(namespace, None);
        };
        self.policies.for_labelled_namespace(namespace, |key| match key {
            NAME_LABEL => Some(namespace),
            key => labels.get(key).map(String::as_str),
        })
    }

    /// Returns what the webhook would do, or `None` if no policy covers the namespace.
    pub(super) fn evaluate(&self, pod: &'a WorkloadPod) -> Result<Option<Evaluation<'a>>, Problem> {
        let Some(policy) = self.policy_of(&pod.namespace) else { return Ok(None) };
        let creator = self.user.as_ref().map(User::creator);
        let mut filled = pod.pod()?;
        let findings = evaluate(policy, &mut filled, creator, Defaults::Fill);
        let outcome = match findings.violations.highest() {
            _ if creator.is_some_and(|creator| policy.exempts(&creator)) => Outcome::Exempt,
            Some(Level::Enforce) => Outcome::Denied,
            Some(Level::Warn) => Outcome::Warned,
            Some(Level::Audit) => Outcome::WouldDeny,
            Some(Level::Off) | None => Outcome::Admitted,
        };
        if outcome == Outcome::Exempt {
            filled = pod.pod()?;
        }
        let candidate = match self.policies.candidate_of(policy) {
            Some(candidate) => {
                let mut filled = pod.pod()?;
                let findings = evaluate(candidate, &mut filled, creator, Defaults::Fill);
                Some((candidate, findings.violations))
            }
            None => None,
        };
        let mut admitted_for = Vec::new();
        if outcome == Outcome::Denied && creator.is_none() {
            for profile in policy.profiles() {
                admitted_for.extend(admitted_by(policy, profile, pod)?);
            }
        }
        Ok(Some(Evaluation { policy, outcome, pod: filled, findings, candidate, admitted_for }))
    }

    /// Returns what violates the policy if `json` stands in the place of a Pod, once it is filled; `None` if no
    /// policy covers the namespace.
    pub(super) fn violations_of(
        &self,
        pod: &WorkloadPod,
        json: &str,
    ) -> Result<Option<LeveledViolations>, Problem> {
        let Some(policy) = self.policy_of(&pod.namespace) else { return Ok(None) };
        let creator = self.user.as_ref().map(User::creator);
        let mut filled = json::pod_from_str(json).map_err(|error| pod.unreadable(&error))?;
        let findings = evaluate(policy, &mut filled, creator, Defaults::Fill);
        Ok(Some(findings.violations))
    }
}

/// Returns the users for whom a profile admits the Pod, if it is a profile for users and does.
fn admitted_by(policy: &Policy, profile: &Profile, pod: &WorkloadPod) -> Result<Option<String>, Problem> {
    if !profile.matcher.needs_creator() {
        return Ok(None);
    }
    let first = |names: &Option<sandgate_engine::policy::Names>| {
        names.as_ref().and_then(|names| names.iter().next()).map(|name| name.as_str().to_owned())
    };
    let (user, group) = (first(&profile.matcher.users), first(&profile.matcher.groups));
    // A name that the pattern stands for.
    let example = |pattern: &Option<String>| pattern.as_ref().map(|pattern| pattern.replace('*', "any"));
    let groups: Vec<String> = example(&group).into_iter().collect();
    let someone = User::new(&example(&user).unwrap_or_else(|| "any".into()), &groups);
    let mut filled = pod.pod()?;
    let findings = evaluate(policy, &mut filled, Some(someone.creator()), Defaults::Fill);
    let is_profile = findings.profile.is_some_and(|found| found.name == profile.name);
    if !is_profile || findings.violations.highest() == Some(Level::Enforce) {
        return Ok(None);
    }
    let user = user.map(|user| format!("user {user}"));
    let group = group.map(|group| format!("group {group}"));
    let who: Vec<String> = user.into_iter().chain(group).collect();
    Ok(Some(format!("{} (profile {})", who.join(" in "), profile.name)))
}
