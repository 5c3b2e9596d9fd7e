//! `POST /templates`: reviews the objects that make Pods. Whatever happens, the object is allowed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Request, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use tokio::time::{Instant as Deadline, timeout_at};

use super::{
    Shared,
    body::Received,
    evaluation::{MAX_INLINE_BYTES, permits_for},
    handler::{Arrival, Rejection, arrive, close, path_policy},
};
use crate::telemetry::GaugeGuard;
use sandgate_engine::{
    review::{Head, ReviewError, Unread},
    templates::{self, TemplateAnswer},
};

/// Answers a request. A body that is too large, too slow or not an admission review is answered as at the other endpoints,
/// but for the verdict.
pub(super) async fn handle(shared: Arc<Shared>, request: Request<Body>) -> Response {
    let _counted = GaugeGuard::new(&shared.metrics.in_flight);
    let Arrival { parts, body, answer_by, .. } = match arrive(&shared, request).await {
        Ok(arrival) => arrival,
        Err(rejection) => return rejection.into_response(),
    };
    let Received { bytes, incomplete, charge: _charge } = body;
    let review = TemplateReview {
        shared: Arc::clone(&shared),
        policy: path_policy(parts.uri.path()).map(Into::into),
        body: bytes,
    };
    match incomplete {
        None => review.answer(answer_by).await,
        Some(unread) => close(review.by_head(unread)),
    }
}

/// One review that is being answered.
#[derive(Clone)]
struct TemplateReview {
    shared: Arc<Shared>,
    /// The policy that the path names.
    policy: Option<Box<str>>,
    body: Bytes,
}

impl TemplateReview {
    /// Answers the review. Large ones are reviewed aside, within the same memory as those of Pods.
    async fn answer(self, deadline: Deadline) -> Response {
        if self.body.len() <= MAX_INLINE_BYTES {
            return self.run();
        }
        // Beside its tree an object needs the text of its Pods, which are no larger than it, or bounded.
        let permits = permits_for(self.body.len().saturating_mul(2));
        let permits = Arc::clone(&self.shared.evaluations).acquire_many_owned(permits);
        let Ok(Ok(permits)) = timeout_at(deadline, permits).await else {
            return self.by_head(Unread::NotEvaluated);
        };
        let review = self.clone();
        let running = tokio::task::spawn_blocking(move || {
            // An abandoned review holds its memory until it ends.
            let _permits = permits;
            review.run()
        });
        match timeout_at(deadline, running).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => self.by_head(Unread::Panicked),
            Err(_) => self.by_head(Unread::NotEvaluated),
        }
    }

    fn run(&self) -> Response {
        let policies = self.shared.policies.load();
        let answered = catch_unwind(AssertUnwindSafe(|| {
            templates::answer(&policies, self.policy.as_deref(), &self.body)
        }));
        match answered {
            Ok(Ok(answer)) => self.report(answer),
            Ok(Err(problem)) => self.bad_request(&problem),
            Err(_) => {
                self.shared.metrics.panics.inc();
                self.by_head(Unread::Panicked)
            }
        }
    }

    /// Allows what was not reviewed. A request without a readable head is not known to be a review.
    fn by_head(&self, unread: Unread) -> Response {
        match Head::read(&self.body) {
            Some(head) => self.report(templates::answer_head(head, unread)),
            None => self.bad_request(&ReviewError::NoUid),
        }
    }

    fn bad_request(&self, problem: &ReviewError) -> Response {
        self.shared.metrics.bad_requests.inc();
        Rejection::new(StatusCode::BAD_REQUEST, problem.to_string()).into_response()
    }

    fn report(&self, answer: TemplateAnswer) -> Response {
        self.shared.metrics.templates.record(&answer);
        let mut response = Response::new(Body::from(answer.body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
