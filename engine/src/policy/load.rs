//! From text to policies, with errors that a person can act on: file, line, path, and what is wrong.

use std::{collections::HashSet, fmt, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use serde_saphyr::Spanned;

use super::{
    API_VERSION, Header, KIND, Policy, PolicySet, checks,
    merge::{NOT_INHERITED, append, check_container_keys, merge},
    presets::PRESETS,
    profile::{ContainerMatch, Exception, PodMatch, Profile},
    spec::Spec,
    tree::{Node, Place, Raw, Tree},
};
use crate::{text::sanitize, yaml};

/// The longest chain of policies that extend one another.
const MAX_EXTENDS: usize = 5;
/// The prefix of a preset's name in `extends`.
const PRESET_PREFIX: &str = "preset/";

/// One text that policies are read from: a file, or a preset of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name that errors have for it: the path as the user gave it.
    pub name: String,
    /// The YAML text, one or more documents.
    pub text: String,
}

/// Something that is wrong with a policy file, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The path of the file.
    pub file: String,
    /// The line, from 1; 0 if no line is to blame.
    pub line: u64,
    /// The path inside the document, such as `spec.security.runAsUser.default`.
    pub path: String,
    /// The problem, and the value that would be right.
    pub problem: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong with a set of policy files; `Display` prints one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// A problem with the place of the value that is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) place: Place,
}

impl Problem {
    pub(super) fn new(path: &str, text: impl Into<String>, place: &Place) -> Self {
        Self { path: path.into(), text: text.into(), place: place.clone() }
    }

    fn below(mut self, prefix: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => prefix.into(),
            path => format!("{prefix}.{path}"),
        };
        self
    }

    pub(super) fn into_error(self) -> LoadError {
        let Self { path, text, place } = self;
        LoadError {
            file: place.file.to_string(),
            line: place.line,
            path: sanitize(&path),
            problem: sanitize(&text),
        }
    }
}

/// A policy with the trees it was read from, so that a problem of it can be located.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) policy: Policy,
    pub(super) name_place: Place,
    /// The merged tree of `spec`.
    pub(super) tree: Tree,
    /// What the policy itself appends.
    pub(super) add: Option<Tree>,
    /// The name of the policy of the set that this one extends.
    pub(super) extends: Option<String>,
}

/// Reads the policies of `sources`, whose levels are of the rules with the ids `rules`.
///
/// # Errors
/// Returns all that is wrong with them, each with file, line and path.
pub(crate) fn load(sources: &[Source], rules: &[&str]) -> Result<PolicySet, LoadErrors> {
    let (documents, mut problems) = read(sources);
    if documents.is_empty() && problems.is_empty() {
        let file = sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
        let place = Place { file: file.into(), line: 0 };
        let text = "no SandboxPolicy in it; leave --policy out to get the built-in one";
        problems.push(Problem::new("", text, &place));
    }
    for (index, document) in documents.iter().enumerate() {
        if let Some(other) = documents[..index].iter().find(|other| other.name == document.name) {
            let text = format!(
                "the name {:?} is taken by another policy, in {}",
                document.name, other.spec.place.file
            );
            problems.push(Problem::new("metadata.name", text, &document.name_place));
        }
    }
    let mut loaded = Vec::new();
    for document in &documents {
        match resolve(document, &documents) {
            Ok(policy) => loaded.push(policy),
            Err(found) => problems.extend(found),
        }
    }
    let mut warnings = Vec::new();
    for policy in &loaded {
        problems.extend(checks::errors(policy, rules));
        warnings.extend(checks::warnings(policy));
    }
    if problems.is_empty() {
        problems.extend(checks::errors_of_set(&loaded));
    }
    let errors = located(problems);
    if !errors.is_empty() {
        return Err(LoadErrors(errors));
    }
    Ok(PolicySet::new(loaded.into_iter().map(|loaded| loaded.policy).collect(), located(warnings)))
}

