//! Tracks what a connection is doing, so that one that is idle, or sends the headers of a request too slowly, can be
//! closed.
//!
//! hyper has one timeout for both, but a connection may be idle far longer than the headers of a request may take.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The protocol by which a connection carries its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One after the other: bytes between two requests are the head of the next.
    Http1,
    /// Side by side: bytes between two requests may be frames that belong to none.
    Http2,
}

/// The activity of a connection, and the time since when.
#[derive(Debug)]
pub(super) struct Activity {
    is_http2: AtomicBool,
    start: Instant,
    since_millis: AtomicU64,
    serving: AtomicU32,
    awaits_head: AtomicBool,
}

impl Activity {
    /// Begins with a connection that has sent nothing yet. Its first request may not take longer than any other.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            is_http2: AtomicBool::new(false),
            start: Instant::now(),
            since_millis: AtomicU64::new(0),
            serving: AtomicU32::new(0),
            awaits_head: AtomicBool::new(true),
        })
    }

    /// Sets what the handshake agreed on.
    pub(super) fn set_protocol(&self, protocol: Protocol) {
        self.is_http2.store(protocol == Protocol::Http2, Ordering::Relaxed);
    }

    /// Begins a request, whose headers have been read. It is served until the returned guard is dropped.
    pub(super) fn serve_request(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        self.awaits_head.store(false, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// Returns when the connection became idle, or `None` if it is serving a request.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.serving.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.start + Duration::from_millis(self.since_millis.load(Ordering::Relaxed)))
    }

    /// Returns true if the connection has been idle for longer than `idle`, or has been sending the headers of a
    /// request for longer than `header`.
    pub(super) fn is_stale(&self, header: Duration, idle: Duration) -> bool {
        if self.serving.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let since = Duration::from_millis(self.since_millis.load(Ordering::Relaxed));
        let allowed = if self.awaits_head.load(Ordering::Relaxed) { header } else { idle };
        self.start.elapsed().saturating_sub(since) > allowed
    }

    fn read_something(&self) {
        let is_http1 = !self.is_http2.load(Ordering::Relaxed);
        let between_requests = is_http1 && self.serving.load(Ordering::Relaxed) == 0;
        if between_requests && !self.awaits_head.swap(true, Ordering::Relaxed) {
            self.touch();
        }
    }

    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since_millis.store(now, Ordering::Relaxed);
    }
}

/// A request that is being served. Dropping it ends the request, answered or not.
#[derive(Debug)]
pub(super) struct Serving(Arc<Activity>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.touch();
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that reports to its [`Activity`] when bytes arrive.
#[derive(Debug)]
pub(super) struct IdleTrackedStream<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTrackedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        buffer: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.read_something();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        slices: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_hours(1);

    fn of(protocol: Protocol) -> Arc<Activity> {
        let activity = Activity::new();
        activity.set_protocol(protocol);
        activity
    }

    fn wait() {
        std::thread::sleep(Duration::from_millis(5));
    }

    #[test]
    fn the_first_head_is_awaited_as_long_as_any_other() {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let activity = of(protocol);
            wait();
            assert!(activity.is_stale(SHORT, LONG));
            assert!(!activity.is_stale(LONG, SHORT));
        }
    }

    #[test]
    fn a_request_that_is_served_is_never_stale_and_counts_as_activity() {
        let activity = of(Protocol::Http1);
        let serving = activity.serve_request();
        wait();
        activity.read_something();
        assert!(!activity.is_stale(SHORT, SHORT));
        drop(serving);
        wait();
        assert!(activity.is_stale(LONG, SHORT));
        assert!(!activity.is_stale(SHORT, LONG));
    }

    #[test]
    fn bytes_between_requests_are_a_head_in_http1_only() {
        for (protocol, is_head) in [(Protocol::Http1, true), (Protocol::Http2, false)] {
            let activity = of(protocol);
            drop(activity.serve_request());
            activity.read_something();
            wait();
            assert_eq!(activity.is_stale(SHORT, LONG), is_head, "{protocol:?}");
        }
    }

    #[test]
    fn a_head_does_not_get_more_time_by_trickling() {
        let activity = of(Protocol::Http1);
        drop(activity.serve_request());
        activity.read_something();
        std::thread::sleep(Duration::from_millis(30));
        activity.read_something();
        assert!(activity.is_stale(Duration::from_millis(20), LONG));
    }
}
