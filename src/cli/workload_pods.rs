//! From files to the Pods that their objects make: each as its controller would create it, and its place in the file.

mod nodes;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use clap::Args;
use serde::Serialize;

use super::{
    CliError, PolicyArgs,
    evaluation::{Evaluator, Namespaces, User},
    input,
};
use nodes::{labels_of, name_of, to_json, to_typed_json};
use sandgate_engine::{
    json,
    path::FieldPath,
    policy::{Level, Policy, PolicySet},
    review::LeveledViolations,
    text::{quote, sanitize},
    violations::Violation,
    workload::{
        Note, PodTemplateRef, RuntimeClass, TemplateLocation, Workload, pod_templates, pod_templates_at,
    },
    yaml::{self, Node},
};

/// Which objects to look at, and how.
#[derive(Debug, Args)]
pub(super) struct WorkloadArgs {
    /// Files of YAML or JSON, folders of them, or "-" for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    policy: PolicyArgs,

    /// Namespace of the objects that name none [default: the first one of the policy]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Path of the Pod template (or Pod spec) in objects of a kind, such as RayCluster=spec.workerGroupSpecs[*].template;
    /// may be repeated
    #[arg(long = "path", value_name = "KIND=PATH", value_parser = KindPath::parse)]
    paths: Vec<KindPath>,

    /// Files and folders to leave out of the folders, as in .gitignore; may be repeated. The same patterns can stand in
    /// a file .sandgateignore in any folder
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// `RuntimeClass` manifest whose overhead, node selector and tolerations are added to each Pod of that class, as the API
    /// server does
    #[arg(long, value_name = "FILE")]
    runtime_class: Option<PathBuf>,

    /// User that creates the Pods, for profiles and exemptions by user. Without it no such profile matches, and the users
    /// for whom a Pod would be admitted are named
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,

    /// Group of the user; may be repeated
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,
}

impl WorkloadArgs {
    /// Returns the arguments for these files.
    pub(super) fn of_files(files: &[PathBuf], namespace: Option<&str>, exclude: &[String]) -> Self {
        Self {
            files: files.to_vec(),
            policy: PolicyArgs { policy: None },
            namespace: namespace.map(str::to_owned),
            paths: Vec::new(),
            exclude: exclude.to_vec(),
            runtime_class: None,
            user: None,
            groups: Vec::new(),
        }
    }

    /// Returns what evaluates the Pods, with the namespaces that were found among the files.
    pub(super) fn evaluator<'a>(&self, policies: &'a PolicySet, namespaces: Namespaces) -> Evaluator<'a> {
        let user = self.user.as_ref().map(|user| User::new(user, &self.groups));
        Evaluator { policies, namespaces, user }
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(super) fn policies(&self) -> Result<PolicySet, CliError> {
        if self.policy.is_stdin() && self.files.iter().any(|file| input::is_stdin(file)) {
            return Err(CliError::new(
                "standard input cannot be both the policy and a manifest; put one into a file",
            ));
        }
        self.policy.load()
    }

    /// Returns every Pod that the files would make. What cannot be used is among the problems.
    pub(super) fn collect(&self, policies: &PolicySet) -> Result<Collected, CliError> {
        let runtime_class = self.runtime_class.as_deref().map(read_runtime_class).transpose()?;
        let collected = Collected { runtime_class, ..Collected::default() };
        let mut collector = Collector { args: self, policies, collected, references: Vec::new() };
        for path in &self.files {
            match input::files(path, &self.exclude) {
                Ok(files) => {
                    let is_named = files.as_slice() == std::slice::from_ref(path);
                    for file in &files {
                        collector.file(file, is_named);
                    }
                }
                Err(problem) => collector.collected.unread.push(problem),
            }
        }
        Ok(collector.finish())
    }
}

