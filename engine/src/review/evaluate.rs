//! The evaluation of an object by a policy: of a Pod that is created, of an update, of a Binding.

use super::{
    changes::{self, Clamped, Numbers},
    debug_mounts,
    levels::LeveledViolations,
    provenance,
    request::Request,
};
use crate::{
    json::{Object, Value, is_changed},
    path::{LazyPath, METADATA},
    pod::{self, metadata_mut},
    policy::{Creator, Fill, Level, Mode, Owner, PodFacts, PodMatch, Policy, Profile},
    rules::{self, Filled, Rule},
    text::quote,
    violations::{Baseline, Ratchet, Report, Reporter, Sink, show},
};

/// The part of a Pod that an update is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The Pod, a resize, or its ephemeral containers.
    Pod,
    /// `pods/status`, which kubelets and the agents of a network write.
    Status,
}

impl Part {
    /// Returns the part that the update of a request is for.
    pub(super) fn of(request: &Request) -> Self {
        if &*request.info.subresource == "status" { Self::Status } else { Self::Pod }
    }
}

/// The labels that the API server itself copies from a node into each Binding.
const TOPOLOGY_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// The violations that a policy finds in one object, and the fields that it fills.
#[derive(Debug, Default)]
pub struct Findings<'a> {
    /// The violations of the policy. Of a Pod that is created: those that are left once it is filled.
    pub violations: LeveledViolations,
    /// The findings that deny nothing: the violations that the stored Pod had before an update, and fields of the
    /// metadata that no rule knows.
    pub forgiven: LeveledViolations,
    /// True if the Pod before the update could not have been created under the enforced rules of the policy, by any
    /// user.
    pub is_escape: bool,
    /// The profile that was chosen for the object, which is the policy's own keys if no profile matches. Absent if the
    /// object could not be read, and for a Binding.
    pub profile: Option<&'a Profile>,
    /// The names of the exceptions that hold for containers of the Pod.
    pub exceptions: Vec<&'a str>,
    /// The rules that filled the object as it goes out, with the number of fields.
    pub filled: Vec<Filled>,
    /// The numbers that were lowered, or would be if every rule were enforced.
    pub clamped: Vec<Clamped>,
    /// True if the API server's token was removed, or would be if every rule were enforced.
    pub is_token_removed: bool,
    /// The object as it would be filled if every rule were enforced. Absent if it goes out so, or if nothing is filled.
    pub simulated: Option<Value<'a>>,
}

/// Selects whether the policy's defaults are filled before a Pod is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defaults {
    /// Fill what the Pod leaves open, as `POST /mutate` does.
    Fill,
    /// Check the Pod as it is, as `POST /validate` does.
    Skip,
}

/// Fills `pod` if `defaults` and the policy demand it, and returns what violates the policy after that. Only a Pod that
/// is being created has a `creator`.
///
/// Rules at the level enforce are checked on the Pod as it goes out. The others are not filled in it, and are checked
/// on a copy that has every default, so that what is reported of them is what enforcing would deny.
#[must_use]
pub fn evaluate<'a>(
    policy: &'a Policy,
    pod: &mut Value<'a>,
    creator: Option<Creator>,
    defaults: Defaults,
) -> Findings<'a> {
    let profile = profile_of(policy, pod, creator);
    let evaluation = Evaluation { policy, profile, defaults, numbers: Numbers::before_fill(profile, pod) };
    let mut findings = if policy.fill() == Fill::Never {
        evaluation.check_only(pod)
    } else if has_lower_levels(policy) {
        evaluation.simulate(pod)
    } else {
        evaluation.enforce(pod)
    };
    findings.profile = Some(profile);
    findings.exceptions = exceptions_in(pod, profile);
    rules::report_unknown_metadata(pod, &mut findings.forgiven.sorted_by(policy));
    findings
}

/// One evaluation of a Pod that is created.
struct Evaluation<'a> {
    policy: &'a Policy,
    profile: &'a Profile,
    defaults: Defaults,
    numbers: Numbers,
}

