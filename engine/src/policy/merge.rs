//! The one merge that `extends`, profiles and exceptions share. Trees are merged before they are parsed, so each value
//! keeps the file and line where it is written.

use super::{
    load::Problem,
    tree::{Node, Tree},
};

/// The mappings whose keys are the policy's own: they are replaced as a whole.
const FREE_MAPPINGS: [&str; 5] =
    ["labels.required", "env", "resources.extended", "rules", "namespaceSelector"];

/// The keys that a policy does not inherit from the one that it extends.
pub(super) const NOT_INHERITED: [&str; 8] =
    ["extends", "add", "namespaces", "namespaceSelector", "mode", "rules", "candidate", "exempt"];

/// The keys that an exception for single containers may set.
pub(super) const CONTAINER_KEYS: [&str; 13] = [
    "serviceAccount.automountToken",
    "serviceAccount.tokens",
    "lifecycle.containerRestartRules",
    "security.runAsUser",
    "security.runAsGroup",
    "security.root",
    "security.capabilities",
    "security.readOnlyRootFilesystem",
    "volumes.filled",
    "volumes.writablePaths",
    "volumes.terminationMessagePaths",
    "secrets",
    "env",
];

/// Returns `base` with the keys of `own` in their places: mappings merge, everything else is replaced.
pub(super) fn merge(base: &Tree, own: &Tree) -> Tree {
    merge_at(base, own, "")
}

fn merge_at(base: &Tree, own: &Tree, path: &str) -> Tree {
    if !matches!((&base.node, &own.node), (Node::Map(_), Node::Map(_))) || FREE_MAPPINGS.contains(&path) {
        return own.clone();
    }
    let mut merged = Tree { place: own.place.clone(), node: base.node.clone() };
    for (key, value) in own.members() {
        let value = match base.get(key) {
            Some(old) => merge_at(old, value, &join(path, key)),
            None => value.clone(),
        };
        merged.set(key, value);
    }
    merged
}

/// Appends the lists of `add` to those of `tree`: all but those that are not inherited. What stands there already is not
/// repeated.
pub(super) fn append(tree: &mut Tree, add: &Tree, problems: &mut Vec<Problem>) {
    if !matches!(add.node, Node::Map(_)) {
        problems.push(Problem::new(
            "",
            "must be a mapping of the lists to append, under their own keys",
            &add.place,
        ));
        return;
    }
    append_at(tree, add, "", problems);
}

fn append_at(tree: &mut Tree, add: &Tree, path: &str, problems: &mut Vec<Problem>) {
    for (key, addition) in add.members() {
        let path = join(path, key);
        let is_addable = !path.split('.').next().is_some_and(|top| NOT_INHERITED.contains(&top));
        let Node::Map(members) = &mut tree.node else { return };
        let Some((_, target)) = members.iter_mut().find(|(name, _)| name == key) else {
            problems.push(Problem::new(
                &path,
                "is no key of a policy that add can append to",
                &addition.place,
            ));
            continue;
        };
        match (&addition.node, &mut target.node) {
            (Node::List(items), Node::List(list)) if is_addable => {
                for item in items {
                    if !list.iter().any(|old| old.to_json() == item.to_json()) {
                        list.push(item.clone());
                    }
                }
                if !items.is_empty() {
                    target.place = addition.place.clone();
                }
            }
            (_, Node::List(_)) if is_addable => {
                problems.push(Problem::new(&path, "must be a list of what to append", &addition.place));
            }
            (Node::Map(_), Node::Map(_)) if !FREE_MAPPINGS.contains(&path.as_str()) => {
                append_at(target, addition, &path, problems);
            }
            _ => {
                let problem =
                    "is not a list that add can append to: set the key itself instead of adding to it";
                problems.push(Problem::new(&path, problem, &addition.place));
            }
        }
    }
}

/// Reports each key of an exception that only a whole Pod can have.
pub(super) fn check_container_keys(own: &Tree, path: &str, problems: &mut Vec<Problem>) {
    for (key, value) in own.members() {
        let path = join(path, key);
        if CONTAINER_KEYS.contains(&path.as_str()) {
            continue;
        }
        let below = format!("{path}.");
        if CONTAINER_KEYS.iter().any(|allowed| allowed.starts_with(&below))
            && matches!(value.node, Node::Map(_))
        {
            check_container_keys(value, &path, problems);
            continue;
        }
        let problem = format!(
            "cannot be set for single containers: set it in a profile. Exceptions take {}",
            CONTAINER_KEYS.join(", ")
        );
        problems.push(Problem::new(&path, problem, &value.place));
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}
