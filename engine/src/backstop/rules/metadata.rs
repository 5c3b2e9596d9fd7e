//! Labels and annotations.

use crate::cel::{self, Keys, Statement, patterns};

/// The labels that the API server copies from a node into each Binding.
const TOPOLOGY_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(super) fn labels(keys: Keys) -> Vec<Statement> {
    let required = keys.spec.labels.required.iter().map(|(key, wanted)| {
        let (literal, value) = (cel::text(key), cel::text(wanted));
        let found = format!("v.labels[?{literal}]");
        let condition = format!("!({found}.hasValue() && v.labels[{literal}] == {value})");
        Statement::pod(condition, &format!("metadata.labels[{key}]"), &cel::shown(&found)).of_metadata()
    });
    let forbidden = cel::all([
        patterns::names(&keys.spec.labels.forbidden, "k"),
        format!("!(v.binding && k in {})", cel::list(TOPOLOGY_LABELS)),
    ]);
    required.chain((forbidden != "false").then(|| Statement::label(forbidden))).collect()
}

pub(super) fn annotations(keys: Keys) -> Vec<Statement> {
    let settings = &keys.spec.annotations;
    let forbidden = cel::all([
        patterns::names(&settings.forbidden, "k"),
        cel::not(&patterns::names(&settings.allowed, "k")),
        "!k.startsWith('sandgate.dev/')".into(),
        // The agents of a network record their work by an update of the status.
        "request.?subResource.orValue('') != 'status'".into(),
    ]);
    vec![Statement::annotation(forbidden)]
}

pub(super) fn mirror_pod(_: Keys) -> Vec<Statement> {
    vec![Statement::annotation("k == 'kubernetes.io/config.mirror'".into())]
}

/// Returns the check of annotations under one of `prefixes` whose value is not `admitted`.
pub(super) fn legacy_annotations(prefixes: &[&str], admitted: &str) -> Statement {
    let prefixes = cel::any(prefixes.iter().map(|prefix| format!("k.startsWith({})", cel::text(prefix))));
    Statement::annotation(format!("{prefixes} && v.ann[k] != {}", cel::text(admitted)))
}
