//! Reading an `AdmissionReview` (`admission.k8s.io/v1` and `v1beta1`, which have one shape).

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    json::{Text, Value},
    verdict::quote,
};

/// Bytes that are no `AdmissionReview`; `Display` says why in one line.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum NotAReview {
    #[error("not an AdmissionReview: not UTF-8, at byte {0}")]
    NotUtf8(usize),
    #[error("not an AdmissionReview: {0}")]
    NotJson(serde_json::Error),
    #[error("not an AdmissionReview: kind is {0}")]
    WrongKind(String),
    #[error("apiVersion {0} is not spoken here; send admission.k8s.io/v1 or admission.k8s.io/v1beta1")]
    WrongVersion(String),
    #[error("not an AdmissionReview that can be answered: it has no request")]
    NoRequest,
    #[error("not an AdmissionReview that can be answered: request.uid is empty")]
    NoUid,
    #[error("request.operation {0} is none of CREATE, UPDATE, DELETE, CONNECT")]
    UnknownOperation(String),
}

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the words of the Kubernetes API")]
pub enum Operation {
    #[default]
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Delete, Self::Connect];

    fn read(word: &str) -> Result<Self, NotAReview> {
        match word {
            "CREATE" => Ok(Self::Create),
            "UPDATE" => Ok(Self::Update),
            "DELETE" => Ok(Self::Delete),
            "CONNECT" => Ok(Self::Connect),
            other => Err(NotAReview::UnknownOperation(quote(other))),
        }
    }

    /// The word of the Kubernetes API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// What a request says about itself, without the object.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the fields of the Kubernetes API")]
pub struct RequestInfo<'a> {
    pub api_version: Text<'a>,
    pub uid: Text<'a>,
    pub operation: Operation,
    pub resource: Text<'a>,
    pub subresource: Text<'a>,
    pub namespace: Text<'a>,
    pub name: Text<'a>,
    pub user: Text<'a>,
    pub groups: Vec<Text<'a>>,
    pub dry_run: bool,
}

/// A review that can be answered.
#[derive(Debug)]
pub struct Request<'a> {
    /// What it says about itself.
    pub info: RequestInfo<'a>,
    /// Whether a rule judges it: a Pod that is created or updated, or bound to a node.
    pub is_judged: bool,
    /// The Pod; null where there is none.
    pub object: Value<'a>,
    /// The Pod before an update; null where there is none.
    pub old_object: Value<'a>,
    /// Why the Pod cannot be read.
    pub malformed: Option<String>,
}

impl<'a> Request<'a> {
    /// Reads the review. A Pod in it that cannot be read makes it [`Self::malformed`], not an error: an error of the
    /// call would count as allowed where a webhook's failure policy is Ignore.
    ///
    /// # Errors
    /// When `body` is no `AdmissionReview` of a version we speak.
    pub fn read(body: &'a [u8]) -> Result<Self, NotAReview> {
        let text = std::str::from_utf8(body).map_err(|error| NotAReview::NotUtf8(error.valid_up_to()))?;
        match serde_json::from_str::<Envelope<Value>>(text) {
            Ok(envelope) => {
                let (info, object, old_object) = envelope.open()?;
                let missing =
                    matches!(info.operation, Operation::Create | Operation::Update) && object.is_none();
                let malformed = missing.then(|| "missing".to_string());
                Ok(Self::new(
                    info,
                    object.unwrap_or(Value::Null),
                    old_object.unwrap_or(Value::Null),
                    malformed,
                ))
            }
            Err(problem) => {
                // Is it the envelope or the Pod?
                let envelope: Envelope<IgnoredAny> =
                    serde_json::from_str(text).map_err(NotAReview::NotJson)?;
                let (info, _, _) = envelope.open()?;
                Ok(Self::new(info, Value::Null, Value::Null, Some(problem.to_string())))
            }
        }
    }

