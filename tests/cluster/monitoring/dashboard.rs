//! Every query of the dashboard, put to a real Prometheus that scrapes a real sandgate at work and the real API server.
//! kube-state-metrics, kubelets and Cilium do not run here; what they say comes from a file.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use super::{
    prometheus::{Prometheus, Scrape, serve_growing, value},
    require_prometheus,
};
use crate::{
    certificates::installation::{Installation, KINDS},
    chart::{CHART, items},
    examples::plain_pod,
};
use testbed::{ControlPlane, Reinvocation, Replica, Rest, Sandgate, Webhook, WebhookKind, free_port};

/// What Grafana puts in place of its variables; the longer names first.
const VARIABLES: [(&str, &str); 4] = [
    ("$__rate_interval", "30s"),
    ("$__range", "1m"),
    ("$namespace", "(sandgate-system)"),
    ("$runners", "(workflows)"),
];

fn dashboard() -> Value {
    let text = fs::read_to_string(Path::new(CHART).join("files/dashboard.json")).expect("the chart has one");
    serde_json::from_str(&text).expect("it is JSON")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    items(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row")
}

fn substituted(expression: &str) -> String {
    VARIABLES.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[test]
fn every_panel_says_what_it_shows_and_has_a_place_of_its_own() {
    let dashboard = dashboard();
    let mut places = BTreeSet::new();
    for panel in items(&dashboard["panels"]) {
        assert!(
            places.insert((panel["gridPos"]["y"].to_string(), panel["gridPos"]["x"].to_string())),
            "{panel:#}"
        );
    }
    let ids: BTreeSet<_> = items(&dashboard["panels"]).iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), items(&dashboard["panels"]).len());
    for panel in panels(&dashboard) {
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{panel:#}");
        assert!(!items(&panel["targets"]).is_empty(), "{panel:#}");
        for source in items(&panel["targets"]).iter().chain([panel]) {
            assert_eq!(source["datasource"]["uid"], "${datasource}", "{panel:#}");
        }
    }
    let variables: Vec<_> =
        items(&dashboard["templating"]["list"]).iter().map(|variable| &variable["name"]).collect();
    assert_eq!(variables, ["datasource", "namespace", "runners"]);
}

#[tokio::test]
async fn every_query_has_an_answer_and_the_alerts_see_what_happens() {
    require_prometheus();
    let scene = Scene::new().await;
    let mut prometheus = scene.prometheus().await;
    let load = scene.load().await;
    prometheus.until_scraped(5).await;

    let dashboard = dashboard();
    assert_answered(&prometheus, &dashboard).await;
    assert_variables_have_values(&prometheus, &dashboard).await;
    assert_happened(&prometheus).await;
    assert_alarmed(&prometheus).await;
    load.stop().await;
}

async fn assert_answered(prometheus: &Prometheus, dashboard: &Value) {
    let targets = panels(dashboard).flat_map(|panel| items(&panel["targets"]));
    let expressions: Vec<_> =
        targets.map(|target| substituted(target["expr"].as_str().expect("a target has a query"))).collect();
    assert!(expressions.len() > 50, "{}", expressions.len());
    let mut silent = Vec::new();
    for expression in expressions {
        assert!(!expression.contains('$'), "a variable that this test does not know: {expression}");
        let found = prometheus.query(&expression).await;
        let has_data =
            found.as_ref().is_ok_and(|samples| samples.iter().any(|sample| value(sample).is_finite()));
        if !has_data {
            silent.push(format!("{expression}: {found:?}"));
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

async fn assert_variables_have_values(prometheus: &Prometheus, dashboard: &Value) {
    for variable in items(&dashboard["templating"]["list"]).iter().skip(1) {
        let name = variable["name"].as_str().expect("a name");
        let query = variable["query"]["query"].as_str().expect("a variable has a query");
        let values =
            query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(")")?.split_once(", "));
        let (metric, label) = values.expect("the values of a label");
        let found = prometheus.query(&format!("group by ({label}) ({metric})")).await.expect("it is a query");
        let values: Vec<_> =
            found.iter().map(|sample| sample["metric"][label].as_str().unwrap_or_default()).collect();
        assert_eq!(format!("({})", values.join("|")), substituted(&format!("${name}")));
    }
}

/// That something comes back says little where 0 is an answer; this is what the load did.
async fn assert_happened(prometheus: &Prometheus) {
    for happened in [
        r#"sandgate_admission_reviews_total{verdict="denied", operation="CREATE"}"#,
        r#"sandgate_admission_reviews_total{verdict="admitted", operation="UPDATE"}"#,
        r#"sandgate_admission_reviews_total{verdict="warned", mode="warn"}"#,
        r#"sandgate_filled_fields_total{rule="runtime-class"}"#,
        r#"sandgate_violations_total{rule="host-namespaces"}"#,
        "sandgate_escaped_pods",
        "sandgate_escapes_total",
        "sandgate_bad_requests_total",
        "sandgate_tls_handshake_failures_total",
        r#"sandgate_certificate_renewals_total{result="ok"}"#,
        r#"apiserver_admission_webhook_rejection_count{name=~".+[.]sandgate[.]dev", error_type="no_error"}"#,
        r#"apiserver_admission_webhook_rejection_count{name=~".+[.]sandgate[.]dev", error_type="calling_webhook_error"}"#,
        r#"apiserver_admission_webhook_fail_open_count{name=~".+[.]sandgate[.]dev"}"#,
    ] {
        let found = prometheus.query(&format!("sum({happened})")).await.expect("it is a query");
        assert!(found.first().is_some_and(|sample| value(sample) > 0.0), "{happened}: {found:?}");
    }
}

/// Those that wait for nothing, on what the load did.
async fn assert_alarmed(prometheus: &Prometheus) {
    let wanted = [
        "SandgateEscapeSeen",
        "SandgateFailsOpen",
        "SandgateRunnerEvicted",
        "SandgateRunnerDeadlineExceeded",
    ];
    for alert in wanted {
        let firing = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        let found = prometheus.query(&firing).await.expect("it is a query");
        assert!(!found.is_empty(), "{alert} does not fire");
    }
    for alert in ["SandgatePanicked", "SandgateAuditLost", "SandgateNamespaceWithoutPolicy", "SandgateDown"] {
        let found =
            prometheus.query(&format!("ALERTS{{alertname=\"{alert}\"}}")).await.expect("it is a query");
        assert!(found.is_empty(), "{found:?}");
    }
}

/// sandgate with two replicas and managed certificates, a Pod that is older than it, one more that only warns, and two
/// namespaces whose webhook has no server.
struct Scene {
    installation: Installation,
    replicas: [Replica; 2],
    warning: Sandgate,
    /// The paths of Pods of namespaces in which nothing is enforced.
    unenforced: [String; 3],
}

impl Scene {
    async fn new() -> Self {
        let installation = Installation::new().await;
        let mut old = plain_pod("old");
        old["spec"]["hostPID"] = json!(true);
        installation.rest.post(&installation.pods_path(), &old).await.expect("no webhook is called yet");
        for index in 0..KINDS.len() {
            let configuration = installation.configuration(index, &["CREATE", "UPDATE"]);
            let path = installation.configuration_path(index);
            installation.rest.apply(&path, &configuration, true).await.expect("it is registered");
        }
        let mut replicas = [installation.replica(0, &[]), installation.replica(1, &[])];
        for replica in &mut replicas {
            replica.until_ready().await.expect("it is ready");
        }
        installation.until_armed().await;
        let Installation { bed, rest, .. } = &installation;
        let warned = bed.namespace(rest, &json!({"generateName": "warned-"})).await.expect("a namespace");
        let spec = json!({"namespaces": [warned], "mode": "warn"});
        let warning = Sandgate::start_with(bed, &spec).await.expect("it starts");
        warning.guard(bed, rest).await.expect("it is asked");
        let unenforced =
            [pods_of(&warned), unanswered(bed, rest, "Fail").await, unanswered(bed, rest, "Ignore").await];
        Self { installation, replicas, warning, unenforced }
    }

    async fn prometheus(&self) -> Prometheus {
        let replicas = self.replicas.iter().chain(self.warning.replica()).enumerate();
        let mut scrapes: Vec<_> = replicas
            .map(|(index, replica)| {
                let labels = json!({"namespace": "sandgate-system", "pod": format!("sandgate-{index}")});
                Scrape { port: replica.admin(), labels }
            })
            .collect();
        scrapes.push(Scrape { port: serve_growing(include_str!("cluster.prom")).await, labels: json!({}) });
        let groups = super::alerts::groups(&super::alerts::ALL).await;
        Prometheus::start(self.installation.bed, &scrapes, &groups)
    }

    /// Creates, denials, updates of the old Pod, and peers that are no API server, until it is stopped.
    async fn load(&self) -> Load {
        let (rest, pods) = (self.installation.rest.clone(), self.installation.pods_path());
        let (unenforced, address) = (self.unenforced.clone(), self.replicas[0].address());
        let ca = self.installation.active().await.expect("a CA");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut round = 0;
            while !stopped.load(Ordering::Relaxed) {
                round += 1;
                let mut pod = plain_pod("");
                pod["metadata"] = json!({"generateName": "pod-"});
                rest.post(&pods, &pod).await.expect("it is admitted");
                pod["spec"]["hostPID"] = json!(true);
                rest.post(&pods, &pod).await.expect_err("it is denied");
                for path in &unenforced {
                    // Without an answer, the failure policy says whether it is stored.
                    let _ = rest.post(path, &pod).await;
                }
                let touch = json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}});
                rest.merge(&format!("{pods}/old"), &touch).await.expect("it violates nothing new");
                send_no_review(&address, &ca).await;
                speak_no_tls(&address).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Load { task, stop }
    }
}

/// What goes on until it is stopped.
struct Load {
    task: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("all of the load went as it should");
    }
}

/// The path of the pods of a namespace whose webhook is called like ours, and has no server.
async fn unanswered(bed: &ControlPlane, rest: &Rest, failure_policy: &str) -> String {
    let namespace = bed.namespace(rest, &json!({"generateName": "unanswered-"})).await.expect("a namespace");
    let url = format!("https://127.0.0.1:{}/validate", free_port());
    let webhook = Webhook {
        kind: WebhookKind::Validating,
        configuration: &namespace,
        name: "validate.sandgate.dev",
        url: &url,
        ca: "",
        namespaces: std::slice::from_ref(&namespace),
        reinvocation: Reinvocation::Never,
    };
    webhook.register(rest).await.expect("it is registered");
    let (resource, _) = KINDS[1];
    let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}/{namespace}");
    let change = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": failure_policy}]);
    rest.json_patch(&path, &change).await.expect("it is changed");
    pods_of(&namespace)
}

fn pods_of(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

async fn send_no_review(address: &str, ca: &str) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM")).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("they are there");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    let request = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
}

async fn speak_no_tls(address: &str) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is sent");
}
