//! The bodies of calls on their way in. A message is put together in memory before any service sees who sent it, so a
//! client that sends all but the last byte of many messages could fill the memory with them, and hold it for ever. Here
//! the bodies of a connection get a share of one pool, and each has a deadline.

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

use crate::connection::Caller;

/// How long the body of a call may take to arrive, from its headers on. Above every timeout of a node.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the bodies on their way in may hold together, in bytes, as long as few connections have any. A thousand that
/// all fill their shares one after the other get to seven times that.
pub const MAX_BODIES_BYTES: usize = 32 << 20;

/// Most that the bodies of one connection may hold: two of the largest messages.
pub const MAX_CONNECTION_BODIES_BYTES: usize = 8 << 20;

/// What the bodies of one connection may hold however many others there are: every call but those with entries.
pub const MIN_CONNECTION_BODIES_BYTES: usize = 64 << 10;

/// The path of reflection's calls, which go on for as long as their client likes.
const REFLECTION: &str = "/grpc.reflection.";

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
        let timed = !request.uri().path().starts_with(REFLECTION);
        let bodies = self.bodies.clone();
        self.inner.call(request.map(|inner| Body::new(Incoming::new(inner, bodies, remote, timed))))
    }
}

/// A body on its way in.
struct Incoming {
    inner: Body,
    bodies: Bodies,
    remote: SocketAddr,
    bytes: usize,
    timed: bool,
    /// Set when the body has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    fn new(inner: Body, bodies: Bodies, remote: SocketAddr, timed: bool) -> Self {
        Self { inner, bodies, remote, bytes: 0, timed, deadline: None }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(BODY_TIMEOUT)));
        self.timed && deadline.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        // Also while data comes in: a byte now and then is no progress.
        if (polled.is_pending() || this.deadline.is_some()) && this.is_late(cx) {
            let late = format!("the call took longer than {BODY_TIMEOUT:?} to arrive; send it again, in smaller parts");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
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

/// What the bodies of each connection hold, in bytes; of those that hold something.
#[derive(Debug, Default)]
struct Held(BTreeMap<SocketAddr, usize>);

impl Held {
    /// Whether a connection may hold so much more. The more connections hold something, the less each may: so nobody
    /// keeps the others from sending what is small.
    fn take(&mut self, remote: SocketAddr, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let before = self.0.get(&remote).copied();
        let sharers = self.0.len() + usize::from(before.is_none());
        let share = (MAX_BODIES_BYTES / sharers).clamp(MIN_CONNECTION_BODIES_BYTES, MAX_CONNECTION_BODIES_BYTES);
        let after = before.unwrap_or(0) + bytes;
        let fits = after <= share;
        if fits {
            self.0.insert(remote, after);
        }
        fits
    }

    fn give_back(&mut self, remote: SocketAddr, bytes: usize) {
        let left = self.0.remove(&remote).unwrap_or(0).saturating_sub(bytes);
        if left > 0 {
            self.0.insert(remote, left);
        }
    }
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
    fn shares_shrink_with_every_connection_and_small_calls_always_fit() {
        let mut held = Held::default();
        assert!(held.take(remote(1), MAX_CONNECTION_BODIES_BYTES));
        assert!(!held.take(remote(1), 1), "that was all of its share");
        for number in 2..1_000 {
            while held.take(remote(number), 64 << 10) {}
        }
        let all: usize = held.0.values().sum();
        assert!(all < 8 * MAX_BODIES_BYTES, "{all} bytes");
        assert!(held.take(remote(2_000), MIN_CONNECTION_BODIES_BYTES), "somebody else has room for a small call");
        assert!(!held.take(remote(2_000), 1));
        for number in 1..=2_000 {
            held.give_back(remote(number), MAX_CONNECTION_BODIES_BYTES);
        }
        assert!(held.0.is_empty());
        assert!(held.take(remote(3), MAX_CONNECTION_BODIES_BYTES), "everything was given back");
    }
}
