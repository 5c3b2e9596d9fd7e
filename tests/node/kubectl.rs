//! What developers do with a Pod that runs.

use serde_json::json;

use crate::{
    pods::pod,
    shared::{NAMESPACE, cluster},
};
use testbed::{eventually, free_port, plain_http};

#[tokio::test]
async fn logs_exec_and_cp_work_as_everywhere() {
    let Some(bed) = cluster().await else { return };
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

#[tokio::test]
async fn the_log_level_of_sandgate_changes_where_there_is_no_shell() {
    let Some(bed) = cluster().await else { return };
    let level = async |filter: &[&str]| {
        let exec = ["-n", "sandgate", "exec", "deploy/sandgate", "--", "/program", "log-level"];
        bed.cluster.bed.kubectl(&[&exec, filter].concat()).await.expect_success()
    };
    assert_eq!(level(&["sandgate=debug"]).await, "sandgate=debug\n");
    assert_eq!(level(&[]).await, "sandgate=debug\n");
    assert_eq!(level(&["info"]).await, "info\n");
}

#[tokio::test]
async fn a_port_is_forwarded_into_the_sandbox() {
    let Some(bed) = cluster().await else { return };
    let mut web = pod(
        "web",
        "mkdir /tmp/www; echo hello from the sandbox >/tmp/www/index.html; \
        exec httpd -f -p 8000 -h /tmp/www",
    );
    web["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 8000}, "periodSeconds": 1});
    bed.create(&web).await;
    bed.ready("web").await;

    let port = free_port();
    let arguments = ["-n", NAMESPACE, "port-forward", "web"].map(String::from).into_iter();
    let arguments = arguments.chain([format!("{port}:8000")]).collect::<Vec<_>>();
    let _forwarding = bed.cluster.start_kubectl("port-forward", &arguments).unwrap();
    let answer = eventually("the port answers", async || Ok(plain_http::get(port, "/").await.ok()));
    let answer = answer.await.unwrap();
    assert!(answer.ends_with("hello from the sandbox\n"), "{answer}");
    bed.remove("web").await;
}

#[tokio::test]
async fn a_debugger_gets_in_only_without_more_rights_than_the_pod() {
    let Some(bed) = cluster().await else { return };
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

    let refused = debug("sysadmin", &["id"]).await.expect_failure();
    assert!(refused.contains("(privileged)"), "{refused}");
    let refused = debug("general", &["id"]).await.expect_failure();
    assert!(refused.contains("SYS_PTRACE") && refused.contains("(capabilities)"), "{refused}");
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
