//! The real sandgate, as it is deployed: its program, its TLS port, its webhook configurations.

use std::{
    env, fs,
    path::{Path, PathBuf},
    slice,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    ControlPlane, Reinvocation, Rest, Result, Webhook, WebhookKind, eventually, free_port, plain_http,
    process::Process,
};

/// A running webhook; ends when dropped.
pub struct Sandgate {
    replica: Option<Replica>,
    url: String,
    ca_file: PathBuf,
    ca: String,
    namespaces: Vec<String>,
}

impl Sandgate {
    /// Starts it for `namespaces` with the default policy, and waits until it is ready.
    ///
    /// # Errors
    /// Returns an error if it is not built, ends, or is not ready in time.
    pub async fn start(bed: &ControlPlane, namespaces: &[&str]) -> Result<Self> {
        Self::start_with(bed, &json!({"namespaces": namespaces})).await
    }

    /// Starts it with a policy of this `spec`, or with several of a list, whose `namespaces` it will guard.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub async fn start_with(bed: &ControlPlane, spec: &Value) -> Result<Self> {
        Self::start_flagged(bed, spec, &[]).await
    }

    /// Starts it with further flags.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub async fn start_flagged(bed: &ControlPlane, spec: &Value, flags: &[&str]) -> Result<Self> {
        let mut replica = Replica::start(bed, spec, |folder| {
            let certs = ["--certs", "dev", "--cert-dir", &folder.display().to_string()].map(str::to_owned);
            certs.into_iter().chain(flags.iter().map(ToString::to_string)).collect()
        })?;
        replica.until_ready().await?;
        let namespaces = specs(spec).iter().filter_map(|spec| spec["namespaces"].as_array()).flatten();
        let ca_file = replica.folder.join("ca.crt");
        Ok(Self {
            url: replica.url(""),
            ca: fs::read_to_string(&ca_file)?,
            ca_file,
            namespaces: namespaces.filter_map(Value::as_str).map(str::to_owned).collect(),
            replica: Some(replica),
        })
    }

    /// Returns the URL on which it listens, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Returns its process while it runs.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// Returns the CA of its certificate, in PEM.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The value of a metric; `None` where nothing answers.
    pub async fn metric(&self, name: &str) -> Option<i64> {
        self.replica.as_ref()?.metric(name).await
    }

    /// Returns its processor time so far.
    ///
    /// # Errors
    /// Returns an error if it is not running.
    pub fn cpu(&self) -> Result<Duration> {
        self.replica.as_ref().ok_or("it was stopped")?.process.cpu()
    }

    /// Returns its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.replica.as_ref().map(Replica::log).unwrap_or_default()
    }

    /// The name of both its configurations: that of its first namespaces, since a name has an end.
    #[must_use]
    pub fn configuration(&self) -> String {
        const NAMED: usize = 3;
        format!("sandgate-{}", self.namespaces[..self.namespaces.len().min(NAMED)].join("-"))
    }

    /// Returns the client configuration for a webhook configuration of the test's own.
    #[must_use]
    pub fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("{}{path}", self.url), "caBundle": STANDARD.encode(&self.ca)})
    }

    /// Ends it at once; its configurations stay.
    pub fn stop(&mut self) {
        self.replica = None;
    }

    /// Puts both webhooks in front of its namespaces, and waits until the API server asks them.
    ///
    /// # Errors
    /// Returns an error if the API server does not take a configuration.
    pub async fn guard(&self, bed: &ControlPlane, rest: &Rest) -> Result<()> {
        // In this order both are asked about the tested pod, even if the policy denies it.
        self.guard_as(bed, rest, WebhookKind::Validating).await?;
        self.guard_as(bed, rest, WebhookKind::Mutating).await
    }

    /// Makes both webhooks known to another API server than that of the bed.
    ///
    /// # Errors
    /// Returns an error if it does not take a configuration.
    pub async fn register(&self, rest: &Rest) -> Result<()> {
        for kind in [WebhookKind::Validating, WebhookKind::Mutating] {
            self.register_one(rest, kind).await?;
        }
        Ok(())
    }

    /// Puts only one of them there.
    ///
    /// # Errors
    /// Returns the errors of [`Self::guard`].
    pub async fn guard_as(&self, bed: &ControlPlane, rest: &Rest, kind: WebhookKind) -> Result<()> {
        let name = self.register_one(rest, kind).await?;
        for namespace in &self.namespaces {
            eventually("the API server asks sandgate", async || is_asked(bed, rest, namespace, name).await)
                .await?;
        }
        Ok(())
    }

    async fn register_one(&self, rest: &Rest, kind: WebhookKind) -> Result<&'static str> {
        let (name, path) = match kind {
            WebhookKind::Mutating => ("mutate.sandgate.dev", "mutate"),
            WebhookKind::Validating => ("validate.sandgate.dev", "validate"),
        };
        let configuration = self.configuration();
        let url = format!("{}{path}", self.url);
        let Self { ca, namespaces, .. } = self;
        let reinvocation = Reinvocation::IfNeeded;
        Webhook { kind, configuration: &configuration, name, url: &url, ca, namespaces, reinvocation }
            .register(rest)
            .await?;
        Ok(name)
    }
}