/// Drops problems that a profile repeats because it inherits the value that is to blame.
fn located(problems: Vec<Problem>) -> Vec<LoadError> {
    let mut errors: Vec<LoadError> = Vec::new();
    for error in problems.into_iter().map(Problem::into_error) {
        let repeated = |other: &LoadError| {
            (&other.file, other.line, &other.problem) == (&error.file, error.line, &error.problem)
                && (error.path == other.path || error.path.ends_with(other.path.trim_start_matches("spec")))
        };
        if !errors.iter().any(repeated) {
            errors.push(error);
        }
    }
    errors
}

/// A document before it is merged with what it extends.
struct Document {
    name: String,
    name_place: Place,
    spec: Tree,
}

fn read(sources: &[Source]) -> (Vec<Document>, Vec<Problem>) {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for source in sources {
        let file: Arc<str> = source.name.as_str().into();
        for yaml::Document { text, lines_before } in yaml::documents(&source.text) {
            match read_tree(text, &file, lines_before)
                .map_err(|problem| vec![problem])
                .and_then(|tree| document_of(&tree))
            {
                Ok(document) => documents.push(document),
                Err(found) => problems.extend(found),
            }
        }
    }
    (documents, problems)
}

fn read_tree(text: &str, file: &Arc<str>, lines_before: u64) -> Result<Tree, Problem> {
    // The level `off` is a text.
    let mut options = yaml::options();
    options.strict_booleans = true;
    let raw = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        Spanned::<Raw>::deserialize(reader)
    });
    raw.map(|raw| Tree::of_document(raw, file, lines_before)).map_err(|error| {
        let line = error.location().map_or(0, |location| lines_before + location.line());
        Problem::new("", yaml::describe(&error), &Place { file: Arc::clone(file), line })
    })
}

fn document_of(tree: &Tree) -> Result<Document, Vec<Problem>> {
    if !matches!(tree.node, Node::Map(_)) {
        return Err(vec![Problem::new("", "must be a mapping (key: value)", &tree.place)]);
    }
    let mut problems = Vec::new();
    let text_at = |key: &str| tree.get(key).and_then(Tree::text);
    if text_at("kind") != Some(KIND) {
        let problem = format!("must be {KIND}");
        return Err(vec![Problem::new("kind", problem, tree.place_of("kind"))]);
    }
    match text_at("apiVersion") {
        Some(API_VERSION) => {}
        Some("sandgate.dev/v1alpha1") => {
            let problem = format!(
                "v1alpha1 is no longer read; in {API_VERSION} labels, service account, volumes, secrets, resources and \
                 images have other keys: see docs/policy.md, and `sandgate policy schema`"
            );
            return Err(vec![Problem::new("apiVersion", problem, tree.place_of("apiVersion"))]);
        }
        _ => problems.push(Problem::new(
            "apiVersion",
            format!("must be {API_VERSION}"),
            tree.place_of("apiVersion"),
        )),
    }
    for (key, value) in tree.members() {
        if !["apiVersion", "kind", "metadata", "spec"].contains(&key.as_str()) {
            let problem = "unknown key; a policy has apiVersion, kind, metadata and spec";
            problems.push(Problem::new(key, problem, &value.place));
        }
    }
    let name_place = tree.place_of("metadata.name").clone();
    let name = tree.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Tree::text);
    for (key, value) in tree.get("metadata").map(Tree::members).unwrap_or_default() {
        if key != "name" {
            let path = format!("metadata.{key}");
            problems.push(Problem::new(
                &path,
                "unknown key; the metadata of a policy has a name only",
                &value.place,
            ));
        }
    }
    if !name.is_some_and(|name| !name.is_empty() && checks::is_label_value(name)) {
        let problem = "must be 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends";
        problems.push(Problem::new("metadata.name", problem, &name_place));
    }
    let empty = || Tree { place: tree.place.clone(), node: Node::Map(Vec::new()) };
    let spec = tree.get("spec").cloned().unwrap_or_else(empty);
    if !matches!(spec.node, Node::Map(_)) {
        problems.push(Problem::new("spec", "must be a mapping (key: value)", &spec.place));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Document { name: name.unwrap_or_default().into(), name_place, spec })
}

