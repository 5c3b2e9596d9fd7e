//! `sandgate policy replay`: what a policy would have denied of the Pods that were created.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::{
    CliError, PolicyArgs, Status,
    audit::pod_creates::{self, CreateReading, PodCreate},
    format::TextOrJson,
    print,
    terminal::{STRONG, count, fit, note, paint, seconds, wrap},
};
use sandgate_engine::{
    json::{Text, Value, pod_from_str},
    policy::{Creator, Policy, PolicySet},
    review::{Defaults, evaluate},
    scan::{Owner, owner},
    violations::Violation,
};

/// Show what a policy would have denied of the Pods that were created
///
/// Reads the API server's audit log and evaluates each create of a Pod, also denied ones, as a webhook in mode enforce
/// would have. Lists by owner and rule what would have been denied, and what was not created and would not be denied. Dry
/// runs are left out. A policy that selects namespaces by their labels covers none here, since no log has the labels.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing that was created would have been denied, 1 something would have, 2 could not run, \
                        or not all of the log could be read."
)]
pub(in crate::cli) struct ReplayArgs {
    /// Files of the API server's audit log, one event of audit.k8s.io/v1 a line, of level Request or RequestResponse; "-"
    /// is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    policy: PolicyArgs,

    /// Only Pods of these namespaces; may be repeated
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Vec<String>,

    /// The number of owners to list; 0 for all
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: TextOrJson,
}

/// The most owners that are counted each. Others are counted together, since senders choose the names.
const MAX_OWNERS: usize = 10_000;

/// What became of the Pods then, and what would become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    /// Pods that were created and would have been denied.
    newly_denied: u64,
    /// Pods that were not created, for whatever reason, and would have been denied.
    still_denied: u64,
    /// Pods that were not created, for whatever reason, and would not have been denied.
    no_longer_denied: u64,
    /// Pods that were created and would have been.
    admitted: u64,
}

impl Counts {
    fn count(&mut self, was_stored: bool, is_denied: bool) {
        match (was_stored, is_denied) {
            (true, true) => self.newly_denied += 1,
            (false, true) => self.still_denied += 1,
            (false, false) => self.no_longer_denied += 1,
            (true, false) => self.admitted += 1,
        }
    }

    fn all(self) -> u64 {
        self.newly_denied + self.still_denied + self.no_longer_denied + self.admitted
    }
}

/// The Pods of one owner.
#[derive(Debug, Default)]
struct OfOwner {
    counts: Counts,
    rules: BTreeMap<&'static str, u64>,
    /// The first violation that was found, as an example.
    example: String,
    last: String,
}

/// Namespace, kind and name of an owner.
type OwnerKey = (String, String, String);

#[derive(Debug, Default)]
struct Replay {
    all: Counts,
    owners: BTreeMap<OwnerKey, OfOwner>,
    /// The Pods of the owners beyond the maximum.
    other_owners: Counts,
    rules: BTreeMap<&'static str, u64>,
    exempt: u64,
    /// The Pods in namespaces without a policy, and some of these namespaces.
    uncovered: u64,
    without_policy: BTreeMap<String, u64>,
}

pub(super) fn run(args: &ReplayArgs) -> Result<Status, CliError> {
    let policies = args.policy.load()?;
    let mut replay = Replay::default();
    let reading = pod_creates::each(&args.files, |create| {
        if args.namespace.is_empty() || args.namespace.contains(&create.namespace) {
            replay.add(&policies, &create)?;
        }
        Ok(())
    })?;
    print(&match args.output {
        TextOrJson::Text => replay.text(&reading, args.limit),
        TextOrJson::Json => replay.json(&reading, args.limit),
    })?;
    let status = match replay.all {
        Counts { newly_denied: 1.., .. } => Status::Violations,
        // A log that was not evaluated shows nothing about the policy.
        all if all.all() == 0 => {
            note(replay.why_nothing(&reading));
            Status::Failed
        }
        _ => Status::Fine,
    };
    Ok(status.max(reading.report()))
}

