//! Creates that go on while the webhook is disturbed in every way it must bear, and how many of them fail because of it.
//!
//! In `make test` each disturbance is watched for some seconds; `make ha` (`SANDGATE_HA_SECONDS`) watches longer, runs the
//! gate short of CPU, memory and network as well, and prints the table of docs/disturbances.md. What must hold is asserted:
//! no create is denied or admitted without a verdict, and creates succeed once the disturbance is over. How many fail
//! meanwhile depends on the machine, and is only printed.

mod disturbances;
mod round_robin;
mod shortages;

use std::{env, time::Duration};

use crate::installed::{CHART, Installed};
use testbed::{
    ControlGroup, ControlPlane, Result, eventually,
    load::{Creates, Load, Seen, is_sandboxed},
};

/// Certificates of less than a minute: a CA goes through its whole life while creates go on.
const QUICK: &[&str] = &[
    "--set=replicas=3",
    "--set=server.audit=off",
    r#"--set-json=server.extraArgs=["--ca-lifetime=45","--leaf-lifetime=30","--promote-after=2","--check-interval=1"]"#,
];

/// What the webhook must bear without a failed create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bears {
    /// None may fail.
    Everything,
    /// Those may that come while something is broken; they fail closed, and succeed when they are tried again.
    AllButWhatWasThere,
}

/// A disturbance, what became of the creates meanwhile, and what may.
struct Row {
    what: &'static str,
    bears: Bears,
    /// What was seen, or why it could not be tried here.
    seen: Result<Seen, String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_create_is_lost_to_rolls_rotations_and_lost_secrets() {
    // Of its own: it is restarted.
    let bed = ControlPlane::start().await.expect("a control plane");
    let release = Installed::before(&bed, "sandgate").await.expect("what there is before an install");
    release.install(CHART, QUICK).await.expect_success();
    release.until_ready(3).await;
    release.until_armed().await;
    let rows = disturbances::all(&release).await;
    print_table(&rows);
    assert_held(&rows);
}

/// It needs root, so that it is a part of `make ha` alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of make ha: control groups and iptables need root"]
async fn no_create_is_admitted_without_a_review_while_cpu_memory_and_network_are_short() {
    let bed = ControlPlane::start().await.expect("a control plane");
    let group = ControlGroup::new("ha");
    let prefix = group.as_ref().map(ControlGroup::prefix).unwrap_or_default();
    let release =
        Installed::before_by_way_of(prefix, &bed, "sandgate").await.expect("what there is before an install");
    release.install(CHART, QUICK).await.expect_success();
    release.until_ready(3).await;
    release.until_armed().await;
    let rows = shortages::all(&release, group.as_ref().map_err(ToString::to_string)).await;
    print_table(&rows);
    assert_held(&rows);
}

fn assert_held(rows: &[Row]) {
    for Row { what, bears, seen } in rows {
        let Ok(seen) = seen else { continue };
        assert_eq!(seen.denied, Vec::<String>::new(), "{what}");
        assert_eq!(seen.open, 0, "{what}: Pods admitted without a verdict");
        assert!(seen.sandboxed > 0, "{what}: creates went on");
        if *bears == Bears::Everything {
            assert!(seen.failed.is_empty(), "{what}: {:?}", seen.kinds_of_failure());
        }
    }
}

/// Creates pods before, while and after `change` happens.
async fn watch(release: &Installed<'_>, change: impl AsyncFnOnce() -> Result<()>) -> Seen {
    let load = Load::start(&release.rest, &release.guarded, Creates::Stored);
    tokio::time::sleep(Duration::from_secs(1)).await;
    change().await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    tokio::time::sleep(aftermath()).await;
    let again = eventually("a create succeeds after the disturbance", async || {
        Ok(release.try_plain().await.is_ok_and(|pod| is_sandboxed(&pod)).then_some(()))
    });
    again.await.unwrap_or_else(|error| panic!("{error}\n{}", release.node.logs()));
    load.stop().await
}

/// How long creates go on after a disturbance.
fn aftermath() -> Duration {
    let seconds = env::var("SANDGATE_HA_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(3))
}

fn print_table(rows: &[Row]) {
    println!("{:<52} {}", "", Seen::HEAD);
    for Row { what, seen, .. } in rows {
        let seen = match seen {
            Ok(seen) => seen,
            Err(reason) => {
                println!("{what:<52} not tried: {reason}");
                continue;
            }
        };
        println!("{what:<52} {seen}");
        for (failure, count) in seen.kinds_of_failure() {
            println!("    {count} × {failure}");
        }
    }
}
