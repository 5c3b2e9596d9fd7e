//! Helpers to follow a Pod.

use serde_json::{Value, json};

use crate::shared::{Bed, NAMESPACE};
use testbed::{Denial, Rest, Result, eventually, is_ready};

/// The image with a shell.
pub(crate) const IMAGE: &str = "busybox:bed";

/// A Pod that runs this script, and asks for little of a small node.
pub(crate) fn pod(name: &str, script: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [container("main", script)]}})
}

/// One of its containers.
pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": IMAGE, "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
    })
}

/// The namespace of the users' Pods.
pub(crate) fn pods_path(rest: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods{rest}")
}

impl<G> Bed<G> {
    /// Creates a Pod among those of users. The API server gives up if others change the ResourceQuota meanwhile, and asks
    /// to try again.
    pub(crate) async fn create(&self, pod: &Value) -> Value {
        let created = eventually("no other changes the quota", async || {
            match self.rest.post(&pods_path(""), pod).await {
                Err(Denial { code: 409, message, .. }) if message.contains("resourcequotas") => Ok(None),
                created => created.map(Some).map_err(Into::into),
            }
        });
        created.await.unwrap()
    }

    /// Waits until the Pod has ended; gives it, as it then is.
    pub(crate) async fn ended(&self, name: &str) -> Value {
        self.until(name, "has ended", has_ended).await
    }

    /// Waits until the Pod is ready.
    pub(crate) async fn ready(&self, name: &str) -> Value {
        self.until(name, "is ready", is_ready).await
    }

    /// Waits until the Pod is as a test wants it.
    pub(crate) async fn until(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&self.rest, &pods_path(&format!("/{name}")), what, is_so).await.unwrap_or_else(|error| {
            panic!("{error}");
        })
    }

    /// Returns the output of the Pod's only container, or of the named one.
    pub(crate) async fn logs(&self, name: &str, container: &str) -> String {
        self.kubectl(&["logs", name, "-c", container]).await
    }

    /// Runs kubectl in the namespace of users, and gives what it prints.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.cluster.bed.kubectl(&[&["--namespace", NAMESPACE], arguments].concat()).await;
        output.expect_success()
    }

    /// The runtimes under which containerd runs the containers of a Pod, its own sandbox among them.
    pub(crate) fn runtimes(&self, pod: &Value) -> Vec<String> {
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let filter = format!(r#"labels."io.kubernetes.pod.uid"=={uid}"#);
        let listed = self.cluster.ctr(&["containers", "list", &filter]).unwrap().expect_success();
        let rows = listed.lines().skip(1).filter(|row| !row.is_empty());
        rows.map(|row| row.split_whitespace().next_back().unwrap().to_owned()).collect()
    }

    /// Removes a Pod at once.
    pub(crate) async fn remove(&self, name: &str) {
        self.rest.delete(&pods_path(&format!("/{name}?gracePeriodSeconds=0"))).await.unwrap();
    }
}

/// Waits until an object is as a test wants it.
pub(crate) async fn until(
    rest: &Rest,
    path: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let mut last = Value::Null;
    let what = format!("{path} {what}");
    let found = eventually(&what, async || {
        last = rest.get(path).await.unwrap_or_default();
        Ok(is_so(&last).then(|| last.clone()))
    })
    .await;
    found.map_err(|error| format!("{error}; it is {}", last["status"]).into())
}

/// Returns true if a Pod has ended.
pub(crate) fn has_ended(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
}