impl<'a> Evaluation<'a> {
    /// Evaluates under a policy that fills nothing.
    fn check_only(self, pod: &Value<'a>) -> Findings<'a> {
        let mut violations = LeveledViolations::default();
        self.check(pod, &mut violations.sorted_by(self.policy));
        Findings { violations, ..Findings::default() }
    }

    /// Evaluates under a policy whose rules are all enforced or off.
    fn enforce(self, pod: &mut Value<'a>) -> Findings<'a> {
        let mut filled = Vec::new();
        if self.defaults == Defaults::Fill {
            filled = self.fill(pod, Level::Enforce);
        }
        let mut violations = LeveledViolations::default();
        self.check(pod, &mut violations.sorted_by(self.policy));
        self.with_changes(Findings { violations, filled, ..Findings::default() }, pod)
    }

    /// Evaluates under a policy of which some rules are only warned of or recorded.
    fn simulate(self, pod: &mut Value<'a>) -> Findings<'a> {
        let mut simulated = pod.clone();
        let would_fill = self.fill(&mut simulated, Level::Audit);
        let mut would_violate = LeveledViolations::default();
        self.check(&simulated, &mut would_violate.sorted_by(self.policy));
        let is_filled = self.defaults == Defaults::Fill;
        // Half a repair can make an object that the API server denies with an error of its own, so in the modes that
        // deny nothing a Pod is filled as a whole or not at all.
        if is_filled && self.policy.fill() == Fill::Always && would_violate.is_empty() {
            *pod = simulated;
            return self.with_changes(Findings { filled: would_fill, ..Findings::default() }, pod);
        }
        let mut findings = Findings { violations: would_violate, ..Findings::default() };
        if has_enforced_rules(self.policy) {
            if is_filled {
                findings.filled = self.fill(pod, Level::Enforce);
            }
            let mut enforced = LeveledViolations::default();
            self.check(pod, &mut enforced.sorted_where(self.policy, |level| level == Level::Enforce));
            findings.violations.enforce = enforced.enforce;
        }
        let shown = if is_changed(pod) { &*pod } else { &simulated };
        findings = self.with_changes(findings, shown);
        findings.simulated = Some(simulated);
        findings
    }

    /// Fills by the rules of at least this level, and names the policy.
    fn fill(&self, pod: &mut Value<'a>, lowest: Level) -> Vec<Filled> {
        let filled = rules::fill_some(self.profile, pod, |rule| self.policy.level_of(rule.id) >= lowest);
        provenance::stamp(self.policy, pod);
        filled
    }

    fn check(&self, pod: &Value, sink: &mut dyn Sink) {
        rules::check_into(self.profile, pod, sink);
        if self.defaults == Defaults::Fill {
            provenance::check_create(self.policy, pod, sink);
        }
    }

    fn with_changes(self, findings: Findings<'a>, pod: &Value) -> Findings<'a> {
        if !is_changed(pod) {
            return findings;
        }
        Findings {
            clamped: self.numbers.clamped(self.profile, pod),
            is_token_removed: changes::is_token_removed(pod),
            ..findings
        }
    }
}

/// Returns whether a rule of the policy is warned of or recorded, and not enforced.
fn has_lower_levels(policy: &Policy) -> bool {
    if policy.header.rules.is_empty() {
        return policy.mode() != Mode::Enforce;
    }
    rules::ALL.iter().any(|rule| matches!(policy.level_of(rule.id), Level::Warn | Level::Audit))
}

/// Returns whether a rule of the policy is enforced.
fn has_enforced_rules(policy: &Policy) -> bool {
    policy.mode() == Mode::Enforce || policy.header.rules.values().any(|level| *level == Level::Enforce)
}

/// Evaluates an update: it is held against the update what the Pod violates now and did not violate before.
///
/// A Pod that is being deleted is no exception: it may run on for as long as the delete allows, and its finalizers can
/// be removed whatever it violates. Old and new object are each evaluated by their own profile; if an update moves the
/// Pod to another one, nothing is forgiven, or a Pod could be relabelled into a profile that it does not fit.
pub(super) fn evaluate_update<'a>(
    policy: &'a Policy,
    new: &Value<'a>,
    old: &Value<'a>,
    part: Part,
) -> Findings<'a> {
    let profile = profile_of(policy, new, None);
    let is_wanted: fn(&Rule) -> bool = match part {
        Part::Pod => |_| true,
        Part::Status => |rule| rule != rules::WRITTEN_WITH_STATUS,
    };
    let mut findings =
        Findings { profile: Some(profile), exceptions: exceptions_in(new, profile), ..Findings::default() };
    let mut violations = findings.violations.sorted_by(policy);
    rules::check_into(profile, new, &mut Filtered { sink: &mut violations, is_wanted });
    if *old == Value::Null {
        rules::report_unknown_metadata(new, &mut findings.forgiven.sorted_by(policy));
        return findings;
    }
    if !findings.violations.is_empty() {
        let is_same_profile = std::ptr::eq(profile, profile_of(policy, old, None));
        let mut baseline = Baseline::default();
        if is_same_profile {
            rules::check_into(profile, old, &mut baseline);
        } else {
            // The scheduler has set what this rule denies on create; no profile changes that.
            let only = &mut Filtered { sink: &mut baseline, is_wanted: |rule| rule == rules::ONLY_ON_CREATE };
            rules::check_into(profile, old, only);
        }
        findings.violations = LeveledViolations::default();
        let mut forgiven = findings.forgiven.sorted_by(policy);
        let mut forgiven = Filtered { sink: &mut forgiven, is_wanted: |rule| rule != rules::ONLY_ON_CREATE };
        let mut new_violations = findings.violations.sorted_by(policy);
        let mut new_violations = Filtered { sink: &mut new_violations, is_wanted };
        rules::check_into(profile, new, &mut Ratchet::new(&baseline, &mut new_violations, &mut forgiven));
        debug_mounts::check(profile, new, old, &mut findings.violations.sorted_by(policy));
    }
    provenance::check_update(old, new, &mut findings.violations.sorted_by(policy));
    // What an agent of the network recorded in the Pod makes it no escape.
    let mut forgiven = findings.forgiven.enforce.iter();
    findings.is_escape = forgiven.any(|violation| violation.rule != rules::WRITTEN_WITH_STATUS)
        && !could_be_created_by_a_user(policy, old);
    rules::report_unknown_metadata(new, &mut findings.forgiven.sorted_by(policy));
    findings
}

/// Returns whether a Pod conforms to a profile for some users or groups, which an update never matches.
fn could_be_created_by_a_user(policy: &Policy, pod: &Value) -> bool {
    let of_users = policy.profiles().iter().filter(|profile| profile.matcher.needs_creator());
    let mut fitting = of_users.filter(|profile| {
        let matcher = PodMatch { users: None, groups: None, ..profile.matcher.clone() };
        with_facts(pod, None, |facts| matcher.matches(facts, &policy.base().spec))
    });
    fitting.any(|profile| {
        let mut violations = LeveledViolations::default();
        let mut sorted = violations.sorted_where(policy, |level| level == Level::Enforce);
        let mut sink = Filtered { sink: &mut sorted, is_wanted: |rule| rule != rules::ONLY_ON_CREATE };
        rules::check_into(profile, pod, &mut sink);
        violations.is_empty()
    })
}

/// Evaluates a Binding by the labels and annotations in it, which go over those of the Pod. It is no Pod, so all that
/// it violates without them does not count.
///
/// The Pod's profile is not known, so what one profile denies is denied, and so is a label that a profile is chosen by.
/// The topology labels that the API server copies from the node are chosen by no user, and count for nothing.
pub(super) fn evaluate_binding<'a>(policy: &'a Policy, binding: &Value<'a>) -> Findings<'a> {
    let mut findings = Findings::default();
    let mut sorted = findings.violations.sorted_by(policy);
    let mut carried = binding.clone();
    if let Some(labels) = metadata_mut(&mut carried).and_then(|metadata| metadata.object_mut("labels")) {
        for label in TOPOLOGY_LABELS {
            labels.set(label, Value::Null);
        }
    }
    let mut bare = binding.clone();
    if let Some(metadata) = metadata_mut(&mut bare) {
        metadata.set("labels", Value::Null);
        metadata.set("annotations", Value::Null);
    }
    // What was reported under one profile is no second violation under the next.
    let mut known = Baseline::default();
    for profile in policy.all_profiles() {
        rules::check_into(profile, &bare, &mut known);
        let mut repeated = LeveledViolations::default();
        let mut repeated = repeated.sorted_by(policy);
        rules::check_into(profile, &carried, &mut Ratchet::new(&known, &mut sorted, &mut repeated));
        rules::check_into(profile, &carried, &mut known);
    }
    check_profile_labels(policy, &carried, &mut sorted);
    provenance::check_update(&bare, &carried, &mut sorted);
    findings
}

/// Reports the labels by which a profile is chosen.
fn check_profile_labels(policy: &Policy, binding: &Value, sink: &mut dyn Sink) {
    static LABELS: LazyPath<'static> = METADATA.child("labels");
    let (Some(rule), Some(labels)) = (rules::by_id("labels"), pod::metadata(binding).object("labels")) else {
        return;
    };
    let mut out = Reporter::new(rule, sink);
    for (key, value) in labels.iter() {
        let chosen = policy
            .profiles()
            .iter()
            .find(|profile| profile.matcher.labels.as_ref().is_some_and(|labels| labels.contains_key(key)));
        let Some(profile) = chosen else { continue };
        let wanted = format!("absent from a Binding, since profile {} is chosen by it", quote(&profile.name));
        out.report(LABELS.key(key), show(Some(value)), wanted, "set the label when the Pod is created");
    }
}

/// Reports that the Pod of a review could not be evaluated.
pub(super) fn not_evaluated<'a>(policy: &Policy, request: &Request) -> Findings<'a> {
    let mut findings = Findings::default();
    if let Some(unread) = &request.unread {
        let mut sorted = findings.violations.sorted_by(policy);
        report_unread(unread, &mut sorted);
    }
    findings
}

/// Reports why a Pod could not be evaluated, by the rule of Pods that cannot be read.
pub(super) fn report_unread(unread: &super::Unread, sink: &mut dyn Sink) {
    let (found, wanted, remedy) = unread.violation();
    Reporter::new(rules::POD_SCHEMA, sink).report(LazyPath::root("object"), found, wanted, remedy);
}

fn exceptions_in<'a>(pod: &Value, profile: &'a Profile) -> Vec<&'a str> {
    pod::exceptions_in(pod, profile).into_iter().map(|exception| exception.name.as_str()).collect()
}