/// Merges a document with what it extends, and reads the result.
fn resolve(document: &Document, set: &[Document]) -> Result<Loaded, Vec<Problem>> {
    let mut tree = merged(document, set, &mut vec![document.name.clone()])?;
    let own = |key: &str| document.spec.get(key);
    // The default namespace is for a policy without keys about namespaces.
    let written_selector =
        own("namespaceSelector").is_some_and(|selector| !matches!(selector.node, Node::Null));
    if written_selector && own("namespaces").is_none() {
        tree.set("namespaces", Tree::of_default(serde_json::json!([])));
    }
    let (policy, tree) = read_policy(&document.name, tree)?;
    let extends = Some(policy.header.extends.clone()).filter(|name| !name.is_empty());
    let add = own("add").cloned();
    Ok(Loaded { policy, name_place: document.name_place.clone(), tree, add, extends })
}

/// Returns the tree of a document over the tree of what it extends, which may be the defaults.
fn merged(document: &Document, set: &[Document], chain: &mut Vec<String>) -> Result<Tree, Vec<Problem>> {
    let defaults = defaults();
    let mut base = match document.spec.get("extends") {
        None => defaults.clone(),
        Some(extends) => match extends.text() {
            Some("") => defaults.clone(),
            Some(name) => base_of(name, &extends.place, set, chain)?,
            None => {
                let problem = "must be preset/NAME or the name of a policy of the set";
                return Err(vec![Problem::new("spec.extends", problem, &extends.place)]);
            }
        },
    };
    for key in NOT_INHERITED {
        if let Some(value) = defaults.get(key) {
            base.set(key, value.clone());
        }
    }
    let own = document.spec.filtered(|key| key != "add");
    let mut tree = merge(&base, &own);
    let mut problems = Vec::new();
    if let Some(add) = document.spec.get("add") {
        append(&mut tree, add, &mut problems);
    }
    if problems.is_empty() {
        return Ok(tree);
    }
    Err(problems.into_iter().map(|problem| problem.below("spec.add")).collect())
}

fn base_of(
    name: &str,
    place: &Place,
    set: &[Document],
    chain: &mut Vec<String>,
) -> Result<Tree, Vec<Problem>> {
    let fail = |problem: String| Err(vec![Problem::new("spec.extends", problem, place)]);
    if chain.iter().any(|earlier| earlier == name) {
        return fail(format!("{name:?} extends itself: {} -> {name}", chain.join(" -> ")));
    }
    chain.push(name.into());
    if chain.len() > MAX_EXTENDS + 1 {
        return fail(format!("more than {MAX_EXTENDS} policies extend one another: {}", chain.join(" -> ")));
    }
    if let Some(preset) = name.strip_prefix(PRESET_PREFIX) {
        let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == preset) else {
            let known = PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return fail(format!("{preset:?} is no preset; there are {known}"));
        };
        let source = Source { name: format!("{name}.yaml"), text: (*text).into() };
        let (documents, problems) = read(&[source]);
        return match documents.first() {
            Some(document) => merged(document, &documents, chain),
            None => Err(problems),
        };
    }
    if let Some(document) = set.iter().find(|document| document.name == name) {
        return merged(document, set, chain);
    }
    let known = set.iter().map(|document| document.name.as_str()).collect::<Vec<_>>().join(", ");
    fail(format!("{name:?} is no policy of the set, which has {known}; a preset is named preset/NAME"))
}

/// Returns the tree of the full sandbox, with every key.
fn defaults() -> Tree {
    let mut tree = Tree::of_default(json(&Header::default()));
    for (key, value) in Tree::of_default(json(&Spec::default())).members() {
        tree.set(key, value.clone());
    }
    tree.set("containers", Tree::of_default(serde_json::json!([])));
    tree.set("profiles", Tree::of_default(serde_json::json!([])));
    tree
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("a policy is always JSON")
}

