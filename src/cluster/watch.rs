//! Noticing at once that a configuration has changed. What it has become is looked up: a watch that misses something
//! only makes it later.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    api::{Api, ApiError},
    webhook_configurations,
};
use crate::certs::plan::Kind;

/// How long one watch lasts.
const LASTS: Duration = Duration::from_mins(5);

/// Wakes `changed` at each change of the configuration, for ever.
pub(super) async fn follow(api: Api, kind: Kind, name: String, changed: Arc<Notify>) {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);
    let mut pause = FIRST;
    loop {
        match once(&api, kind, &name, &changed).await {
            Ok(()) => pause = FIRST,
            Err(trouble) => {
                let configuration = kind.as_str();
                tracing::warn!(configuration, problem = %trouble, "Watch failed; falling back to polling");
                pause = LONGEST.min(pause * 2);
            }
        }
        sleep(pause).await;
    }
}

async fn once(api: &Api, kind: Kind, name: &str, changed: &Notify) -> Result<(), ApiError> {
    let mut events = api.watch(webhook_configurations::target(kind, name), LASTS).await?;
    // A broken connection reports nothing.
    let _ = timeout(LASTS + Duration::from_secs(10), async {
        while let Some(Ok(_)) = events.frame().await {
            changed.notify_one();
        }
    })
    .await;
    Ok(())
}
