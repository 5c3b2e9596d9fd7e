//! `failurePolicy: Ignore` and no webhook that answers: the backstop alone decides.

use serde_json::{Value, json};

use super::{Release, apply, remove};
use crate::{
    examples::{complete_pod, plain_pod},
    hostile::{attempts, make_what_they_refer_to},
    sandbox::Sandbox,
};
use testbed::eventually;

#[tokio::test]
async fn while_no_webhook_answers_attacks_are_denied_and_complete_pods_are_stored() {
    let mut sandbox = Sandbox::new().await;
    make_what_they_refer_to(&sandbox).await;
    sandbox.stop_failing_open().await;
    let release = Release::of(&sandbox.namespace, &json!({}));
    let objects = release.rendered(&[]);
    apply(&sandbox.rest, &objects).await;
    eventually("the backstop denies", async || {
        let denial = sandbox.create(&plain_pod("plain")).await.err();
        if denial.is_none() {
            sandbox.rest.delete(&sandbox.pods_path("/plain?gracePeriodSeconds=0")).await?;
        }
        Ok(denial.filter(|denial| denial.message.contains("(backstop)")).map(drop))
    })
    .await
    .expect("an unfilled Pod is denied");

    let mut stray = Vec::new();
    for (name, rule, change) in attempts() {
        let mut pod = complete_pod("hostile");
        change(&mut pod);
        let answer = sandbox.create(&pod).await;
        // What is no valid Pod to the API server never comes to an admission policy.
        let stopped = answer
            .as_ref()
            .is_err_and(|denial| denial.code == 422 || denial.message.contains(&format!("{rule}: ")));
        if !stopped {
            stray.push(format!("{name}: must be denied by {rule}: {answer:?}"));
        }
    }
    let complete = sandbox.create(&complete_pod("complete")).await;
    let pods = sandbox.pods().await;
    remove(&sandbox.rest, &objects).await;
    assert_eq!(stray, Vec::<String>::new());
    complete.expect("a complete Pod is stored");
    let names: Vec<&Value> = pods.iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert_eq!(names, ["complete"]);
}
