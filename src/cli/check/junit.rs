//! The result as `JUnit` XML: one test case for each Pod, one failure for each that would not be admitted.

use std::fmt::Write;

use super::{Checked, Report};
use crate::cli::terminal::count;

pub(super) fn write(report: &Report) -> String {
    let failed = report.pods.iter().filter(|pod| pod.violation_count() > 0).count();
    let skipped = report.pods.iter().filter(|pod| pod.result.is_none()).count();
    let errors = report.failures.len();
    let tests = report.pods.len() + errors;
    let counts = format!("tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\"");
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"sandgate\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"sandgate check\" {counts} skipped=\"{skipped}\">");
    for pod in &report.pods {
        write_pod(pod, &mut out);
    }
    for failure in &report.failures {
        let _ = writeln!(out, "    <testcase classname=\"sandgate\" name=\"{}\">", escape(failure));
        let _ = writeln!(out, "      <error message=\"{}\"/>\n    </testcase>", escape(failure));
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn write_pod(pod: &Checked, out: &mut String) {
    let (file, line, title) = (escape(pod.subject.file()), pod.subject.line(), escape(&pod.subject.title()));
    let _ =
        write!(out, "    <testcase classname=\"{file}\" name=\"{title}\" file=\"{file}\" line=\"{line}\"");
    if pod.result.is_none() {
        out.push_str(">\n      <skipped message=\"no policy covers the namespace\"/>\n    </testcase>\n");
        return;
    }
    if pod.violation_count() == 0 {
        out.push_str("/>\n");
        return;
    }
    let message = count(pod.violation_count(), "violation");
    let _ = writeln!(out, ">\n      <failure type=\"violation\" message=\"{message}\">");
    for violation in pod.violations() {
        let sentence = format!(
            "{}:{}: {} ({})",
            pod.subject.file(),
            violation.line,
            violation.sentence(),
            violation.rule
        );
        let _ = writeln!(out, "{}", escape(&sentence));
    }
    out.push_str("      </failure>\n    </testcase>\n");
}

/// Text for an attribute or between tags. What XML cannot say at all becomes a replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_an_attribute() {
        assert_eq!(escape("a\"b'<c>&\u{0}\n"), "a&quot;b&apos;&lt;c&gt;&amp;\u{fffd}\u{fffd}");
    }
}
