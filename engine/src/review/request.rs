//! Reading an `AdmissionReview` (`admission.k8s.io/v1` and `v1beta1`, which have one shape).

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    json::{PodTree, Text, Value},
    review::Head,
    text::quote,
};

/// Bytes that are not an `AdmissionReview` that can be answered. The message is one line.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum ReviewError {
    #[error("not an AdmissionReview: not UTF-8, at byte {0}")]
    NotUtf8(usize),
    #[error("not an AdmissionReview: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error("not an AdmissionReview: kind is {0}")]
    WrongKind(String),
    #[error("unsupported apiVersion {0}: send admission.k8s.io/v1 or admission.k8s.io/v1beta1")]
    WrongVersion(String),
    #[error("not an AdmissionReview that can be answered: it has no request")]
    NoRequest,
    #[error("not an AdmissionReview that can be answered: request.uid is empty")]
    NoUid,
    #[error("request.operation {0} is not one of CREATE, UPDATE, DELETE, CONNECT")]
    UnknownOperation(String),
}

/// The operation on the object.
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
    /// All operations of the API.
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Delete, Self::Connect];

    fn read(word: &str) -> Result<Self, ReviewError> {
        match word {
            "CREATE" => Ok(Self::Create),
            "UPDATE" => Ok(Self::Update),
            "DELETE" => Ok(Self::Delete),
            "CONNECT" => Ok(Self::Connect),
            other => Err(ReviewError::UnknownOperation(quote(other))),
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

/// The proof that the sender of a review is an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Caller {
    /// The server asks for no proof.
    #[default]
    Unasked,
    /// The server asks for proof, and the sender has none: the users and objects of the review may be invented.
    Unverified,
    /// By a client certificate.
    Certificate,
    /// By a bearer token.
    Token,
}

impl Caller {
    /// Returns the word in records: how the caller was authenticated.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unasked | Self::Unverified => "none",
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }

    /// Returns true if the caller is authenticated.
    #[must_use]
    pub fn is_authenticated(self) -> bool {
        matches!(self, Self::Certificate | Self::Token)
    }

    /// Returns true if Events, escapes and alerts may follow from the content of the review.
    #[must_use]
    pub fn is_believed(self) -> bool {
        self != Self::Unverified
    }
}

/// The fields of a request, without the object.
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
    /// The proof that the sender is an API server. It is not part of the review.
    pub caller: Caller,
}

/// A review that can be answered.
#[derive(Debug)]
pub struct Request<'a> {
    /// The fields of the request without the object.
    pub info: RequestInfo<'a>,
    /// True if rules evaluate the request: a Pod is created or updated, or bound to a node.
    pub is_evaluated: bool,
    /// The Pod; null if the request has none.
    pub object: Value<'a>,
    /// The Pod before an update; null if the request has none.
    pub old_object: Value<'a>,
    /// The reason why the Pod cannot be evaluated.
    pub unread: Option<Unread>,
}

/// The reason why the Pod of a review cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The object is missing, is not JSON, or holds too many values.
    Malformed(String),
    /// The review has more than this number of bytes.
    TooLarge(u64),
    /// The review did not arrive within this number of milliseconds.
    NotReceived(u64),
    /// The server's budget for request bodies was used up.
    NoBudget,
    /// The connection failed while the review was received.
    Interrupted,
    /// The evaluation did not end in time.
    NotEvaluated,
    /// The evaluation of the Pod panicked.
    Panicked,
}

impl Unread {
    /// The words of a violation: what was found, what is wanted, and what to do.
    pub(super) fn violation(&self) -> (String, String, &'static str) {
        let pod = || "a Pod".to_string();
        let in_time = || "evaluated in time".to_string();
        match self {
            Self::Malformed(problem) => (problem.clone(), pod(), "fix the JSON of the object"),
            Self::TooLarge(limit) => (
                format!("in a review of more than {limit} bytes"),
                format!("in a review of at most {limit} bytes"),
                "make the Pod smaller, for example move long values into a ConfigMap",
            ),
            Self::NotReceived(millis) => (
                format!("not received within {millis} ms"),
                "received in time".into(),
                "try again; if it recurs, check the network between the API server and sandgate",
            ),
            Self::NoBudget => {
                ("not read because the request body budget is exhausted".into(), "read".into(), "try again")
            }
            Self::Interrupted => ("cut off".into(), "received whole".into(), "try again"),
            Self::NotEvaluated => (
                "too slow to evaluate".into(),
                in_time(),
                "make the Pod smaller, or try again when sandgate is less busy",
            ),
            Self::Panicked => (
                "not evaluated because sandgate failed".into(),
                "evaluated".into(),
                "report it to the administrators of sandgate",
            ),
        }
    }
}

