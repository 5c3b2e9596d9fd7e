//! The example pods, and what the API server makes of them before it asks a webhook.

use std::{fmt, fs, path::Path};

use serde_json::{Value, json};

use crate::Result;

/// The folder of the examples, relative to the repository.
pub(crate) const FOLDER: &str = "examples/pods";

/// The namespace of the built-in policy.
pub(crate) const NAMESPACE: &str = "workflows";

/// A file of [`FOLDER`].
pub(crate) struct ExamplePod {
    pub(crate) file: String,
    /// The first line of the file, a comment.
    pub(crate) description: String,
    pub(crate) expected: Expected,
    /// As a person wrote it.
    pub(crate) written: Value,
}

/// The outcome that the name of the file promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expected {
    /// The outcome of any other file.
    Filled,
    /// The outcome of `complete.yaml`.
    Unchanged,
    /// The outcome of `hostile-*.yaml`.
    Denied,
}

impl Expected {
    fn of(file: &str) -> Self {
        match file {
            "complete.yaml" => Self::Unchanged,
            file if file.starts_with("hostile-") => Self::Denied,
            _ => Self::Filled,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::Unchanged => "admitted unchanged",
            Self::Filled => "filled",
        })
    }
}

/// All examples: the harmless ones first, and of them the simplest.
///
/// # Errors
/// Returns an error if a file cannot be read, or is no pod with a comment above it.
pub(crate) fn examples() -> Result<Vec<ExamplePod>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let mut pods = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            pods.push(ExamplePod::read(&path)?);
        }
    }
    pods.sort_by_key(|pod| (pod.expected, pod.written.to_string().len()));
    Ok(pods)
}

impl ExamplePod {
    fn read(path: &Path) -> Result<Self> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path)?;
        let description = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let description = description.ok_or_else(|| format!("{file} does not begin with a comment"))?.into();
        let written: Value =
            serde_saphyr::from_str(&text).map_err(|error| format!("{file} is no YAML: {error}"))?;
        if written["kind"] != "Pod" {
            return Err(format!("{file} is no Pod").into());
        }
        Ok(Self { expected: Expected::of(&file), file, description, written })
    }

    /// As it reaches a webhook: with the defaults of the API, and with what its own admission plugins added.
    pub(crate) fn arrived(&self) -> Value {
        let mut pod = self.written.clone();
        merge_absent(&mut pod["metadata"], json!({"creationTimestamp": null}));
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
        let spec = &mut pod["spec"];
        merge_absent(
            spec,
            json!({
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "serviceAccountName": account,
                "serviceAccount": account,
                "securityContext": {},
                "schedulerName": "default-scheduler",
                "priority": 0,
                "preemptionPolicy": "PreemptLowerPriority",
                "enableServiceLinks": true,
                "tolerations": [],
                "volumes": [],
            }),
        );
        for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let toleration = json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300
            });
            push(&mut spec["tolerations"], toleration);
        }
        let with_token = spec["automountServiceAccountToken"] != false;
        for container in containers_mut(spec) {
            default_container(container, with_token);
        }
        if with_token {
            push(&mut spec["volumes"], token_volume());
        }
        pod
    }
}

const TOKEN_VOLUME: &str = "kube-api-access-7xq4m";

fn default_container(container: &mut Value, with_token: bool) {
    merge_absent(
        container,
        json!({
            "resources": {},
            "volumeMounts": [],
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
        }),
    );
    if with_token {
        let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
        let mount = json!({"name": TOKEN_VOLUME, "readOnly": true, "mountPath": folder});
        push(&mut container["volumeMounts"], mount);
    }
}

/// The volume that the service account plugin adds to every pod that does not decline it.
fn token_volume() -> Value {
    json!({"name": TOKEN_VOLUME, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{
            "path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
        }]}},
    ]}})
}

fn containers_mut(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let lists = spec.as_object_mut().into_iter().flatten();
    let lists = lists.filter(|(key, _)| matches!(key.as_str(), "initContainers" | "containers"));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten()
}

/// Sets each member of `defaults` that `object` does not have.
fn merge_absent(object: &mut Value, defaults: Value) {
    if let (Value::Object(object), Value::Object(defaults)) = (object, defaults) {
        for (key, default) in defaults {
            object.entry(key).or_insert(default);
        }
    }
}

fn push(list: &mut Value, item: Value) {
    if let Value::Array(list) = list {
        list.push(item);
    }
}
