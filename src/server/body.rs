//! Receives the body of a request, within its bounds of size, time and budget. If one is passed, the head is kept.

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::budget::Charge;
use sandgate_engine::review::{MAX_HEAD_BYTES, Unread};

/// The bounds of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The largest size, in bytes.
    pub(super) max_bytes: u32,
    /// The size that the client declared, in bytes.
    pub(super) declared: Option<u64>,
    /// The time by which it must have arrived.
    pub(super) deadline: Instant,
}

/// The received part of a body.
#[derive(Debug)]
pub(super) struct Received {
    /// The body, or at least its head if it is not whole.
    pub(super) bytes: Bytes,
    /// The reason why it is not whole.
    pub(super) incomplete: Option<Unread>,
    /// The share of the body budget that the bytes hold.
    pub(super) charge: Charge,
}

/// Receives a body. Pieces are put together as they come: keeping them until the last would hold the body twice, and
/// hyper could not use its buffer again. A body that comes in one piece is not copied.
pub(super) async fn receive(mut body: Body, bounds: Bounds, mut charge: Charge) -> Received {
    let start = Instant::now();
    let is_declared_too_large = bounds.declared.is_some_and(|length| length > bounds.max_bytes.into());
    let max = if is_declared_too_large { MAX_HEAD_BYTES } else { bounds.max_bytes as usize };
    let expected =
        bounds.declared.and_then(|length| usize::try_from(length).ok()).unwrap_or_default().min(max);
    let mut whole = Vec::new();
    let incomplete = loop {
        let frame = match timeout_at(bounds.deadline, body.frame()).await {
            Err(_) => break Some(Unread::NotReceived(millis(start))),
            Ok(None) => break is_declared_too_large.then_some(Unread::TooLarge(bounds.max_bytes.into())),
            Ok(Some(Err(_))) => break Some(Unread::Interrupted),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(piece) = frame.into_data() else { continue };
        if piece.len() > max - whole.len() {
            keep_head(&mut whole, &piece);
            discard(body, bounds.deadline).await;
            break Some(Unread::TooLarge(bounds.max_bytes.into()));
        }
        let received = whole.len() + piece.len();
        if timeout_at(bounds.deadline, charge.cover(received, expected)).await.is_err() {
            keep_head(&mut whole, &piece);
            break Some(Unread::NoBudget);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Received { bytes: piece, incomplete: None, charge };
        }
        if whole.is_empty() {
            // Memory that is not written to yet is not resident.
            whole.reserve_exact(expected.max(piece.len()));
        }
        whole.extend_from_slice(&piece);
    };
    Received { bytes: whole.into(), incomplete, charge }
}

/// Leaves the head of what was received and of the next piece, and gives the rest of the memory back.
fn keep_head(whole: &mut Vec<u8>, piece: &[u8]) {
    let missing = MAX_HEAD_BYTES.saturating_sub(whole.len());
    whole.extend_from_slice(&piece[..piece.len().min(missing)]);
    whole.truncate(MAX_HEAD_BYTES);
    whole.shrink_to_fit();
}

/// Reads on and drops what it reads, within a bound: a client that is cut off while it sends may never see the answer.
pub(super) async fn discard(body: Body, deadline: Instant) {
    const MAX_DISCARDED_BYTES: usize = 32 << 20;
    let mut body = Limited::new(body, MAX_DISCARDED_BYTES);
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout_at(deadline, reading).await;
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
