//! The result as `JUnit` XML: one failed test case for each owner of Pods that violate their policy, one for the Pods that
//! conform, and a skipped one for each reason not to check Pods.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    tally::{OwnerTally, Tally, count_pods},
    templates::TemplateFinding,
    text::unchecked,
};
use crate::cli::CliError;
use sandgate_engine::scan::Class;

pub(super) fn write(tally: &Tally) -> Result<String, CliError> {
    let mut suite = TestSuite::new("sandgate scan");
    let conforming = tally.of(Class::Conforms);
    if conforming > 0 {
        let name = format!("{} conform", count_pods(conforming));
        suite.add_test_case(case(name, "sandgate", TestCaseStatus::success()));
    }
    for ((namespace, owner), pods) in &tally.owners {
        suite.add_test_case(case(format!("{} {}", owner.kind, owner.name), namespace, failure(pods)));
    }
    if tally.omitted > 0 {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("{} of further owners", count_pods(tally.omitted)));
        suite.add_test_case(case("further owners".into(), "sandgate", status));
    }
    for finding in &tally.templates {
        let name = format!("{} {}, template", finding.kind, finding.name);
        suite.add_test_case(case(name, &finding.namespace, template_failure(finding)));
    }
    if tally.templates_omitted > 0 {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("{} further workloads", tally.templates_omitted));
        suite.add_test_case(case("further workloads".into(), "sandgate", status));
    }
    for reason in unchecked(tally) {
        let mut status = TestCaseStatus::skipped();
        status.set_message(reason.clone());
        suite.add_test_case(case(reason, "sandgate", status));
    }
    let mut report = Report::new("sandgate");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| CliError::new(format_args!("cannot write the JUnit report: {error}")))
}

fn failure(pods: &OwnerTally) -> TestCaseStatus {
    let mut lines: Vec<String> =
        pods.violations.iter().map(|line| format!("{}\n", line.sentence())).collect();
    if !pods.filled.is_empty() {
        let rules: Vec<&str> = pods.filled.iter().copied().collect();
        lines.push(format!("sandgate fills when the Pods are created anew: {}\n", rules.join(", ")));
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type("violation");
    status.set_message(format!(
        "policy {} is violated by {}: {}",
        pods.policy,
        count_pods(pods.pods),
        pods.classes()
    ));
    status.set_description(lines.concat());
    status
}

fn template_failure(finding: &TemplateFinding) -> TestCaseStatus {
    let lines = finding.violations.iter().map(|line| format!("{}\n", line.sentence()));
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type("violation");
    status.set_message(format!("policy {}: {}", finding.policy, finding.verdict()));
    status.set_description(lines.collect::<String>());
    status
}

fn case(name: String, class: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}
