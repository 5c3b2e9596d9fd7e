//! The smallest change of a denied Pod, from the record of its denial.

use std::path::PathBuf;

use super::plan;
use crate::cli::{
    CliError, Status, audit, print,
    terminal::{error, note},
};
use sandgate_engine::{
    path::{FieldPath, Step},
    pod::path_from_text,
    review::{AuditRecord, AuditViolation},
};

/// Prints a JSON patch of the Pod for each record of a denial in `files`, and names what a person has to decide.
pub(super) fn run(files: &[PathBuf]) -> Result<Status, CliError> {
    let (mut patches, mut is_any, mut is_left) = (String::new(), false, false);
    let reading = audit::each_record(files, |record| {
        if record.verdict != "denied" || record.violations.is_empty() {
            return;
        }
        is_any = true;
        let mut removed = Vec::new();
        for violation in &record.violations {
            if let Some(path) = removal(violation) {
                removed.push(path);
                continue;
            }
            is_left = true;
            let AuditViolation { rule, path, found, wanted, remedy, level: _ } = violation;
            error(&format!("{}: {path} is {found}, must be {wanted}: {remedy} ({rule})", name(record)));
        }
        if let Some(owner) = &record.owner {
            note(&format!(
                "{}: the paths are those of the Pod; in its {} {} they are below its template",
                name(record),
                owner.kind,
                owner.name
            ));
        }
        if !removed.is_empty() {
            patches += &(patch(removed) + "\n");
        }
    })?;
    if !is_any {
        return Err(CliError::new(
            "there is no record of a denial; choose one by \"sandgate audit list --verdict denied\"",
        ));
    }
    print(&patches)?;
    note(
        "a record has no Pod, so the change is not evaluated: run \"sandgate check\" on the changed manifest",
    );
    Ok(if is_left { Status::Violations.max(reading) } else { reading })
}

/// Returns what to remove from a Pod so that it no longer has a violation; `None` if a person has to decide.
fn removal(AuditViolation { path, found, .. }: &AuditViolation) -> Option<FieldPath> {
    const IS_CUT: [char; 2] = ['…', '\u{fffd}'];
    let steps = path_from_text(path);
    let is_there = found != "unset" && !path.contains(IS_CUT);
    (is_there && plan::is_removable(&steps)).then_some(steps)
}

/// Returns the JSON patch that removes these fields. The last items of a list go first, so that the places of the others stay.
fn patch(mut paths: Vec<FieldPath>) -> String {
    let order = |path: &FieldPath| -> Vec<(usize, String)> {
        let of_step = |step: Step| match step {
            Step::Index(index) => (index, String::new()),
            Step::Field(name) | Step::Key(name) => (0, name.to_owned()),
        };
        path.steps().map(of_step).collect()
    };
    paths.sort_by_key(|path| std::cmp::Reverse(order(path)));
    paths.dedup();
    plan::patch(&paths)
}

fn name(record: &AuditRecord) -> String {
    let AuditRecord { namespace, name, generate_name, .. } = record;
    let name = if name.is_empty() { format!("{generate_name}*") } else { name.to_string() };
    format!("Pod {namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(path: &str, found: &str) -> AuditViolation<'static> {
        AuditViolation {
            path: path.to_owned().into(),
            found: found.to_owned().into(),
            ..AuditViolation::default()
        }
    }

    #[test]
    fn what_only_grants_or_limits_is_removed_the_last_item_first() {
        let paths = [
            "spec.tolerations[1]",
            "spec.containers[10].securityContext.privileged",
            "spec.tolerations[2]",
            "metadata.annotations[80]",
            "metadata.annotations[dev.gvisor.x/y]",
        ];
        let removed: Vec<_> = paths.iter().map(|path| removal(&violation(path, "true")).unwrap()).collect();
        let patch: serde_json::Value = serde_json::from_str(&patch(removed)).unwrap();
        let pointers: Vec<&str> =
            patch.as_array().unwrap().iter().map(|operation| operation["path"].as_str().unwrap()).collect();
        assert_eq!(
            pointers,
            [
                "/spec/tolerations/2",
                "/spec/tolerations/1",
                "/spec/containers/10/securityContext/privileged",
                "/metadata/annotations/dev.gvisor.x~1y",
                "/metadata/annotations/80",
            ]
        );
    }

    #[test]
    fn what_a_person_decides_is_not_removed() {
        for (path, found) in [
            ("spec.containers[0].image", "x"),
            ("spec.volumes[0]", "a hostPath"),
            ("spec.restartPolicy", "unset"),
            ("metadata.annotations[cut…]", "x"),
        ] {
            assert_eq!(removal(&violation(path, found)), None, "{path}");
        }
    }
}
