//! The rights of the chart: enough for everything that sandgate does, and none too many.

use serde_json::{Value, json};

use crate::installed::{CHART, Installed};
use testbed::{Result, eventually, load::plain_pod, shared};

/// Where a verb stands among the rights.
struct Right {
    /// The path of the role.
    role: String,
    /// The index of its rule.
    rule: usize,
    verb: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_is_needed_and_all_of_them_are_enough() {
    let bed = shared().await;
    let release = Installed::before(bed, "sandgate-rights").await.expect("what there is before an install");
    release.install(CHART, &["--set=replicas=1"]).await.expect_success();
    heals(&release).await;
    assert!(!release.node.logs().contains("lacks the rule"), "{}", release.node.logs());

    let rights = rights(&release).await.expect("the roles");
    assert!(rights.len() >= 8, "of Secrets, of configurations and of Events");
    for right in rights {
        lack(&release, &right).await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
        heals(&release).await;
    }
}

/// Every verb of every rule.
async fn rights(release: &Installed<'_>) -> Result<Vec<Right>> {
    const GROUP: &str = "/apis/rbac.authorization.k8s.io/v1";
    let name = &release.name;
    let roles = [format!("{GROUP}/namespaces/{name}/roles/{name}"), format!("{GROUP}/clusterroles/{name}")];
    let mut rights = Vec::new();
    for role in roles {
        let stored = release.rest.get(&role).await?;
        for (rule, content) in stored["rules"].as_array().into_iter().flatten().enumerate() {
            for verb in content["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                rights.push(Right { role: role.clone(), rule, verb: verb.to_owned() });
            }
        }
    }
    Ok(rights)
}

/// Takes one verb away, gives sandgate something to do, waits until it says that the verb is missing, and gives it
/// back.
async fn lack(release: &Installed<'_>, right: &Right) -> Result<()> {
    let Right { role, rule, verb } = right;
    let rules = release.rest.get(role).await?["rules"].clone();
    let resource = rules[*rule]["resources"][0].as_str().ok_or("a rule has resources")?;
    let mut fewer = rules.clone();
    let verbs = fewer[*rule]["verbs"].as_array_mut().ok_or("a rule has verbs")?;
    verbs.retain(|kept| kept != verb);
    if verbs.is_empty() {
        fewer.as_array_mut().ok_or("a role has rules")?.remove(*rule);
    }
    release.rest.merge(role, &json!({"rules": fewer})).await?;
    disturb(release, verb).await?;
    let verbs = format!("verbs: [{verb}]");
    eventually(&format!("sandgate misses {verb} of {role}"), async || {
        if resource == "events" {
            deny(release).await;
        }
        let logs = release.node.logs();
        let misses = |line: &str| ["lacks the rule", resource, &verbs].iter().all(|part| line.contains(part));
        Ok(logs.lines().any(misses).then_some(()))
    })
    .await?;
    release.rest.merge(role, &json!({"rules": rules})).await?;
    Ok(())
}

/// What makes sandgate use each of its rights: a Secret that is gone or no good, bundles that are gone, a new start.
async fn disturb(release: &Installed<'_>, verb: &str) -> Result<()> {
    let secret = release.ca_secret();
    if verb == "update" {
        release.rest.merge(&secret, &json!({"data": {"authorities.json": "bm9uc2Vuc2U="}})).await?;
    } else {
        release.rest.delete(&secret).await?;
    }
    for kind in ["mutating", "validating"] {
        // It may be gone already.
        let clear = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]);
        release.rest.json_patch(&release.configuration(kind), &clear).await?;
    }
    release.kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force"]).await.expect_success();
    Ok(())
}

/// What makes it write an Event, or count in one.
async fn deny(release: &Installed<'_>) {
    let mut hostile = plain_pod();
    hostile["spec"]["hostPID"] = json!(true);
    // The webhook may not be called yet.
    release.rest.post(&release.pods_path(""), &hostile).await.expect_err("it is denied");
}

/// With all of its rights sandgate comes back by itself.
async fn heals(release: &Installed<'_>) {
    let secret = release.ca_secret();
    let written = eventually("the Secret is there", async || Ok(release.rest.get(&secret).await.ok()));
    written.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    release.until_ready(1).await;
    release.until_armed().await;
}