fn read_runtime_class(path: &Path) -> Result<String, CliError> {
    let text = input::read(path).map_err(CliError::new)?;
    let problem = |line: u64, problem: &str| CliError::new(Problem::new(&text.name, line, problem));
    let mut found = None;
    for document in yaml::read(&text.text) {
        let node = document.map_err(|error| problem(error.line, &error.problem))?;
        if found.is_some() {
            return Err(problem(node.line(), "a second object; leave only one RuntimeClass"));
        }
        let json = to_json(&node);
        let object = json::value_from_str(&json).map_err(|error| problem(node.line(), &error.to_string()))?;
        RuntimeClass::read(&object).map_err(|error| problem(node.line(), &error))?;
        found = Some(json);
    }
    found.ok_or_else(|| problem(1, "no RuntimeClass in it; put one there"))
}

/// The path of a Pod template in the objects of a kind.
#[derive(Debug, Clone)]
struct KindPath {
    kind: String,
    path: String,
}

impl KindPath {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, path)) if !kind.is_empty() && yaml::steps(path).next().is_some() => {
                Ok(Self { kind: kind.into(), path: path.trim_start_matches('.').into() })
            }
            _ => Err("write it as KIND=PATH, such as Workflow=spec.podTemplate".into()),
        }
    }
}

/// Something in a file that cannot be used, or must be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) file: String,
    /// The line, from 1.
    pub(super) line: u64,
    pub(super) text: String,
}

impl Problem {
    fn new(file: &str, line: u64, text: &str) -> Self {
        Self { file: sanitize(file), line, text: sanitize(text) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// What must be known about the objects of a file, beside their Pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Notice {
    #[serde(flatten)]
    pub(super) place: Problem,
    /// Whether Pods, or a part of them, were not checked.
    #[serde(rename = "unchecked")]
    pub(super) is_unchecked: bool,
}

/// What a set of files holds.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) pods: Vec<WorkloadPod>,
    /// The number of objects that make no Pods.
    pub(super) others: usize,
    /// The number of files in folders that are no manifests.
    pub(super) skipped: usize,
    /// What must be known about the objects.
    pub(super) notices: Vec<Notice>,
    /// What in the files cannot be used.
    pub(super) problems: Vec<Problem>,
    /// Why a file could not be read.
    pub(super) unread: Vec<String>,
    /// The namespaces that are among the objects.
    pub(super) namespaces: Namespaces,
    /// The `RuntimeClass` as JSON.
    runtime_class: Option<String>,
}

impl Collected {
    /// Returns everything that could not be checked, one line each.
    pub(super) fn failures(&self) -> Vec<String> {
        self.unread.iter().cloned().chain(self.problems.iter().map(ToString::to_string)).collect()
    }
}

/// A Pod to check.
#[derive(Debug)]
pub(super) struct WorkloadPod {
    file: Rc<str>,
    /// The object in the document.
    object: Rc<Node>,
    /// The object's kind.
    pub(super) kind: String,
    /// The object's name.
    pub(super) name: String,
    pub(super) namespace: String,
    location: TemplateLocation,
    /// The Pod, as JSON.
    json: String,
}

/// A violation, with its place in the file.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) rule: &'static str,
    /// What the policy does with it: `enforce`, `warn` or `audit`.
    pub(super) level: Level,
    pub(super) path: String,
    pub(super) line: u64,
    found: String,
    wanted: String,
    remedy: String,
}

impl Finding {
    /// Returns the sentence that kubectl shows too, without the rule.
    pub(super) fn sentence(&self) -> String {
        let Self { rule: _, level: _, path, line: _, found, wanted, remedy } = self;
        format!("{path} is {found}, must be {wanted}: {remedy}")
    }

    /// Returns the rule, with its level if it does not deny.
    pub(super) fn rule_and_level(&self) -> String {
        match self.level {
            Level::Enforce => self.rule.into(),
            level => format!("{}, {}", self.rule, level.as_str()),
        }
    }
}

impl WorkloadPod {
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Returns the line that its object begins on.
    pub(super) fn line(&self) -> u64 {
        self.object.line()
    }

