//! Writing into manifests what sandgate fills, for `check --fix`.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::{edit, place, plan};
use crate::cli::{
    CliError,
    evaluation::Evaluator,
    input,
    terminal::{count, note},
    workload_pods::{Collected, WorkloadPod},
};
use sandgate_engine::{json, path::FieldPath, pod::changed_paths, templates::fill_object};

/// What an object is filled with.
struct Filled<'r> {
    first: &'r WorkloadPod,
    added: Vec<(FieldPath, Value)>,
    /// The object with all of it.
    object: Value,
}

/// Writes into the files what the templates of their objects are filled with, where new lines are enough for it. Objects
/// whose Pods would be denied are left as they are.
pub(in crate::cli) fn write(collected: &Collected, evaluator: &Evaluator) -> Result<(), CliError> {
    let mut files: BTreeMap<&str, Vec<Filled>> = BTreeMap::new();
    let mut before: Option<&WorkloadPod> = None;
    for pod in &collected.pods {
        if before.is_none_or(|before| !before.is_of_same_object(pod))
            && pod.file() != input::STDIN_NAME
            && let Some(filled) = fill(pod, evaluator)
        {
            files.entry(pod.file()).or_default().push(filled);
        }
        before = Some(pod);
    }
    for (file, mut objects) in files {
        let original = input::read(Path::new(file)).map_err(CliError::new)?.text;
        let (mut text, mut fields) = (original.clone(), 0);
        // From the bottom up, so that the lines of the objects above stay the same.
        objects.sort_by_key(|filled| std::cmp::Reverse(filled.first.line()));
        for Filled { first, added, object } in objects {
            match edit::add(&text, first.line(), &added, &object) {
                Some(changed) => {
                    text = changed;
                    fields += added.len();
                }
                None => note(&format!(
                    "{}: {} is left to the webhook to fill: more than new lines would have to be written",
                    place(first),
                    first.title()
                )),
            }
        }
        if text != original {
            fs::write(file, &text).map_err(|error| {
                CliError::new(format_args!("{file} cannot be written: {}", input::reason(&error)))
            })?;
            note(&format!("{file}: {} filled", count(fields, "field")));
        }
    }
    Ok(())
}

/// Returns what an object is filled with; `None` if that is nothing.
fn fill<'r>(pod: &'r WorkloadPod, evaluator: &Evaluator) -> Option<Filled<'r>> {
    let policy = evaluator.policy_of(&pod.namespace)?;
    let text = pod.object_json();
    let object = fill_object(policy, json::value_from_str(&text).ok()?, &pod.namespace)?;
    let paths = changed_paths(&object);
    let object = serde_json::to_value(&object).ok()?;
    let value_at = |path: FieldPath| {
        let value = object.pointer(&plan::pointer(&path))?.clone();
        Some((path, value))
    };
    let added: Vec<_> = paths.into_iter().filter_map(value_at).collect();
    (!added.is_empty()).then_some(Filled { first: pod, added, object })
}
