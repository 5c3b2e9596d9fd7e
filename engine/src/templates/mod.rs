//! Workload templates at the source: what becomes of the Pods of a Deployment, a Job or a Sandbox, when the object that
//! makes them is created.
//!
//! Nothing is denied here: Pods are the only place of denial. An object whose Pods would be denied gets warnings. Where
//! the policy has `templates: fill`, the template gets what its Pods would get, if they would then be admitted.

mod answer;
mod fill;
mod warnings;

use std::collections::HashSet;

use crate::{
    json::{Value, is_changed, pod_from_str},
    path::{FieldPath, Step},
    policy::{Creator, Exempt, PodMatch, Policy, PolicySet, Profile, Templates},
    review::{
        Defaults, Head, LeveledViolations, Operation, Request, RequestInfo, ReviewError, Unread, evaluate,
        with_facts,
    },
    workload::{
        self, FillableFields, Note, PodTemplateRef, Workload, WorkloadKind, is_within_bounds, pod_templates,
    },
};

pub use answer::TemplateAnswer;

/// The result of reviewing the Pod templates of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemplateResult {
    /// Nothing was to be reviewed: no policy covers the namespace or it leaves templates alone, the kind is not known to
    /// make Pods, or an update leaves the templates as they are.
    Skipped,
    /// The Pods would be admitted.
    Conforms,
    /// A Pod would be denied, or its violations warned of or recorded.
    Violates,
    /// The object could not be reviewed: it is too large, arrived too late, or is not JSON.
    Unread,
}

impl TemplateResult {
    /// All results, as metrics list them.
    pub const ALL: [Self; 4] = [Self::Skipped, Self::Conforms, Self::Violates, Self::Unread];

    /// Returns the word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Conforms => "conforms",
            Self::Violates => "violates",
            Self::Unread => "unread",
        }
    }
}

/// Reviews the Pod templates of an object. `path_policy` is the policy that the path of the call names, if it names one.
///
/// # Errors
/// Returns an error if `body` is not an `AdmissionReview` of a supported version. An object that cannot be read is no
/// error: it is allowed as it is.
pub fn answer(
    policies: &PolicySet,
    path_policy: Option<&str>,
    body: &[u8],
) -> Result<TemplateAnswer, ReviewError> {
    let Request { info, object, old_object, unread, .. } = Request::read(body)?;
    if unread.is_some() {
        return Ok(TemplateAnswer::unread(&info));
    }
    let policy = policies.for_namespace(&info.namespace, path_policy);
    let policy = policy.filter(|policy| policy.header.templates != Templates::Off);
    let (Some(policy), true) = (policy, is_reviewed(&info, &object)) else {
        return Ok(TemplateAnswer::skipped(&info));
    };
    if !is_within_bounds(&object) {
        return Ok(TemplateAnswer::too_large(&info));
    }
    Ok(review(policy, &info, object, &old_object))
}

/// Allows an object that was not received whole, or not reviewed in time, by the head of its review.
#[must_use]
pub fn answer_head(head: Head, unread: Unread) -> TemplateAnswer {
    TemplateAnswer::unread(&Request::of_head(head, unread).info)
}

fn is_reviewed(info: &RequestInfo, object: &Value) -> bool {
    let is_written = matches!(info.operation, Operation::Create | Operation::Update);
    is_written
        && info.subresource.is_empty()
        && &*info.resource != "pods"
        && !is_compared_by_its_owner(object)
}

/// Returns true if the controller of an object finds it by comparing its template: filled, the controller would not know
/// it again, and create another one for ever. Its owner's template is reviewed instead.
fn is_compared_by_its_owner(object: &Value) -> bool {
    let Some(object) = object.as_object() else { return false };
    matches!(object.str("kind"), Some("ReplicaSet" | "ReplicationController"))
        && object.object("metadata").is_some_and(|metadata| crate::pod::controller(metadata).is_some())
}

