//! Reading from the API server. What cannot be read is no error: the checks that need it are unknown, with the right that is
//! missing.

use std::{fmt, time::Duration};

use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::{Client, client::Body};
use serde_json::Value;

use super::finding::Verdict;

/// The number of objects in one page of a list.
const MAX_PAGE_OBJECTS: usize = 500;

/// The most objects of one list that are read.
const MAX_OBJECTS: usize = 20_000;

/// The largest answer that is kept in memory, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The time-out of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A kind of objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
}

impl Resource {
    pub(super) const fn new(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self { group, version, plural }
    }

    fn path(self, namespace: Option<&str>) -> String {
        let Self { group, version, plural } = self;
        let base =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match namespace {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{plural}"),
            None => format!("{base}/{plural}"),
        }
    }
}

/// A right, as a rule of a Role or `ClusterRole`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Right {
    /// The rule.
    rule: String,
    /// The namespace of the Role; none for a `ClusterRole`.
    namespace: Option<String>,
}

impl Right {
    pub(super) fn to(verb: &str, resource: Resource, namespace: Option<&str>) -> Self {
        let Resource { group, plural, .. } = resource;
        let rule = format!("{{apiGroups: [\"{group}\"], resources: [{plural}], verbs: [{verb}]}}");
        Self { rule, namespace: namespace.map(str::to_owned) }
    }

    pub(super) fn to_path(path: &str) -> Self {
        Self { rule: format!("{{nonResourceURLs: [{path}], verbs: [get]}}"), namespace: None }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in namespace {namespace}", self.rule),
            None => f.write_str(&self.rule),
        }
    }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    what: String,
    action: String,
}

impl Unread {
    pub(super) fn new(what: impl Into<String>, action: impl Into<String>) -> Self {
        Self { what: what.into(), action: action.into() }
    }

    /// Returns what is missing if the API server forbids a request.
    pub(super) fn forbidden(right: &Right) -> Self {
        Self::new(
            format!("missing right {right}"),
            "bind the ClusterRole and the Role sandgate-doctor of the chart",
        )
    }

    /// Returns the verdict of a check that depends on it.
    pub(super) fn verdict(&self) -> Verdict {
        Verdict::unknown(&self.what, &self.action)
    }
}

/// What was read, or why it could not be.
pub(super) type Read<T> = Result<T, Unread>;

/// A connection that reads.
pub(super) struct Reader {
    client: Client,
}

/// An answer of the API server.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Answered, String> {
        let asking = async {
            let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes().into();
            Ok(Answered { status: head.status, body })
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("not within {} s", REQUEST_TIMEOUT.as_secs())),
        }
    }

    /// Reads what is at a path; `None` if there is nothing.
    async fn at(&self, path: &str, right: &Right) -> Read<Option<Vec<u8>>> {
        let failed = |problem: &str| {
            let what = format!("cannot get {path}: {problem}");
            Unread::new(what, "run the check again; if it stays so, look into the log of the API server")
        };
        let request = Request::get(path).body(Body::empty()).map_err(|error| failed(&error.to_string()))?;
        let answer = self.send(request).await.map_err(|problem| failed(&problem))?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::FORBIDDEN => Err(Unread::forbidden(right)),
            status if status.is_success() => Ok(Some(answer.body)),
            status => Err(failed(&message(status, &answer.body))),
        }
    }

    /// Reads a text at a path.
    pub(super) async fn text(&self, path: &str, right: &Right) -> Read<String> {
        let body = self.at(path, right).await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads the JSON at a path; `None` if there is nothing.
    pub(super) async fn json(&self, path: &str, right: &Right) -> Read<Option<Value>> {
        let Some(body) = self.at(path, right).await? else { return Ok(None) };
        let value = serde_json::from_slice(&body);
        value.map(Some).map_err(|error| {
            Unread::new(
                format!("the answer to {path} is no JSON: {error}"),
                "check the address of the API server",
            )
        })
    }

    /// Reads an object; `None` if there is none of this name.
    pub(super) async fn get(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Read<Option<Value>> {
        let path = format!("{}/{name}", resource.path(namespace));
        self.json(&path, &Right::to("get", resource, namespace)).await
    }

    /// Reads all objects of a kind, each reduced to what `keep` leaves of it. A kind that the API server does not know has
    /// none.
    pub(super) async fn list(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        keep: fn(&mut Value),
    ) -> Read<Vec<Value>> {
        let right = Right::to("list", resource, namespace);
        let mut objects = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &MAX_PAGE_OBJECTS.to_string());
            if !token.is_empty() {
                query.append_pair("continue", &token);
            }
            let path = format!("{}?{}", resource.path(namespace), query.finish());
            let Some(mut page) = self.json(&path, &right).await? else { return Ok(objects) };
            if let Some(items) = page["items"].as_array_mut() {
                objects.extend(items.iter_mut().map(|item| {
                    if let Some(metadata) = item["metadata"].as_object_mut() {
                        metadata.remove("managedFields");
                    }
                    keep(item);
                    item.take()
                }));
            }
            page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            if token.is_empty() || objects.len() >= MAX_OBJECTS {
                return Ok(objects);
            }
        }
    }
}

/// Returns the message of a `Status`, or the status code.
pub(super) fn message(status: StatusCode, body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    object["message"].as_str().map_or_else(|| format!("status {status}"), str::to_owned)
}

/// Leaves an object as it is.
pub(super) fn whole(_: &mut Value) {}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The items of a list; none if it is no list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns true if a list has this text.
pub(super) fn has(list: &Value, text: &str) -> bool {
    items(list).iter().any(|item| item == text)
}

/// Returns true if the conditions of a node, or of a Pod, show that it is ready.
pub(super) fn is_ready(object: &Value) -> bool {
    let conditions = items(&object["status"]["conditions"]);
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Returns true if a Pod has ended, as one that was evicted has.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// The items joined by commas, the first few and how many more.
pub(super) fn some<T: AsRef<str>>(texts: &[T]) -> String {
    const MAX_SHOWN: usize = 5;
    let shown: Vec<&str> = texts.iter().take(MAX_SHOWN).map(AsRef::as_ref).collect();
    let rest = texts.len() - shown.len();
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_a_rule_that_can_be_copied() {
        let nodes = Resource::new("", "v1", "nodes");
        let text = |namespace| Unread::forbidden(&Right::to("list", nodes, namespace)).verdict().what;
        assert_eq!(text(None), "missing right {apiGroups: [\"\"], resources: [nodes], verbs: [list]}");
        assert!(text(Some("ci")).ends_with("verbs: [list]} in namespace ci"));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some(&["a", "b"]), "a, b");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
