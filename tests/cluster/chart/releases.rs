//! What Helm does to a release, and what it leaves alone. The Pods never run here: this cluster has no nodes.

use serde_json::{Value, json};

use super::{CHART, items};
use testbed::{ControlPlane, Rest, eventually, shared};

/// The image is never pulled: this cluster has no nodes.
const IMAGE: &str = "--set=image.repository=registry.example.com/sandgate";

/// In mode managed sandgate puts CA and rules into configurations that are Helm's.
#[tokio::test]
async fn an_upgrade_and_a_rollback_leave_what_sandgate_put_into_the_configurations() {
    // As Helm 4 does, and as Helm 3 did.
    for how in ["--server-side=true", "--server-side=false"] {
        let release = Release::install(&[how]).await;
        for configuration in release.configurations().await {
            assert!(webhooks(&configuration).all(|webhook| webhook.get("rules").is_none()), "not armed yet");
        }
        release.arm().await;
        let armed = release.configurations().await.map(|object| owned(&object));

        let selected = release.selected().await;
        release.helm(&["upgrade", how, "--set", "policies.more.namespaces={more}"]).await;
        assert_ne!(release.selected().await, selected, "{how}: the upgrade takes effect");
        assert_eq!(release.configurations().await.map(|object| owned(&object)), armed, "{how}: upgrade");

        release.helm_on("rollback", &["1", how]).await;
        assert_eq!(release.selected().await, selected, "{how}: the rollback takes effect");
        assert_eq!(release.configurations().await.map(|object| owned(&object)), armed, "{how}: rollback");
        release.helm_on("uninstall", &[]).await;
    }
}

#[tokio::test]
async fn another_way_to_certificates_takes_over_and_gives_back() {
    let release = Release::install(&[]).await;
    release.arm().await;
    let files = "certificates.mode=files,certificates.secretName=tls";
    let ca = "certificates.caBundle=-----BEGIN CERTIFICATE-----";
    // What sandgate put there is Helm's now, and Helm asks before it takes it.
    release.helm(&["upgrade", "--force-conflicts", "--set", files, "--set", ca]).await;
    for configuration in release.configurations().await {
        for webhook in webhooks(&configuration) {
            assert_eq!(webhook["clientConfig"]["caBundle"], "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t");
            assert!(!items(&webhook["rules"]).is_empty(), "{webhook:#}");
        }
    }
    release.helm(&["upgrade"]).await;
    release.arm().await;
    for configuration in release.configurations().await {
        assert!(webhooks(&configuration).all(|webhook| !items(&webhook["rules"]).is_empty()));
    }
    release.helm_on("uninstall", &[]).await;
}

