//! What the API server shows of the backstop: its audit log, through `sandgate audit list`, and its metrics.

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{Release, apply, remove};
use crate::examples::plain_pod;
use testbed::{eventually, program, shared};

#[tokio::test]
async fn denials_are_listed_from_the_audit_log_and_counted_in_the_metrics() {
    let bed = shared().await;
    let rest = bed.rest().await.expect("a client");
    let namespace = bed.namespace(&rest, &json!({"generateName": "seen-"})).await.expect("a namespace");
    let release = Release::of(&namespace, &json!({}));
    let objects = release.rendered(&[]);
    apply(&rest, &objects).await;
    let mut hostile = plain_pod("seen");
    hostile["spec"]["hostNetwork"] = json!(true);
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let denied = eventually("the backstop denies", async || {
        let denial = rest.post(&format!("{pods}?dryRun=All"), &hostile).await.err();
        Ok(denial.filter(|denial| denial.message.contains("(backstop)")))
    })
    .await;
    let denial = rest.post(&pods, &hostile).await;
    let metrics = rest.text("/metrics").await;
    remove(&rest, &objects).await;
    denied.expect("it is denied");
    denial.expect_err("it is denied");

    let listed = eventually("the audit log has the denial", async || {
        let mut command = Command::new(program()?);
        let output = command
            .env_clear()
            .args(["audit", "list", "-o", "json", "--apiserver"])
            .arg(bed.audit_log_file())
            .args(["--namespace", &namespace])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut ours = records.filter(|record| record["endpoint"] == "backstop" && record["dryRun"] == false);
        Ok(ours.next())
    })
    .await
    .expect("it is listed");
    assert_eq!(listed["verdict"], "denied");
    assert_eq!(listed["policy"], namespace.as_str());
    let violations = listed["violations"].as_array().expect("violations");
    assert!(violations.iter().any(|violation| violation["rule"] == "host-namespaces"), "{listed:#}");

    let counted = metrics.expect("metrics").lines().any(|line| {
        line.starts_with("apiserver_validating_admission_policy_check_total{")
            && line.contains("enforcement_action=\"deny\"")
            && line.contains(&format!("policy=\"sandgate-{namespace}\""))
    });
    assert!(counted, "the metric of the alert SandgateBackstopCaught");
}