/// One process of it, by itself; ends when dropped.
pub struct Replica {
    process: Process,
    folder: PathBuf,
    port: u16,
    admin: u16,
}

impl Replica {
    /// Starts it with a policy of this `spec` and these arguments for the certificate, which may name the folder.
    ///
    /// # Errors
    /// Returns an error if it is not built.
    pub fn start(
        bed: &ControlPlane,
        spec: &Value,
        certificate: impl FnOnce(&Path) -> Vec<String>,
    ) -> Result<Self> {
        Self::start_at(free_port(), bed, spec, certificate)
    }

    /// Starts it where another one was, or is expected.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub fn start_at(
        port: u16,
        bed: &ControlPlane,
        spec: &Value,
        certificate: impl FnOnce(&Path) -> Vec<String>,
    ) -> Result<Self> {
        let admin = free_port();
        let folder = bed.folder().join(format!("sandgate-{admin}"));
        fs::create_dir(&folder)?;
        let policy = write_policy(&folder, spec)?.display().to_string();
        let mut arguments = vec!["serve".into(), "--policy".into(), policy];
        arguments.extend(["--listen".into(), format!("127.0.0.1:{port}")]);
        arguments.extend(["--admin".into(), format!("127.0.0.1:{admin}")]);
        arguments.extend(certificate(&folder));
        let process = Process::start("sandgate", &program()?, &arguments, &folder)?;
        Ok(Self { process, folder, port, admin })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Returns an error if it ends, or is not ready in time.
    pub async fn until_ready(&mut self) -> Result<()> {
        eventually("sandgate is ready", async || {
            self.process.check()?;
            Ok(self.is_ready().await.then_some(()))
        })
        .await
    }

    /// Returns true if `/readyz` answers 200.
    pub async fn is_ready(&self) -> bool {
        plain_http::is_fine(self.admin, "/readyz").await
    }

    /// The value of a metric; `None` where nothing answers.
    pub async fn metric(&self, name: &str) -> Option<i64> {
        plain_http::metric(self.admin, name).await
    }

    /// Returns its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("sandgate.log")).unwrap_or_default()
    }

    /// The port of `/metrics`.
    #[must_use]
    pub fn admin(&self) -> u16 {
        self.admin
    }

    /// Returns the URL for reviews.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of what is at `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address())
    }
}

/// Tries a pod, which is never stored, and looks for the webhook's word in the API server's audit log.
async fn is_asked(bed: &ControlPlane, rest: &Rest, namespace: &str, webhook: &str) -> Result<Option<()>> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    match rest.post(&path, &pod_to_try()).await {
        // No webhook's work: the namespace is not as it should be.
        Err(denial) if !denial.message.contains("webhook") => return Err(denial.into()),
        _ => {}
    }
    let verdict = format!("{webhook}/verdict");
    let events = bed.audit_events(namespace)?;
    Ok(events.iter().any(|event| event["annotations"][&verdict].is_string()).then_some(()))
}

/// Pod Security, which a namespace may enforce and which is asked before the validating webhook, admits it.
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

/// Cargo puts it beside or above any other program that it builds.
///
/// # Errors
/// Returns an error if it is not built.
pub fn program() -> Result<PathBuf> {
    let me = env::current_exe()?;
    let around = me.ancestors().skip(1).take(2).map(|folder| folder.join("sandgate"));
    let found = { around }.find(|path| path.is_file());
    found.ok_or_else(|| "sandgate is not built: run cargo build first".into())
}

/// Returns the specs of a list, or the only one.
fn specs(spec: &Value) -> &[Value] {
    spec.as_array().map_or(slice::from_ref(spec), Vec::as_slice)
}

fn write_policy(folder: &Path, spec: &Value) -> Result<PathBuf> {
    let document = |(number, spec)| {
        let name = if number == 0 { "workflow-runner".to_owned() } else { format!("policy-{number}") };
        let metadata = json!({"name": name});
        json!({"apiVersion": "sandgate.dev/v1beta1", "kind": "SandboxPolicy", "metadata": metadata, "spec": spec})
            .to_string()
    };
    let documents: Vec<_> = specs(spec).iter().enumerate().map(document).collect();
    // JSON is YAML.
    let path = folder.join("policy.yaml");
    fs::write(&path, documents.join("\n---\n"))?;
    Ok(path)
}