impl Replay {
    fn add(&mut self, policies: &PolicySet, create: &PodCreate) -> Result<(), CliError> {
        let PodCreate { time, namespace, user, groups, pod, is_stored } = create;
        let Some(policy) = policies.for_namespace(namespace, None) else {
            self.uncovered += 1;
            if self.without_policy.len() < MAX_OWNERS || self.without_policy.contains_key(namespace) {
                *self.without_policy.entry(namespace.clone()).or_default() += 1;
            }
            return Ok(());
        };
        let pod = pod_from_str(pod.get()).map_err(|error| {
            CliError::new(format_args!("the Pod of {time} in namespace {namespace} cannot be read: {error}"))
        })?;
        let groups: Vec<Text> = groups.iter().map(|group| Text(group.as_str().into())).collect();
        let creator = Creator { user, groups: &groups };
        if policy.exempts(&creator) {
            self.exempt += 1;
            self.all.count(*is_stored, false);
            return Ok(());
        }
        let violations = violations(policy, &pod, creator);
        self.all.count(*is_stored, !violations.is_empty());
        let mut rules: Vec<&'static str> = violations.iter().map(|violation| violation.rule.id).collect();
        rules.sort_unstable();
        rules.dedup();
        for rule in &rules {
            *self.rules.entry(rule).or_default() += 1;
        }
        let Owner { kind, name } = owner(&pod);
        let key = (namespace.clone(), kind, name);
        if self.owners.len() == MAX_OWNERS && !self.owners.contains_key(&key) {
            self.other_owners.count(*is_stored, !violations.is_empty());
            return Ok(());
        }
        let of_owner = self.owners.entry(key).or_default();
        of_owner.counts.count(*is_stored, !violations.is_empty());
        for rule in &rules {
            *of_owner.rules.entry(rule).or_default() += 1;
        }
        if let (Some(first), true) = (violations.first(), of_owner.example.is_empty()) {
            of_owner.example = first.to_string();
        }
        if *time > of_owner.last {
            of_owner.last.clone_from(time);
        }
        Ok(())
    }

    /// Returns the owners whose Pods would have been denied, the most first, then those whose Pods would no longer be.
    fn listed(&self, limit: usize) -> Vec<(&OwnerKey, &OfOwner)> {
        let mut listed: Vec<(&OwnerKey, &OfOwner)> = self.owners.iter().collect();
        listed.retain(|(_, of_owner)| of_owner.counts.all() > of_owner.counts.admitted);
        listed.sort_by_key(|(key, OfOwner { counts, .. })| {
            let Counts { newly_denied, still_denied, no_longer_denied, .. } = counts;
            (std::cmp::Reverse((*newly_denied, *still_denied, *no_longer_denied)), *key)
        });
        if limit > 0 {
            listed.truncate(limit);
        }
        listed
    }

