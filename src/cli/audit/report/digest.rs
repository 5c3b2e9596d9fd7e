//! What the page tells of the verdicts, gathered as they stream by, in bounded memory.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{shown::Shown, timeline::Timeline};
use crate::{
    audit::{Verdict, Violation},
    cli::audit::{
        list::name,
        tally::Tally,
        top::{By, names},
    },
};

/// By what is counted.
pub(super) const DIMENSIONS: [By; 4] = [By::Rule, By::User, By::Namespace, By::Image];

/// More different names than this are counted together: they are chosen by whoever is refused.
pub(super) const MOST_NAMES: usize = 10_000;

#[derive(Debug)]
pub(super) struct Digest {
    pub(super) totals: Totals,
    /// When the first and the last one was, by the times that can be read.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Verdicts without such a time.
    pub(super) timeless: u64,
    pub(super) timeline: Timeline,
    /// Of refusals and would-be refusals, in the order of [`DIMENSIONS`].
    pub(super) tallies: [Tally<Shown>; 4],
    pub(super) policies: Tally<Policy>,
    /// The newest refusals, by time and by their place among the verdicts.
    pub(super) newest: BTreeMap<(Timestamp, u64), Refusal>,
    most_newest: usize,
}

/// How many verdicts, and what became of the requests.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) verdicts: u64,
    pub(super) denied: u64,
    pub(super) denied_dry_runs: u64,
    pub(super) warned: u64,
    pub(super) would_deny: u64,
    pub(super) admitted: u64,
    pub(super) exempt: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Policy {
    pub(super) name: Shown,
    pub(super) mode: Shown,
    pub(super) hash: Shown,
}

/// A refusal, as far as it is told in the page.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) time: Option<Timestamp>,
    pub(super) uid: Shown,
    pub(super) dry_run: bool,
    pub(super) operation: Shown,
    pub(super) resource: Shown,
    pub(super) namespace: Shown,
    pub(super) name: Shown,
    pub(super) owner: Option<Shown>,
    pub(super) user: Shown,
    pub(super) policy: Shown,
    pub(super) images: Vec<Shown>,
    pub(super) more_images: usize,
    pub(super) violations: Vec<Violated>,
    pub(super) more_violations: usize,
}

/// What was wrong.
#[derive(Debug)]
pub(super) struct Violated {
    pub(super) rule: Shown,
    pub(super) path: Shown,
    pub(super) found: Shown,
    pub(super) wanted: Shown,
}

impl Digest {
    pub(super) fn new(most_newest: usize) -> Self {
        Self {
            totals: Totals::default(),
            span: None,
            timeless: 0,
            timeline: Timeline::new(),
            tallies: DIMENSIONS.map(|_| Tally::new(MOST_NAMES)),
            policies: Tally::new(MOST_NAMES),
            newest: BTreeMap::new(),
            most_newest,
        }
    }

    pub(super) fn take(&mut self, verdict: &Verdict) {
        self.totals.count(verdict);
        let time = verdict.time.parse().ok();
        match time {
            Some(time) => self.see(time, verdict),
            None => self.timeless += 1,
        }
        let Verdict { policy, policy_hash, mode, .. } = verdict;
        let policy =
            Policy { name: (&**policy).into(), mode: (&**mode).into(), hash: (&**policy_hash).into() };
        self.policies.count(policy, &verdict.verdict);
        if matches!(&*verdict.verdict, "denied" | "warned" | "would-deny") {
            self.count(verdict);
        }
        if verdict.verdict == "denied" {
            self.keep(time, verdict);
        }
    }

