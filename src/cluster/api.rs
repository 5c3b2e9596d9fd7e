//! Requests to the API server. Errors name what failed, on which object, and what to do.

use std::{error::Error, fmt, time::Duration};

use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use jiff::{Timestamp, fmt::rfc2822};
use kube::{Client, client::Body};
use serde_json::Value;
use tokio::time::timeout;

/// Longer than an API server that works takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for admission policies, whose expressions the API server compiles before it answers: seconds of CPU.
const PATIENCE_WITH_POLICIES: Duration = Duration::from_mins(1);

/// What a request is about; its path and the RBAC rule that allows it follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'t> {
    /// Empty for the core group.
    pub(super) group: &'static str,
    /// In the plural.
    pub(super) resource: &'static str,
    /// Where it is in one.
    pub(super) namespace: Option<&'t str>,
    /// Its name.
    pub(super) name: &'t str,
}

impl Target<'_> {
    /// The path of all of its kind.
    pub(super) fn collection(&self) -> String {
        let Self { group, resource, namespace, .. } = self;
        let base = if group.is_empty() { "/api/v1".to_string() } else { format!("/apis/{group}/v1") };
        match namespace {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{resource}"),
            None => format!("{base}/{resource}"),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// How long an answer may take.
    fn patience(&self) -> Duration {
        if self.resource == "validatingadmissionpolicies" { PATIENCE_WITH_POLICIES } else { PATIENCE }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => write!(f, "{resource} {namespace}/{name}"),
            None => write!(f, "{resource} {name}"),
        }
    }
}

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API server does not answer.
    #[error("the API server does not answer ({reason})")]
    Unreachable {
        /// The innermost reason.
        reason: String,
        /// The error of the client, if it has one.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Another writer was faster.
    #[error("{0} has changed in the meantime")]
    Conflict(String),
    /// The API server rejects the request.
    #[error("cannot {doing}: {message}{remedy}")]
    Rejected {
        /// What was tried.
        doing: String,
        /// Its message.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// It accepts the request with an answer that cannot be read.
    #[error("cannot {doing}: the answer is no JSON; is this the address of an API server?")]
    Unreadable {
        /// What was tried.
        doing: String,
        /// The error of the reader.
        #[source]
        source: serde_json::Error,
    },
}

impl ApiError {
    fn unreachable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unreachable { reason: reason(&error), source: Some(Box::new(error)) }
    }
}

/// A way to the API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    namespace: String,
}

/// An answer, and when it was given by the API server's clock.
#[derive(Debug)]
pub(super) struct Answer {
    /// The object; `None` where there is none.
    pub(super) is: Option<Value>,
    pub(super) date: Option<Timestamp>,
}

