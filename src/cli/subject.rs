//! From objects to the Pods they make: each as its controller would create it, and where it stands in the file.

use std::{path::PathBuf, rc::Rc};

use clap::Args;

use super::{
    Failure, PolicyArgs, input,
    manifest::{self, Document, Node, Problem, Value, steps},
    terminal::note,
};
use crate::{
    json,
    policy::{Policy, PolicySet},
    review::judge,
    verdict::{Violations, quote, visible},
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

/// Where in its object a Pod stands.
#[derive(Debug, Clone)]
enum Place {
    /// The object is the Pod.
    Whole,
    /// At this path stands a Pod template.
    Template(String),
    /// At this path stands a Pod's spec.
    Spec(String),
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

impl Subject {
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

    /// The line of a field of the Pod, or of the nearest thing above it that is written down.
    pub(super) fn line_of(&self, pod_path: &str) -> u64 {
        self.document.line(self.object.nearest(&self.path(pod_path)))
    }

    /// The Pod as it is now.
    pub(super) fn pod(&self) -> Result<json::Value<'_>, Problem> {
        json::pod_from_str(&self.json).map_err(|error| Problem {
            file: self.file().into(),
            line: self.line(),
            problem: format!("{} cannot be read: {error}", self.title()),
        })
    }

    /// What the webhook would do; `None` where no policy covers the namespace.
    pub(super) fn judge<'a>(&'a self, policies: &'a PolicySet) -> Result<Option<Judgement<'a>>, Problem> {
        let Some(policy) = policies.of_namespace(&self.namespace) else { return Ok(None) };
        let mut pod = self.pod()?;
        let violations = judge(policy, &mut pod, true);
        Ok(Some(Judgement { policy, pod, violations }))
    }
}

/// What a known kind keeps its template in, and what controls the Pods made from it.
struct Maker {
    group: &'static str,
    kind: &'static str,
    template: &'static str,
    controller: Option<(&'static str, &'static str)>,
}

const MAKERS: [Maker; 8] = [
    maker("", "PodTemplate", "template", None),
    maker("", "ReplicationController", "spec.template", Some(("v1", "ReplicationController"))),
    maker("apps", "DaemonSet", "spec.template", Some(("apps/v1", "DaemonSet"))),
    maker("apps", "Deployment", "spec.template", Some(("apps/v1", "ReplicaSet"))),
    maker("apps", "ReplicaSet", "spec.template", Some(("apps/v1", "ReplicaSet"))),
    maker("apps", "StatefulSet", "spec.template", Some(("apps/v1", "StatefulSet"))),
    maker("batch", "CronJob", "spec.jobTemplate.spec.template", Some(("batch/v1", "Job"))),
    maker("batch", "Job", "spec.template", Some(("batch/v1", "Job"))),
];

const fn maker(
    group: &'static str,
    kind: &'static str,
    template: &'static str,
    controller: Option<(&'static str, &'static str)>,
) -> Maker {
    Maker { group, kind, template, controller }
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

impl Finder<'_> {
    fn file(&mut self, path: &std::path::Path) {
        match input::read(path) {
            Ok(text) => manifest::documents(&text).into_iter().for_each(|document| self.document(document)),
            Err(problem) => self.found.unread.push(problem),
        }
    }

    fn document(&mut self, document: Result<Document, Problem>) {
        match document {
            Ok(document) => {
                let document = Rc::new(document);
                let root = Rc::new(document.root.clone());
                self.object(&document, root, None);
            }
            Err(problem) => self.found.problems.push(problem),
        }
    }

    /// `listed` are the version and kind of the items of a typed list, which need not say them again.
    fn object(&mut self, document: &Rc<Document>, node: Rc<Node>, listed: Option<(&str, &str)>) {
        let api_version = node.str("apiVersion").or(listed.map(|(version, _)| version));
        let kind = node.str("kind").or(listed.map(|(_, kind)| kind));
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            let problem = "not a Kubernetes object: it needs an apiVersion and a kind";
            return self.problem(document, &node, problem);
        };
        if let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), node.list("items")) {
            let listed = (!item_kind.is_empty()).then_some((api_version, item_kind));
            for item in items {
                self.object(document, Rc::new(item.clone()), listed);
            }
            return;
        }
        let (api_version, kind) = (visible(api_version), visible(kind));
        let name = name_of(&node);
        self.subjects(&Object { document: document.clone(), node, api_version, kind, name });
    }

    fn subjects(&mut self, object: &Object) {
        let places = match self.places(object) {
            Ok(places) => places,
            Err(problem) => return self.problem(&object.document, &object.node, &problem),
        };
        if places.is_empty() {
            self.found.others += 1;
            return;
        }
        let namespace = match self.namespace(object) {
            Ok(namespace) => namespace,
            Err(problem) => return self.problem(&object.document, &object.node, &problem),
        };
        for (place, controller) in places {
            let pod = make_pod(object, &place, controller.as_ref(), &namespace);
            self.found.subjects.push(Subject {
                document: object.document.clone(),
                object: object.node.clone(),
                kind: object.kind.clone(),
                name: object.name.clone(),
                namespace: namespace.clone(),
                place,
                json: serde_json::to_string(&pod).expect("writing JSON to memory cannot fail"),
            });
        }
    }

    /// Where the object keeps what its Pods are made of, and who will control them.
    fn places(&self, object: &Object) -> Result<Vec<(Place, Option<Controller>)>, String> {
        let Object { node, api_version, kind, .. } = object;
        let mut named = self.args.paths.iter().filter(|path| path.kind == *kind).peekable();
        if named.peek().is_some() {
            return named_places(object, named);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if (group, kind.as_str()) == ("", "Pod") {
            return Ok(vec![(Place::Whole, None)]);
        }
        if (group, kind.as_str()) == ("admission.k8s.io", "AdmissionReview") {
            return Err(format!("an AdmissionReview (of {version}); send it to \"sandgate review\""));
        }
        let Some(maker) = MAKERS.iter().find(|maker| maker.group == group && maker.kind == kind) else {
            if let Some(path) = find_template(node) {
                note(&format!(
                    "{}:{}: {kind} {} may make Pods, which are not looked at; name their place with --path '{kind}={path}'",
                    object.document.file,
                    object.document.line(node),
                    object.name,
                ));
            }
            return Ok(Vec::new());
        };
        if steps(maker.template).try_fold(&**node, |node, step| node.get(step)).is_none() {
            return Err(format!("{kind} {} has no Pod template at {}", object.name, maker.template));
        }
        let controller = maker.controller.map(|(api_version, kind)| Controller::new(api_version, kind));
        Ok(vec![(Place::Template(maker.template.into()), controller)])
    }

    /// As kubectl decides it, only that an object without a namespace is taken to be meant for the policy.
    fn namespace(&self, object: &Object) -> Result<String, String> {
        let own = object.node.get("metadata").and_then(|metadata| metadata.str("namespace"));
        let Object { kind, name, .. } = object;
        match (own, &self.args.namespace) {
            (Some(own), Some(wanted)) if own != wanted => Err(format!(
                "{kind} {name} is in namespace {}, not in {}; leave --namespace out",
                quote(own),
                quote(wanted)
            )),
            (Some(namespace), _) => Ok(visible(namespace)),
            (None, Some(namespace)) => Ok(namespace.clone()),
            (None, None) => match self.policies.policies() {
                [policy] => Ok(policy.spec.namespaces[0].clone()),
                _ => Err(format!(
                    "{kind} {name} names no namespace and there are several policies; choose with --namespace"
                )),
            },
        }
    }

    fn problem(&mut self, document: &Document, node: &Node, problem: &str) {
        let (file, line) = (document.file.to_string(), document.line(node));
        self.found.problems.push(Problem { file, line, problem: problem.into() });
    }
}

