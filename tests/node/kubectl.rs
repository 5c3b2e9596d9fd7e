//! Commands of developers on a Pod that runs.

use serde_json::json;

use crate::{
    pods::pod,
    shared::{NAMESPACE, cluster},
};
use testbed::{eventually, free_port, harness::Test, is_shown, plain_http, shown};

/// The tests of this module.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new_async(first_pod_prints_what_getting_started_shows),
        Test::new_async(logs_exec_and_cp_work),
        Test::new_async(log_level_changes_without_a_shell),
        Test::new_async(port_forward_fails_and_exec_reaches_the_port),
        Test::new_async(debug_container_gets_no_extra_rights),
    ]
}

async fn first_pod_prints_what_getting_started_shows() {
    const PAGE: &str = "docs/getting-started.md";
    const RUN: &str = "run hello --image=busybox:bed -n workflows -- sh -c";
    const SCRIPT: &str = "cat /proc/version; id; touch /etc/x; touch /workspace/x";
    let bed = cluster().await;
    let words: Vec<&str> = RUN.split(' ').chain([SCRIPT]).collect();
    let created = bed.cluster.bed.kubectl(&words).await;
    let page = shown(PAGE, &format!("kubectl {RUN} '{SCRIPT}'")).unwrap();
    assert!(is_shown(&page, &created.terminal()), "{created:?}");

    bed.until("hello", "has ended", |pod| pod["status"]["phase"] == "Succeeded").await;
    let printed = bed.logs("hello", "hello").await;
    assert!(is_shown(&shown(PAGE, "kubectl logs hello -n workflows").unwrap(), &printed), "{printed}");
    bed.remove("hello").await;
}

async fn logs_exec_and_cp_work() {
    let bed = cluster().await;
    bed.create(&pod("tools", "echo begun; sleep 1000")).await;
    bed.ready("tools").await;

    assert_eq!(bed.logs("tools", "main").await, "begun\n");
    assert_eq!(bed.kubectl(&["exec", "tools", "--", "id", "-u"]).await, "1000\n");
    let there = bed.cluster.folder().join("there");
    std::fs::write(&there, "carried\n").unwrap();
    bed.kubectl(&["cp", there.to_str().unwrap(), "tools:/workspace/there"]).await;
    let back = bed.cluster.folder().join("back");
    bed.kubectl(&["cp", "tools:/workspace/there", back.to_str().unwrap()]).await;
    assert_eq!(std::fs::read_to_string(back).unwrap(), "carried\n");
    bed.remove("tools").await;
}

async fn log_level_changes_without_a_shell() {
    let bed = cluster().await;
    let level = async |filter: &[&str]| {
        let exec = ["-n", "sandgate", "exec", "deploy/sandgate", "--", "/program", "log-level"];
        bed.cluster.bed.kubectl(&[&exec, filter].concat()).await.expect_success()
    };
    assert_eq!(level(&["sandgate=debug"]).await, "sandgate=debug\n");
    assert_eq!(level(&[]).await, "sandgate=debug\n");
    assert_eq!(level(&["info"]).await, "info\n");
}

async fn port_forward_fails_and_exec_reaches_the_port() {
    let bed = cluster().await;
    let mut web = pod(
        "web",
        "mkdir /tmp/www; echo hello from the sandbox >/tmp/www/index.html; \
        exec httpd -f -p 8000 -h /tmp/www",
    );
    web["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 8000}, "periodSeconds": 1});
    bed.create(&web).await;
    bed.ready("web").await;

    // kubectl listens, but containerd connects to the loopback of the Pod's network namespace, and the one with the
    // server is inside gVisor's own network stack.
    let port = free_port();
    let arguments = ["-n", NAMESPACE, "port-forward", "web"].map(String::from).into_iter();
    let arguments = arguments.chain([format!("{port}:8000")]).collect::<Vec<_>>();
    let _forwarding = bed.cluster.start_kubectl("port-forward", &arguments).unwrap();
    let log = bed.cluster.folder().join("port-forward.log");
    let failed = eventually("the forwarding fails", async || {
        let answer = plain_http::get(port, "/").await.unwrap_or_default();
        assert_eq!(answer, "", "gVisor forwards ports now: docs/node.md denies it");
        Ok(std::fs::read_to_string(&log)?.contains("connection refused").then_some(()))
    });
    failed.await.unwrap();

    // What docs/node.md advises instead.
    let fetch = ["exec", "web", "--", "wget", "-q", "-O", "-", "http://127.0.0.1:8000/"];
    assert_eq!(bed.kubectl(&fetch).await, "hello from the sandbox\n");
    bed.remove("web").await;
}

async fn debug_container_gets_no_extra_rights() {
    let bed = cluster().await;
    bed.create(&pod("patient", "sleep 1000")).await;
    bed.ready("patient").await;
    let custom = bed.cluster.folder().join("debug.json");
    std::fs::write(&custom, r#"{"securityContext": {"readOnlyRootFilesystem": true}}"#).unwrap();
    let custom = format!("--custom={}", custom.display());
    let debug = async |profile: &str, command: &[&str]| {
        let profile = format!("--profile={profile}");
        let pod = ["-n", NAMESPACE, "debug", "patient", "--target=main"];
        let usual = [&pod, ["--image=busybox:bed", &profile, &custom].as_slice()].concat();
        bed.cluster.bed.kubectl(&[&usual, ["--"].as_slice(), command].concat()).await
    };

    let denied = debug("sysadmin", &["id"]).await.expect_failure();
    assert!(denied.contains("(privileged)"), "{denied}");
    let denied = debug("general", &["id"]).await.expect_failure();
    assert!(denied.contains("SYS_PTRACE") && denied.contains("(capabilities)"), "{denied}");
    debug("restricted", &["sh", "-c", "cat /proc/version; id -u"]).await.expect_success();

    let patient = bed.until("patient", "has been looked at", |pod| {
        pod["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"].is_object()
    });
    let patient = patient.await;
    let name = patient["spec"]["ephemeralContainers"][0]["name"].as_str().unwrap();
    let seen = bed.logs("patient", name).await;
    assert!(seen.starts_with("Linux version 4.4.0 ") && seen.ends_with("\n1000\n"), "{seen}");
    bed.remove("patient").await;
}
