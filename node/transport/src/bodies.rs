//! The bodies of calls on their way in. A message is put together in memory, and taken apart, before any service sees
//! who sent it, so a client that sends all but the last byte of many messages could fill the memory with them, and hold
//! it for ever. Here no message is larger than its method needs, the bodies of a connection get a share of one pool, and
//! each has a deadline and ends with its message: tonic would keep it, taken apart, until the client says that it was
//! the last.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, Service, http::Request},
};
use tower::Layer;

use crate::{connection::Caller, sizes::largest_request};

/// How long the body of a call may take to arrive, from its headers on. Above every timeout of a node.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the bodies on their way in may hold together, in bytes, as long as few connections have any. With what
/// everybody may hold, two thousand connections get to nine times that.
pub const MAX_BODIES_BYTES: usize = 32 << 20;

/// Most that the bodies of one connection may hold: three of the largest messages.
pub const MAX_CONNECTION_BODIES_BYTES: usize = 8 << 20;

/// What the bodies of one connection may hold however many others there are: every call but
/// those with entries, and with views and clocks of hundreds of members.
pub const MIN_CONNECTION_BODIES_BYTES: usize = 64 << 10;

/// How the paths of reflection's calls begin, which may have any number of messages. All others have one.
pub(crate) const REFLECTION: &str = "/grpc.reflection.";

/// How long all questions of one call of reflection may take: its place is wanted by others.
pub const REFLECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Most bytes of all questions of one call of reflection: a thousand.
const MAX_QUESTIONS_BYTES: usize = 64 << 10;

/// What gRPC puts before a message: whether it is compressed, and how long it is.
const PREFIX_BYTES: usize = 5;

/// Bounds the bodies of all calls of one server.
#[derive(Debug, Clone, Default)]
pub struct Bodies {
    held: Arc<Mutex<Held>>,
}

impl<S> Layer<S> for Bodies {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, bodies: self.clone() }
    }
}

/// A service whose calls have bounded bodies.
#[derive(Debug, Clone)]
pub struct Bounded<S> {
    inner: S,
    bodies: Bodies,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Bounded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        // The Unix socket is its owner's.
        let remote = request.extensions().get::<Caller>().map(|caller| caller.remote);
        let Some(remote) = remote else { return self.inner.call(request) };
        let path = request.uri().path();
        let message = (!path.starts_with(REFLECTION)).then(|| OneMessage::of_at_most(largest_request(path)));
        let bodies = self.bodies.clone();
        self.inner.call(request.map(|inner| Body::new(Incoming::new(inner, bodies, remote, message))))
    }
}

/// A body on its way in.
struct Incoming {
    inner: Body,
    bodies: Bodies,
    remote: SocketAddr,
    bytes: usize,
    /// What is known of the message, where there is one only.
    message: Option<OneMessage>,
    /// Set when the body has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    fn new(inner: Body, bodies: Bodies, remote: SocketAddr, message: Option<OneMessage>) -> Self {
        Self { inner, bodies, remote, bytes: 0, message, deadline: None }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit();
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        deadline.as_mut().poll(cx).is_ready()
    }

    fn limit(&self) -> Duration {
        if self.message.is_some() { BODY_TIMEOUT } else { REFLECTION_TIMEOUT }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending() && this.message.as_ref().is_some_and(OneMessage::is_here) {
            return Poll::Ready(None);
        }
        // Also while data comes in: a byte now and then is no progress.
        if (polled.is_pending() || this.deadline.is_some()) && this.is_late(cx) {
            let limit = this.limit();
            let late = format!("the call took longer than {limit:?} to arrive; send it again, in smaller parts");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            if let Some(message) = &mut this.message
                && let Err(status) = message.take(data)
            {
                return Poll::Ready(Some(Err(status)));
            }
            if this.message.is_none() && this.bytes + data.len() > MAX_QUESTIONS_BYTES {
                let many = "these are too many questions for one call; ask the others in another one";
                return Poll::Ready(Some(Err(Status::resource_exhausted(many))));
            }
            if !locked(&this.bodies.held).take(this.remote, data.len()) {
                let much = "too much is under way on this connection; wait for answers before you send more";
                return Poll::Ready(Some(Err(Status::resource_exhausted(much))));
            }
            this.bytes += data.len();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.bytes > 0 {
            locked(&self.bodies.held).give_back(self.remote, self.bytes);
        }
    }
}

/// How much of a call's only message has come in.
#[derive(Debug)]
struct OneMessage {
    /// Longest that is taken.
    most: usize,
    prefix: Vec<u8>,
    /// Without the prefix, and once that is here.
    missing: Option<usize>,
}

impl OneMessage {
    fn of_at_most(most: usize) -> Self {
        Self { most, prefix: Vec::with_capacity(PREFIX_BYTES), missing: None }
    }

