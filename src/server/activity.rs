//! What a connection is doing, so that one that does nothing, or trickles its request's head, can be closed.
//!
//! hyper has one time-out for both; but a connection may be idle far longer than a head may take.

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

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    since_millis: AtomicU64,
    serving: AtomicU32,
    reading_head: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let (since_millis, serving) = (AtomicU64::new(0), AtomicU32::new(0));
        Arc::new(Self { start: Instant::now(), since_millis, serving, reading_head: AtomicBool::new(false) })
    }

    /// A request has been read up to its body.
    pub(super) fn begin_request(&self) {
        self.serving.fetch_add(1, Ordering::Relaxed);
        self.reading_head.store(false, Ordering::Relaxed);
    }

    /// Its response is made.
    pub(super) fn end_request(&self) {
        self.serving.fetch_sub(1, Ordering::Relaxed);
        self.reading_head.store(false, Ordering::Relaxed);
        self.touch();
    }

    /// Whether the connection has been of no use for too long.
    pub(super) fn is_stale(&self, header: Duration, idle: Duration) -> bool {
        if self.serving.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let since = Duration::from_millis(self.since_millis.load(Ordering::Relaxed));
        let allowed = if self.reading_head.load(Ordering::Relaxed) { header } else { idle };
        self.start.elapsed().saturating_sub(since) > allowed
    }

    fn read_something(&self) {
        let idle = self.serving.load(Ordering::Relaxed) == 0;
        if idle && !self.reading_head.swap(true, Ordering::Relaxed) {
            self.touch();
        }
    }

    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since_millis.store(now, Ordering::Relaxed);
    }
}

/// A stream that tells its [`Activity`] when bytes arrive.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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