    /// Returns `Deployment web in namespace workflows`.
    pub(super) fn title(&self) -> String {
        let Self { kind, name, namespace, .. } = self;
        format!("{kind} {name} in namespace {namespace}")
    }

    /// Returns whether both Pods come from one object.
    pub(super) fn is_of_same_object(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.object, &other.object)
    }

    /// Returns the path in the object of a field of the Pod; `None` if a controller adds the field.
    pub(super) fn path_in_object(&self, pod_path: &FieldPath) -> Option<FieldPath> {
        self.location.path(pod_path)
    }

    /// Returns the path in the object of a field of the Pod. A field that is not in the object, because a controller adds
    /// it, is written as `(Pod) PATH`.
    pub(super) fn path(&self, pod_path: &FieldPath) -> String {
        self.location.path(pod_path).map_or_else(|| format!("(Pod) {pod_path}"), |path| path.to_string())
    }

    /// Returns the violations, each at its line, or at that of the nearest value above it that is in the file.
    pub(super) fn findings(&self, violations: &LeveledViolations) -> Vec<Finding> {
        let locate = |(level, violation): (Level, &Violation)| {
            let path = self.location.path(&violation.path);
            let line = path.map_or_else(|| self.line(), |path| self.object.nearest(&path).line());
            let Violation { rule, path, found, wanted, remedy } = violation.clone();
            Finding { rule: rule.id, level, path: self.path(&path), line, found, wanted, remedy }
        };
        violations.with_level().map(locate).collect()
    }

    /// Returns the object that the Pod comes from, as JSON.
    pub(super) fn object_json(&self) -> String {
        to_json(&self.object)
    }

    /// Returns the Pod as JSON.
    pub(super) fn json(&self) -> &str {
        &self.json
    }

    /// Returns the Pod as it is now.
    pub(super) fn pod(&self) -> Result<json::Value<'_>, Problem> {
        json::pod_from_str(&self.json).map_err(|error| self.unreadable(&error))
    }

    pub(super) fn unreadable(&self, error: &serde_json::Error) -> Problem {
        Problem::new(&self.file, self.line(), &format!("{} cannot be read: {error}", self.title()))
    }

    /// Adds what the API server adds to Pods of the class, if this Pod has it, or is given it by the policy.
    fn add_runtime_class(&mut self, class: &RuntimeClass, evaluator: &Evaluator) -> Result<(), Problem> {
        let name = |pod: &json::Value| {
            let spec = pod.as_object().and_then(|pod| pod.object("spec"));
            spec.and_then(|spec| spec.str("runtimeClassName")).map(str::to_string)
        };
        let filled = evaluator.evaluate(self)?.and_then(|evaluation| name(&evaluation.pod));
        let own = name(&self.pod()?);
        if own.or(filled).as_deref() == Some(class.name.as_str()) {
            let with_class = class.add_to(&self.pod()?);
            self.json = with_class;
        }
        Ok(())
    }
}

/// Collects the Pods of texts.
struct Collector<'c> {
    args: &'c WorkloadArgs,
    policies: &'c PolicySet,
    collected: Collected,
    /// Objects whose Pods come from another object: who, and the other's kind and name.
    references: Vec<(Problem, String, String)>,
}

/// An object with what messages call it.
struct Object {
    file: Rc<str>,
    node: Rc<Node>,
    api_version: String,
    kind: String,
    name: String,
}

impl Object {
    fn problem(&self, text: &str) -> Problem {
        Problem::new(&self.file, self.node.line(), text)
    }
}

