//! Small writes that go out together, as with Linux's TCP_CORK.
//!
//! hyper's client hands the headers of a call and its body to HTTP/2 in two turns of the scheduler, and HTTP/2 flushes
//! after each: two TLS records and two packets, for which the other side wakes up twice. Here a flush first lets every
//! other task that is ready have its turn, and takes along what they wrote.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

/// Most that waits for its flush, in bytes: a call with a text of ordinary length. Larger writes are not copied.
const WAITING_BYTES: usize = 4 << 10;

/// A connection whose flushes wait for one turn of the scheduler.
#[derive(Debug)]
pub(crate) struct Cork<Io> {
    inner: BufWriter<Io>,
    has_yielded: bool,
}

impl<Io: AsyncWrite> Cork<Io> {
    pub(crate) fn new(inner: Io) -> Self {
        Self { inner: BufWriter::with_capacity(WAITING_BYTES, inner), has_yielded: false }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Cork<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().inner.get_mut()).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Cork<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_yielded && !this.inner.buffer().is_empty() {
            this.has_yielded = true;
            // The task comes to the end of the queue of those that are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.has_yielded &= flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{Arc, Mutex},
        task::Waker,
    };

    use tokio::io::{DuplexStream, duplex};
    use tokio_stream::once;
    use tonic::transport::Endpoint;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;
    use crate::{
        Line,
        dial::{DialSettings, lazy},
    };

    /// What was written, write by write.
    type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

    /// Notes what goes out.
    struct Recorded(DuplexStream, Writes);

    impl AsyncRead for Recorded {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Recorded {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let Self(stream, writes) = self.get_mut();
            let polled = Pin::new(stream).poll_write(cx, bytes);
            if let Poll::Ready(Ok(written)) = polled {
                writes.lock().unwrap().push(bytes[..written].to_vec());
            }
            polled
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
        }
    }

    #[test]
    fn a_flush_lets_others_write_first_and_then_everything_goes_out_at_once() {
        let (stream, _far) = duplex(1 << 20);
        let writes = Writes::default();
        let mut cork = Cork::new(Recorded(stream, Arc::clone(&writes)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut write = |cork: &mut Cork<Recorded>, bytes: &[u8]| {
            assert!(matches!(Pin::new(cork).poll_write(&mut cx, bytes), Poll::Ready(Ok(n)) if n == bytes.len()));
        };
        let flush = |cork: &mut Cork<Recorded>| {
            Pin::new(cork).poll_flush(&mut Context::from_waker(Waker::noop())).map(|flushed| flushed.unwrap())
        };
        assert_eq!(flush(&mut cork), Poll::Ready(()), "there is nothing to wait for");
        for _ in 0..2 {
            write(&mut cork, b"head");
            assert_eq!(flush(&mut cork), Poll::Pending);
            write(&mut cork, b"body");
            assert_eq!(flush(&mut cork), Poll::Ready(()));
            assert_eq!(std::mem::take(&mut *writes.lock().unwrap()), [b"headbody"]);
        }
        write(&mut cork, b"head");
        write(&mut cork, &[0; WAITING_BYTES]);
        assert_eq!(writes.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [4, WAITING_BYTES]);
        assert_eq!(flush(&mut cork), Poll::Ready(()), "all of it is out");
    }

    /// The frames of HTTP/2 (RFC 9113, section 4.1) in a write: type and flags of each.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, u8)> {
        let mut frames = Vec::new();
        while let [a, b, c, kind, flags, rest @ ..] = bytes {
            frames.push((*kind, *flags));
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            bytes = &rest[4 + length..];
        }
        frames
    }

    #[tokio::test]
    async fn a_call_goes_out_in_one_write_with_the_end_of_the_stream_at_its_data() {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;

        let (near, far) = duplex(1 << 20);
        let (_, health) = tonic_health::server::health_reporter();
        let serving =
            tonic::transport::Server::builder().add_service(health).serve_with_incoming(once(Ok::<_, io::Error>(far)));
        tokio::spawn(serving);
        let (writes, near) = (Writes::default(), Mutex::new(Some(near)));
        let recorded = Arc::clone(&writes);
        let channel = lazy(Endpoint::from_static("http://node.invalid"), DialSettings::default(), move || {
            let near = near.lock().unwrap().take().expect("one connection is enough");
            ready(Ok(Recorded(near, Arc::clone(&recorded))))
        });
        let mut client = HealthClient::new(Line::new(channel, &Arc::default()));
        // The first call comes with the settings of the connection.
        for _ in 0..3 {
            writes.lock().unwrap().clear();
            client.check(HealthCheckRequest::default()).await.unwrap();
        }
        let frames: Vec<_> = writes.lock().unwrap().iter().map(|write| frames(write)).collect();
        assert_eq!(frames, [[(HEADERS, END_HEADERS), (DATA, END_STREAM)]]);
    }
}
