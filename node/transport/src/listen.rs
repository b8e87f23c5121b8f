//! The listening side of the one port: TLS and plaintext HTTP/2, told apart by the first byte.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_stream::Stream;

use crate::{
    answers::Unread,
    connection::{Caller, Connection, Hangup, Wire},
    places::{Full, Place, Places},
    tls::peer_of,
    traffic::{Metered, Traffic},
};

/// First byte of a TLS record with a handshake message (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// First byte of the HTTP/2 connection preface, `PRI * HTTP/2.0` (RFC 9113, section 3.4).
const HTTP2_PREFACE: u8 = b'P';

/// Pause after the first failed accept; doubles up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between failed accepts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one listener takes on. A connection beyond a cap is closed at once. Up to half of each cap is there for
/// anybody; of the other half no address gets anything that has an eighth of the whole (see [`Places`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a client may take to say what it speaks and finish the TLS handshake, and then again to begin HTTP/2.
    /// Default 5 s: enough for a bad line; longer only keeps places of [`max_handshakes`](Self::max_handshakes) taken.
    pub handshake_timeout: Duration,
    /// Most connections in their handshake at one time, default 256. Each costs a task and a few KiB, and an
    /// anonymous client can hold one for `handshake_timeout`.
    pub max_handshakes: usize,
    /// Most connections in all, those in their handshake too; default 2,048, twice the members of the largest
    /// network. Each needs a file descriptor: where fewer are to be had, accepting pauses until one is free.
    pub max_connections: usize,
    /// How long a piece of an answer may wait until the client reads on; then the connection is closed. Default 20 s: a
    /// piece has 64 KiB at most, and longer only keeps more in memory for those who never read.
    pub answer_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            max_handshakes: 256,
            max_connections: 2_048,
            answer_timeout: Duration::from_secs(20),
        }
    }
}

/// The connections that come in at `listener`, ready for tonic's `serve_with_incoming`.
///
/// Each goes through its handshake in a task of its own, so a slow one holds up nobody. The stream never ends and
/// never yields an error: a failed accept (for example out of file descriptors) is logged and tried again after a
/// pause. Dropping the stream closes the port, and every connection that it has not yielded yet.
pub fn incoming(listener: TcpListener, tls: Arc<ServerConfig>, limits: Limits) -> Incoming {
    Incoming::new(Box::new(listener), tls, limits)
}

/// The stream that [`incoming`] makes.
pub struct Incoming {
    listener: Box<dyn Accept>,
    tls: TlsAcceptor,
    limits: Limits,
    handshakes: JoinSet<Option<Connection>>,
    handshake_places: Places,
    places: Places,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
    full: bool,
    traffic: Arc<Traffic>,
}

/// Where connections come from.
trait Accept: Send + Unpin {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

impl Accept for TcpListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        Self::poll_accept(self, cx)
    }
}

impl Incoming {
    fn new(listener: Box<dyn Accept>, tls: Arc<ServerConfig>, limits: Limits) -> Self {
        Self {
            listener,
            tls: tls.into(),
            limits,
            handshakes: JoinSet::new(),
            handshake_places: Places::new(limits.max_handshakes),
            places: Places::new(limits.max_connections),
            pause: None,
            next_pause: SHORTEST_PAUSE,
            full: false,
            traffic: Arc::default(),
        }
    }

    /// Counts connections and their bytes in `traffic`.
    #[must_use]
    pub fn counting(self, traffic: &Arc<Traffic>) -> Self {
        Self { traffic: Arc::clone(traffic), ..self }
    }

