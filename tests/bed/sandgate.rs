//! The real sandgate, as it is deployed: its program, its TLS port, its webhook configurations.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ControlPlane, Rest, Result, Webhook, WebhookKind, eventually, free_port, process::Process};

/// A running webhook; ends when dropped.
pub(crate) struct Sandgate {
    _process: Process,
    url: String,
    ca: String,
    namespaces: Vec<String>,
}

impl Sandgate {
    /// Starts it for `namespaces` with the default policy, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not built, ends, or is not ready in time.
    pub(crate) async fn start(bed: &ControlPlane, namespaces: &[&str]) -> Result<Self> {
        Self::start_with(bed, &json!({"namespaces": namespaces})).await
    }

    /// Starts it with a policy of this `spec`, whose `namespaces` it will guard.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn start_with(bed: &ControlPlane, spec: &Value) -> Result<Self> {
        let (port, admin) = (free_port(), free_port());
        let folder = bed.folder().join(format!("sandgate-{port}"));
        fs::create_dir(&folder)?;
        let policy = write_policy(&folder, spec)?;
        let mut process =
            Process::start("sandgate", &program()?, &arguments(port, admin, &folder, &policy), &folder)?;
        eventually("sandgate is ready", async || {
            process.check()?;
            Ok(is_ready(admin).await.then_some(()))
        })
        .await?;
        let namespaces = spec["namespaces"].as_array().into_iter().flatten();
        Ok(Self {
            _process: process,
            url: format!("https://127.0.0.1:{port}"),
            ca: fs::read_to_string(folder.join("ca.crt"))?,
            namespaces: namespaces.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }

    /// Puts it in front of its namespaces, and waits until the API server asks it. The validating webhook comes
    /// before the mutating one, so that each shows: first a plain pod is refused, then it is filled.
    ///
    /// # Errors
    /// When the API server does not take the configuration.
    pub(crate) async fn guard(&self, rest: &Rest, kind: WebhookKind) -> Result<()> {
        let (name, path) = match kind {
            WebhookKind::Mutating => ("mutate.sandgate.dev", "mutate"),
            WebhookKind::Validating => ("validate.sandgate.dev", "validate"),
        };
        let configuration = format!("sandgate-{}", self.namespaces.join("-"));
        let url = format!("{}/{path}", self.url);
        let Self { ca, namespaces, .. } = self;
        Webhook { kind, configuration: &configuration, name, url: &url, ca, namespaces }
            .register(rest)
            .await?;
        self.wait_for_answer(rest, |refused| refused == (kind == WebhookKind::Validating)).await
    }

    /// Tries a pod, which is never stored, until every namespace answers as wanted.
    async fn wait_for_answer(&self, rest: &Rest, wanted: impl Fn(bool) -> bool) -> Result<()> {
        let pod = pod_to_try();
        for namespace in &self.namespaces {
            let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
            eventually("the API server asks the webhook", async || {
                let refused = rest
                    .post(&path, &pod)
                    .await
                    .is_err_and(|no| no.message.contains("validate.sandgate.dev"));
                Ok(wanted(refused).then_some(()))
            })
            .await?;
        }
        Ok(())
    }
}

/// It violates the policy until it is filled, but not Pod Security, which a namespace may enforce and which is asked first.
fn pod_to_try() -> Value {
    let confined = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "metadata": {"generateName": "try-"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "x", "securityContext": confined}]
        }
    })
}

/// Cargo says where it is to a test, and puts it beside or above any other program that it builds.
fn program() -> Result<PathBuf> {
    let built = option_env!("CARGO_BIN_EXE_sandgate").map(PathBuf::from);
    let me = env::current_exe()?;
    let around = me.ancestors().skip(1).take(2).map(|folder| folder.join("sandgate"));
    let found = built.into_iter().chain(around).find(|path| path.is_file());
    found.ok_or_else(|| "sandgate is not built: run cargo build first".into())
}

fn write_policy(folder: &Path, spec: &Value) -> Result<PathBuf> {
    let policy = json!({
        "apiVersion": "sandgate.dev/v1alpha1",
        "kind": "SandboxPolicy",
        "metadata": {"name": "workflow-runner"},
        "spec": spec,
    });
    let path = folder.join("policy.json");
    fs::write(&path, policy.to_string())?;
    Ok(path)
}

fn arguments(port: u16, admin: u16, folder: &Path, policy: &Path) -> Vec<String> {
    let (folder, policy) = (folder.display().to_string(), policy.display().to_string());
    let words = ["serve", "--certs", "dev", "--cert-dir", &folder, "--policy", &policy];
    let mut arguments = words.map(str::to_owned).to_vec();
    arguments.extend(["--listen".into(), format!("127.0.0.1:{port}")]);
    arguments.extend(["--admin".into(), format!("127.0.0.1:{admin}")]);
    arguments
}

/// Whether `/readyz` answers 200. Too little to need a client for it.
async fn is_ready(admin: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", admin)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: sandgate\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(1024).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}
