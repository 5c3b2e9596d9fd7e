//! From objects to the Pods they make: each as its controller would create it, and where it stands in the file.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use clap::Args;

use serde::Serialize;

use super::{
    Failure, PolicyArgs, input,
    kinds::{self, Controller, Maker, Place},
    manifest::{self, Document, Node, Problem, Value, steps},
    terminal::note,
};
use sandgate_engine::{
    json,
    policy::{EVERY_OTHER, Policy, PolicySet},
    review::{Defaults, evaluate},
    text::{quote, sanitize},
    violations::{Violation, Violations},
};

/// Which objects to look at, and how.
#[derive(Debug, Args)]
pub(super) struct SubjectArgs {
    /// Files of YAML or JSON, folders of them, or "-" for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    policy: PolicyArgs,

    /// Namespace of the objects that name none [default: the first one of the policy]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Where a kind keeps its Pod template (or Pod spec), such as Workflow=spec.podTemplate or
    /// RayCluster=spec.workerGroupSpecs[*].template; may be repeated
    #[arg(long = "path", value_name = "KIND=PATH", value_parser = KindPath::parse)]
    paths: Vec<KindPath>,
}

impl SubjectArgs {
    pub(super) fn policies(&self) -> Result<PolicySet, Failure> {
        if self.policy.is_stdin() && self.files.iter().any(|file| input::is_stdin(file)) {
            return Err(Failure::new(
                "standard input cannot be both the policy and a manifest; put one into a file",
            ));
        }
        self.policy.load()
    }

    /// Every Pod that the files would make. What cannot be used is among the problems.
    pub(super) fn find(&self, policies: &PolicySet) -> Found {
        let mut finder = Finder { args: self, policies, found: Found::default() };
        for path in &self.files {
            match input::files(path) {
                Ok(files) => files.iter().for_each(|file| finder.file(file)),
                Err(problem) => finder.found.unread.push(problem),
            }
        }
        finder.found
    }
}

/// The place of a Pod template in the objects of a kind.
#[derive(Debug, Clone)]
struct KindPath {
    kind: String,
    path: String,
}

impl KindPath {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, path)) if !kind.is_empty() && steps(path).next().is_some() => {
                Ok(Self { kind: kind.into(), path: path.trim_start_matches('.').into() })
            }
            _ => Err("write it as KIND=PATH, such as Workflow=spec.podTemplate".into()),
        }
    }
}

/// What a set of files holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) subjects: Vec<Subject>,
    /// How many objects make no Pods.
    pub(super) others: usize,
    /// What in the files cannot be used.
    pub(super) problems: Vec<Problem>,
    /// Why a file could not be read.
    pub(super) unread: Vec<String>,
}

impl Found {
    /// Everything that could not be looked at, one line each.
    pub(super) fn failures(&self) -> Vec<String> {
        self.unread.iter().cloned().chain(self.problems.iter().map(ToString::to_string)).collect()
    }
}

/// A Pod to judge.
#[derive(Debug)]
pub(super) struct Subject {
    document: Rc<Document>,
    /// The object in the document.
    object: Rc<Node>,
    /// The object's kind.
    pub(super) kind: String,
    /// The object's name.
    pub(super) name: String,
    pub(super) namespace: String,
    place: Place,
    /// The Pod, as JSON.
    json: String,
}

/// What became of a Pod.
pub(super) struct Judgement<'a> {
    /// The policy of its namespace.
    pub(super) policy: &'a Policy,
    /// The Pod, filled.
    pub(super) pod: json::Value<'a>,
    /// What violates the policy all the same.
    pub(super) violations: Violations,
}

/// A violation, with where it stands in the file.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) rule: &'static str,
    pub(super) path: String,
    pub(super) line: u64,
    found: String,
    wanted: String,
    remedy: String,
}

impl Finding {
    /// The sentence that kubectl shows too, without the rule.
    pub(super) fn sentence(&self) -> String {
        let Self { rule: _, path, line: _, found, wanted, remedy } = self;
        format!("{path} is {found}, must be {wanted}: {remedy}")
    }
}