/// The Pods of one object, before they are created.
struct TemplateReview<'r> {
    policy: &'r Policy,
    info: &'r RequestInfo<'r>,
    kind: Option<&'static WorkloadKind>,
    /// The violations of each Pod, at the paths of the object.
    violations: Vec<LeveledViolations>,
    result: TemplateResult,
}

fn review(policy: &Policy, info: &RequestInfo, object: Value, old_object: &Value) -> TemplateAnswer {
    let Ok(workload) = pod_templates(&object, &info.namespace) else { return TemplateAnswer::skipped(info) };
    let before = templates_before(old_object, &info.namespace);
    let is_new = |pod: &&PodTemplateRef| !before.contains(&pod.pod);
    let pods: Vec<&PodTemplateRef> = workload.pods.iter().filter(is_new).collect();
    if pods.is_empty() {
        return TemplateAnswer::skipped(info);
    }
    let kind = WorkloadKind::of(&object);
    let mut review =
        TemplateReview { policy, info, kind, violations: Vec::new(), result: TemplateResult::Conforms };
    let mut admitted = Vec::new();
    for pod in pods {
        let Ok(mut tree) = pod_from_str(&pod.pod) else { return TemplateAnswer::unread(info) };
        let depends_on_creator = depends_on_creator(policy, &tree);
        let findings = evaluate(policy, &mut tree, None, Defaults::Fill);
        if review.take_violations(pod, &object, &findings.violations)
            && is_changed(&tree)
            && !depends_on_creator
        {
            admitted.push((pod, tree));
        }
    }
    let mut filled_object = object;
    let mut filled = Vec::new();
    if let Some(fields) = review.filled_fields() {
        for (pod, tree) in &admitted {
            match fill::fill(&mut filled_object, &pod.location, tree, fields) {
                Ok(0) => {}
                Ok(count) => {
                    filled.push(fill::Filled { template: pod.location.path(&FieldPath::default()), count })
                }
                // A patch that cannot be applied would deny the object.
                Err(fill::CannotFill) => return review.answer(&Value::Null, &[]),
            }
        }
    }
    if review.only_restores() && !are_among(&filled_object, &info.namespace, &before) {
        return review.answer(&Value::Null, &[]);
    }
    review.answer(&filled_object, &filled)
}

/// Returns the Pods that the object made before an update, as JSON.
fn templates_before(old_object: &Value, namespace: &str) -> HashSet<String> {
    if *old_object == Value::Null || !is_within_bounds(old_object) {
        return HashSet::new();
    }
    let workload = pod_templates(old_object, namespace).unwrap_or_default();
    workload.pods.into_iter().map(|pod| pod.pod).collect()
}

/// Returns true if every Pod that the object makes is one of these, in whatever order their fields are.
fn are_among(object: &Value, namespace: &str, pods: &HashSet<String>) -> bool {
    let parse = |pod: &String| serde_json::from_str::<serde_json::Value>(pod).ok();
    let known: Vec<_> = pods.iter().filter_map(parse).collect();
    let made = pod_templates(object, namespace).unwrap_or_default().pods;
    made.iter().all(|made| parse(&made.pod).is_some_and(|made| known.contains(&made)))
}

impl TemplateReview<'_> {
    /// Takes the violations of a Pod, and returns whether the Pod would be admitted for any creator.
    fn take_violations(&mut self, pod: &PodTemplateRef, object: &Value, found: &LeveledViolations) -> bool {
        if found.is_empty() {
            return true;
        }
        let is_admitted = found.enforce.is_empty();
        if !is_admitted && is_admitted_for_a_user(self.policy, pod) {
            // Who creates the Pods is not known here.
            return false;
        }
        let relocated = at_object(self.kind, pod, object, found);
        if !relocated.is_empty() {
            self.result = TemplateResult::Violates;
            self.violations.push(relocated);
        }
        is_admitted
    }

    /// Returns the fields that are filled into the templates of the object; `None` if none is.
    fn filled_fields(&self) -> Option<FillableFields> {
        let kind = self.kind.filter(|_| self.policy.header.templates == Templates::Fill)?;
        let fields = kind.fillable_fields();
        (fields != FillableFields::None).then_some(fields)
    }

    /// Returns true if the templates of the object can only be filled to what they were before: an update of a kind whose
    /// templates cannot change, which lost its fills because a client replaces lists whole.
    fn only_restores(&self) -> bool {
        self.info.operation == Operation::Update && !self.kind.is_some_and(fill::can_change)
    }

    fn answer(&self, object: &Value, filled: &[fill::Filled]) -> TemplateAnswer {
        let warnings = warnings::of(self, filled);
        TemplateAnswer::new(self.info, self.result, warnings, object, filled.len())
    }
}