impl Api {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// Returns the same client for another namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: String) -> Self {
        Self { namespace, ..self }
    }

    /// The namespace that we are in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the client, for other requests.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object; `None` where there is none.
    pub(super) async fn get(&self, target: Target<'_>) -> Result<Answer, ApiError> {
        self.send(Method::GET, target.path(), None, ("get", target)).await
    }

    /// Returns the objects of the target's kind that a label selector selects; the target has no name.
    pub(super) async fn list(&self, target: Target<'_>, selector: &str) -> Result<Vec<Value>, ApiError> {
        let query =
            form_urlencoded::Serializer::new(String::new()).append_pair("labelSelector", selector).finish();
        let path = format!("{}?{query}", target.collection());
        let answer = self.send(Method::GET, path, None, ("list", target)).await?;
        let items = answer.is.and_then(|mut list| list["items"].as_array_mut().map(std::mem::take));
        Ok(items.unwrap_or_default())
    }

    /// Deletes an object, if there is one.
    pub(super) async fn delete(&self, target: Target<'_>) -> Result<(), ApiError> {
        self.send(Method::DELETE, target.path(), None, ("delete", target)).await.map(drop)
    }

    /// Applies an object by server-side apply, and takes its fields from other managers.
    pub(super) async fn apply(&self, target: Target<'_>, object: &Value) -> Result<(), ApiError> {
        self.ensure(target, object).await.map(drop)
    }

    /// Creates an object.
    pub(super) async fn create(&self, target: Target<'_>, object: &Value) -> Result<(), ApiError> {
        let answer = self.send(Method::POST, target.collection(), Some((JSON, object)), ("create", target));
        there(answer.await?, target)
    }

    /// Creates an object by server-side apply, and returns what is stored: an object that exists already keeps whatever
    /// `object` does not name. Unlike a POST this create has a name that RBAC can restrict it to.
    pub(super) async fn ensure(&self, target: Target<'_>, object: &Value) -> Result<Value, ApiError> {
        let path = format!("{}?fieldManager={MANAGER}&force=true", target.path());
        // JSON is YAML.
        let body = Some(("application/apply-patch+yaml", object));
        let answer = self.send(Method::PATCH, path, body, ("patch", target)).await?;
        answer.is.ok_or_else(|| ApiError::Conflict(target.to_string()))
    }

    /// Replaces an object, if its `resourceVersion` is still the one that `object` names.
    pub(super) async fn replace(&self, target: Target<'_>, object: &Value) -> Result<(), ApiError> {
        let path = format!("{}?fieldManager={MANAGER}", target.path());
        let answer = self.send(Method::PUT, path, Some((JSON, object)), ("update", target));
        there(answer.await?, target)
    }

    /// Changes fields by a strategic-merge patch, as the field manager `sandgate`, if `resourceVersion` and `uid` still
    /// are those that `changes` names; [`ApiError::Conflict`] where they are not, or where there is no object. To the API
    /// server this is an update and no apply: of two appliers of one list item neither can remove it, so that Helm 4
    /// could never again take a webhook away.
    pub(super) async fn update_fields(&self, target: Target<'_>, changes: &Value) -> Result<(), ApiError> {
        let path = format!("{}?fieldManager={MANAGER}", target.path());
        let body = Some(("application/strategic-merge-patch+json", changes));
        there(self.send(Method::PATCH, path, body, ("patch", target)).await?, target)
    }

    /// Changes fields of an object; [`ApiError::Conflict`] where there is none.
    pub(super) async fn merge(&self, target: Target<'_>, changes: &Value) -> Result<(), ApiError> {
        let body = Some(("application/merge-patch+json", changes));
        there(self.send(Method::PATCH, target.path(), body, ("patch", target)).await?, target)
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: Option<(&'static str, &Value)>,
        (verb, target): (&str, Target<'_>),
    ) -> Result<Answer, ApiError> {
        let content_type = body.map_or(JSON, |(content_type, _)| content_type);
        let body = body.map(|(_, object)| object.to_string().into_bytes()).unwrap_or_default();
        let asking = async {
            let answer = self.ask(method, &path, content_type, body).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(ApiError::unreachable)?;
            Ok((head, body.to_bytes()))
        };
        let patience = target.patience();
        let late =
            || ApiError::Unreachable { reason: format!("not within {} s", patience.as_secs()), source: None };
        let (head, body) = timeout(patience, asking).await.map_err(|_| late())??;
        let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok()).and_then(date_of);
        match head.status {
            StatusCode::NOT_FOUND if verb != "create" => Ok(Answer { is: None, date }),
            StatusCode::CONFLICT => Err(ApiError::Conflict(target.to_string())),
            status if status.is_success() => {
                let is = serde_json::from_slice(&body)
                    .map_err(|source| ApiError::Unreadable { doing: format!("{verb} {target}"), source })?;
                Ok(Answer { is: Some(is), date })
            }
            status => Err(rejected(status, &body, verb, target)),
        }
    }

    /// Follows every change of one object; each piece of the answer is a sign of one.
    pub(super) async fn watch(&self, target: Target<'_>, timeout: Duration) -> Result<Body, ApiError> {
        let path = format!(
            "{}?watch=true&fieldSelector=metadata.name%3D{}&timeoutSeconds={}",
            target.collection(),
            target.name,
            timeout.as_secs()
        );
        let answer = self.ask(Method::GET, &path, JSON, Vec::new()).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let body = answer.into_body().collect().await.map_err(ApiError::unreachable)?;
        Err(rejected(status, &body.to_bytes(), "watch", target))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Response<Body>, ApiError> {
        let uri: Uri = path.parse().map_err(ApiError::unreachable)?;
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        if let Ok(content_type) = content_type.parse() {
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        self.client.send(request).await.map_err(ApiError::unreachable)
    }
}

const JSON: &str = "application/json";

/// Who changes what we change, to the API server.
pub(super) const MANAGER: &str = "sandgate";

fn there(answer: Answer, target: Target<'_>) -> Result<(), ApiError> {
    // What is gone has changed.
    answer.is.map(drop).ok_or_else(|| ApiError::Conflict(target.to_string()))
}

fn rejected(status: StatusCode, body: &[u8], verb: &str, target: Target<'_>) -> ApiError {
    let status_object = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let message =
        status_object["message"].as_str().map_or_else(|| format!("status {status}"), str::to_string);
    let doing = format!("{verb} {target}");
    // A namespace that is being deleted takes nothing from anybody.
    let mut causes = status_object["details"]["causes"].as_array().into_iter().flatten();
    let is_ending = causes.any(|cause| cause["reason"] == "NamespaceTerminating");
    // A server-side apply that creates needs the right to create beside the one to patch.
    let denied = message.split_once(" cannot ").and_then(|(_, rest)| rest.split_once(" resource "));
    let missing = match denied {
        Some((verb, _)) => verb,
        // Kubernetes 1.30 gives no reason then.
        None if verb == "patch" && message.trim_end().ends_with("is forbidden:") => "create",
        None => verb,
    };
    let remedy = if is_ending { String::new() } else { remedy(status, missing, target) };
    ApiError::Rejected { doing, message, remedy }
}

/// What to do about a rejection.
fn remedy(status: StatusCode, verb: &str, Target { group, resource, namespace, name }: Target<'_>) -> String {
    match status {
        StatusCode::FORBIDDEN => {
            // A Role may allow the namespace that it is in.
            let role = if namespace.is_some() || resource == "namespaces" { "Role" } else { "ClusterRole" };
            // The name of an Event is not known beforehand.
            let names =
                if resource == "events" { String::new() } else { format!(", resourceNames: [{name}]") };
            format!(
                "; the {role} of sandgate's service account lacks the rule \
                 {{apiGroups: [\"{group}\"], resources: [{resource}]{names}, verbs: [{verb}]}}"
            )
        }
        StatusCode::UNAUTHORIZED => {
            "; its credentials are not accepted: see that the token has not expired".into()
        }
        _ => String::new(),
    }
}

/// The innermost reason: the outer ones only report that a request failed.
fn reason(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn date_of(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: Target<'_> = Target {
        group: "admissionregistration.k8s.io",
        resource: "mutatingwebhookconfigurations",
        namespace: None,
        name: "sandgate",
    };
    const SECRET: Target<'_> =
        Target { group: "", resource: "secrets", namespace: Some("sandgate-system"), name: "sandgate-ca" };

    #[test]
    fn a_missing_permission_is_reported_with_the_rule_that_gives_it() {
        let body = br#"{"message": "forbidden"}"#;
        let message = |verb, target| rejected(StatusCode::FORBIDDEN, body, verb, target).to_string();
        assert_eq!(
            message("patch", CONFIGURATION),
            "cannot patch mutatingwebhookconfigurations sandgate: forbidden; the ClusterRole of sandgate's service \
             account lacks the rule {apiGroups: [\"admissionregistration.k8s.io\"], resources: \
             [mutatingwebhookconfigurations], resourceNames: [sandgate], verbs: [patch]}"
        );
        assert!(message("create", SECRET).ends_with(
            "{apiGroups: [\"\"], resources: [secrets], resourceNames: [sandgate-ca], verbs: [create]}"
        ));
        let event = Target { group: "events.k8s.io", resource: "events", ..SECRET };
        assert!(message("create", event).ends_with("resources: [events], verbs: [create]}"));
        assert!(message("get", SECRET).contains("cannot get secrets sandgate-system/sandgate-ca"));
    }

    #[test]
    fn the_missing_verb_is_the_one_that_the_api_server_names() {
        let body = br#"{"message": "User \"x\" cannot create resource \"secrets\" in API group"}"#;
        let message = rejected(StatusCode::FORBIDDEN, body, "patch", SECRET).to_string();
        assert!(message.ends_with("verbs: [create]}"), "{message}");
        let body = br#"{"message": "secrets \"sandgate-ca\" is forbidden: "}"#;
        let message = rejected(StatusCode::FORBIDDEN, body, "patch", SECRET).to_string();
        assert!(message.ends_with("verbs: [create]}"), "Kubernetes 1.30 names none: {message}");
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_no_missing_permission() {
        let body = br#"{"message": "it is being terminated", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}"#;
        let message = rejected(StatusCode::FORBIDDEN, body, "create", SECRET).to_string();
        assert_eq!(message, "cannot create secrets sandgate-system/sandgate-ca: it is being terminated");
    }

    #[test]
    fn an_answer_that_is_not_of_an_api_server_is_reported() {
        let message = rejected(StatusCode::BAD_GATEWAY, b"<html>", "get", SECRET).to_string();
        assert!(message.contains("status 502"), "{message}");
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(date_of("Thu, 01 Jan 1970 00:01:00 GMT"), Timestamp::from_second(60).ok());
        assert_eq!(date_of("yesterday"), None);
    }
}
