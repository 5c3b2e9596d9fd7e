//! The chart: what it renders, which values it denies, and what a real API server answers.

mod arming;
mod backstop;
mod conditions;
mod conventions;
mod generated;
mod kinds;
mod large;
mod names;
mod namespaces;
mod network;
mod nulls;
mod platforms;
mod probing;
mod releases;
mod rendering;
mod rights;
mod scopes;
mod stored;
mod workflows;
mod wrong_values;

use std::{fs, path::Path};

use serde_json::Value;

pub(crate) use conditions::configurations;
pub(crate) use kinds::define_all as define_kinds;
use testbed::{Output, helm};

/// The folder of the chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sandgate");

/// Where the tests' release lives.
const NAMESPACE: &str = "sandgate-system";

/// Renders the chart with these flags.
async fn template(flags: &[&str]) -> Output {
    let command = ["template", "sandgate", CHART, "--namespace", NAMESPACE];
    helm(&[&command, flags].concat()).await.expect("helm starts")
}

/// Renders the chart with these flags and the least that must be set.
async fn template_least(flags: &[&str]) -> Output {
    let least = scenario("defaults");
    template(&[&["--values", &least], flags].concat()).await
}

/// The objects that the chart renders with these flags and the least that must be set.
pub(crate) async fn render(flags: &[&str]) -> Objects {
    Objects::read(&template_least(flags).await.expect_success())
}

/// The rules of what sandgate may do where it only writes Events.
pub(crate) async fn rules_for_events() -> Value {
    render_scenario(&scenario("audit-file")).await.cluster_role()["rules"].clone()
}

/// The objects of one scenario.
async fn render_scenario(scenario: &str) -> Objects {
    Objects::read(&template(&["--values", scenario]).await.expect_success())
}

/// The paths of the value files in `ci/`.
fn scenarios() -> Vec<String> {
    let folder = Path::new(CHART).join("ci");
    let files = fs::read_dir(folder).expect("the chart has scenarios");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path().display().to_string()).collect();
    paths.sort();
    assert!(paths.len() >= 6, "{paths:?}");
    paths
}

fn scenario(name: &str) -> String {
    format!("{CHART}/ci/{name}-values.yaml")
}

/// What was rendered.
pub(crate) struct Objects(Vec<Value>);

impl Objects {
    fn read(manifest: &str) -> Self {
        let objects: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("helm renders YAML");
        Self(objects.into_iter().filter(|object| !object.is_null()).collect())
    }

    /// The only object of a kind.
    #[track_caller]
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let mut found = self.all(kind);
        let first = found.next().unwrap_or_else(|| panic!("there is a {kind}"));
        assert!(found.next().is_none(), "there is one {kind}");
        first
    }

    /// The ClusterRole of sandgate itself.
    #[track_caller]
    fn cluster_role(&self) -> &Value {
        self.of_webhook("ClusterRole").next().expect("there is a ClusterRole of the webhook")
    }

    /// The objects of a kind that are for sandgate itself, not for its test and its doctor.
    fn of_webhook(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.all(kind).filter(|object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            !name.ends_with("-test") && !name.ends_with("-doctor")
        })
    }

    pub(crate) fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// Every webhook of both configurations.
    fn webhooks(&self) -> Vec<&Value> {
        let configurations =
            ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map(|kind| self.one(kind));
        configurations.into_iter().flat_map(|object| items(&object["webhooks"])).collect()
    }
}

/// The items of a list; none if there is no list.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The strings of a list.
fn strings(list: &Value) -> Vec<&str> {
    items(list).iter().map(|item| item.as_str().expect("a string")).collect()
}

/// An object as messages call it.
fn title(object: &Value) -> String {
    format!("{} {}", object["kind"], object["metadata"]["name"])
}
