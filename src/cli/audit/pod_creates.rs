//! The Pods that were created, or denied, according to the API server's audit log: events of `audit.k8s.io/v1` of level
//! `Request` or `RequestResponse`, which carry the object as it was sent.

use std::path::PathBuf;

use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    apiserver_event::{User, is_dry_run},
    lines::{Line, Lines, MAX_LINE_BYTES, progress},
    source::reason,
};
use crate::cli::{
    CliError, Status,
    terminal::{count, error, note},
};

/// A request to create a Pod.
#[derive(Debug)]
pub(in crate::cli) struct PodCreate {
    pub(in crate::cli) time: String,
    pub(in crate::cli) namespace: String,
    pub(in crate::cli) user: String,
    pub(in crate::cli) groups: Vec<String>,
    /// The Pod as it was sent, before any webhook changed it.
    pub(in crate::cli) pod: Box<RawValue>,
    /// True if the API server stored the Pod.
    pub(in crate::cli) is_stored: bool,
}

/// What was read of the log.
#[derive(Debug, Default)]
pub(in crate::cli) struct CreateReading {
    /// The number of creates of Pods with their object.
    pub(in crate::cli) creates: u64,
    /// The number of creates of Pods whose object is not in the log.
    pub(in crate::cli) without_object: u64,
    /// The number of dry runs, which are left out.
    pub(in crate::cli) dry_runs: u64,
    /// The number of lines that cannot be read.
    pub(in crate::cli) unread: u64,
    /// The times of the first and of the last event.
    pub(in crate::cli) period: Option<(String, String)>,
}

/// The first lines that cannot be read are named; a wrong file has millions.
const MAX_NAMED: u64 = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'l> {
    #[serde(default)]
    stage: String,
    #[serde(default)]
    request_received_timestamp: String,
    #[serde(default, rename = "requestURI")]
    request_uri: String,
    verb: String,
    #[serde(default)]
    user: User,
    /// The user that was acted as, who is the user of the admission review.
    impersonated_user: Option<User>,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    #[serde(borrow, default)]
    request_object: Option<&'l RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    api_group: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

/// Hands each create of a Pod to `take`, one at a time. Lines that cannot be read are counted, and the first are named on
/// standard error.
pub(in crate::cli) fn each(
    files: &[PathBuf],
    mut take: impl FnMut(PodCreate) -> Result<(), CliError>,
) -> Result<CreateReading, CliError> {
    let bar = progress(files, false);
    let mut reading = CreateReading::default();
    for path in files {
        let mut lines = Lines::open(path, &bar)?;
        while lines.advance()? {
            let line = lines.line();
            let text = match line {
                Line::Whole(text) | Line::Torn(text) if text.is_empty() => continue,
                Line::Whole(text) | Line::Torn(text) => text,
                Line::TooLong => {
                    let problem = format!("is longer than {} MiB", MAX_LINE_BYTES >> 20);
                    reading.skip(&bar, &lines.place(), &problem);
                    continue;
                }
                Line::Compressed => {
                    let problem = "is compressed; unpack it first: zcat FILE | sandgate policy … -";
                    reading.skip(&bar, &lines.place(), problem);
                    continue;
                }
            };
            match serde_json::from_slice::<Event>(text) {
                Ok(event) => {
                    if let Some(create) = reading.create(event) {
                        take(create)?;
                    }
                }
                Err(error) => {
                    reading.skip(&bar, &lines.place(), &reason(line, "event of audit.k8s.io/v1", &error));
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(reading)
}

impl CreateReading {
    /// Returns the create of a Pod that an event records. A request has an event for each of its stages; only the last
    /// one has the answer.
    fn create(&mut self, event: Event) -> Option<PodCreate> {
        let Event { stage, request_received_timestamp: time, verb, user, impersonated_user, .. } = event;
        let is_last = matches!(&*stage, "ResponseComplete" | "Panic");
        if !time.is_empty() {
            match &mut self.period {
                Some((first, last)) => {
                    if time < *first {
                        first.clone_from(&time);
                    }
                    if time > *last {
                        last.clone_from(&time);
                    }
                }
                None => self.period = Some((time.clone(), time.clone())),
            }
        }
        let object = event.object_ref.filter(|object| {
            object.resource == "pods" && object.subresource.is_empty() && object.api_group.is_empty()
        })?;
        if verb != "create" || !is_last {
            return None;
        }
        if is_dry_run(&event.request_uri) {
            self.dry_runs += 1;
            return None;
        }
        let Some(pod) = event.request_object else {
            self.without_object += 1;
            return None;
        };
        self.creates += 1;
        let User { username, groups } = impersonated_user.unwrap_or(user);
        let is_stored = event.response_status.is_some_and(|status| (200..300).contains(&status.code));
        let namespace = object.namespace;
        Some(PodCreate { time, namespace, user: username, groups, pod: pod.to_owned(), is_stored })
    }

    fn skip(&mut self, bar: &ProgressBar, place: &str, problem: &str) {
        self.unread += 1;
        if self.unread <= MAX_NAMED {
            bar.suspend(|| error(&format!("{place}: {problem}")));
        }
    }

    /// Names on standard error what was not read, and returns the status that this is worth: a log that was not read as a
    /// whole proves nothing about the rest of it.
    pub(in crate::cli) fn report(&self) -> Status {
        if self.unread > MAX_NAMED {
            note(&format!("{} more lines cannot be read", self.unread - MAX_NAMED));
        }
        if self.without_object > 0 {
            note(&format!(
                "{} of Pods have no object in the log: set level Request for pods in the API server's audit policy",
                count(self.without_object, "create")
            ));
        }
        if self.unread > 0 || self.without_object > 0 { Status::Failed } else { Status::Fine }
    }
}