    fn see(&mut self, time: Timestamp, verdict: &Verdict) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        self.timeline.count(time, &verdict.verdict);
    }

    fn count(&mut self, verdict: &Verdict) {
        for (by, tally) in DIMENSIONS.into_iter().zip(&mut self.tallies) {
            for name in names(by, verdict) {
                tally.count((&*name).into(), &verdict.verdict);
            }
        }
    }

    fn keep(&mut self, time: Option<Timestamp>, verdict: &Verdict) {
        let key = (time.unwrap_or(Timestamp::MIN), self.totals.verdicts);
        let is_old = self.newest.first_key_value().is_some_and(|(oldest, _)| key < *oldest);
        if is_old && self.newest.len() == self.most_newest {
            return;
        }
        self.newest.insert(key, Refusal::new(time, verdict));
        if self.newest.len() > self.most_newest {
            self.newest.pop_first();
        }
    }
}

impl Totals {
    fn count(&mut self, Verdict { verdict, dry_run, .. }: &Verdict) {
        self.verdicts += 1;
        let counted = match &**verdict {
            "denied" => &mut self.denied,
            "warned" => &mut self.warned,
            "would-deny" => &mut self.would_deny,
            "exempt" => &mut self.exempt,
            "admitted" => &mut self.admitted,
            _ => return,
        };
        *counted += 1;
        self.denied_dry_runs += u64::from(*dry_run && verdict == "denied");
    }

    pub(super) fn would_be_refused(&self) -> u64 {
        self.warned + self.would_deny
    }
}

impl Refusal {
    const MOST_IMAGES: usize = 4;
    const MOST_VIOLATIONS: usize = 8;

    fn new(time: Option<Timestamp>, verdict: &Verdict) -> Self {
        let Verdict { uid, dry_run, operation, namespace, user, policy, violations, .. } = verdict;
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
            images: images.iter().take(Self::MOST_IMAGES).map(|image| (&**image).into()).collect(),
            more_images: images.len().saturating_sub(Self::MOST_IMAGES),
            violations: violations.iter().take(Self::MOST_VIOLATIONS).map(Violated::new).collect(),
            more_violations: violations.len().saturating_sub(Self::MOST_VIOLATIONS),
        }
    }
}

impl Violated {
    fn new(Violation { rule, path, found, wanted }: &Violation) -> Self {
        Self {
            rule: (&**rule).into(),
            path: (&**path).into(),
            found: (&**found).into(),
            wanted: (&**wanted).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(time: &str, user: &str) -> Verdict {
        Verdict { time: time.into(), verdict: "denied".into(), user: user.into(), ..Verdict::default() }
    }

    #[test]
    fn the_newest_are_kept_in_whatever_order_they_come() {
        let mut digest = Digest::new(2);
        for (time, user) in [
            ("2026-11-24T12:00:02Z", "c"),
            ("", "timeless"),
            ("2026-11-24T12:00:03Z", "d"),
            ("2026-11-24T12:00:01Z", "b"),
        ] {
            digest.take(&denied(time, user));
        }
        let users: Vec<_> = digest.newest.values().map(|refusal| refusal.user.as_str()).collect();
        assert_eq!((users, digest.timeless), (vec!["c", "d"], 1));
    }

    #[test]
    fn none_is_kept_where_none_is_wanted() {
        let mut digest = Digest::new(0);
        digest.take(&denied("2026-11-24T12:00:02Z", "a"));
        assert!(digest.newest.is_empty());
        assert_eq!(digest.totals.denied, 1);
    }

    #[test]
    fn what_grows_with_the_record_is_cut() {
        let violation =
            Violation { rule: "privileged".into(), path: "x".repeat(1 << 20), ..Violation::default() };
        let verdict = Verdict {
            images: (0..1000).map(|number| format!("image{number}")).collect(),
            violations: vec![violation; 1000],
            ..denied("2026-11-24T12:00:02Z", &"u".repeat(1 << 20))
        };
        let mut digest = Digest::new(1);
        digest.take(&verdict);
        let (_, refusal) = digest.newest.pop_first().unwrap();
        assert_eq!((refusal.images.len(), refusal.more_images), (4, 996));
        assert_eq!((refusal.violations.len(), refusal.more_violations), (8, 992));
        assert!(format!("{refusal:?}").len() < 10_000);
    }
}