impl Subject {
    fn new(object: &Object, making: Making, namespace: &str) -> Self {
        let pod = pod_of(object, &making, namespace);
        Self {
            document: object.document.clone(),
            object: object.node.clone(),
            kind: object.kind.clone(),
            name: object.name.clone(),
            namespace: namespace.into(),
            place: making.place,
            json: serde_json::to_string(&pod).expect("writing JSON to memory cannot fail"),
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.document.file
    }

    /// The line its object begins on.
    pub(super) fn line(&self) -> u64 {
        self.document.line(&self.object)
    }

    /// `Deployment web in namespace workflows`.
    pub(super) fn title(&self) -> String {
        let Self { kind, name, namespace, .. } = self;
        format!("{kind} {name} in namespace {namespace}")
    }

    /// The path in the object of a field of the Pod.
    pub(super) fn path(&self, pod_path: &str) -> String {
        match &self.place {
            Place::Whole => pod_path.into(),
            Place::Template(path) => format!("{path}.{pod_path}"),
            Place::Spec(path) => match pod_path.strip_prefix("spec") {
                Some(rest) => format!("{path}{rest}"),
                None => format!("(Pod) {pod_path}"),
            },
        }
    }

    /// The violations, each at its line, or at that of the nearest thing above it that is written down.
    pub(super) fn findings(&self, violations: &Violations) -> Vec<Finding> {
        let locate = |violation: &Violation| {
            let path = self.path(&violation.path.to_string());
            let line = self.document.line(self.object.nearest(&path));
            let Violation { rule, path: _, found, wanted, remedy } = violation.clone();
            Finding { rule: rule.id, path, line, found, wanted, remedy }
        };
        violations.iter().map(locate).collect()
    }

    /// The Pod as it is now.
    pub(super) fn pod(&self) -> Result<json::Value<'_>, Problem> {
        json::pod_from_str(&self.json).map_err(|error| Problem {
            file: self.file().into(),
            line: self.line(),
            text: format!("{} cannot be read: {error}", self.title()),
        })
    }

    /// What the webhook would do; `None` where no policy covers the namespace.
    pub(super) fn judge<'a>(&'a self, policies: &'a PolicySet) -> Result<Option<Judgement<'a>>, Problem> {
        let Some(policy) = policies.of_namespace(&self.namespace) else { return Ok(None) };
        let mut pod = self.pod()?;
        let violations = evaluate(policy, &mut pod, Defaults::Fill).violations;
        Ok(Some(Judgement { policy, pod, violations }))
    }
}

/// Collects the Pods of texts.
struct Finder<'f> {
    args: &'f SubjectArgs,
    policies: &'f PolicySet,
    found: Found,
}

/// An object with what messages call it.
struct Object {
    document: Rc<Document>,
    node: Rc<Node>,
    api_version: String,
    kind: String,
    name: String,
}

/// How an object makes Pods.
struct Making {
    place: Place,
    controller: Option<Controller>,
    complete: fn(&Node, &mut Node),
}

impl Finder<'_> {
    fn file(&mut self, path: &Path) {
        let text = match input::read(path) {
            Ok(text) => text,
            Err(problem) => return self.found.unread.push(problem),
        };
        let documents = manifest::documents(&text);
        if documents.is_empty() {
            self.found.unread.push(format!("{}: no Kubernetes object in it", text.name));
        }
        for document in documents {
            match document {
                Ok((document, root)) => self.object(&Rc::new(document), root, None),
                Err(problem) => self.found.problems.push(problem),
            }
        }
    }

    /// `listed` are the version and kind of the items of a typed list, which need not say them again.
    fn object(&mut self, document: &Rc<Document>, mut node: Node, listed: Option<(&str, &str)>) {
        let api_version = node.str("apiVersion").or(listed.map(|(version, _)| version)).map(sanitize);
        let kind = node.str("kind").or(listed.map(|(_, kind)| kind)).map(sanitize);
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            let problem = "not a Kubernetes object: it needs an apiVersion and a kind, both of them strings";
            return self.problem(document, &node, problem);
        };
        if let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), node.take_list("items")) {
            let listed = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
            return items.into_iter().for_each(|item| self.object(document, item, listed));
        }
        let name = name_of(&node);
        self.subjects(&Object { document: document.clone(), node: Rc::new(node), api_version, kind, name });
    }

    fn subjects(&mut self, object: &Object) {
        let found = self.makings(object).and_then(|makings| match makings.as_slice() {
            [] => Ok((makings, String::new())),
            _ => self.namespace(object).map(|namespace| (makings, namespace)),
        });
        let (makings, namespace) = match found {
            Ok(found) => found,
            Err(problem) => return self.problem(&object.document, &object.node, &problem),
        };
        if makings.is_empty() {
            self.found.others += 1;
        }
        self.found
            .subjects
            .extend(makings.into_iter().map(|making| Subject::new(object, making, &namespace)));
    }

    fn makings(&self, object: &Object) -> Result<Vec<Making>, String> {
        let Object { document, node, api_version, kind, name } = object;
        let named: Vec<&KindPath> = self.args.paths.iter().filter(|path| path.kind == *kind).collect();
        if !named.is_empty() {
            return named_makings(object, &named);
        }
        let (group, _) = api_version.split_once('/').unwrap_or(("", api_version));
        match (group, kind.as_str()) {
            ("", "Pod") => {
                return Ok(vec![Making { place: Place::Whole, controller: None, complete: kinds::nothing }]);
            }
            ("admission.k8s.io", _) => {
                return Err(format!("an {kind}, not a manifest; send it to \"sandgate review\""));
            }
            _ => {}
        }
        let Some(maker) = Maker::of(group, kind) else {
            if let Some(path) = kinds::suspect(node) {
                let (file, line) = (&document.file, document.line(node));
                note(&format!(
                    "{file}:{line}: {kind} {name} may make Pods, which are not looked at; if it does, add --path '{kind}={path}'"
                ));
            }
            return Ok(Vec::new());
        };
        if kinds::places(node, maker.template).is_empty() {
            return Err(format!("{kind} {name} has no Pod template; add one at {}", maker.template));
        }
        let place = Place::Template(maker.template.into());
        Ok(vec![Making { place, controller: maker.controller(), complete: maker.complete }])
    }

    /// As kubectl decides it, only that an object without a namespace is taken to be meant for the policy.
    fn namespace(&self, object: &Object) -> Result<String, String> {
        let own = object.node.get("metadata").and_then(|metadata| metadata.str("namespace"));
        let Object { kind, name, .. } = object;
        match (own, &self.args.namespace, self.policies.policies()) {
            (Some(own), Some(wanted), _) if own != wanted => Err(format!(
                "{kind} {name} is in namespace {}, not in {}; leave --namespace out",
                quote(own),
                quote(wanted)
            )),
            (Some(namespace), _, _) => Ok(sanitize(namespace)),
            (None, Some(namespace), _) => Ok(namespace.clone()),
            (None, None, [policy]) if policy.spec.namespaces[0] != EVERY_OTHER => {
                Ok(policy.spec.namespaces[0].clone())
            }
            (None, None, [_]) => Err(format!(
                "{kind} {name} names no namespace and the policy holds for more than one; choose with --namespace"
            )),
            (None, None, _) => Err(format!(
                "{kind} {name} names no namespace and there are several policies; choose with --namespace"
            )),
        }
    }

    fn problem(&mut self, document: &Document, node: &Node, problem: &str) {
        let (file, line) = (document.file.to_string(), document.line(node));
        self.found.problems.push(Problem { file, line, text: problem.into() });
    }
}

