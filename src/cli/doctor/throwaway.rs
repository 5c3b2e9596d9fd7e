//! A throwaway Pod that proves the sandbox from inside: its log shows the kernel of gVisor, and that it does not reach the API
//! server.

use std::time::Duration;

use axum::http::{Request, StatusCode, header};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    facts::PODS,
    finding::{Check, Finding, Section, Severity, Verdict},
    reader::{Read, Reader, Resource, Right, Unread, has_ended, items, message, name},
};

const GVISOR: Check = Check::new(Section::Namespaces, Severity::Critical, "probe-gvisor");
const API_SERVER: Check = Check::new(Section::Namespaces, Severity::Critical, "probe-api-server");

const PODS_LOG: Resource = Resource::new("", "v1", "pods/log");

/// How long the Pod may take, its image included.
const PROBE_TIMEOUT: Duration = Duration::from_mins(3);

/// Prints the kernel, and whether the API server's address takes a connection. A network plugin may write its rules later
/// than the Pod starts, so the Pod asks again for ten seconds; a connection that is dropped ends the question.
const SCRIPT: &str = r#"cat /proc/version; dmesg 2>/dev/null | head -n 5
if ! command -v nc >/dev/null; then echo api-server=unknown; exit 0; fi
for second in 0 1 2 3 4 5 6 7 8 9; do
  if ! nc -w 5 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT" </dev/null >/dev/null 2>&1
  then echo "api-server=unreached after=$second"; exit 0; fi
  sleep 1
done
echo api-server=reached"#;

/// Lines that only gVisor's kernel prints: its greeting, and the build that it has claimed to be since 2018.
const SIGNS_OF_GVISOR: [&str; 2] = ["Starting gVisor", "#1 SMP Sun Jan 10 15:06:54 PST 2016"];

/// Runs a Pod in a namespace, and removes it.
pub(super) async fn probe(reader: &Reader, namespace: &str, image: &str) -> Vec<Finding> {
    let findings = run(reader, namespace, image).await;
    findings.into_iter().map(|finding| finding.of_namespace(namespace)).collect()
}

async fn run(reader: &Reader, namespace: &str, image: &str) -> Vec<Finding> {
    let created = match create(reader, namespace, image).await {
        Ok(pod) => pod,
        Err(unread) => return both(Err(&unread)),
    };
    let pod = name(&created).to_owned();
    let ended = until_ended(reader, namespace, &pod).await;
    let log = match &ended {
        Ok(Ended::InTime) => {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
            reader.text(&path, &Right::to("get", PODS_LOG, Some(namespace))).await
        }
        Ok(Ended::Late(_)) => Ok(String::new()),
        Err(unread) => Err(unread.clone()),
    };
    let removed = remove(reader, namespace, &pod).await;
    let mut findings = match (&ended, &log) {
        (Ok(Ended::Late(why)), _) => both(Ok(Verdict::fail(
            format!("the Pod {pod} did not end within {} s: {why}", PROBE_TIMEOUT.as_secs()),
            "see node-labels and node-ready, and give an image that nodes can pull by --image",
        ))),
        (_, Ok(log)) => vec![GVISOR.finding(Ok(kernel(log))), API_SERVER.finding(Ok(api_server(log)))],
        (_, Err(unread)) => both(Err(unread)),
    };
    if let Err(unread) = removed {
        let verdict = unread.verdict().about(&format!("Pod {pod} is left behind"));
        findings.push(Check::new(Section::Namespaces, Severity::Low, "probe-removed").finding(Ok(verdict)));
    }
    findings
}

fn both(answer: super::finding::Answer<'_>) -> Vec<Finding> {
    vec![GVISOR.finding(answer.clone()), API_SERVER.finding(answer)]
}

fn kernel(log: &str) -> Verdict {
    if SIGNS_OF_GVISOR.iter().any(|sign| log.contains(sign)) {
        return Verdict::ok("a Pod sees the kernel of gVisor");
    }
    let first = log.lines().next().unwrap_or("nothing");
    Verdict::fail(
        format!("a Pod sees another kernel than gVisor's: {first}"),
        "see runtime-class and runtime-handler; configure gVisor on the node (docs/node.md)",
    )
}