    fn new(
        info: RequestInfo<'a>,
        object: Value<'a>,
        old_object: Value<'a>,
        malformed: Option<String>,
    ) -> Self {
        let is_changed = matches!(info.operation, Operation::Create | Operation::Update);
        let is_judged = is_changed && is_pod(&info) || is_binding(&info);
        Self { info, is_judged, object, old_object, malformed }
    }

    /// Whether the object is a Binding: the node of a Pod, and labels and annotations that go over the Pod's own.
    #[must_use]
    pub fn is_binding(&self) -> bool {
        is_binding(&self.info)
    }
}

/// Subresources of pods whose object is no Pod. Any other is judged as one, also one we have never heard of.
const NOT_PODS: [&str; 7] = ["attach", "binding", "eviction", "exec", "log", "portforward", "proxy"];

fn is_pod(info: &RequestInfo) -> bool {
    // A review that does not name its resource is judged: better too much than too little.
    matches!(&*info.resource, "pods" | "") && !NOT_PODS.contains(&&*info.subresource)
}

/// There are two ways to bind a Pod.
fn is_binding(info: &RequestInfo) -> bool {
    info.operation == Operation::Create
        && matches!((&*info.resource, &*info.subresource), ("pods", "binding") | ("bindings", ""))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>, 'de: 'a"))]
struct Envelope<'a, O> {
    #[serde(default)]
    api_version: Text<'a>,
    #[serde(default)]
    kind: Text<'a>,
    request: Option<WireRequest<'a, O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>, 'de: 'a"))]
struct WireRequest<'a, O> {
    #[serde(default)]
    uid: Text<'a>,
    #[serde(default)]
    operation: Text<'a>,
    #[serde(default)]
    resource: GroupVersionResource<'a>,
    #[serde(default)]
    sub_resource: Text<'a>,
    #[serde(default)]
    namespace: Text<'a>,
    #[serde(default)]
    name: Text<'a>,
    #[serde(default)]
    user_info: UserInfo<'a>,
    #[serde(default)]
    dry_run: Option<bool>,
    object: Option<O>,
    old_object: Option<O>,
}

#[derive(Deserialize, Default)]
#[serde(bound(deserialize = "'de: 'a"))]
struct GroupVersionResource<'a> {
    #[serde(default)]
    group: Text<'a>,
    #[serde(default)]
    resource: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(bound(deserialize = "'de: 'a"))]
struct UserInfo<'a> {
    #[serde(default)]
    username: Text<'a>,
    #[serde(default)]
    groups: Option<Vec<Text<'a>>>,
}

impl<'a, O> Envelope<'a, O> {
    fn open(self) -> Result<(RequestInfo<'a>, Option<O>, Option<O>), NotAReview> {
        if &*self.kind != "AdmissionReview" {
            return Err(NotAReview::WrongKind(if self.kind.is_empty() {
                "unset".into()
            } else {
                quote(&self.kind)
            }));
        }
        if !matches!(&*self.api_version, "admission.k8s.io/v1" | "admission.k8s.io/v1beta1") {
            return Err(NotAReview::WrongVersion(quote(&self.api_version)));
        }
        let request = self.request.ok_or(NotAReview::NoRequest)?;
        if request.uid.is_empty() {
            return Err(NotAReview::NoUid);
        }
        let GroupVersionResource { group, resource } = request.resource;
        let resource = if group.is_empty() {
            resource
        } else {
            Text(format!("{resource}.{group}", resource = &*resource, group = &*group).into())
        };
        let info = RequestInfo {
            api_version: self.api_version,
            uid: request.uid,
            operation: Operation::read(&request.operation)?,
            resource,
            subresource: request.sub_resource,
            namespace: request.namespace,
            name: request.name,
            user: request.user_info.username,
            groups: request.user_info.groups.unwrap_or_default(),
            dry_run: request.dry_run.unwrap_or_default(),
        };
        Ok((info, request.object, request.old_object))
    }
}
