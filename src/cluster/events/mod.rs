//! Kubernetes Events for denied Pods. A denied Pod does not exist, so the Event is about its controller.

mod aggregator;
mod denial;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::sleep_until,
};

use self::{
    aggregator::{Aggregator, Now, Write},
    denial::DeniedPod,
};
use super::api::{Api, ApiError, Target};
use crate::supervisor::Supervisor;
use crate::telemetry::{Deliveries, LogThrottle};
use sandgate_engine::review::Record;

/// The most denials that wait in the queue. Further ones are dropped and counted.
const QUEUE: usize = 1024;

/// The time from one write to the next: at most ten a second, whatever happens.
const PACE: Duration = Duration::from_millis(100);

/// Takes denials to report. Reporting never waits.
#[derive(Debug)]
pub struct Events {
    queue: Sender<DeniedPod>,
    metrics: Deliveries,
}

impl Events {
    /// Starts a task that writes Events as the replica `instance` for as long as this lives.
    #[must_use]
    pub fn start(api: Api, instance: String, metrics: Deliveries, supervisor: &Supervisor) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            api,
            queue,
            book: Aggregator::new(instance),
            metrics: metrics.clone(),
            failures: LogThrottle::default(),
        };
        supervisor.spawn("Events", writer.run());
        Self { queue: sender, metrics }
    }

    /// Reports a verdict, if it is one that an Event is for.
    pub fn report(&self, record: &Record) {
        let Some(denied) = DeniedPod::of(record) else { return };
        if self.queue.try_send(denied).is_err() {
            self.metrics.dropped.inc();
        }
    }
}

/// Writes what is due.
struct Writer {
    api: Api,
    queue: Receiver<DeniedPod>,
    book: Aggregator,
    metrics: Deliveries,
    failures: LogThrottle,
}

impl Writer {
    async fn run(mut self) {
        let mut pause = Instant::now();
        loop {
            let due = self.book.due().map(|due| due.max(pause));
            let denied = match due {
                None => self.queue.recv().await,
                Some(due) => tokio::select! {
                    denied = self.queue.recv() => denied,
                    () = sleep_until(due.into()) => {
                        self.write().await;
                        pause = Instant::now() + PACE;
                        continue;
                    }
                },
            };
            let Some(denied) = denied else { return };
            if !self.book.take(denied, now()) {
                self.metrics.dropped.inc();
            }
        }
    }

    async fn write(&mut self) {
        let Some(Write { key, name, object, is_new }) = self.book.next(now().at) else { return };
        let target = Target {
            group: "events.k8s.io",
            resource: "events",
            namespace: Some(&key.regarding.namespace),
            name: &name,
        };
        let written = if is_new {
            self.api.create(target, &object).await
        } else {
            self.api.merge(target, &object).await
        };
        match &written {
            Ok(()) => {
                self.metrics.succeeded.inc();
            }
            // Events live an hour, or less if they are deleted: the series goes on in a new one.
            Err(ApiError::Conflict(_)) if !is_new => return self.book.lost(&key, now().at),
            Err(trouble) => self.failed(trouble),
        }
        self.book.written(&key, written.is_ok(), now().at);
    }

    fn failed(&mut self, trouble: &ApiError) {
        self.metrics.failed.inc();
        if self.failures.allow() {
            tracing::warn!(problem = %trouble, "Failed to write the Event for a denied Pod; trying again in a minute");
        }
    }
}

fn now() -> Now {
    Now { at: Instant::now(), time: Timestamp::now() }
}