/// Reads the policy of a complete tree.
fn read_policy(name: &str, tree: Tree) -> Result<(Policy, Tree), Vec<Problem>> {
    let mut problems = Vec::new();
    let spec_keys = key_names(&Spec::default());
    let is_spec_key = |key: &str| spec_keys.iter().any(|known| known == key);
    let every_key = defaults();
    let is_known = |key: &str| every_key.get(key).is_some();
    for (key, value) in tree.members().iter().filter(|(key, _)| !is_known(key)) {
        let mut known: Vec<&str> = every_key.members().iter().map(|(known, _)| known.as_str()).collect();
        known.push("add");
        known.sort_unstable();
        let problem = format!("unknown key `{key}`: use `{}`", known.join("`, `"));
        problems.push(Problem::new(key, problem, &value.place));
    }
    let is_header_key =
        |key: &str| is_known(key) && !is_spec_key(key) && key != "containers" && key != "profiles";
    let header_tree = tree.filtered(is_header_key);
    let header = parse_sections::<Header>(&header_tree, &mut problems);
    let pod_tree = tree.filtered(|key| is_spec_key(key) || key == "containers");
    let base = read_profile(String::new(), PodMatch::default(), &pod_tree, &mut problems);
    for problem in &mut problems {
        problem.path = super::merge::join("spec", &problem.path);
    }
    let (Some(header), Some(base), true) = (header, base, problems.is_empty()) else { return Err(problems) };

    let mut profiles = Vec::new();
    let entries = tree.get("profiles");
    for (index, entry) in entries.map(Tree::items).unwrap_or_default().iter().enumerate() {
        let mut found = Vec::new();
        let entry_document = parse_entry::<ProfileEntry>(entry, &mut found);
        let mut profile_tree = pod_tree.clone();
        overlay(&mut profile_tree, entry, &mut found);
        let mut below = Vec::new();
        if let (Some(ProfileEntry { name, matcher }), true) = (entry_document, found.is_empty()) {
            profiles.extend(read_profile(name, matcher, &profile_tree, &mut below));
        }
        let path = format!("spec.profiles[{index}]");
        problems.extend(
            below.into_iter().map(|problem| problem.below("spec")).chain(found).map(|p| p.below(&path)),
        );
    }
    if let Some(entries) = entries.filter(|entries| !matches!(entries.node, Node::List(_))) {
        problems.push(Problem::new("spec.profiles", "must be a list of {name, match, spec}", &entries.place));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok((Policy::new(name.into(), header, base, profiles), tree))
}

/// Lays the keys of a profile or exception over `tree`.
fn overlay(tree: &mut Tree, entry: &Tree, problems: &mut Vec<Problem>) {
    let Some(own) = entry.get("spec") else { return };
    if !matches!(own.node, Node::Map(_)) {
        problems.push(Problem::new("spec", "must be a mapping (key: value)", &own.place));
        return;
    }
    *tree = merge(tree, &own.filtered(|key| key != "add"));
    if let Some(add) = own.get("add") {
        let mut found = Vec::new();
        append(tree, add, &mut found);
        problems.extend(found.into_iter().map(|problem| problem.below("spec.add")));
    }
}

/// Returns the merged tree of profile `index` of a policy's tree, in which problems of the profile are located.
pub(super) fn profile_tree(tree: &Tree, index: usize) -> Tree {
    let mut merged = tree.clone();
    if let Some(entry) = tree.get("profiles").and_then(|profiles| profiles.items().get(index)) {
        overlay(&mut merged, entry, &mut Vec::new());
    }
    merged
}

/// Returns the merged tree of exception `index` of a profile's tree.
pub(super) fn exception_tree(tree: &Tree, index: usize) -> Tree {
    let mut merged = tree.clone();
    if let Some(entry) = tree.get("containers").and_then(|containers| containers.items().get(index)) {
        overlay(&mut merged, entry, &mut Vec::new());
    }
    merged
}

fn read_profile(
    name: String,
    matcher: PodMatch,
    tree: &Tree,
    problems: &mut Vec<Problem>,
) -> Option<Profile> {
    let containers = tree.get("containers");
    let keys = tree.filtered(|key| key != "containers");
    let spec = parse_sections::<Spec>(&keys, problems)?;
    let mut exceptions = Vec::new();
    for (index, entry) in containers.map(Tree::items).unwrap_or_default().iter().enumerate() {
        let mut found = Vec::new();
        let document = parse_entry::<ExceptionEntry>(entry, &mut found);
        if let Some(own) = entry.get("spec") {
            let mut wrong = Vec::new();
            check_container_keys(&own.filtered(|key| key != "add"), "", &mut wrong);
            if let Some(add) = own.get("add") {
                check_container_keys(add, "", &mut wrong);
            }
            found.extend(wrong.into_iter().map(|problem| problem.below("spec")));
        }
        let mut merged = keys.clone();
        overlay(&mut merged, entry, &mut found);
        if let (Some(ExceptionEntry { name, matcher }), true) = (document, found.is_empty()) {
            let mut below = Vec::new();
            let spec = parse_sections::<Spec>(&merged, &mut below);
            found.extend(below.into_iter().map(|problem| problem.below("spec")));
            exceptions.extend(spec.map(|spec| Exception { name, matcher, spec }));
        }
        let path = format!("containers[{index}]");
        problems.extend(found.into_iter().map(|problem| problem.below(&path)));
    }
    if let Some(containers) = containers.filter(|containers| !matches!(containers.node, Node::List(_))) {
        problems.push(Problem::new("containers", "must be a list of {name, match, spec}", &containers.place));
    }
    Some(Profile { name, matcher, spec, exceptions })
}

/// The keys of a profile beside `spec`, which is merged first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileEntry {
    name: String,
    #[serde(rename = "match")]
    matcher: PodMatch,
}

