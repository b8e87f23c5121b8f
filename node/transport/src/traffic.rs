//! Counts what goes through sockets: the bytes on the wire, TLS included.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use p2p_chat_metrics::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What went through the sockets that count in it.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes that came in.
    pub received: Counter,
    /// Bytes that went out.
    pub sent: Counter,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// Connections that were closed at once, because there were too many.
    pub refused: Counter,
}

/// A TCP connection whose bytes are counted.
#[derive(Debug)]
pub struct Metered {
    inner: TcpStream,
    traffic: Arc<Traffic>,
    sent: u64,
}

impl Metered {
    pub(crate) fn new(inner: TcpStream, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic, sent: 0 }
    }

    /// How many bytes have gone out.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buffer);
        let arrived = buffer.filled().len() - before;
        if arrived > 0 {
            this.traffic.received.add(arrived as u64);
        }
        polled
    }
}

impl Metered {
    fn count(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(sent)) = &polled {
            self.sent += *sent as u64;
            self.traffic.sent.add(*sent as u64);
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.count(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
