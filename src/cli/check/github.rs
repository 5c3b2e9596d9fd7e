//! The result as workflow commands of GitHub Actions, which annotates the lines of a pull request.

use std::fmt::Write;

use super::{Report, text};
use sandgate_engine::{policy::Level, review::Outcome};

pub(super) fn write(report: &Report) -> String {
    let mut out = String::new();
    for pod in &report.pods {
        let (file, title) = (pod.pod.file(), pod.pod.title());
        let Some(result) = &pod.result else {
            let text = format!("{title} is not checked: no policy covers the namespace");
            command(
                &mut out,
                if report.is_strict { "error" } else { "warning" },
                Some((file, pod.pod.line())),
                "",
                &text,
            );
            continue;
        };
        for violation in &result.violations {
            // A rule that is only warned of or recorded fails no build, and neither does a user that is exempt.
            let level = match violation.level {
                Level::Enforce if result.outcome != Outcome::Exempt => "error",
                Level::Warn => "warning",
                Level::Enforce | Level::Audit | Level::Off => "notice",
            };
            let text = format!("{title}: {}", violation.sentence());
            command(&mut out, level, Some((file, violation.line)), violation.rule, &text);
        }
    }
    for notice in report.notices {
        let level = if report.is_failure(notice) { "error" } else { "warning" };
        command(&mut out, level, Some((&notice.place.file, notice.place.line)), "", &notice.place.text);
    }
    for failure in &report.failures {
        command(&mut out, "error", None, "", failure);
    }
    let _ = writeln!(out, "{}", text::summary(report));
    out
}

fn command(out: &mut String, level: &str, place: Option<(&str, u64)>, rule: &str, text: &str) {
    let mut properties = Vec::new();
    if let Some((file, line)) = place {
        properties.push(format!("file={},line={line}", escape_property(file.trim_start_matches("./"))));
    }
    if !rule.is_empty() {
        properties.push(format!("title={}", escape_property(rule)));
    }
    let space = if properties.is_empty() { "" } else { " " };
    let _ = writeln!(out, "::{level}{space}{}::{}", properties.join(","), escape(text));
}

/// Text after the second `::`.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, in which a colon or a comma has a meaning.
fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_command() {
        let mut out = String::new();
        command(&mut out, "error", Some(("./a,b:c\n::stop.yaml", 3)), "rule", "100%\n::warning::x");
        assert_eq!(
            out,
            "::error file=a%2Cb%3Ac%0A%3A%3Astop.yaml,line=3,title=rule::100%25%0A::warning::x\n"
        );
    }
}
