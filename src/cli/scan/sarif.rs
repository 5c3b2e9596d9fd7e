//! The result as SARIF. Objects of a cluster have no file, so the place of a result is a URI that names the object.

use serde_json::{Value, json};

use super::{
    tally::{Line, Tally},
    text::unchecked,
};
use crate::cli::sarif::{Log, Violation};

pub(super) fn write(tally: &Tally) -> String {
    let mut results = Vec::new();
    for ((namespace, owner), pods) in &tally.owners {
        let place = Place { namespace, kind: &owner.kind, name: &owner.name };
        results.extend(pods.violations.iter().map(|line| place.result("error", line)));
        // Creating the Pods anew is enough for these.
        for rule in &pods.filled {
            let text = format!("{}: create its Pods anew, sandgate fills {rule}", place.title());
            results.push(place.result_with("warning", rule, &text, ""));
        }
    }
    for finding in &tally.templates {
        let place = Place { namespace: &finding.namespace, kind: &finding.kind, name: &finding.name };
        let level = if finding.is_denied { "error" } else { "note" };
        results.extend(finding.violations.iter().map(|line| place.result(level, line)));
    }
    let notifications: Vec<Value> = unchecked(tally)
        .into_iter()
        .map(|line| json!({"level": "warning", "message": {"text": format!("not checked: {line}")}}))
        .collect();
    let is_complete = tally.omitted == 0 && tally.templates_omitted == 0;
    Log { is_complete, notifications, results }.text()
}

/// An object of the cluster.
struct Place<'p> {
    namespace: &'p str,
    kind: &'p str,
    name: &'p str,
}

impl Place<'_> {
    fn title(&self) -> String {
        let Self { namespace, kind, name } = self;
        format!("{kind} {namespace}/{name}")
    }

    fn result(&self, level: &'static str, line: &Line) -> Value {
        let text = format!("{}: {}", self.title(), line.sentence());
        self.result_with(level, line.rule, &text, &line.path)
    }

    fn result_with(&self, level: &'static str, rule: &str, text: &str, path: &str) -> Value {
        let Self { namespace, kind, name } = self;
        let full_name = if path.is_empty() { self.title() } else { format!("{}: {path}", self.title()) };
        let file = format!("cluster/{namespace}/{kind}/{name}");
        Violation { level, rule, text, file: &file, line: 1, full_name: &full_name }.result()
    }
}