    /// Some of it has come in, which is refused as soon as it says that it is too long.
    fn take(&mut self, data: &[u8]) -> Result<(), Status> {
        let (prefix, rest) = data.split_at(data.len().min(PREFIX_BYTES - self.prefix.len()));
        self.prefix.extend(prefix);
        if let [_, a, b, c, d] = self.prefix[..]
            && self.missing.is_none()
        {
            let (length, most) = (u32::from_be_bytes([a, b, c, d]) as usize, self.most);
            if length > most {
                let long = format!("the message has {length} bytes, this call takes at most {most}");
                return Err(Status::invalid_argument(long));
            }
            self.missing = Some(length);
        }
        self.missing = self.missing.map(|missing| missing.saturating_sub(rest.len()));
        Ok(())
    }

    fn is_here(&self) -> bool {
        self.missing == Some(0)
    }
}

/// What the bodies of each connection hold, in bytes; of those that hold something.
#[derive(Debug, Default)]
struct Held {
    connections: BTreeMap<SocketAddr, usize>,
    /// How many hold more than anybody may.
    sharers: usize,
}

impl Held {
    /// Whether a connection may hold so much more. The more connections hold much, the less each may: so nobody keeps the
    /// others from sending what is small, and what is small takes nothing from who sends much.
    fn take(&mut self, remote: SocketAddr, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let before = self.connections.get(&remote).copied().unwrap_or(0);
        let after = before + bytes;
        let sharers = self.sharers + usize::from(!shares(before));
        let share = (MAX_BODIES_BYTES / sharers).clamp(MIN_CONNECTION_BODIES_BYTES, MAX_CONNECTION_BODIES_BYTES);
        let fits = after <= share;
        if fits {
            self.set(remote, after);
        }
        fits
    }

    fn give_back(&mut self, remote: SocketAddr, bytes: usize) {
        let before = self.connections.get(&remote).copied().unwrap_or(0);
        self.set(remote, before.saturating_sub(bytes));
    }

    fn set(&mut self, remote: SocketAddr, bytes: usize) {
        let before = self.connections.remove(&remote).unwrap_or(0);
        if bytes > 0 {
            self.connections.insert(remote, bytes);
        }
        self.sharers = self.sharers + usize::from(shares(bytes)) - usize::from(shares(before));
    }
}

/// Whether so much is more than anybody may hold.
fn shares(bytes: usize) -> bool {
    bytes > MIN_CONNECTION_BODIES_BYTES
}

fn locked(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(number: u16) -> SocketAddr {
        ([127, 0, 0, 1], number).into()
    }

    #[test]
    fn shares_shrink_with_every_connection_that_holds_much_and_small_calls_always_fit() {
        let mut held = Held::default();
        for number in 3_000..3_500 {
            assert!(held.take(remote(number), MIN_CONNECTION_BODIES_BYTES));
        }
        assert!(held.take(remote(1), MAX_CONNECTION_BODIES_BYTES), "what is small takes nothing from it");
        assert!(!held.take(remote(1), 1), "that was all of its share");
        for number in 2..1_000 {
            while held.take(remote(number), 64 << 10) {}
        }
        let all: usize = held.connections.values().sum();
        assert!(all < 8 * MAX_BODIES_BYTES, "{all} bytes");
        assert!(held.take(remote(2_000), MIN_CONNECTION_BODIES_BYTES), "somebody else has room for a small call");
        assert!(!held.take(remote(2_000), MIN_CONNECTION_BODIES_BYTES + 1), "but none for a large one");
        for number in 1..=3_500 {
            held.give_back(remote(number), MAX_CONNECTION_BODIES_BYTES);
        }
        assert!(held.connections.is_empty() && held.sharers == 0);
        assert!(held.take(remote(3), MAX_CONNECTION_BODIES_BYTES), "everything was given back");
    }

    #[test]
    fn a_message_is_here_with_its_last_byte_and_refused_with_its_length() {
        for pieces in [vec![8], vec![1; 8], vec![4, 2, 2], vec![5, 3]] {
            let (mut message, mut bytes) = (OneMessage::of_at_most(3), &[0, 0, 0, 0, 3, 7, 7, 7][..]);
            for piece in pieces {
                assert!(!message.is_here());
                let (data, rest) = bytes.split_at(piece);
                message.take(data).expect("it is not too long");
                bytes = rest;
            }
            assert!(message.is_here());
        }
        let mut empty = OneMessage::of_at_most(3);
        assert!(empty.take(&[0; PREFIX_BYTES]).is_ok() && empty.is_here());
        let mut message = OneMessage::of_at_most(3);
        let refused = message.take(&[0, 0, 0, 0, 4]).expect_err("it is too long");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}
