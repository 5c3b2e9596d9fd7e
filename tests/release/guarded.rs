//! A release with the backstop and its guard, from the first install to what an uninstall leaves.

use crate::{
    installed::{CHART, Installed},
    upgrades::{KINDS, until_armed},
};
use testbed::{eventually, load::is_sandboxed, shared};

const NAME: &str = "sandgate-guarded";
/// The user of the bed's kubeconfig runs helm.
const FLAGS: [&str; 4] = [
    "--set=replicas=1",
    "--set=backstop.enabled=true",
    "--set=backstop.guard.enabled=true",
    "--set=backstop.guard.writers={admin}",
];
/// One set of webhooks more.
const MORE: [&str; 1] = ["--set=policies.more.namespaces={more-*}"];
const ADMINISTRATOR: [&str; 2] = ["--as=mallory", "--as-group=system:masters"];

#[tokio::test(flavor = "multi_thread")]
async fn its_writer_alone_upgrades_rolls_back_and_uninstalls_a_guarded_release() {
    let release = Installed::before(shared().await, NAME).await.expect("what there is before an install");
    release.install(CHART, &FLAGS).await.expect_success();
    // Rules and bundles are written by sandgate's own account, under the guard.
    until_armed(&release, false).await;
    until_others_are_denied(&release).await;

    release.upgrade(CHART, &[&FLAGS[..], &MORE].concat()).await.expect_success();
    until_armed(&release, true).await;
    release.helm(&["rollback", NAME, "1", "--wait", "--timeout=110s"]).await.expect_success();
    until_armed(&release, false).await;
    until_others_are_denied(&release).await;
    assert!(is_sandboxed(&release.try_plain().await.expect("it is admitted")));

    release.helm(&["uninstall", NAME, "--wait"]).await.expect_success();
    for kind in KINDS {
        let found = release.rest.get(&release.configuration(kind)).await.expect_err("it is removed");
        assert_eq!(found.code, 404);
    }
    // The objects that a replica wrote are left, and are removed by the label that the documentation names.
    let label = format!("app.kubernetes.io/managed-by=sandgate,sandgate.dev/release-namespace={NAME}");
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        release.kubectl(&["delete", kind, "-l", &label]).await.expect_success();
    }
}

/// Waits until cluster administrators that the guard does not name can neither weaken nor delete what it protects.
async fn until_others_are_denied(release: &Installed<'_>) {
    let attempts: [&[&str]; 3] = [
        &["delete", "validatingwebhookconfiguration", NAME, "--dry-run=server"],
        &["delete", "mutatingwebhookconfiguration", NAME, "--dry-run=server"],
        &["delete", "configmap", "-l", "app.kubernetes.io/part-of=sandgate", "--dry-run=server"],
    ];
    for attempt in attempts {
        eventually("the guard denies", async || {
            let done = release.kubectl(&[attempt, &ADMINISTRATOR].concat()).await;
            let is_denied = !done.success && (done.stderr.contains("guard"));
            Ok(is_denied.then_some(()))
        })
        .await
        .unwrap_or_else(|error| panic!("{attempt:?}: {error}"));
    }
}
