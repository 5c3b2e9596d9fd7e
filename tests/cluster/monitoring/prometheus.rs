//! A real Prometheus, asked by promtool.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use testbed::{ControlPlane, Process, eventually, free_port};

/// What is scraped: a port of 127.0.0.1, and the labels that a Prometheus in a cluster would give it.
pub(super) struct Scrape {
    pub(super) port: u16,
    pub(super) labels: Value,
}

/// A running Prometheus; ends when dropped.
pub(super) struct Prometheus {
    process: Process,
    url: String,
}

impl Prometheus {
    /// Starts one that scrapes these, and the API server, each second, and evaluates these groups of rules.
    pub(super) fn start(bed: &ControlPlane, scrapes: &[Scrape], groups: &Value) -> Self {
        let port = free_port();
        let folder = bed.folder().join(format!("prometheus-{port}"));
        fs::create_dir(&folder).expect("a folder");
        // JSON is YAML.
        let write = |name: &str, content: Value| {
            fs::write(folder.join(name), content.to_string()).expect("it is written");
        };
        write("prometheus.json", configuration(bed, scrapes));
        write(RULES, json!({"groups": groups}));
        let arguments = [
            format!("--config.file={}", folder.join("prometheus.json").display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=warn".into(),
        ];
        let process = Process::start("prometheus", Path::new("prometheus"), &arguments, &folder);
        Self { process: process.expect("it starts"), url: format!("http://127.0.0.1:{port}") }
    }

    /// Waits until each of that many targets has been scraped often enough for a rate.
    pub(super) async fn until_scraped(&mut self, targets: u32) {
        eventually("everything is scraped", async || {
            self.process.check()?;
            let scraped = self.query("count(sum_over_time(up[1m]) >= 8)").await;
            Ok(scraped
                .is_ok_and(|found| found.first().is_some_and(|count| value(count) >= f64::from(targets)))
                .then_some(()))
        })
        .await
        .expect("every target is up");
    }

    /// What an expression gives now, sample by sample.
    ///
    /// # Errors
    /// What promtool complains about.
    pub(super) async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let mut promtool = Command::new("promtool");
        promtool.args(["query", "instant", "-o", "json", &self.url, expression]);
        // What is scraped may live in the same thread.
        let output = tokio::task::spawn_blocking(move || promtool.output()).await;
        let output = output.expect("running promtool does not panic").expect("promtool starts");
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        serde_json::from_str(&out).map_err(|error| format!("{error}: {out}{err}"))
    }
}

const RULES: &str = "alerts.json";

/// The number of a sample.
pub(super) fn value(sample: &Value) -> f64 {
    sample["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a sample has a number")
}

fn configuration(bed: &ControlPlane, scrapes: &[Scrape]) -> Value {
    let kubeconfig = fs::read_to_string(bed.kubeconfig()).expect("a kubeconfig");
    let kubeconfig: Value = serde_json::from_str(&kubeconfig).expect("it is JSON");
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let server =
        cluster["server"].as_str().and_then(|url| url.strip_prefix("https://")).expect("its address");
    let apiserver = json!({
        "job_name": "apiserver",
        "scheme": "https",
        "authorization": {"credentials": kubeconfig["users"][0]["user"]["token"]},
        "tls_config": {"ca_file": cluster["certificate-authority"]},
        "static_configs": [{"targets": [server]}],
    });
    let jobs = scrapes.iter().enumerate().map(|(index, scrape)| {
        let Scrape { port, labels } = scrape;
        json!({
            "job_name": format!("scrape-{index}"),
            // What kube-state-metrics and kubelets say about other Pods stands.
            "honor_labels": true,
            "static_configs": [{"targets": [format!("127.0.0.1:{port}")], "labels": labels}],
        })
    });
    let jobs: Vec<_> = jobs.chain([apiserver]).collect();
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [RULES],
        "scrape_configs": jobs,
    })
}

/// Serves an exposition whose counters grow by what they are with each scrape; its port.
pub(super) async fn serve_growing(exposition: &'static str) -> u16 {
    let scrapes = Arc::new(AtomicU64::new(1));
    let answer = async move || grown(exposition, scrapes.fetch_add(1, Ordering::Relaxed));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let router = Router::new().route("/metrics", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

fn grown(exposition: &str, times: u64) -> String {
    let mut is_counter = false;
    let lines = exposition.lines().map(|line| {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            is_counter = kind.ends_with(" counter");
        }
        match line.rsplit_once(' ') {
            Some((series, number)) if is_counter && !line.starts_with('#') => {
                let number: u64 = number.parse().expect("a whole number");
                format!("{series} {}\n", number * times)
            }
            _ => format!("{line}\n"),
        }
    });
    lines.collect()
}