fn name_of(node: &Node) -> String {
    let metadata = node.get("metadata");
    let text = |key| metadata.and_then(|metadata| metadata.str(key)).filter(|text| !text.is_empty());
    let generated = || text("generateName").map(|prefix| format!("{prefix}*"));
    let name = text("name").map(str::to_string).or_else(generated);
    name.map_or_else(|| "(no name)".into(), |name| visible(&name))
}

/// The places that the user named. A path that leads nowhere is a mistake: its Pods would go unseen.
fn named_places<'p>(
    object: &Object,
    paths: impl Iterator<Item = &'p KindPath>,
) -> Result<Vec<(Place, Option<Controller>)>, String> {
    let mut places = Vec::new();
    for KindPath { kind, path } in paths {
        let mut found = Vec::new();
        expand(&object.node, &steps(path).collect::<Vec<_>>(), String::new(), &mut found);
        if found.is_empty() {
            return Err(format!("{kind} {} has nothing at {path}; correct --path", object.name));
        }
        let controller = Controller::new(&object.api_version, kind);
        places.extend(found.into_iter().map(|place| (place, Some(controller.clone()))));
    }
    Ok(places)
}

/// Follows a path in which `[*]` stands for every item of a list.
fn expand(node: &Node, path: &[&str], so_far: String, found: &mut Vec<Place>) {
    match (path, &node.value) {
        ([], _) => {
            let is_spec = node.get("containers").is_some() && node.get("spec").is_none();
            found.push(if is_spec { Place::Spec(so_far) } else { Place::Template(so_far) });
        }
        (["*", rest @ ..], Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                expand(item, rest, format!("{so_far}[{index}]"), found);
            }
        }
        ([step, rest @ ..], value) => {
            let Some(child) = node.child(step) else { return };
            let so_far = match value {
                Value::List(_) => format!("{so_far}[{step}]"),
                _ if so_far.is_empty() => (*step).into(),
                _ => format!("{so_far}.{step}"),
            };
            expand(child, rest, so_far, found);
        }
    }
}

