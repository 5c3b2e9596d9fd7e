//! Evaluates a review and reports the verdict. Large ones are evaluated aside, within a budget of memory and a time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use tokio::time::{Instant as Deadline, timeout_at};

use super::{Shared, handler::Rejection};
use crate::{audit::PendingRecord, telemetry::Span};
use sandgate_engine::{
    json::{MAX_TREE_BYTES, MEMORY_PER_BYTE},
    policy::PolicySet,
    review::{Answer, Caller, Endpoint, Evaluator, Head, ReviewError, Unread},
};

/// The largest body that is evaluated on a thread that serves connections, in bytes. Others wait for it no longer than
/// for a few packets.
pub(super) const MAX_INLINE_BYTES: usize = 64 * 1024;

/// The memory that large reviews may take while they are evaluated, in bytes. With the bodies in flight (64 MiB) and
/// the process itself (32 MiB) it stays below the chart's limit (256 MiB).
const EVALUATION_BYTES: usize = 96 << 20;

/// The unit of the semaphore, in bytes.
const PERMIT_BYTES: usize = 4096;

/// The permits for evaluating large reviews.
#[must_use]
pub(super) fn permits() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(EVALUATION_BYTES / PERMIT_BYTES))
}

/// Returns the number of permits for a body of so many bytes: two trees (the object and the old one), and the strings
/// that are copied because they have escapes.
pub(super) fn permits_for(bytes: usize) -> u32 {
    let trees = bytes.saturating_mul(MEMORY_PER_BYTE).min(2 * MAX_TREE_BYTES);
    let permits = trees.saturating_add(bytes).min(EVALUATION_BYTES).div_ceil(PERMIT_BYTES);
    u32::try_from(permits).unwrap_or(u32::MAX)
}

/// An answer, and its audit record if the answer is to wait for it.
pub(super) type Concluded = (Response, Option<PendingRecord>);

/// The properties of the request that carried a review.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    /// The policy that the path names.
    pub(super) path_policy: Option<Box<str>>,
    pub(super) caller: Caller,
}

/// One review that is being answered.
#[derive(Debug)]
pub(super) struct Job {
    shared: Arc<Shared>,
    call: Call,
    body: Bytes,
    span: Mutex<Option<Span>>,
    /// Set by the first to conclude: the evaluation, or the end of its time. The other reports nothing.
    is_concluded: AtomicBool,
}

impl Job {
    pub(super) fn new(shared: Arc<Shared>, call: Call, body: Bytes, span: Option<Span>) -> Arc<Self> {
        let (span, is_concluded) = (Mutex::new(span), AtomicBool::new(false));
        Arc::new(Self { shared, call, body, span, is_concluded })
    }

    fn evaluator<'a>(&'a self, policies: &'a PolicySet) -> Evaluator<'a> {
        let Call { endpoint: _, path_policy, caller } = &self.call;
        Evaluator {
            policies,
            path_policy: path_policy.as_deref(),
            without_policy: self.shared.without_policy,
            caller: *caller,
        }
    }

    /// Evaluates the review. If its time is over before, it is answered by its head, and the evaluation is abandoned.
    pub(super) async fn evaluate(self: &Arc<Self>, deadline: Deadline) -> Concluded {
        if self.body.len() <= MAX_INLINE_BYTES {
            return self.run().unwrap_or_else(|| self.by_head(&Unread::NotEvaluated));
        }
        let permits = Arc::clone(&self.shared.evaluations).acquire_many_owned(permits_for(self.body.len()));
        let Ok(Ok(permits)) = timeout_at(deadline, permits).await else {
            return self.by_head(&Unread::NotEvaluated);
        };
        let job = Arc::clone(self);
        let mut running = tokio::task::spawn_blocking(move || {
            // An abandoned evaluation holds its memory until it ends.
            let _permits = permits;
            job.run()
        });
        let is_late = timeout_at(deadline, &mut running).await;
        match is_late {
            Ok(Ok(Some(concluded))) => concluded,
            Ok(_) => self.by_head(&Unread::Panicked),
            Err(_) if self.conclude() => self.by_head(&Unread::NotEvaluated),
            // It has just ended.
            Err(_) => match running.await {
                Ok(Some(concluded)) => concluded,
                _ => self.by_head(&Unread::Panicked),
            },
        }
    }

    /// Answers by the head of the review, or with an error if it is not a review.
    pub(super) fn by_head(&self, unread: &Unread) -> Concluded {
        match catch_unwind(AssertUnwindSafe(|| self.answer_head(unread))) {
            Ok(Some(concluded)) => concluded,
            Ok(None) => (rejection(unread).into_response(), None),
            Err(_) => {
                self.shared.metrics.panics.inc();
                let reason = "sandgate failed on this review; please report it";
                (Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(), None)
            }
        }
    }

