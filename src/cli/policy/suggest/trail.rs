//! The violations of an audit trail, by the owners of the Pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crate::cli::{CliError, Status, audit};
use sandgate_engine::{
    review::{AuditRecord, AuditViolation},
    suggest::{Recorded, RecordedViolation},
};

/// The most owners of a namespace, and the most violations of an owner. Senders choose the names.
const MAX_OWNERS: usize = 2000;
const MAX_VIOLATIONS: usize = 200;

/// What a trail has of violations, by namespace.
#[derive(Debug, Default)]
pub(super) struct Trail {
    namespaces: BTreeMap<String, BTreeMap<String, OfOwner>>,
    /// The number of records that were not looked at, or not at all their violations.
    pub(super) left_out: usize,
}

#[derive(Debug, Default)]
struct OfOwner {
    violations: BTreeSet<RecordedViolation>,
}

impl Trail {
    /// Reads the records of the namespaces in `wanted`, of all if it is empty.
    pub(super) fn read(files: &[PathBuf], wanted: &[String]) -> Result<(Self, Status), CliError> {
        let mut trail = Self::default();
        let status = audit::each_record(files, |record| {
            if wanted.is_empty() || wanted.iter().any(|namespace| *namespace == record.namespace) {
                trail.add(record);
            }
        })?;
        Ok((trail, status))
    }

    fn add(&mut self, record: &AuditRecord) {
        if record.violations.is_empty() || record.operation != "CREATE" {
            return;
        }
        let owners = self.namespaces.entry(record.namespace.to_string()).or_default();
        let owner = match &record.owner {
            Some(owner) => format!("{} {}", owner.kind, owner.name),
            None if record.name.is_empty() => format!("Pod {}*", record.generate_name),
            None => format!("Pod {}", record.name),
        };
        if owners.len() == MAX_OWNERS && !owners.contains_key(&owner) {
            self.left_out += 1;
            return;
        }
        let of_owner = owners.entry(owner).or_default();
        let mut is_whole = true;
        for violation in &record.violations {
            // A record that is too long counts the last violations in an entry without a rule.
            let is_kept = !violation.rule.is_empty() && of_owner.violations.len() < MAX_VIOLATIONS;
            is_whole &= is_kept;
            if is_kept {
                of_owner.violations.insert(recorded(violation));
            }
        }
        self.left_out += usize::from(!is_whole);
    }

    /// Returns the violations of each namespace.
    pub(super) fn by_namespace(&self) -> impl Iterator<Item = (&str, Vec<Recorded>)> {
        let recorded = |(name, of_owner): (&String, &OfOwner)| Recorded {
            name: name.clone(),
            count: 1,
            violations: of_owner.violations.iter().cloned().collect(),
        };
        self.namespaces
            .iter()
            .map(move |(namespace, owners)| (namespace.as_str(), owners.iter().map(recorded).collect()))
    }
}

fn recorded(
    AuditViolation { rule, path, found, wanted, remedy, level: _ }: &AuditViolation,
) -> RecordedViolation {
    RecordedViolation {
        rule: rule.to_string(),
        path: path.to_string(),
        found: found.to_string(),
        wanted: wanted.to_string(),
        remedy: remedy.to_string(),
    }
}