/// The keys of an exception beside `spec`, which is merged first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExceptionEntry {
    name: String,
    #[serde(rename = "match")]
    matcher: ContainerMatch,
}

fn parse_entry<T: DeserializeOwned>(entry: &Tree, problems: &mut Vec<Problem>) -> Option<T> {
    let own =
        if matches!(entry.node, Node::Map(_)) { entry.filtered(|key| key != "spec") } else { entry.clone() };
    parse(&own).map_err(|problem| problems.push(problem)).ok()
}

/// Reads a mapping key by key, so that one problem of each key is reported at once.
fn parse_sections<T: DeserializeOwned>(tree: &Tree, problems: &mut Vec<Problem>) -> Option<T> {
    let before = problems.len();
    for (key, _) in tree.members() {
        let section = tree.filtered(|other| other == key);
        // All keys of a policy have defaults, so each can be read alone.
        problems.extend(parse::<T>(&section).err());
    }
    if problems.len() > before {
        return None;
    }
    parse(tree).map_err(|problem| problems.push(problem)).ok()
}

fn parse<T: DeserializeOwned>(tree: &Tree) -> Result<T, Problem> {
    serde_path_to_error::deserialize(tree.to_json()).map_err(|error| {
        let path = error.path().to_string();
        let path = path.trim_end_matches('?').trim_end_matches('.');
        Problem::new(path, plain(&error.into_inner().to_string()), tree.place_of(path))
    })
}

/// Returns serde's message in the words of a policy file.
fn plain(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return match rest.split_once(", expected ") {
            Some((key, known)) => format!("unknown key {key}: use {}", known.trim_start_matches("one of ")),
            None => format!("unknown key {rest}"),
        };
    }
    let Some((found, wanted)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "))
    else {
        return message.replace("missing field", "missing key").replace("unknown variant", "unknown value");
    };
    let wanted = match wanted {
        "u32" => "a whole number, 0 to 4294967295",
        "a boolean" => "true or false",
        "a sequence" => "a list ([value])",
        "a string" => "text",
        wanted if wanted.starts_with("struct ") || wanted == "a map" => "a mapping (key: value)",
        wanted => wanted,
    };
    format!("is {found}, must be {wanted}")
}

fn key_names(value: &impl serde::Serialize) -> Vec<String> {
    json(value).as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

/// Returns the position of each name that repeats an earlier one.
pub(super) fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> Vec<usize> {
    let mut seen = HashSet::new();
    names.enumerate().filter_map(|(index, name)| (!seen.insert(name)).then_some(index)).collect()
}