/// Returns an object, or a Pod, with what its Pods would be filled with, as changes of it; `None` if one of them would be
/// denied, or if what it gets has no place in the object or depends on who creates it.
#[must_use]
pub fn fill_object<'v>(policy: &Policy, object: Value<'v>, namespace: &str) -> Option<Value<'v>> {
    if !is_within_bounds(&object) {
        return None;
    }
    let kind = WorkloadKind::of(&object)?;
    let fields = match kind.templates {
        workload::Templates::Whole => FillableFields::All,
        _ => kind.fillable_fields(),
    };
    let pods = pod_templates(&object, namespace).ok()?.pods;
    let mut object = object;
    for pod in pods.iter().filter(|_| fields != FillableFields::None) {
        let mut tree = pod_from_str(&pod.pod).ok()?;
        let is_known = !depends_on_creator(policy, &tree);
        let findings = evaluate(policy, &mut tree, None, Defaults::Fill);
        if !is_known || !findings.violations.enforce.is_empty() {
            return None;
        }
        fill::fill(&mut object, &pod.location, &tree, fields).ok()?;
    }
    Some(object)
}

/// What is known of the Pods that a stored object makes next.
#[derive(Debug, Default)]
pub struct StoredTemplates {
    /// The violations that would be left once a Pod is filled, at the paths of the object.
    pub violations: Vec<LeveledViolations>,
    /// Why a Pod, or a part of it, was not checked: one clause each, such as `it has no Pod template at PATH`.
    pub unchecked: Vec<String>,
}

/// Returns what would be denied of the Pods that a stored object makes next, and what of them cannot be checked.
#[must_use]
pub fn check_stored(policy: &Policy, object: &Value, namespace: &str) -> StoredTemplates {
    let mut stored = StoredTemplates::default();
    if !is_within_bounds(object) {
        stored.unchecked.push("its templates are too large, or too many".into());
        return stored;
    }
    let Workload { pods, notes } = match pod_templates(object, namespace) {
        Ok(workload) => workload,
        Err(path) => {
            stored.unchecked.push(format!("it has no Pod template at {path}"));
            return stored;
        }
    };
    let kind = WorkloadKind::of(object);
    for pod in &pods {
        let Ok(mut tree) = pod_from_str(&pod.pod) else {
            let path = pod.location.path(&FieldPath::default()).unwrap_or_default();
            stored.note(format!("its Pod template at {path} cannot be read"));
            continue;
        };
        let found = evaluate(policy, &mut tree, None, Defaults::Fill).violations;
        if !found.enforce.is_empty() && is_admitted_for_a_user(policy, pod) {
            stored.note("its Pods are admitted for some users only".into());
            continue;
        }
        let found = at_object(kind, pod, object, &found);
        if !found.is_empty() && !stored.violations.contains(&found) {
            stored.violations.push(found);
        }
    }
    notes.iter().filter_map(unchecked_part).for_each(|reason| stored.note(reason));
    stored
}

impl StoredTemplates {
    fn note(&mut self, reason: String) {
        if !self.unchecked.contains(&reason) {
            self.unchecked.push(reason);
        }
    }
}

/// Returns true if the objects of a kind are in namespaces, and have the templates of their Pods themselves.
fn is_checked_itself(kind: &str) -> bool {
    const OF_CLUSTER: &str = "Cluster";
    let is_known = |known: &&WorkloadKind| {
        known.kind == kind && !matches!(known.templates, workload::Templates::Reference(..))
    };
    !kind.starts_with(OF_CLUSTER) && workload::KINDS.iter().any(|known| is_known(&known))
}

