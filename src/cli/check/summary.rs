//! The result as a table: how often each rule is violated, and in how many Pods and files.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{Report, text};
use crate::cli::terminal::{STRONG, paint};

#[derive(Default)]
struct Row<'r> {
    violations: usize,
    pods: usize,
    files: BTreeSet<&'r str>,
}

pub(super) fn write(report: &Report) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for pod in &report.pods {
        let mut rules = BTreeSet::new();
        for violation in pod.violations() {
            let row = rows.entry(violation.rule).or_default();
            row.violations += 1;
            row.pods += usize::from(rules.insert(violation.rule));
            row.files.insert(pod.pod.file());
        }
    }
    let mut rows: Vec<(&str, Row)> = rows.into_iter().collect();
    rows.sort_by_key(|(_, row)| Reverse(row.violations));
    let width = rows.iter().map(|(rule, _)| rule.len()).max().unwrap_or_default().max("RULE".len());
    let mut out = String::new();
    if !rows.is_empty() {
        let head = format!("{:width$}  VIOLATIONS    PODS   FILES", "RULE");
        let _ = writeln!(out, "{}", paint(STRONG, head));
    }
    for (rule, Row { violations, pods, files }) in &rows {
        let _ = writeln!(out, "{rule:width$}  {violations:>10}  {pods:>6}  {:>6}", files.len());
    }
    let separator = if rows.is_empty() { "" } else { "\n" };
    format!("{out}{separator}{}\n", text::summary(report))
}