/// Returns the keys of the policy that hold for a Pod.
fn profile_of<'p>(policy: &'p Policy, pod: &Value, creator: Option<Creator>) -> &'p Profile {
    with_facts(pod, creator, |facts| policy.profile_for(facts))
}

/// Calls `choose` with what a profile is chosen by.
pub(crate) fn with_facts<T>(pod: &Value, creator: Option<Creator>, choose: impl FnOnce(&PodFacts) -> T) -> T {
    let (metadata, spec) = (pod::metadata(pod), pod::spec(pod));
    let owner = pod::controller(metadata)
        .and_then(|owner| Some(Owner::new(owner.str("kind")?, owner.str("apiVersion")?)));
    let labels = metadata.object("labels");
    let account = ["serviceAccountName", "serviceAccount"].into_iter().filter_map(|field| spec.str(field));
    let asks = |object: &Object, resource: &str| {
        let resources = object.object("resources");
        ["limits", "requests"].into_iter().any(|kind| {
            let amounts = resources.and_then(|resources| resources.object(kind));
            amounts.is_some_and(|amounts| amounts.get(resource).is_some())
        })
    };
    choose(&PodFacts {
        creator,
        owner,
        service_account: account.into_iter().find(|name| !name.is_empty()),
        runtime_class: spec.str("runtimeClassName"),
        label: &|key| labels.and_then(|labels| labels.str(key)),
        asks_for: &|resource| asks(spec, resource) || pod::containers(pod).any(|item| asks(item, resource)),
    })
}

/// Passes on the reports of some rules.
struct Filtered<'s> {
    sink: &'s mut dyn Sink,
    is_wanted: fn(&Rule) -> bool,
}

impl Sink for Filtered<'_> {
    fn take(&mut self, report: &Report) {
        if (self.is_wanted)(report.rule) {
            self.sink.take(report);
        }
    }
}