/// Returns what a note on an object of a known kind leaves unchecked.
fn unchecked_part(note: &Note) -> Option<String> {
    match note {
        Note::UnknownVersion => Some("the version of its API is not known, and may have more Pods".into()),
        Note::Unreadable { path } => Some(format!("it changes its Pods by {path}, which cannot be read")),
        Note::Reference { kind, name } => {
            let is_unchecked = !is_checked_itself(kind);
            is_unchecked.then(|| format!("it makes Pods from the {kind} {name}, which is not checked"))
        }
        Note::UnknownKind { .. } => Some("its kind is not known".into()),
        Note::Partial => None,
    }
}

/// Returns violations of a Pod at the paths of the object that makes it.
fn at_object(
    kind: Option<&WorkloadKind>,
    pod: &PodTemplateRef,
    object: &Value,
    found: &LeveledViolations,
) -> LeveledViolations {
    let is_composed = kind.is_some_and(WorkloadKind::is_composed);
    found.map(|violations| {
        violations.relocated(warnings::MAX_RELOCATED, |path| {
            let in_object = pod.location.path(path);
            if is_composed {
                // The controller adds to such a Pod what is not known, so only what is written counts.
                return in_object.filter(|path| is_written(object, path));
            }
            Some(in_object.unwrap_or_else(|| path.clone()))
        })
    })
}

/// Returns true if it depends on who creates a Pod what is filled into it. The creators of the Pods of a template are service
/// accounts and components of Kubernetes, and which of them is not known here.
fn depends_on_creator(policy: &Policy, pod: &Value) -> bool {
    let Exempt { users, groups } = &policy.header.exempt;
    let is_exempt = users.iter().chain(groups).any(|name| name.starts_with("system:"));
    let mut of_users = policy.profiles().iter().filter(|profile| profile.matcher.needs_creator());
    is_exempt
        || of_users.any(|profile| {
            let matcher = PodMatch { users: None, groups: None, ..profile.matcher.clone() };
            with_facts(pod, None, |facts| matcher.matches(facts, &policy.base().spec))
        })
}

/// Returns true if a profile for some users or groups admits the Pod.
fn is_admitted_for_a_user(policy: &Policy, pod: &PodTemplateRef) -> bool {
    let mut of_users = policy.profiles().iter().filter(|profile| profile.matcher.needs_creator());
    of_users.any(|profile| is_admitted_by(policy, profile, pod))
}

fn is_admitted_by(policy: &Policy, profile: &Profile, pod: &PodTemplateRef) -> bool {
    let Ok(mut tree) = pod_from_str(&pod.pod) else { return false };
    let names = [&profile.matcher.users, &profile.matcher.groups];
    // A name that the first pattern stands for.
    let [user, group] = names.map(|names| {
        let first = names.as_ref().and_then(|names| names.iter().next());
        first.map(|pattern| pattern.as_str().replace('*', "any"))
    });
    let groups: Vec<_> = group.into_iter().map(|group| crate::json::Text(group.into())).collect();
    let creator = Creator { user: user.as_deref().unwrap_or_default(), groups: &groups };
    let findings = evaluate(policy, &mut tree, Some(creator), Defaults::Fill);
    findings.profile.is_some_and(|found| std::ptr::eq(found, profile))
        && findings.violations.enforce.is_empty()
}

/// Returns true if there is a value at a path of an object.
fn is_written(object: &Value, path: &FieldPath) -> bool {
    let mut steps = path.steps();
    let found = steps.try_fold(object, |value, step| match (value, step) {
        (Value::Object(members), Step::Field(name) | Step::Key(name)) => members.get(name),
        (Value::List(items), Step::Index(index)) => {
            items.iter().find(|(at, _)| *at == index).map(|(_, item)| item)
        }
        _ => None,
    });
    found.is_some()
}

#[cfg(test)]
mod tests;
