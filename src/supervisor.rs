//! Owns the tasks and threads that must run for as long as the process. If one of them ends or panics, the process
//! ends, so that the kubelet starts it again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::watch;

/// A task or thread that ended although it must run for as long as the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {task} task {}; please report it", if *.panicked { "panicked" } else { "ended" })]
pub struct TaskEnded {
    /// The name of the task or thread.
    pub task: &'static str,
    /// True if it panicked.
    pub panicked: bool,
}

/// Watches the tasks and threads that were started by it. Clones watch the same ones.
#[derive(Debug, Clone)]
pub struct Supervisor(Arc<State>);

#[derive(Debug)]
struct State {
    first: watch::Sender<Option<TaskEnded>>,
    is_stopping: AtomicBool,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self(Arc::new(State { first: watch::Sender::new(None), is_stopping: AtomicBool::new(false) }))
    }
}

impl Supervisor {
    /// Starts a task in the current runtime.
    pub fn spawn(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let guard = self.guard(task);
        tokio::spawn(async move {
            let _guard = guard;
            work.await;
        });
    }

    /// Starts a supervised thread.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot start one.
    pub fn spawn_thread(&self, task: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let guard = self.guard(task);
        let work = move || {
            let _guard = guard;
            work();
        };
        thread::Builder::new().name(task.into()).spawn(work).map(drop)
    }

    /// Returns a guard that reports the task as ended when it is dropped.
    #[must_use]
    pub fn guard(&self, task: &'static str) -> Guard {
        Guard { task, supervisor: self.clone(), is_disarmed: false }
    }

    /// Waits until a task ends that must not end.
    pub async fn first_end(&self) -> TaskEnded {
        let mut first = self.0.first.subscribe();
        loop {
            if let Some(ended) = *first.borrow_and_update() {
                return ended;
            }
            // The sender is ours, so this ends with a change only.
            let _ = first.changed().await;
        }
    }

    /// Returns the first task that ended although it must not, if there is one.
    #[must_use]
    pub fn failure(&self) -> Option<TaskEnded> {
        *self.0.first.borrow()
    }

    /// From now on tasks may end.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
    }

    fn report(&self, ended: TaskEnded) {
        if self.0.is_stopping.load(Ordering::Relaxed) {
            return;
        }
        self.0.first.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(ended);
            is_first
        });
    }
}

/// Reports the end of its task when it is dropped.
#[derive(Debug)]
pub struct Guard {
    task: &'static str,
    supervisor: Supervisor,
    is_disarmed: bool,
}

impl Guard {
    /// Ends the task without a report, because it was to end.
    pub fn disarm(mut self) {
        self.is_disarmed = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_disarmed {
            return;
        }
        self.supervisor.report(TaskEnded { task: self.task, panicked: thread::panicking() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_reported() {
        for panics in [false, true] {
            let supervisor = Supervisor::default();
            supervisor.spawn("steady", std::future::pending());
            assert_eq!(supervisor.failure(), None);
            supervisor.spawn("short", async move { assert!(!panics, "a fault") });
            let ended = TaskEnded { task: "short", panicked: panics };
            assert_eq!(supervisor.first_end().await, ended);
            assert_eq!(supervisor.failure(), Some(ended));
        }
    }

    #[tokio::test]
    async fn a_thread_that_ends_or_panics_is_reported() {
        for panics in [false, true] {
            let supervisor = Supervisor::default();
            supervisor.spawn_thread("short", move || assert!(!panics, "a fault")).unwrap();
            assert_eq!(supervisor.first_end().await, TaskEnded { task: "short", panicked: panics });
        }
    }

    #[tokio::test]
    async fn the_first_end_is_kept() {
        let supervisor = Supervisor::default();
        drop(supervisor.guard("first"));
        drop(supervisor.guard("second"));
        supervisor.guard("third").disarm();
        assert_eq!(supervisor.first_end().await.task, "first");
    }

    #[tokio::test]
    async fn ends_after_the_stop_are_expected() {
        let supervisor = Supervisor::default();
        supervisor.stop();
        drop(supervisor.guard("task"));
        assert_eq!(supervisor.failure(), None);
    }

    #[test]
    fn the_message_names_the_task_and_what_happened() {
        let ended = TaskEnded { task: "audit", panicked: true };
        assert_eq!(ended.to_string(), "the audit task panicked; please report it");
    }
}
