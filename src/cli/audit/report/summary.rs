//! The summary of the verdicts that the page shows, gathered as they stream by, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{sanitized::Sanitized, timeline::Timeline};
use crate::cli::audit::{
    counts::CountsBy,
    list::name,
    top::{By, is_final, names},
};
use sandgate_engine::review::{AuditRecord, AuditViolation, Outcome};

/// By what is counted.
pub(super) const DIMENSIONS: [By; 4] = [By::Rule, By::User, By::Namespace, By::Image];

/// More different names than this are counted together: they are chosen by the senders.
pub(super) const MAX_NAMES: usize = 10_000;

#[derive(Debug)]
pub(super) struct Summary {
    pub(super) totals: Totals,
    /// The times of the first and the last one, as far as times can be read.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Verdicts without such a time.
    pub(super) timeless: u64,
    pub(super) timeline: Timeline,
    /// Of denials and would-be denials, in the order of [`DIMENSIONS`].
    pub(super) dimensions: [CountsBy<Sanitized>; 4],
    pub(super) policies: CountsBy<Policy>,
    /// The times of the first and the last request under each policy.
    pub(super) policy_spans: BTreeMap<Policy, (Timestamp, Timestamp)>,
    pub(super) scope: Scope,
    /// The newest denials, by time and by their place among the verdicts.
    pub(super) newest: BTreeMap<(Timestamp, u64), Denial>,
    /// Every denial, and every request that was admitted by exemption or without a policy, in the order of the files.
    pub(super) denials: Appendix,
    pub(super) exemptions: Appendix,
    most_newest: usize,
}

/// The number of verdicts, by the outcome of the requests.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) verdicts: u64,
    pub(super) denied: u64,
    pub(super) denied_dry_runs: u64,
    pub(super) warned: u64,
    pub(super) would_deny: u64,
    pub(super) admitted: u64,
    pub(super) exempt: u64,
    pub(super) no_policy: u64,
}

/// Where the records come from.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) clusters: BTreeSet<Sanitized>,
    pub(super) instances: BTreeSet<Sanitized>,
    pub(super) namespaces: BTreeSet<Sanitized>,
}

/// Requests in a line each, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Appendix {
    pub(super) lines: Vec<RequestLine>,
    /// The number of requests that are not listed.
    pub(super) more: u64,
}

/// A request in one line.
#[derive(Debug)]
pub(super) struct RequestLine {
    pub(super) time: Sanitized,
    pub(super) verdict: Sanitized,
    pub(super) object: Sanitized,
    pub(super) user: Sanitized,
    pub(super) policy: Sanitized,
    /// The rules that are violated, each once.
    pub(super) rules: Sanitized,
    pub(super) uid: Sanitized,
}

impl Scope {
    fn add(&mut self, record: &AuditRecord) {
        let sets = [
            (&mut self.clusters, &record.cluster),
            (&mut self.instances, &record.instance),
            (&mut self.namespaces, &record.namespace),
        ];
        for (set, name) in sets {
            if !name.is_empty() && set.len() < MAX_NAMES {
                set.insert((&**name).into());
            }
        }
    }
}

impl Appendix {
    /// A line has at most some kilobytes, so this is the bound of the memory.
    const MAX_LINES: usize = 20_000;

