//! One control plane for all the tests of a program.

use tokio::sync::OnceCell;

use super::ControlPlane;

/// Returns the control plane of this run, which the first test that asks starts.
///
/// # Panics
/// If it does not start: with what is missing, or the end of a log.
pub async fn shared() -> &'static ControlPlane {
    static BED: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();

    let started =
        BED.get_or_init(|| async { ControlPlane::start().await.map_err(|error| error.to_string()) }).await;
    started.as_ref().unwrap_or_else(|error| panic!("no control plane: {error}"))
}