    /// Returns why no Pod was evaluated.
    fn why_nothing(&self, reading: &CreateReading) -> &'static str {
        if self.uncovered > 0 {
            return "no Pod is in a namespace that a policy names: give the policy by --policy";
        }
        if reading.without_object > 0 {
            return "no Pod was evaluated";
        }
        "no create of a Pod was evaluated: give the API server's audit log, and leave --namespace out or correct it"
    }

    fn text(&self, reading: &CreateReading, limit: usize) -> String {
        let Counts { newly_denied, still_denied, no_longer_denied, admitted } = self.all;
        let mut text = String::new();
        if let Some((first, last)) = &reading.period {
            let _ = writeln!(text, "log from {} to {}", seconds(first), seconds(last));
        }
        let _ = writeln!(text, "{} evaluated", count(self.all.all(), "Pod"));
        for (number, words) in [
            (newly_denied, "were created and would be denied"),
            (still_denied, "were not created and would be denied"),
            (no_longer_denied, "were not created and would not be denied by this policy"),
            (admitted, "were created and would be admitted"),
        ] {
            let _ = writeln!(text, "{number:>8} {words}");
        }
        if self.exempt > 0 {
            let _ = writeln!(text, "{:>8} of these are exempt", self.exempt);
        }
        if self.uncovered > 0 {
            let mut namespaces = self.without_policy.keys().take(5).cloned().collect::<Vec<_>>().join(", ");
            if self.without_policy.len() > 5 {
                namespaces += ", …";
            }
            let line = format!(
                "not evaluated: {} in namespaces that no policy names ({namespaces})",
                count(self.uncovered, "Pod")
            );
            let _ = writeln!(text, "{}", fit(line, 0, 4));
        }
        if reading.dry_runs > 0 {
            let _ = writeln!(text, "left out: {}", count(reading.dry_runs, "dry run"));
        }
        if !self.rules.is_empty() {
            let _ = writeln!(text, "\n{}", paint(STRONG, "Pods that would be denied, by rule"));
            let mut rules: Vec<_> = self.rules.iter().collect();
            rules.sort_by_key(|(rule, pods)| (std::cmp::Reverse(**pods), **rule));
            for (rule, pods) in rules {
                let _ = writeln!(text, "{pods:>8} {rule}");
            }
        }
        let listed = self.listed(limit);
        if !listed.is_empty() {
            let _ = writeln!(
                text,
                "\n{}",
                paint(STRONG, "By owner: newly denied, still denied, no longer denied")
            );
        }
        for (owner, OfOwner { counts, rules, example, .. }) in &listed {
            let rules: Vec<String> = rules.keys().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "{:>8} {:>5} {:>5} {}",
                counts.newly_denied,
                counts.still_denied,
                counts.no_longer_denied,
                title(owner)
            );
            if !rules.is_empty() {
                let _ = writeln!(text, "         {}", wrap(&rules.join(", "), 9, 11));
                let _ = writeln!(text, "         for example {}", wrap(example, 21, 11));
            }
        }
        let all = self.owners.values().filter(|owner| owner.counts.all() > owner.counts.admitted).count();
        if all > listed.len() {
            let _ = writeln!(text, "and {} more owners; --limit 0 lists all", all - listed.len());
        }
        if self.other_owners != Counts::default() {
            let _ = writeln!(
                text,
                "{} Pods have owners beyond the first {MAX_OWNERS}, which are not listed",
                self.other_owners.all()
            );
        }
        text
    }

    fn json(&self, reading: &CreateReading, limit: usize) -> String {
        let of_owner = |((namespace, kind, name), owner): (&OwnerKey, &OfOwner)| {
            let OfOwner { counts, rules, example, last } = owner;
            serde_json::json!({
                "namespace": namespace, "kind": kind, "name": name, "counts": counts, "rules": rules,
                "example": example, "last": last,
            })
        };
        let owners: Vec<serde_json::Value> = self.listed(limit).into_iter().map(of_owner).collect();
        let period = reading.period.as_ref().map(|(from, to)| serde_json::json!({"from": from, "to": to}));
        let report = serde_json::json!({
            "period": period,
            "counts": self.all,
            "exempt": self.exempt,
            "dryRuns": reading.dry_runs,
            "withoutObject": reading.without_object,
            "unreadLines": reading.unread,
            "uncovered": self.uncovered,
            "withoutPolicy": self.without_policy,
            "rules": self.rules,
            "owners": owners,
            "ofOtherOwners": self.other_owners,
        });
        serde_json::to_string_pretty(&report).expect("writing JSON to memory cannot fail") + "\n"
    }
}

fn title((namespace, kind, name): &OwnerKey) -> String {
    sandgate_engine::text::sanitize(&format!("{namespace}/{kind}/{name}"))
}

/// Returns what violates the policy in whatever mode, if every rule that is not off were enforced.
fn violations(policy: &Policy, pod: &Value, creator: Creator) -> Vec<Violation> {
    let mut filled = pod.clone();
    let findings = evaluate(policy, &mut filled, Some(creator), Defaults::Fill);
    findings.violations.with_level().map(|(_, violation)| violation.clone()).collect()
}
