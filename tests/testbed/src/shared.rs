//! One control plane for all the tests of a program, or none where they are skipped.

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::sync::OnceCell;

use super::{ControlPlane, say};

/// The control plane of this run, started by the first test that asks. `None` where [`is_skipped`].
pub async fn shared() -> Option<&'static ControlPlane> {
    static BED: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();

    if is_skipped() {
        return None;
    }
    let started =
        BED.get_or_init(|| async { ControlPlane::start().await.map_err(|error| error.to_string()) }).await;
    Some(started.as_ref().unwrap_or_else(|error| panic!("no control plane: {error}")))
}

/// Whether the cluster tests are skipped (`SANDGATE_SKIP_CLUSTER=1`); says so if they are.
pub fn is_skipped() -> bool {
    let skipped = env::var_os("SANDGATE_SKIP_CLUSTER").is_some_and(|value| value == "1");
    if skipped {
        say_skipped();
    }
    skipped
}

fn say_skipped() {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);

    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let test = thread::current();
    let test = test.name().unwrap_or("a test");
    say(&format!("SKIPPED {test}, because SANDGATE_SKIP_CLUSTER=1; {count} skipped so far"));
}
