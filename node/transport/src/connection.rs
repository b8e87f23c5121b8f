//! An accepted connection, and who is at its other end.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use p2p_chat_model::PeerId;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, futures::OwnedNotified},
    time::{Sleep, sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::{answers::Unread, listen::Limits, places::Place, traffic::Metered};

/// The bytes with which every HTTP/2 client begins (RFC 9113, section 3.4): 24.
const PREFACE_BYTES: usize = 24;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is, proven by the TLS handshake; `None` for plaintext and for a client without a certificate.
    pub peer: Option<PeerId>,
    /// Where it calls from.
    pub remote: SocketAddr,
    /// To close the connection with.
    pub hangup: Hangup,
    pub(crate) unread: Unread,
}

/// Closes a connection, from wherever a call of it is answered. HTTP/2 has no other way to be rid of an answer that the
/// client takes no part of: it is kept until the client wants more.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<Notify>);

impl Hangup {
    /// Closes the connection, with all its calls.
    pub fn hang_up(&self) {
        self.0.notify_one();
    }
}

/// Whose call this is: the key that its TLS handshake proved.
///
/// `None` for plaintext, for a client without a certificate, and for connections that did not come in through
/// [`incoming`](crate::incoming), such as those of the Unix socket.
pub fn caller<T>(request: &tonic::Request<T>) -> Option<PeerId> {
    request.extensions().get::<Caller>().and_then(|caller| caller.peer)
}

/// What closes the connection of this call; `None` where [`caller`] gives nobody for want of a connection.
pub fn hangup<T>(request: &tonic::Request<T>) -> Option<Hangup> {
    request.extensions().get::<Caller>().map(|caller| caller.hangup.clone())
}

/// An accepted connection that has said what it speaks. Dropping it closes it and frees its place.
pub struct Connection {
    wire: Wire,
    caller: Caller,
    preface: Option<Preface>,
    hung_up: Pin<Box<OwnedNotified>>,
    /// How long an answer may wait to be read, and when the one that waits for longest has done so.
    patience: Duration,
    overdue: Option<Pin<Box<Sleep>>>,
    stall: Option<Stall>,
    /// Why it is closed, once that is decided.
    closed: Option<io::ErrorKind>,
    _place: Place,
}

/// The system takes no more, as the client does not read. While HTTP/2 can't write a frame that it has to write first, it
/// reads nothing either: so who writes has to notice, too.
struct Stall {
    /// How much had been sent when it began.
    sent: u64,
    deadline: Pin<Box<Sleep>>,
}

/// What the connection runs over.
pub(crate) enum Wire {
    /// HTTP/2 with prior knowledge.
    Plain(Metered),
    /// TLS 1.3.
    Tls(Box<TlsStream<Metered>>),
}

/// What bytes go through.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Wire {
    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }

    /// How many bytes the system has taken.
    fn sent(&self) -> u64 {
        match self {
            Self::Plain(stream) => stream.sent(),
            Self::Tls(stream) => stream.get_ref().0.sent(),
        }
    }
}

/// The HTTP/2 layer waits for the client's preface without limit, and probes for life only after it; so a client
/// that stops in the middle of it is cut off here.
struct Preface {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    pub(crate) fn new(wire: Wire, caller: Caller, limits: &Limits, place: Place) -> Self {
        let preface = Preface { missing: PREFACE_BYTES, deadline: Box::pin(sleep(limits.handshake_timeout)) };
        let hung_up = Box::pin(Arc::clone(&caller.hangup.0).notified_owned());
        let patience = limits.answer_timeout;
        let (preface, overdue, stall, closed) = (Some(preface), None, None, None);
        Self { wire, caller, preface, hung_up, patience, overdue, stall, closed, _place: place }
    }

    /// Who is at the other end.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the connection may go on. Whatever is asked of it fails once it may not: HTTP/2 would write before it gives up.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.closed.is_none() {
            if self.hung_up.as_mut().poll(cx).is_ready() {
                self.closed = Some(io::ErrorKind::ConnectionAborted);
            } else if self.is_unread(cx) {
                self.give_up("it did not read its answers");
            }
        }
        self.closed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn give_up(&mut self, reason: &str) {
        let (remote, patience) = (self.caller.remote, self.patience);
        tracing::debug!(%remote, ?patience, reason, "closed a connection");
        self.closed = Some(io::ErrorKind::TimedOut);
    }

    /// What came of writing; an error once nothing has gone out for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let sent = self.wire.sent();
        self.stall.take_if(|stall| stall.sent != sent);
        if polled.is_ready() {
            return polled;
        }
        let patience = self.patience;
        let stall = self.stall.get_or_insert_with(|| Stall { sent, deadline: Box::pin(sleep(patience)) });
        if stall.deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.give_up("it reads nothing at all");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether an answer has waited for too long to be read.
    fn is_unread(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(since) = self.caller.unread.since() else {
            self.overdue = None;
            return false;
        };
        let deadline = since + self.patience;
        let overdue = self.overdue.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if overdue.deadline() != deadline {
            overdue.as_mut().reset(deadline);
        }
        overdue.as_mut().poll(cx).is_ready()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = matches!(self.wire, Wire::Tls(_));
        f.debug_struct("Connection").field("caller", &self.caller).field("tls", &tls).finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let before = buffer.filled().len();
        let polled = this.wire.stream().poll_read(cx, buffer);
        let Some(preface) = &mut this.preface else { return polled };
        let arrived = buffer.filled().len() - before;
        preface.missing = preface.missing.saturating_sub(arrived);
        if preface.missing == 0 {
            this.preface = None;
        } else if polled.is_pending() && preface.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        let polled = this.wire.stream().poll_write(cx, bytes);
        this.written(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        let polled = this.wire.stream().poll_write_vectored(cx, slices);
        this.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let polled = this.wire.stream().poll_flush(cx);
        if polled.is_ready() {
            this.stall = None;
        }
        this.written(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let polled = this.wire.stream().poll_shutdown(cx);
        this.written(cx, polled)
    }
}