    /// Takes the span, to be ended with the answer.
    pub(super) fn take_span(&self) -> Option<Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn answer_head(&self, unread: &Unread) -> Option<Concluded> {
        let policies = self.shared.policies.load();
        let evaluator = self.evaluator(&policies);
        let head = Head::read(&self.body)?;
        let start = Instant::now();
        Some(self.report(evaluator.answer_head(self.call.endpoint, head, unread.clone()), start))
    }

    /// Evaluates and reports, unless the time was over first.
    fn run(&self) -> Option<Concluded> {
        self.run_with(|evaluator, body| evaluator.answer(self.call.endpoint, body))
    }

    fn run_with(
        &self,
        answer: impl for<'a> FnOnce(Evaluator<'a>, &'a [u8]) -> Result<Answer<'a>, ReviewError>,
    ) -> Option<Concluded> {
        let start = Instant::now();
        let policies = self.shared.policies.load();
        let evaluator = self.evaluator(&policies);
        // The engine does not panic. If it does all the same, the answer is a denial.
        let answered = catch_unwind(AssertUnwindSafe(|| answer(evaluator, &self.body)));
        if !self.conclude() {
            return None;
        }
        Some(match answered {
            Ok(Ok(answer)) => self.report(answer, start),
            Ok(Err(problem)) => {
                self.shared.metrics.bad_requests.inc();
                (Rejection::new(StatusCode::BAD_REQUEST, problem.to_string()).into_response(), None)
            }
            Err(_) => {
                self.shared.metrics.panics.inc();
                self.by_head(&Unread::Panicked)
            }
        })
    }

    /// Returns true to the first that asks.
    fn conclude(&self) -> bool {
        !self.is_concluded.swap(true, Ordering::AcqRel)
    }

    fn report(&self, answer: Answer, start: Instant) -> Concluded {
        let shared = &self.shared;
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        shared.no_policy.report(&answer.record);
        let pending = shared.observers.observe(&answer.record, start.elapsed(), span.as_mut());
        let mut response = Response::new(Body::from(answer.body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (response, pending)
    }
}

/// A request that is not answered by its head is not known to be a review.
fn rejection(unread: &Unread) -> Rejection {
    match unread {
        Unread::TooLarge(limit) => {
            Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
        }
        Unread::NotReceived(millis) => {
            Rejection::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {millis} ms"))
        }
        Unread::NoBudget => {
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "request body budget exhausted, retry")
        }
        Unread::NotEvaluated => {
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "too slow to evaluate, retry")
        }
        Unread::Panicked => Rejection::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "sandgate failed on this review; please report it",
        ),
        Unread::Interrupted | Unread::Malformed(_) => {
            Rejection::new(StatusCode::BAD_REQUEST, "the body could not be read")
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::server::handler::tests::shared;

    const REVIEW: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u",
        "namespace":"workflows","operation":"CREATE","object":{"spec":{}}}}"#;

    fn job(body: impl Into<Bytes>) -> Arc<Job> {
        let call = Call { endpoint: Endpoint::Mutate, path_policy: None, caller: Caller::Unasked };
        Job::new(shared(), call, body.into(), None)
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_a_denial() {
        let job = job(REVIEW);
        let (response, _) = job.run_with(|_, _| panic!("a fault of the engine")).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let answer = text(response).await;
        assert!(answer.contains(r#""allowed":false"#) && answer.contains("sandgate failed"), "{answer}");
        assert!(job.shared.metrics.text().unwrap().contains("sandgate_panics_total 1"));
    }

    #[tokio::test]
    async fn a_review_that_finds_no_memory_in_time_is_denied() {
        let job = job(REVIEW.replace("{}", &format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_INLINE_BYTES))));
        let all = Arc::clone(&job.shared.evaluations);
        let _held = all.acquire_many_owned(permits_for(usize::MAX)).await.unwrap();
        let (response, _) = job.evaluate(Deadline::now()).await;
        assert!(text(response).await.contains("too slow to evaluate"));
    }

    #[tokio::test]
    async fn what_ends_after_its_time_reports_nothing() {
        let job = job(REVIEW);
        assert!(job.conclude());
        assert!(job.run().is_none());
        let counted = r#"sandgate_admission_duration_seconds_count{endpoint="mutate"} 0"#;
        assert!(job.shared.metrics.text().unwrap().contains(counted));
    }

    #[test]
    fn permits_are_bounded_by_the_number_of_values_and_the_budget() {
        assert_eq!(permits_for(100_000), (100_000u32 * 41).div_ceil(4096));
        assert!(permits_for(8 << 20) as usize * PERMIT_BYTES <= EVALUATION_BYTES / 2 + PERMIT_BYTES);
        assert_eq!(permits_for(usize::MAX) as usize, EVALUATION_BYTES / PERMIT_BYTES);
    }
}