impl Collector<'_> {
    /// Reads a file. One that was found in a folder, and not named by the user, need not be a manifest.
    fn file(&mut self, path: &Path, is_named: bool) {
        let text = match input::read(path) {
            Ok(text) => text,
            Err(problem) => return self.collected.unread.push(problem),
        };
        let documents = yaml::read(&text.text);
        let is_object = |node: &Node| node.get("apiVersion").is_some() || node.get("kind").is_some();
        let may_be_manifest = documents.iter().any(|document| match document {
            Ok(node) => is_object(node),
            Err(_) => text.text.contains("apiVersion") && text.text.contains("kind"),
        });
        if !is_named && !may_be_manifest {
            self.collected.skipped += 1;
            return;
        }
        if documents.is_empty() {
            self.collected.unread.push(format!("{}: no Kubernetes object in it", text.name));
        }
        let file: Rc<str> = text.name.as_str().into();
        for document in documents {
            match document {
                Ok(root) => self.object(&file, root, None),
                Err(error) => {
                    self.collected.problems.push(Problem::new(&file, error.line, &error.problem));
                }
            }
        }
    }

    /// `listed` are the version and kind of the items of a typed list, which need not repeat them.
    fn object(&mut self, file: &Rc<str>, mut node: Node, listed: Option<(&str, &str)>) {
        let api_version = node.str("apiVersion").or(listed.map(|(version, _)| version)).map(sanitize);
        let kind = node.str("kind").or(listed.map(|(_, kind)| kind)).map(sanitize);
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            let text = "not a Kubernetes object: it needs an apiVersion and a kind, both of them strings";
            return self.collected.problems.push(Problem::new(file, node.line(), text));
        };
        if let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), node.take_list("items")) {
            let listed = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
            return items.into_iter().for_each(|item| self.object(file, item, listed));
        }
        let name = name_of(&node);
        let object = Object { file: file.clone(), node: Rc::new(node), api_version, kind, name };
        if let Err(text) = self.pods_of(&object) {
            self.collected.problems.push(object.problem(&text));
        }
    }

    fn pods_of(&mut self, object: &Object) -> Result<(), String> {
        let Object { node, api_version, kind, name, .. } = object;
        if api_version.starts_with("admission.k8s.io/") {
            return Err(format!("an {kind}, not a manifest; send it to \"sandgate review\""));
        }
        let json = to_typed_json(node, api_version, kind);
        let value =
            json::value_from_str(&json).map_err(|error| format!("{kind} {name} cannot be read: {error}"))?;
        let paths: Vec<&str> =
            self.args.paths.iter().filter(|path| path.kind == *kind).map(|path| path.path.as_str()).collect();
        // An object without Pods needs no namespace, so the namespace is looked for when there are some.
        let Workload { pods, notes } = if paths.is_empty() {
            let found = pod_templates(&value, "");
            found.map_err(|path| format!("{kind} {name} has no Pod template; add one at {path}"))?
        } else {
            named_pods(&value, "", object, &paths)?
        };
        if pods.is_empty() && notes.is_empty() {
            self.collected.others += 1;
        }
        if (api_version.as_str(), kind.as_str()) == ("v1", "Namespace") {
            self.collected.namespaces.insert(name.clone(), labels_of(node));
        }
        if !pods.is_empty() {
            let namespace = self.namespace(object)?;
            let pods = if paths.is_empty() {
                pod_templates(&value, &namespace).map(|workload| workload.pods).unwrap_or_default()
            } else {
                named_pods(&value, &namespace, object, &paths)?.pods
            };
            for PodTemplateRef { pod, location } in pods {
                self.collected.pods.push(WorkloadPod {
                    file: object.file.clone(),
                    object: object.node.clone(),
                    kind: kind.clone(),
                    name: name.clone(),
                    namespace: namespace.clone(),
                    location,
                    json: pod,
                });
            }
        }
        for note in notes {
            self.note(object, note);
        }
        Ok(())
    }

    fn note(&mut self, object: &Object, note: Note) {
        let Object { api_version, kind, name, .. } = object;
        let is_unchecked = note.is_unchecked();
        let text = match note {
            Note::UnknownKind { paths } => {
                let options: Vec<String> =
                    paths.iter().map(|path| format!("--path '{kind}={path}'")).collect();
                format!(
                    "{kind} {name} of {api_version} may make Pods, which are not checked; if it does, add {}",
                    options.join(" ")
                )
            }
            Note::UnknownVersion => format!(
                "{kind} {name}: {api_version} is unknown, so some Pods may not be checked; add --path \
                 '{kind}=PATH', or use a known version"
            ),
            Note::Reference { kind: other, name: target } => {
                let place = object.problem(&format!(
                    "{kind} {name} makes Pods from the {other} {target}, which is not among the files; add its file"
                ));
                return self.references.push((place, other, target));
            }
            Note::Unreadable { path } => {
                format!(
                    "{kind} {name} changes its Pods by {path}, which is not checked; check those Pods themselves"
                )
            }
            Note::Partial => {
                let text = format!(
                    "the controller of {kind} adds to its Pods what no file shows, which is not checked"
                );
                if self.collected.notices.iter().any(|notice| notice.place.text == text) {
                    return;
                }
                text
            }
        };
        self.collected.notices.push(Notice { place: object.problem(&text), is_unchecked });
    }

    /// Returns the namespace as kubectl determines it; an object without one is taken to be meant for the policy.
    fn namespace(&self, object: &Object) -> Result<String, String> {
        let own = object.node.get("metadata").and_then(|metadata| metadata.str("namespace"));
        let Object { kind, name, .. } = object;
        // A candidate is for no namespace.
        let policies: Vec<&Policy> =
            self.policies.policies().iter().filter(|policy| !policy.header.is_for_no_namespace()).collect();
        match (own, &self.args.namespace, policies.as_slice()) {
            (Some(own), Some(wanted), _) if own != wanted => Err(format!(
                "{kind} {name} is in namespace {}, not in {}; leave --namespace out",
                quote(own),
                quote(wanted)
            )),
            (Some(namespace), _, _) => Ok(sanitize(namespace)),
            (None, Some(namespace), _) => Ok(namespace.clone()),
            (None, None, [policy])
                if let Some(first) = policy.header.namespaces.iter().find(|name| name.is_literal()) =>
            {
                Ok(first.as_str().to_owned())
            }
            // kubectl takes this one.
            (None, None, [policy]) if policy.header.namespaces.allows_anything() => Ok("default".into()),
            (None, None, [_]) => Err(format!(
                "{kind} {name} names no namespace and the policy holds for more than one; choose with --namespace"
            )),
            (None, None, _) => Err(format!(
                "{kind} {name} names no namespace and there are several policies; choose with --namespace"
            )),
        }
    }

    fn finish(self) -> Collected {
        let Self { args, mut collected, references, policies } = self;
        let present: BTreeSet<(&str, &str)> =
            collected.pods.iter().map(|pod| (pod.kind.as_str(), pod.name.as_str())).collect();
        let missing = references
            .into_iter()
            .filter(|(_, kind, name)| !present.contains(&(kind.as_str(), name.as_str())))
            .map(|(place, ..)| Notice { place, is_unchecked: true })
            .collect::<Vec<_>>();
        collected.notices.extend(missing);
        if let Some(class) = collected.runtime_class.take() {
            let evaluator = args.evaluator(policies, collected.namespaces.clone());
            add_runtime_class(&mut collected, &class, &evaluator);
        }
        collected
    }
}

fn add_runtime_class(collected: &mut Collected, text: &str, evaluator: &Evaluator) {
    // It was read once already.
    let Some(class) = json::value_from_str(text).ok().and_then(|object| RuntimeClass::read(&object).ok())
    else {
        return;
    };
    for pod in &mut collected.pods {
        if let Err(problem) = pod.add_runtime_class(&class, evaluator) {
            collected.problems.push(problem);
        }
    }
}

/// A path of the user that leads nowhere is a mistake: its Pods would not be checked.
fn named_pods(
    value: &json::Value,
    namespace: &str,
    object: &Object,
    paths: &[&str],
) -> Result<Workload, String> {
    let mut pods = Vec::new();
    for path in paths {
        let found = pod_templates_at(value, namespace, path);
        if found.is_empty() {
            return Err(format!("{} {} has nothing at {path}; correct --path", object.kind, object.name));
        }
        pods.extend(found);
    }
    Ok(Workload { pods, notes: Vec::new() })
}
