//! The result as a page in one file, in the style of the audit report.

use std::cmp::Reverse;

use askama::Template;

use super::{
    tally::{OwnerTally, RuleTally, Tally},
    templates::TemplateFinding,
    text::unchecked,
};
use crate::cli::{CliError, page_style};
use sandgate_engine::scan::{Class, Owner};

/// The template escapes whatever it is given, except the style.
#[derive(Template)]
#[template(path = "scan-report.html")]
struct Page<'t> {
    style: &'static str,
    /// The policy of the page's content allows this style and nothing else.
    style_hash: String,
    version: &'static str,
    time: String,
    checked: u64,
    findings: u64,
    conforming: u64,
    templates_looked_at: u64,
    template_findings: u64,
    best_change: Option<String>,
    owners: Vec<(&'t str, &'t Owner, &'t OwnerTally)>,
    omitted: u64,
    templates: &'t [TemplateFinding],
    rules: Vec<(&'static str, &'t RuleTally)>,
    unchecked: Vec<String>,
}

pub(super) fn write(tally: &Tally) -> Result<String, CliError> {
    let mut rules: Vec<_> = tally.rules.iter().map(|(id, rule)| (*id, rule)).collect();
    rules.sort_by_key(|(id, rule)| (Reverse((rule.denied, rule.pods)), *id));
    let findings = tally.findings();
    let page = Page {
        style: page_style::STYLE,
        style_hash: page_style::hash(),
        version: env!("CARGO_PKG_VERSION"),
        time: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        checked: tally.checked(),
        findings,
        conforming: tally.of(Class::Conforms),
        templates_looked_at: tally.templates_looked_at(),
        template_findings: tally.template_findings(),
        best_change: tally.best_change().map(|change| change.sentence(findings)),
        owners: tally
            .owners
            .iter()
            .map(|((namespace, owner), pods)| (namespace.as_str(), owner, pods))
            .collect(),
        omitted: tally.omitted,
        templates: &tally.templates,
        rules,
        unchecked: unchecked(tally),
    };
    page.render().map_err(|error| CliError::new(format_args!("cannot write the page: {error}")))
}