    fn add(&mut self, record: &AuditRecord) {
        if self.lines.len() == Self::MAX_LINES {
            self.more += 1;
            return;
        }
        let dry_run = if record.dry_run { " (dry run)" } else { "" };
        self.lines.push(RequestLine {
            time: (&*record.time).into(),
            verdict: (&*format!("{}{dry_run}", record.verdict)).into(),
            object: (&*format!("{}/{}", record.namespace, name(record))).into(),
            user: (&*record.user).into(),
            policy: (&*record.policy).into(),
            rules: (&*record.rules().join(", ")).into(),
            uid: (&*record.uid).into(),
        });
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Policy {
    pub(super) name: Sanitized,
    pub(super) mode: Sanitized,
    pub(super) hash: Sanitized,
}

/// A denial, with what the page shows of it.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) time: Option<Timestamp>,
    pub(super) uid: Sanitized,
    pub(super) dry_run: bool,
    pub(super) operation: Sanitized,
    pub(super) resource: Sanitized,
    pub(super) namespace: Sanitized,
    pub(super) name: Sanitized,
    pub(super) owner: Option<Sanitized>,
    pub(super) user: Sanitized,
    pub(super) policy: Sanitized,
    pub(super) images: Vec<Sanitized>,
    pub(super) more_images: usize,
    pub(super) violations: Vec<Violated>,
    pub(super) more_violations: usize,
}

/// A violation of a denial: the rule, the path and the texts.
#[derive(Debug)]
pub(super) struct Violated {
    pub(super) rule: Sanitized,
    pub(super) path: Sanitized,
    pub(super) found: Sanitized,
    pub(super) wanted: Sanitized,
    pub(super) remedy: Sanitized,
}

impl Summary {
    pub(super) fn new(most_newest: usize) -> Self {
        Self {
            totals: Totals::default(),
            span: None,
            timeless: 0,
            timeline: Timeline::new(),
            dimensions: DIMENSIONS.map(|_| CountsBy::new(MAX_NAMES)),
            policies: CountsBy::new(MAX_NAMES),
            policy_spans: BTreeMap::new(),
            scope: Scope::default(),
            denials: Appendix::default(),
            exemptions: Appendix::default(),
            newest: BTreeMap::new(),
            most_newest,
        }
    }

    /// Takes the next record. Requests are counted, so a record of /mutate counts only if it ends its request.
    pub(super) fn take(&mut self, verdict: &AuditRecord) {
        self.scope.add(verdict);
        if !is_final(verdict) {
            return;
        }
        self.totals.count(verdict);
        let time: Option<Timestamp> = verdict.time.parse().ok();
        match time {
            Some(time) => self.see(time, verdict),
            None => self.timeless += 1,
        }
        let AuditRecord { policy, policy_hash, mode, .. } = verdict;
        let policy =
            Policy { name: (&**policy).into(), mode: (&**mode).into(), hash: (&**policy_hash).into() };
        self.see_policy(&policy, time);
        self.policies.count(policy, verdict.outcome());
        match verdict.outcome() {
            Some(Outcome::Denied) => self.denials.add(verdict),
            Some(Outcome::Exempt | Outcome::NoPolicy) => self.exemptions.add(verdict),
            _ => {}
        }
        if matches!(verdict.outcome(), Some(Outcome::Denied | Outcome::Warned | Outcome::WouldDeny)) {
            self.count(verdict);
        }
        if verdict.outcome() == Some(Outcome::Denied) {
            self.keep(time, verdict);
        }
    }

    fn see(&mut self, time: Timestamp, verdict: &AuditRecord) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        self.timeline.count(time, verdict.outcome());
    }

    fn see_policy(&mut self, policy: &Policy, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        let has_capacity = self.policy_spans.len() < MAX_NAMES;
        match self.policy_spans.get_mut(policy) {
            Some((first, last)) => (*first, *last) = ((*first).min(time), (*last).max(time)),
            None if has_capacity => _ = self.policy_spans.insert(policy.clone(), (time, time)),
            None => {}
        }
    }

    fn count(&mut self, verdict: &AuditRecord) {
        for (by, counts_by) in DIMENSIONS.into_iter().zip(&mut self.dimensions) {
            for name in names(by, verdict) {
                counts_by.count((&*name).into(), verdict.outcome());
            }
        }
    }

    fn keep(&mut self, time: Option<Timestamp>, verdict: &AuditRecord) {
        let key = (time.unwrap_or(Timestamp::MIN), self.totals.verdicts);
        let is_old = self.newest.first_key_value().is_some_and(|(oldest, _)| key < *oldest);
        if is_old && self.newest.len() == self.most_newest {
            return;
        }
        self.newest.insert(key, Denial::new(time, verdict));
        if self.newest.len() > self.most_newest {
            self.newest.pop_first();
        }
    }
}