fn name_of(node: &Node) -> String {
    let metadata = node.get("metadata");
    let text = |key| metadata.and_then(|metadata| metadata.str(key)).filter(|text| !text.is_empty());
    let generated = || text("generateName").map(|prefix| format!("{prefix}*"));
    let name = text("name").map(str::to_string).or_else(generated);
    name.map_or_else(|| "(no name)".into(), |name| sanitize(&name))
}

/// By the paths that the user named. One that leads nowhere is a mistake: its Pods would go unseen.
fn named_makings(object: &Object, paths: &[&KindPath]) -> Result<Vec<Making>, String> {
    let mut makings = Vec::new();
    for KindPath { kind, path } in paths {
        let places = kinds::places(&object.node, path);
        if places.is_empty() {
            return Err(format!("{kind} {} has nothing at {path}; correct --path", object.name));
        }
        let controller = Controller::new(&object.api_version, kind);
        let making = |place| Making { place, controller: Some(controller.clone()), complete: kinds::nothing };
        makings.extend(places.into_iter().map(making));
    }
    Ok(makings)
}

/// The Pod that would be created: the object itself, or what a controller makes of its template.
fn pod_of(object: &Object, making: &Making, namespace: &str) -> Node {
    let at = |path: &str| object.node.nearest(path).clone();
    let (metadata, spec) = match &making.place {
        Place::Whole => return with_namespace(&object.node, namespace),
        Place::Template(path) => {
            let template = at(path);
            (template.get("metadata").cloned(), template.get("spec").cloned())
        }
        Place::Spec(path) => (None, Some(at(path))),
    };
    let mut metadata = metadata.map_or_else(|| Value::Map(Vec::new()).into(), inherited);
    if let Some(controller) = &making.controller {
        metadata.set_default("generateName", format!("{}-", object.name).as_str().into());
        metadata.set_default("ownerReferences", controller.owner_references(&object.name));
    } else {
        metadata.set_default("name", object.name.as_str().into());
    }
    metadata.set_default("namespace", namespace.into());
    let mut pod = Node::from(Value::Map(Vec::new()));
    pod.set_default("apiVersion", "v1".into());
    pod.set_default("kind", "Pod".into());
    pod.set_default("metadata", metadata.value);
    if let Some(mut spec) = spec {
        (making.complete)(&object.node, &mut spec);
        pod.set_default("spec", spec.value);
    }
    pod
}

/// What a controller takes over of a template's metadata. Anything but a map goes on to the rules, which refuse it.
fn inherited(mut metadata: Node) -> Node {
    if let Value::Map(members) = &mut metadata.value {
        members.retain(|(key, _)| matches!(key.as_str(), "labels" | "annotations" | "finalizers"));
    }
    metadata
}

fn with_namespace(pod: &Node, namespace: &str) -> Node {
    let mut pod = pod.clone();
    pod.set_default("metadata", Value::Map(Vec::new()));
    if let Some(metadata) = pod.get_mut("metadata") {
        metadata.set_default("namespace", namespace.into());
    }
    pod
}