/// The first thing in an object of an unknown kind that looks like a Pod template or a Pod's spec.
fn find_template(node: &Node) -> Option<String> {
    let looks_like_container = |item: &Node| item.str("image").is_some();
    if node.list("containers").is_some_and(|items| items.iter().any(looks_like_container)) {
        return Some(String::new());
    }
    let join = |step: &str, rest: String| match rest.as_str() {
        "" => step.to_string(),
        rest if rest.starts_with('[') => format!("{step}{rest}"),
        rest => format!("{step}.{rest}"),
    };
    match &node.value {
        Value::Map(members) => {
            members.iter().find_map(|(key, child)| match (key.as_str(), find_template(child)?) {
                // The template around a spec carries the labels.
                ("spec", rest)
                    if rest.is_empty() && node.get("metadata").is_some() && node.get("kind").is_none() =>
                {
                    Some(String::new())
                }
                (key, rest) => Some(join(key, rest)),
            })
        }
        Value::List(items) => items.iter().find_map(find_template).map(|rest| join("[*]", rest)),
        _ => None,
    }
}

/// What will control a Pod.
#[derive(Debug, Clone)]
struct Controller {
    api_version: String,
    kind: String,
}

impl Controller {
    fn new(api_version: &str, kind: &str) -> Self {
        Self { api_version: api_version.into(), kind: kind.into() }
    }

    fn reference(&self, name: &str) -> Value {
        let Self { api_version, kind } = self;
        let reference = Value::from_iter([
            ("apiVersion", api_version.as_str().into()),
            ("kind", kind.as_str().into()),
            ("name", name.into()),
            ("controller", Value::Bool(true)),
        ]);
        Value::List(vec![reference.into()])
    }
}

/// The Pod that would be created: from the object itself, or by a controller from what stands at `place`.
fn make_pod(object: &Object, place: &Place, controller: Option<&Controller>, namespace: &str) -> Node {
    let at = |path: &str| object.node.nearest(path).clone();
    let (metadata, spec) = match place {
        Place::Whole => return with_namespace(&object.node, namespace),
        Place::Template(path) => {
            let template = at(path);
            (template.get("metadata").cloned(), template.get("spec").cloned())
        }
        Place::Spec(path) => (None, Some(at(path))),
    };
    let mut metadata = metadata.map_or_else(|| Node::from(Value::Map(Vec::new())), inherited);
    metadata.set_default("namespace", namespace.into());
    if let Some(controller) = controller {
        metadata.set_default("generateName", format!("{}-", object.name).as_str().into());
        metadata.set_default("ownerReferences", controller.reference(&object.name));
    } else {
        metadata.set_default("name", object.name.as_str().into());
    }
    let mut members = vec![
        ("apiVersion".to_string(), Node::from(Value::from("v1"))),
        ("kind".to_string(), Value::from("Pod").into()),
        ("metadata".to_string(), metadata),
    ];
    members.extend(spec.map(|spec| ("spec".to_string(), spec)));
    Value::Map(members).into()
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