impl<'a> Request<'a> {
    /// Reads the review. If the Pod in it or the review itself cannot be read, but its head names a uid, the request is
    /// [`Self::unread`]. That is not an error, because an error of the call counts as allowed where a webhook's failure
    /// policy is Ignore.
    ///
    /// # Errors
    /// Returns an error if `body` is not an `AdmissionReview` of a supported version.
    pub fn read(body: &'a [u8]) -> Result<Self, ReviewError> {
        let problem = match Self::read_whole(body) {
            Ok(request) => return Ok(request),
            Err(problem) => problem,
        };
        let is_broken = matches!(
            problem,
            ReviewError::NotUtf8(_) | ReviewError::NotJson(_) | ReviewError::UnknownOperation(_)
        );
        match Head::read(body) {
            Some(head) if is_broken => Ok(Self::of_head(head, Unread::Malformed(problem.to_string()))),
            _ => Err(problem),
        }
    }

    /// Makes a request of a review of which only the head was read. It counts as a create if its operation is unknown.
    #[must_use]
    pub fn of_head(head: Head<'a>, unread: Unread) -> Self {
        let Head {
            api_version,
            kind: _,
            uid,
            operation,
            resource,
            sub_resource,
            namespace,
            name,
            user,
            groups,
            dry_run,
        } = head;
        let api_version =
            if api_version.is_empty() { Text("admission.k8s.io/v1".into()) } else { api_version };
        let info = RequestInfo {
            api_version,
            uid,
            operation: Operation::read(&operation).unwrap_or_default(),
            resource: resource.joined(),
            subresource: sub_resource,
            namespace,
            name,
            user,
            groups,
            dry_run,
            caller: Caller::default(),
        };
        Self::new(info, Value::Null, Value::Null, Some(unread))
    }

    fn read_whole(body: &'a [u8]) -> Result<Self, ReviewError> {
        let text = std::str::from_utf8(body).map_err(|error| ReviewError::NotUtf8(error.valid_up_to()))?;
        match serde_json::from_str::<Envelope<PodTree>>(text) {
            Ok(envelope) => {
                let (info, object, old_object) = envelope.open()?;
                let missing =
                    matches!(info.operation, Operation::Create | Operation::Update) && object.is_none();
                let unread = missing.then(|| Unread::Malformed("missing".into()));
                let pod = |tree: Option<PodTree<'a>>| tree.map_or(Value::Null, |PodTree(pod)| pod);
                Ok(Self::new(info, pod(object), pod(old_object), unread))
            }
            Err(problem) => {
                // Is it the envelope or the Pod?
                let envelope: Envelope<IgnoredAny> =
                    serde_json::from_str(text).map_err(ReviewError::NotJson)?;
                let (info, _, _) = envelope.open()?;
                let unread = Unread::Malformed(problem.to_string());
                Ok(Self::new(info, Value::Null, Value::Null, Some(unread)))
            }
        }
    }

    fn new(info: RequestInfo<'a>, object: Value<'a>, old_object: Value<'a>, unread: Option<Unread>) -> Self {
        let is_changed = matches!(info.operation, Operation::Create | Operation::Update);
        let is_evaluated = is_changed && is_pod(&info) || is_binding(&info);
        Self { info, is_evaluated, object, old_object, unread }
    }

    /// Returns true if the object is a Binding: the node of a Pod, and labels and annotations that override the Pod's
    /// own.
    #[must_use]
    pub fn is_binding(&self) -> bool {
        is_binding(&self.info)
    }
}

/// Subresources of pods whose object is not a Pod. Any other is evaluated as a Pod, also an unknown one.
const NOT_PODS: [&str; 7] = ["attach", "binding", "eviction", "exec", "log", "portforward", "proxy"];

fn is_pod(info: &RequestInfo) -> bool {
    // A review that does not name its resource is evaluated: better too much than too little.
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

#[derive(Debug, Deserialize, Default)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct GroupVersionResource<'a> {
    #[serde(default)]
    group: Text<'a>,
    #[serde(default)]
    pub(super) resource: Text<'a>,
}

impl<'a> GroupVersionResource<'a> {
    /// The resource with its group, as in `deployments.apps`.
    fn joined(self) -> Text<'a> {
        let Self { group, resource } = self;
        if group.is_empty() {
            return resource;
        }
        Text(format!("{resource}.{group}", resource = &*resource, group = &*group).into())
    }
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
    fn open(self) -> Result<(RequestInfo<'a>, Option<O>, Option<O>), ReviewError> {
        if &*self.kind != "AdmissionReview" {
            return Err(ReviewError::WrongKind(if self.kind.is_empty() {
                "unset".into()
            } else {
                quote(&self.kind)
            }));
        }
        if !matches!(&*self.api_version, "admission.k8s.io/v1" | "admission.k8s.io/v1beta1") {
            return Err(ReviewError::WrongVersion(quote(&self.api_version)));
        }
        let request = self.request.ok_or(ReviewError::NoRequest)?;
        if request.uid.is_empty() {
            return Err(ReviewError::NoUid);
        }
        let info = RequestInfo {
            api_version: self.api_version,
            uid: request.uid,
            operation: Operation::read(&request.operation)?,
            resource: request.resource.joined(),
            subresource: request.sub_resource,
            namespace: request.namespace,
            name: request.name,
            user: request.user_info.username,
            groups: request.user_info.groups.unwrap_or_default(),
            dry_run: request.dry_run.unwrap_or_default(),
            caller: Caller::default(),
        };
        Ok((info, request.object, request.old_object))
    }
}
