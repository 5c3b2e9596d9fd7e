//! The API in plain JSON: what is stored is looked at as it is, not as a type of some version sees it.

use axum::http::{Method, Request, header};
use kube::Client;
use serde_json::Value;

/// A client that sends JSON, and answers with JSON or a denial.
#[derive(Clone)]
pub struct Rest {
    client: Client,
}

/// An error answer of the API server.
#[derive(Debug)]
pub struct Denial {
    /// The HTTP status code.
    pub code: u16,
    /// The reason of the `Status`, such as `Forbidden`.
    pub reason: String,
    /// The message that kubectl shows.
    pub message: String,
    /// The single causes, if the answer has them.
    pub causes: Vec<Cause>,
}

impl Denial {
    /// Returns true if sandgate's message names this rule.
    #[must_use]
    pub fn names(&self, rule: &str) -> bool {
        self.message.contains(&format!("({rule})"))
    }
}

/// A single cause of a denial.
#[derive(Debug)]
pub struct Cause {
    /// The kind of the cause; sandgate names the rule.
    pub reason: String,
    pub field: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { code, reason, message, .. } = self;
        write!(f, "{code} {reason}: {message}")
    }
}

impl std::error::Error for Denial {}

impl From<kube::Error> for Denial {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let causes = status.details.map(|details| details.causes).unwrap_or_default();
                let causes =
                    causes.into_iter().map(|cause| Cause { reason: cause.reason, field: cause.field });
                Self {
                    code: status.code,
                    reason: status.reason,
                    message: status.message,
                    causes: causes.collect(),
                }
            }
            other => {
                Self { code: 0, reason: "NoAnswer".into(), message: other.to_string(), causes: Vec::new() }
            }
        }
    }
}

/// Returns true if the conditions of a Pod, or of a node, show that it is ready.
#[must_use]
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

type Answer = Result<Value, Denial>;

impl Rest {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads an object or a list.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "application/json", None).await
    }

    /// Creates an object and returns it.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn post(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::POST, path, "application/json", Some(object)).await
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn merge(&self, path: &str, changes: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/merge-patch+json", Some(changes)).await
    }

    /// Changes an object by a strategic merge patch, which merges lists by their keys.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn strategic_merge(&self, path: &str, changes: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/strategic-merge-patch+json", Some(changes)).await
    }

    /// Changes an object by a JSON patch.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn json_patch(&self, path: &str, operations: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/json-patch+json", Some(operations)).await
    }

    /// Applies an object by server-side apply, as the field manager `applier`; `force` takes fields from others.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn apply(&self, path: &str, object: &Value, force: bool) -> Answer {
        self.apply_as("applier", path, object, force).await
    }

    /// Applies an object by server-side apply, as the field manager `manager`; `force` takes fields from others.
    ///
    /// # Errors
    /// If the API server rejects the request, or cannot be reached.
    pub async fn apply_as(&self, manager: &str, path: &str, object: &Value, force: bool) -> Answer {
        let path = format!("{path}?fieldManager={manager}&force={force}");
        // JSON is YAML.
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", Some(object)).await
    }

    /// Replaces an object and returns it.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::PUT, path, "application/json", Some(object)).await
    }

    /// Deletes an object by its path.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, "application/json", None).await
    }

    /// Reads what is no JSON, such as `/metrics`.
    ///
    /// # Errors
    /// Returns an error if the API server rejects the request, or cannot be reached.
    pub async fn text(&self, path: &str) -> Result<String, Denial> {
        let request = Request::get(path).body(Vec::new()).expect("a path of the API is a URI");
        Ok(self.client.request_text(request).await?)
    }

    async fn send(&self, method: Method, path: &str, content_type: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
        let request = request.body(body).expect("a path of the API is a URI");
        Ok(self.client.request(request).await?)
    }
}