#[tokio::test]
async fn an_uninstall_takes_the_configurations_first_and_leaves_nothing_that_blocks() {
    let release = Release::install(&[]).await;
    release.arm().await;
    release.helm_on("uninstall", &[]).await;
    for path in release.paths() {
        let gone = release.rest.get(&path).await.expect_err("it is gone");
        assert_eq!(gone.code, 404, "{path}: {gone}");
    }
    let name = &release.name;
    let deleted = |event: &Value| (event["verb"] == "delete").then(|| event["objectRef"]["resource"].clone());
    let log = release.bed.audit_log(name).expect("an audit log");
    let of_release =
        |event: &&Value| event["objectRef"]["name"] == *name && event["user"]["username"] == "admin";
    let order: Vec<_> = log.iter().filter(of_release).filter_map(deleted).collect();
    let wanted = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations", "deployments"];
    assert_eq!(order, wanted);
    let pod = json!({"metadata": {"name": "free"}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
    let path = format!("/api/v1/namespaces/{}/pods", release.guarded);
    release.rest.post(&path, &pod).await.expect("no webhook is called");
    release.helm(&["install"]).await;
    release.helm_on("uninstall", &[]).await;
}

#[tokio::test]
async fn what_an_uninstall_keeps_a_new_install_takes_back() {
    let release = Release::install(&[]).await;
    release.helm_on("uninstall", &[]).await;
    let provided = release.guarded.replace("guarded", "provided");
    let flags = [
        format!("--set=policies.more.namespaces={{{provided}}}"),
        format!("--set=workflowNamespaces.names={{{provided}}}"),
        format!("--set=runtimeClass.create=true,runtimeClass.name={provided}"),
    ];
    let install = [&["install"], &flags.each_ref().map(String::as_str)[..]].concat();
    release.helm(&install).await;
    let namespace = format!("/api/v1/namespaces/{provided}");
    let account = format!("{namespace}/serviceaccounts/workflow-runner");
    let class = format!("/apis/node.k8s.io/v1/runtimeclasses/{provided}");
    let made = release.rest.get(&account).await.expect("the account is made");
    assert_eq!(made["automountServiceAccountToken"], false);

    release.helm_on("uninstall", &[]).await;
    for kept in [&namespace, &class] {
        release.rest.get(kept).await.expect("it is kept");
    }
    assert_eq!(release.rest.get(&account).await.expect_err("it is gone").code, 404);
    release.helm(&install).await;
    release.rest.get(&account).await.expect("it is made again");
    release.helm_on("uninstall", &[]).await;
}

/// Two policies that demand different things deny every Pod between them.
#[tokio::test]
async fn a_second_release_for_a_guarded_namespace_fails_unless_it_is_asked_for() {
    let release = Release::install(&[]).await;
    let second = release.name.replace("sandgate-", "sandgate-second-");
    let guarded = format!("--set=policies.other.namespaces={{{}}}", release.guarded);
    let install = ["install", &second, CHART, "--namespace", &second, "--create-namespace", IMAGE, &guarded];
    let complaint = release.bed.helm(&install).await.expect_failure();
    let wanted =
        format!("{}, which the webhooks of the release {} guard already", release.guarded, release.name);
    assert!(complaint.contains(&wanted), "{complaint}");
    let anyway = [&install[..], &["--set=checkOtherReleases=false", "--dry-run=server"]].concat();
    release.bed.helm(&anyway).await.expect_success();
    // An upgrade meets its own webhooks, and no other's.
    release.helm(&["upgrade"]).await;
    release.helm_on("uninstall", &[]).await;
}

#[tokio::test]
async fn replicas_that_are_null_stay_what_another_owner_sets() {
    let release = Release::install(&["--set", "replicas=null"]).await;
    let name = &release.name;
    let scale = ["scale", "deployment", name, "--namespace", name, "--replicas=3"];
    release.bed.kubectl(&scale).await.expect_success();
    release.helm(&["upgrade", "--set", "replicas=null,webhook.timeoutSeconds=7"]).await;
    assert_eq!(release.replicas().await, 3);
    release.helm_on("rollback", &["1"]).await;
    assert_eq!(release.replicas().await, 3);
    release.helm_on("uninstall", &[]).await;
}

/// As the chart's README describes it.
#[tokio::test]
async fn an_autoscaler_takes_over_without_a_dip() {
    let release = Release::install(&["--set", "replicas=3"]).await;
    let name = &release.name;
    let same = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 3},
    });
    let hand_over = ["apply", "--server-side", "--field-manager=hand-over", "--namespace", name, "-f", "-"];
    release.bed.kubectl_reading(&same.to_string(), &hand_over).await.expect_success();
    release.helm(&["upgrade", "--set", "autoscaling.enabled=true"]).await;
    assert_eq!(release.replicas().await, 3);
    release.helm_on("uninstall", &[]).await;
}