fn api_server(log: &str) -> Verdict {
    match log.lines().find_map(|line| line.strip_prefix("api-server=")) {
        Some("unreached after=0") => Verdict::ok("a Pod does not reach the API server"),
        Some(late) if late.starts_with("unreached") => {
            Verdict::ok("a Pod does not reach the API server, but did in its first moments (docs/node.md)")
        }
        Some("reached") => Verdict::fail(
            "a Pod reaches the API server: no NetworkPolicy holds it back, or no plugin enforces it",
            "see network-policy and network-plugin",
        ),
        _ => Verdict::unknown(
            "whether a Pod reaches the API server: its image has no nc",
            "give one with nc by --image",
        ),
    }
}

async fn create(reader: &Reader, namespace: &str, image: &str) -> Read<Value> {
    let pod = json!({
        "metadata": {"generateName": "sandgate-probe-"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "probe", "image": image, "command": ["sh", "-c", SCRIPT]}],
        },
    });
    let failed = |problem: String| {
        Unread::new(format!("the throwaway Pod cannot be created: {problem}"), "see dry-run-plain")
    };
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(pod.to_string().into_bytes()));
    let request = request.map_err(|error| failed(error.to_string()))?;
    let answer = reader.send(request).await.map_err(failed)?;
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()));
    }
    let text = message(answer.status, &answer.body);
    if text.contains(" cannot create resource ") {
        return Err(Unread::forbidden(&Right::to("create", PODS, Some(namespace))));
    }
    Err(failed(text.replace('\n', " ")))
}

/// Whether the Pod ended.
enum Ended {
    InTime,
    /// What it was waiting for.
    Late(String),
}

async fn until_ended(reader: &Reader, namespace: &str, pod: &str) -> Read<Ended> {
    let start = Instant::now();
    loop {
        let stored = reader.get(PODS, Some(namespace), pod).await?.unwrap_or_default();
        if has_ended(&stored) {
            return Ok(Ended::InTime);
        }
        if start.elapsed() > PROBE_TIMEOUT {
            return Ok(Ended::Late(waits_for(&stored["status"])));
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn waits_for(status: &Value) -> String {
    let waiting = items(&status["containerStatuses"]).iter().map(|container| &container["state"]["waiting"]);
    let conditions = items(&status["conditions"]).iter().filter(|condition| condition["status"] == "False");
    let texts = waiting.chain(conditions).filter_map(|state| {
        state["message"].as_str().or_else(|| state["reason"].as_str()).map(str::to_owned)
    });
    texts.into_iter().next().unwrap_or_else(|| format!("phase {}", status["phase"]))
}

async fn remove(reader: &Reader, namespace: &str, pod: &str) -> Read<()> {
    let failed = |problem: String| Unread::new(problem, format!("kubectl delete pod {pod} -n {namespace}"));
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}?gracePeriodSeconds=0");
    let request = Request::delete(path).body(Body::empty()).map_err(|error| failed(error.to_string()))?;
    let answer = reader.send(request).await.map_err(&failed)?;
    match answer.status {
        status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
        StatusCode::FORBIDDEN => {
            Err(failed(format!("missing right {}", Right::to("delete", PODS, Some(namespace)))))
        }
        status => Err(failed(message(status, &answer.body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Outcome;

    #[test]
    fn the_log_of_gvisor_is_distinguished_from_that_of_another_kernel() {
        let gvisor =
            "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n[   0.000000] Starting gVisor...\n";
        assert_eq!(kernel(gvisor).outcome, Outcome::Ok);
        for other in ["Linux version 6.12.0-cloud (gcc) #1 SMP PREEMPT_DYNAMIC Debian\n", ""] {
            assert_eq!(kernel(other).outcome, Outcome::Fail, "{other}");
        }
    }

    #[test]
    fn a_connection_to_the_api_server_fails_the_check() {
        for (log, outcome) in [
            ("x\napi-server=unreached after=0\n", Outcome::Ok),
            ("x\napi-server=unreached after=1\n", Outcome::Ok),
            ("api-server=reached\n", Outcome::Fail),
            ("api-server=unknown\n", Outcome::Unknown),
            ("", Outcome::Unknown),
        ] {
            assert_eq!(api_server(log).outcome, outcome, "{log}");
        }
    }
}
