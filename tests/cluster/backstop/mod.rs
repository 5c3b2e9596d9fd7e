//! The backstop as people meet it: the commands, `serve --backstop`, the guard, and what happens while no webhook answers.

mod away;
mod commands;
mod guard;
mod manifests;
mod seen;
mod serving;

use std::{fs, path::PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

use testbed::{ControlPlane, Rest, admission_list, eventually};

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A policy file, and the release that it belongs to.
struct Release {
    policy: PathBuf,
    /// The name of the policy, of the release's namespace, and of the namespace that is guarded.
    name: String,
    _folder: tempfile::TempDir,
}

impl Release {
    /// A policy named after the namespace that it is for: admission policies belong to the whole cluster.
    fn of(namespace: &str, spec: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = folder.path().join("policy.json");
        let release = Self { policy, name: namespace.to_owned(), _folder: folder };
        release.write(spec);
        release
    }

    fn write(&self, spec: &Value) {
        let mut spec = spec.clone();
        spec["namespaces"] = json!([self.name]);
        let policy = json!({
            "apiVersion": "sandgate.dev/v1beta1",
            "kind": "SandboxPolicy",
            "metadata": {"name": self.name},
            "spec": spec,
        });
        fs::write(&self.policy, policy.to_string()).expect("a policy file");
    }

    /// Runs `sandgate backstop` and returns the exit status and the output.
    fn command(&self, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(testbed::program().expect("it is built"));
        command.env_clear().arg("backstop").args(args).arg("--policy").arg(&self.policy);
        let output = command.args(["--release-namespace", &self.name]).output().expect("it runs");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// The objects that `sandgate backstop render` prints.
    fn rendered(&self, args: &[&str]) -> Vec<Value> {
        let (status, text) = self.command(&[&["render", "-o", "json"], args].concat());
        assert_eq!(status, 0, "{text}");
        let list: Value = serde_json::from_str(&text).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    }

    fn verify(&self, bed: &ControlPlane) -> (i32, String) {
        self.verify_with(bed, &[])
    }

    fn verify_with(&self, bed: &ControlPlane, flags: &[&str]) -> (i32, String) {
        let kubeconfig = bed.kubeconfig().display().to_string();
        self.command(&[&["verify", "--kubeconfig", &kubeconfig], flags].concat())
    }

    fn path(&self, plural: &str) -> String {
        format!("{REGISTRATION}/{plural}/sandgate-{}", self.name)
    }
}

/// Makes what a Pod refers to; no controller runs here.
async fn make_namespace(rest: &Rest, namespace: &str) {
    rest.post("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await.expect("a namespace");
    for account in ["default", "workflow-runner"] {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        rest.post(&path, &json!({"metadata": {"name": account}})).await.expect("a service account");
    }
    let class = json!({"metadata": {"name": "gvisor"}, "handler": "runsc"});
    rest.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.expect("a class");
}

fn path_of(object: &Value) -> String {
    format!("{}/{}", admission_list(object), object["metadata"]["name"].as_str().expect("a name"))
}

const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";
const FILL_BINDINGS: &str = "mutatingadmissionpolicybindings";

async fn apply(rest: &Rest, objects: &[Value]) {
    for object in objects {
        let (path, list) = (path_of(object), admission_list(object));
        // A busy machine may need longer for the CEL of a policy than a request may take. A create costs less than an apply.
        eventually("it is stored", async || {
            let created = rest.post(&list, object).await;
            let answer = match created {
                Err(denial) if denial.code == 409 => rest.apply(&path, object, true).await,
                created => created,
            };
            match answer {
                Err(denial) if denial.code != 504 => Err(denial.into()),
                answer => Ok(answer.ok().map(drop)),
            }
        })
        .await
        .expect("it is stored");
    }
}

async fn remove(rest: &Rest, objects: &[Value]) {
    for object in objects.iter().rev() {
        rest.delete(&path_of(object)).await.expect("it is removed");
    }
}