/// No kubelet runs the Pod here, so the test fails.
#[tokio::test]
async fn a_failed_test_leaves_nothing_behind() {
    let release = Release::install(&[]).await;
    let test = ["test", &release.name, "--namespace", &release.name, "--timeout=2s"];
    release.bed.helm(&test).await.expect_failure();
    let (name, guarded) = (&release.name, &release.guarded);
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces";
    for path in [
        format!("/api/v1/namespaces/{name}/pods/{name}-test"),
        format!("/api/v1/namespaces/{name}/serviceaccounts/{name}-test"),
        format!("{rbac}/{guarded}/roles/{name}-test"),
        format!("{rbac}/{guarded}/rolebindings/{name}-test"),
    ] {
        let gone = eventually("it is gone", async || {
            Ok(release.rest.get(&path).await.err().filter(|denial| denial.code == 404))
        });
        gone.await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    release.helm_on("uninstall", &[]).await;
}

/// A release of the chart, with a name, a namespace and a guarded namespace of its own.
pub(super) struct Release {
    pub(super) bed: &'static ControlPlane,
    pub(super) rest: Rest,
    /// Also its namespace, and the name of its objects.
    pub(super) name: String,
    pub(super) guarded: String,
}

impl Release {
    pub(super) async fn install(flags: &[&str]) -> Self {
        let bed = shared().await;
        let rest = bed.rest().await.expect("a client");
        let guarded = bed.namespace(&rest, &json!({"generateName": "guarded-"})).await.expect("a namespace");
        // The release's namespace has the same name, but for one letter.
        let release = Self { bed, rest, name: guarded.replace("guarded", "sandgate"), guarded };
        release.helm(&[&["install", "--create-namespace"], flags].concat()).await;
        release
    }

    /// Installs or upgrades the chart.
    pub(super) async fn helm(&self, command: &[&str]) {
        let guarded = format!("policies.workflow-runner.namespaces={{{}}}", self.guarded);
        let [verb, flags @ ..] = command else { panic!("install or upgrade") };
        self.helm_on(verb, &[&[CHART, "--set", &guarded, IMAGE], flags].concat()).await;
    }

    pub(super) async fn helm_on(&self, verb: &str, flags: &[&str]) {
        let command = [verb, &self.name, "--namespace", &self.name];
        self.bed.helm(&[&command, flags].concat()).await.expect_success();
    }

    /// The number of replicas that the Deployment asks for.
    async fn replicas(&self) -> i64 {
        let path = format!("/apis/apps/v1/namespaces/{0}/deployments/{0}", self.name);
        let deployment = self.rest.get(&path).await.expect("a Deployment");
        deployment["spec"]["replicas"].as_i64().expect("a number")
    }

    fn paths(&self) -> [String; 2] {
        ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
            .map(|plural| format!("/apis/admissionregistration.k8s.io/v1/{plural}/{}", self.name))
    }

    pub(super) async fn configurations(&self) -> [Value; 2] {
        let [mutating, validating] = self.paths();
        [self.rest.get(&mutating).await, self.rest.get(&validating).await]
            .map(|found| found.expect("it is there"))
    }

    /// The namespaces that are guarded.
    async fn selected(&self) -> Value {
        let [mutating, _] = self.configurations().await;
        mutating["webhooks"][0]["namespaceSelector"]["matchExpressions"][0]["values"].clone()
    }

    /// Does what a ready sandgate does: copies the annotated rules to where they count, and adds its CA.
    async fn arm(&self) {
        for (path, found) in self.paths().iter().zip(self.configurations().await) {
            let rules = found["metadata"]["annotations"]["sandgate.dev/rules"].as_str();
            let rules: Value = serde_json::from_str(rules.expect("the annotation")).expect("it is JSON");
            let armed: Value = webhooks(&found)
                .map(|webhook| {
                    let name = webhook["name"].as_str().expect("a name");
                    json!({"name": name, "clientConfig": {"caBundle": "Q0E="}, "rules": rules[name]})
                })
                .collect();
            let object = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": found["kind"],
                "metadata": {"name": self.name, "uid": found["metadata"]["uid"]}, "webhooks": armed,
            });
            self.rest.apply(path, &object, true).await.expect("it is taken");
        }
    }
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    items(&configuration["webhooks"]).iter()
}

/// What is sandgate's in a configuration.
fn owned(configuration: &Value) -> Vec<[Value; 2]> {
    let of_webhook =
        |webhook: &Value| [webhook["clientConfig"]["caBundle"].clone(), webhook["rules"].clone()];
    webhooks(configuration).map(of_webhook).collect()
}