impl Totals {
    fn count(&mut self, record: &AuditRecord) {
        self.verdicts += 1;
        let outcome = record.outcome();
        let counted = match outcome {
            Some(Outcome::Denied) => &mut self.denied,
            Some(Outcome::Warned) => &mut self.warned,
            Some(Outcome::WouldDeny) => &mut self.would_deny,
            Some(Outcome::Exempt) => &mut self.exempt,
            Some(Outcome::Admitted) => &mut self.admitted,
            Some(Outcome::NoPolicy) => &mut self.no_policy,
            Some(Outcome::NotEvaluated) | None => return,
        };
        *counted += 1;
        self.denied_dry_runs += u64::from(record.dry_run && outcome == Some(Outcome::Denied));
    }

    pub(super) fn not_enforced(&self) -> u64 {
        self.warned + self.would_deny
    }
}

impl Denial {
    const MAX_IMAGES: usize = 4;
    const MAX_VIOLATIONS: usize = 8;

    fn new(time: Option<Timestamp>, verdict: &AuditRecord) -> Self {
        let AuditRecord { uid, dry_run, operation, namespace, user, policy, violations, .. } = verdict;
        let images = names(By::Image, verdict);
        let slash = if verdict.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", verdict.resource, verdict.subresource);
        let owner = verdict.owner.iter().map(|owner| format!("{} {}", owner.kind, owner.name)).next();
        Self {
            time,
            uid: (&**uid).into(),
            dry_run: *dry_run,
            operation: (&**operation).into(),
            resource: (&*resource).into(),
            namespace: (&**namespace).into(),
            name: (&*name(verdict)).into(),
            owner: owner.as_deref().map(Into::into),
            user: (&**user).into(),
            policy: (&**policy).into(),
            images: images.iter().take(Self::MAX_IMAGES).map(|image| (&**image).into()).collect(),
            more_images: images.len().saturating_sub(Self::MAX_IMAGES),
            violations: violations.iter().take(Self::MAX_VIOLATIONS).map(Violated::new).collect(),
            more_violations: violations.len().saturating_sub(Self::MAX_VIOLATIONS),
        }
    }
}

impl Violated {
    fn new(AuditViolation { rule, path, found, wanted, remedy, level: _ }: &AuditViolation) -> Self {
        Self {
            rule: (&**rule).into(),
            path: (&**path).into(),
            found: (&**found).into(),
            wanted: (&**wanted).into(),
            remedy: (&**remedy).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(time: &str, user: &str) -> AuditRecord<'static> {
        AuditRecord {
            time: time.to_owned().into(),
            verdict: "denied".into(),
            user: user.to_owned().into(),
            ..AuditRecord::default()
        }
    }

    #[test]
    fn the_newest_are_kept_in_whatever_order_they_come() {
        let mut summary = Summary::new(2);
        for (time, user) in [
            ("2026-11-24T12:00:02Z", "c"),
            ("", "timeless"),
            ("2026-11-24T12:00:03Z", "d"),
            ("2026-11-24T12:00:01Z", "b"),
        ] {
            summary.take(&denied(time, user));
        }
        let users: Vec<_> = summary.newest.values().map(|denial| denial.user.as_str()).collect();
        assert_eq!((users, summary.timeless), (vec!["c", "d"], 1));
    }

    #[test]
    fn none_is_kept_where_none_is_wanted() {
        let mut summary = Summary::new(0);
        summary.take(&denied("2026-11-24T12:00:02Z", "a"));
        assert!(summary.newest.is_empty());
        assert_eq!(summary.totals.denied, 1);
    }

    #[test]
    fn what_grows_with_the_record_is_cut() {
        let violation = AuditViolation {
            rule: "privileged".into(),
            path: "x".repeat(1 << 20).into(),
            ..AuditViolation::default()
        };
        let verdict = AuditRecord {
            images: (0..1000).map(|number| format!("image{number}").into()).collect(),
            violations: vec![violation; 1000],
            ..denied("2026-11-24T12:00:02Z", &"u".repeat(1 << 20))
        };
        let mut summary = Summary::new(1);
        summary.take(&verdict);
        let (_, denial) = summary.newest.pop_first().unwrap();
        assert_eq!((denial.images.len(), denial.more_images), (4, 996));
        assert_eq!((denial.violations.len(), denial.more_violations), (8, 992));
        assert!(format!("{denial:?}").len() < 10_000);
    }
}