    /// Begins the handshake, or closes the connection if there is no place for it.
    fn on_accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        self.next_pause = SHORTEST_PAUSE;
        let places = match self.places(remote.ip()) {
            Ok(places) => places,
            Err(full) => return self.on_full(full, remote),
        };
        self.full = false;
        self.traffic.accepted.increment();
        let wire = wire(stream, self.tls.clone(), self.limits.answer_timeout, Arc::clone(&self.traffic));
        self.handshakes.spawn(shake_hands(wire, remote, self.limits, places));
    }

    /// A place for the handshake, and one for as long as the connection lasts.
    fn places(&self, caller: IpAddr) -> Result<(Place, Place), Full> {
        Ok((self.handshake_places.take(caller)?, self.places.take(caller)?))
    }

    fn on_full(&mut self, full: Full, remote: SocketAddr) {
        self.traffic.refused.increment();
        match full {
            Full::Address => tracing::debug!(%remote, "refusing a connection: its address has too many"),
            Full::All if self.full => {}
            Full::All => {
                tracing::warn!(%remote, limits = ?self.limits, "refusing connections: the limit is reached");
                self.full = true;
            }
        }
    }

    fn on_accept_failed(&mut self, error: &io::Error) {
        // The client gave up while it waited to be accepted; the listener is fine.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        tracing::warn!(%error, pause = ?self.next_pause, "could not accept a connection");
        self.pause = Some(Box::pin(sleep(self.next_pause)));
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(connection)))) => return Poll::Ready(Some(Ok(connection))),
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match ready!(this.listener.poll_accept(cx)) {
                Ok((stream, remote)) => this.on_accepted(stream, remote),
                Err(error) => this.on_accept_failed(&error),
            }
        }
    }
}

/// `None`: the connection was of no use, and is closed.
async fn shake_hands(
    wire: impl Future<Output = io::Result<Wire>>,
    remote: SocketAddr,
    limits: Limits,
    (_until_done, place): (Place, Place),
) -> Option<Connection> {
    let limit = limits.handshake_timeout;
    match timeout(limit, wire).await {
        Ok(Ok(wire)) => {
            let caller = Caller { peer: wire.peer(), remote, hangup: Hangup::default(), unread: Unread::default() };
            Some(Connection::new(wire, caller, &limits, place))
        }
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "closed a connection: its handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%remote, ?limit, "closed a connection: its handshake took too long");
            None
        }
    }
}

async fn wire(stream: TcpStream, tls: TlsAcceptor, patience: Duration, traffic: Arc<Traffic>) -> io::Result<Wire> {
    // tonic sets this only on listeners of its own; without it a reply can wait 40 ms for the client's ack.
    stream.set_nodelay(true)?;
    give_up_after(&stream, patience)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let stream = Metered::new(stream, traffic);
    match first {
        [TLS_HANDSHAKE] => Ok(Wire::Tls(Box::new(tls.accept(stream).await?))),
        [HTTP2_PREFACE] => Ok(Wire::Plain(stream)),
        [other] => Err(io::Error::new(io::ErrorKind::InvalidData, format!("neither TLS nor HTTP/2: {other:#04x}"))),
    }
}

/// Lets the system forget what a client does not take, also after the connection was closed on this side.
fn give_up_after(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(patience))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, patience);
    Ok(())
}

impl Wire {
    /// Whose certificate the handshake verified.
    fn peer(&self) -> Option<p2p_chat_model::PeerId> {
        let Self::Tls(stream) = self else { return None };
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        peer_of(certificate).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use p2p_chat_model::Identity;
    use tokio::io::AsyncWriteExt;
    use tokio_stream::StreamExt;

    use super::*;

    /// Fails as often as it has errors left, then accepts.
    struct Failing(Mutex<Vec<io::ErrorKind>>, TcpListener);

    impl Accept for Failing {
        fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
            match self.0.lock().unwrap().pop() {
                Some(kind) => Poll::Ready(Err(kind.into())),
                None => self.1.poll_accept(cx),
            }
        }
    }

    #[tokio::test]
    async fn failed_accepts_are_survived_with_growing_pauses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let errors = vec![io::ErrorKind::Other, io::ErrorKind::OutOfMemory, io::ErrorKind::ConnectionAborted];
        let tls = crate::tls::server_config(&Identity::from_seed([1; 32])).unwrap();
        let mut incoming = Incoming::new(Box::new(Failing(Mutex::new(errors), listener)), tls, Limits::default());
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"P").await.unwrap();
        let begun = tokio::time::Instant::now();
        let connection = timeout(Duration::from_secs(5), incoming.next()).await.unwrap().unwrap().unwrap();
        let caller = connection.caller();
        assert_eq!((caller.peer, caller.remote), (None, client.local_addr().unwrap()));
        assert!(begun.elapsed() >= SHORTEST_PAUSE * 3, "an aborted connection costs no pause, the others 10 and 20 ms");
        assert_eq!(incoming.next_pause, SHORTEST_PAUSE, "a success ends the back-off");
    }
}
