//! Upgrades from charts of this repository's history, packed in `charts/` under the commit that they are of, and back.

use crate::{
    installed::{CHART, Installed},
    upgrades::until_armed,
};
use testbed::{HelmLine, load::is_sandboxed, shared};

/// The chart of the first version, whose policies are v1alpha1: no program of today reads them.
const FIRST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/release/charts/sandgate-3baed78.tgz");

/// A chart of 2026-11-28, whose policies are v1beta1.
const PREVIOUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/release/charts/sandgate-250a2ac.tgz");

#[tokio::test(flavor = "multi_thread")]
async fn helm_4_upgrades_a_release_of_a_previous_chart_and_rolls_it_back() {
    upgrade_and_roll_back("sandgate-previous4", HelmLine::Four).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_3_upgrades_a_release_of_a_previous_chart_and_rolls_it_back() {
    upgrade_and_roll_back("sandgate-previous3", HelmLine::Three).await;
}

async fn upgrade_and_roll_back(name: &str, line: HelmLine) {
    let bed = shared().await;
    let mut release = Installed::before(bed, name).await.expect("what there is before an install");
    release.helm_line = line;
    release.install(PREVIOUS, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    release.upgrade(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    assert!(is_sandboxed(&release.try_plain().await.expect("it is admitted by the chart of today")));
    release.helm(&["rollback", name, "1", "--wait", "--timeout=110s"]).await.expect_success();
    until_armed(&release, false).await;
    assert!(is_sandboxed(&release.try_plain().await.expect("it is admitted by the previous chart")));
    release.helm(&["uninstall", name, "--wait"]).await.expect_success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_the_first_version_is_upgraded_although_its_policy_is_no_longer_read() {
    let bed = shared().await;
    let name = "sandgate-first";
    let release = Installed::before(bed, name).await.expect("what there is before an install");
    release.install(FIRST, &["--set=replicas=1", "--wait=false"]).await.expect_success();
    release.upgrade(CHART, &["--set=replicas=1"]).await.expect_success();
    until_armed(&release, false).await;
    assert!(is_sandboxed(&release.try_plain().await.expect("it is admitted")));
    release.helm(&["uninstall", name, "--wait"]).await.expect_success();
}
