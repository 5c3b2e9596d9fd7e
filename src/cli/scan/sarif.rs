//! The result as SARIF 2.1.0. Objects of a cluster have no file, so the place of a result is a URI that names the object.

use serde_json::{Value, json};

use super::{
    tally::{Line, Tally},
    text::unchecked,
};
use crate::cli::check::sarif::{SCHEMA, descriptor, uri};
use sandgate_engine::rules;

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
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules::ALL.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": tally.omitted == 0 && tally.templates_omitted == 0,
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
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

    fn result(&self, level: &str, line: &Line) -> Value {
        let text = format!("{}: {}", self.title(), line.sentence());
        self.result_with(level, line.rule, &text, &line.path)
    }

    fn result_with(&self, level: &str, rule: &str, text: &str, path: &str) -> Value {
        let Self { namespace, kind, name } = self;
        let full_name = if path.is_empty() { self.title() } else { format!("{}: {path}", self.title()) };
        json!({
            "ruleId": rule,
            "ruleIndex": rules::ALL.iter().position(|known| known.id == rule),
            "level": level,
            "message": {"text": text},
            "locations": [{
                "physicalLocation": {
                    "artifactLocation": {"uri": uri(&format!("cluster/{namespace}/{kind}/{name}"))},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": full_name}],
            }],
        })
    }
}
