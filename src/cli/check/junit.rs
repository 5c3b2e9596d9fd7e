//! The result as `JUnit` XML: one test case for each Pod, one failure for each that violates its policy.

use quick_junit::{NonSuccessKind, Report as JunitReport, TestCase, TestCaseStatus, TestSuite};

use super::{Checked, Report};
use crate::cli::{CliError, terminal::count};
use sandgate_engine::review::Outcome;

pub(super) fn write(report: &Report) -> Result<String, CliError> {
    let mut suite = TestSuite::new("sandgate check");
    suite.add_test_cases(report.pods.iter().map(|pod| of_pod(pod, report.is_strict)));
    for notice in report.notices {
        let kind = if report.is_failure(notice) {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        } else {
            TestCaseStatus::skipped()
        };
        suite.add_test_case(of_text(&notice.place.text, kind, Some((&notice.place.file, notice.place.line))));
    }
    for failure in &report.failures {
        suite.add_test_case(of_text(failure, TestCaseStatus::non_success(NonSuccessKind::Error), None));
    }
    let mut junit = JunitReport::new("sandgate");
    junit.add_test_suite(suite);
    junit.to_string().map_err(|error| CliError::new(format_args!("cannot write the JUnit report: {error}")))
}

fn of_pod(checked: &Checked, is_strict: bool) -> TestCase {
    let pod = checked.pod;
    let status = if checked.result.is_none() {
        let mut status = if is_strict {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        } else {
            TestCaseStatus::skipped()
        };
        status.set_message("no policy covers the namespace");
        status
    } else if checked.violation_count() == 0 || checked.outcome() == Outcome::Exempt {
        TestCaseStatus::success()
    } else {
        let lines = checked.violations().iter().map(|violation| {
            format!(
                "{}:{}: {} ({})\n",
                pod.file(),
                violation.line,
                violation.sentence(),
                violation.rule_and_level()
            )
        });
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type("violation");
        status.set_message(count(checked.violation_count(), "violation"));
        status.set_description(lines.collect::<String>());
        status
    };
    let mut case = TestCase::new(pod.title(), status);
    place(&mut case, pod.file(), pod.line());
    case
}

fn of_text(text: &str, mut status: TestCaseStatus, found: Option<(&str, u64)>) -> TestCase {
    status.set_message(text);
    let mut case = TestCase::new(text, status);
    case.set_classname("sandgate");
    if let Some((file, line)) = found {
        place(&mut case, file, line);
    }
    case
}

fn place(case: &mut TestCase, file: &str, line: u64) {
    case.set_classname(file);
    case.extra.insert("file".into(), file.into());
    case.extra.insert("line".into(), line.to_string().into());
}
