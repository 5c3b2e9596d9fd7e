//! The backstop alone: the webhook is registered with `failurePolicy: Ignore`, no replica answers, and a real API server gets a
//! Pod for each rule that violates it and is complete otherwise.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use sandgate_engine::{
    backstop::{Settings, render},
    policy::PolicySet,
};
use serde_json::{Map, Value, json};
use testbed::{ControlPlane, Rest, eventually, store_admission};

use crate::Result;

const NAMESPACE: &str = "workflows";
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const COMPLETE: &str = include_str!("../pods/complete.yaml");

/// What came of the Pods.
#[derive(Default)]
pub(crate) struct Alone {
    /// The rules whose Pod was denied by the backstop for this rule.
    by_rule: usize,
    /// The rules whose Pod was denied for something else, with the message.
    otherwise: BTreeMap<String, String>,
    /// The rules whose Pod was stored.
    escapes: Vec<String>,
    /// True if the complete Pod was stored.
    is_complete_stored: bool,
}

impl Alone {
    /// Returns whether nothing happened that must not.
    pub(crate) fn held(&self) -> bool {
        self.escapes.is_empty() && self.is_complete_stored && self.by_rule > 0
    }
}

impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { by_rule, otherwise, escapes, is_complete_stored } = self;
        let sent = by_rule + otherwise.len() + escapes.len();
        let complete = if *is_complete_stored { "stored" } else { "NOT stored" };
        write!(
            f,
            "no replica, failurePolicy Ignore, backstop on: {sent} Pods, each violating one rule: {by_rule} denied for this \
             rule, {} otherwise, {} escapes; the complete Pod is {complete}",
            otherwise.len(),
            escapes.len()
        )?;
        for (rule, message) in otherwise {
            write!(
                f,
                "\n  {rule} was denied for another reason: {}",
                message.chars().take(160).collect::<String>()
            )?;
        }
        for rule in escapes {
            write!(f, "\n  ESCAPE: a Pod that violates {rule} was stored")?;
        }
        Ok(())
    }
}

/// Starts a control plane and attacks it.
///
/// # Errors
/// If it does not start, or takes no admission policy.
pub(crate) async fn run() -> Result<Alone> {
    let bed = ControlPlane::start().await?;
    let rest = bed.rest().await?;
    bed.namespace(&rest, &json!({"name": NAMESPACE})).await?;
    register_webhook_that_does_not_answer(&rest).await?;
    arm(&rest).await?;
    let mut alone = Alone::default();
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/denied");
    for file in fs::read_dir(&folder)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default();
        // Some examples are about a policy of their own, and the API server takes out fields that it does not know.
        let is_of_other_policy = folder.join("policies").join(name).is_file();
        if path.is_dir() || is_of_other_policy || name == "pod-schema.yaml" {
            continue;
        }
        let rule = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut pod: Value = serde_saphyr::from_str(COMPLETE)?;
        merge(&mut pod, serde_saphyr::from_str(&fs::read_to_string(&path)?)?);
        pod["metadata"]["name"] = json!(rule);
        if let Some(metadata) = pod["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        match rest.post(&pods, &pod).await {
            Ok(_) => alone.escapes.push(rule),
            Err(denial) if denial.message.contains(&format!("{rule}: ")) => alone.by_rule += 1,
            Err(denial) => drop(alone.otherwise.insert(rule, denial.message)),
        }
    }
    let mut complete: Value = serde_saphyr::from_str(COMPLETE)?;
    complete["metadata"] = json!({"name": "complete", "labels": complete["metadata"]["labels"]});
    alone.is_complete_stored = rest.post(&pods, &complete).await.is_ok();
    Ok(alone)
}

async fn register_webhook_that_does_not_answer(rest: &Rest) -> Result<()> {
    let configuration = json!({
        "metadata": {"name": "sandgate"},
        "webhooks": [{
            "name": "validate.sandgate.dev",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "NoneOnDryRun",
            "failurePolicy": "Ignore",
            "clientConfig": {"url": "https://127.0.0.1:1/validate"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    });
    rest.post(&format!("{REGISTRATION}/validatingwebhookconfigurations"), &configuration).await?;
    Ok(())
}

/// Stores the backstop of the built-in policy, and waits until it denies.
async fn arm(rest: &Rest) -> Result<()> {
    let objects = render(&PolicySet::builtin(), &Settings::default())
        .map_err(|refusals| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    for object in objects {
        store_admission(rest, &object).await?;
    }
    let bare =
        json!({"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All");
    eventually("the backstop denies", async || {
        let denial = rest.post(&pods, &bare).await.err();
        Ok(denial.filter(|denial| denial.message.contains("(backstop)")).map(drop))
    })
    .await?;
    Ok(())
}

/// Writes `change` over `target`: containers at the same place are one, and other lists are appended.
fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => merge_fields(target, change),
        (target, change) => *target = change,
    }
}

fn merge_fields(target: &mut Map<String, Value>, change: Map<String, Value>) {
    for (key, value) in change {
        let Some(known) = target.get_mut(&key) else {
            target.insert(key, value);
            continue;
        };
        match (known, value) {
            (Value::Array(known), Value::Array(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    match known.get_mut(index).filter(|_| key == "containers") {
                        Some(container) => merge(container, item),
                        None => known.push(item),
                    }
                }
            }
            (known, value) => merge(known, value),
        }
    }
}
