//! The bodies of answers on their way out. HTTP/2 keeps what a client takes no part of, for ever if it likes, and a client
//! that grants large windows and reads nothing could fill the memory with answers. Here each connection knows what was handed
//! over to HTTP/2 and is not on the wire yet: no more of it is handed over than a bound, and the connection is closed when a
//! piece has waited for too long. A stream that has nothing to say waits for nobody.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::{
    Status,
    codegen::{
        Bytes, Service,
        http::{Request, Response},
    },
};
use tower::Layer;

use crate::{
    bodies::REFLECTION,
    connection::Caller,
    places::{Place, Places},
};

/// Most of an answer that is handed over at once, in bytes. For each such piece the client has the whole time anew, so
/// that a slow line is not taken for a client that does not read.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces of one answer that may be on their way out: the next one is there when HTTP/2 is done with one.
const MAX_PIECES: usize = 2;

/// What the answers of a connection may have on their way out together, in bytes, give or take a piece. The system's buffers
/// come on top, and are what keeps a line busy.
pub const MAX_OUTGOING_BYTES: usize = 1 << 20;

/// Most calls of a kind that are open at one time, on all connections of a server, where anybody may make them and they go
/// on although they have been answered: questions to reflection, and the watching of health. Each holds some answers of up
/// to 40 KiB.
pub const MAX_LASTING_CALLS: usize = 64;

/// How the paths of each kind of such calls begin.
const LASTING: [&str; 2] = [REFLECTION, "/grpc.health.v1.Health/Watch"];

/// The answers of one connection that are on their way out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Out>>);

#[derive(Debug, Default)]
struct Out {
    /// Of each answer that has any.
    pieces: BTreeMap<u64, Pieces>,
    /// How large all of them are.
    bytes: usize,
    /// Who wants to hand over more, once there is room.
    waiting: BTreeMap<u64, Waker>,
    next_answer: u64,
}

/// The pieces of an answer that are on their way out.
#[derive(Debug)]
struct Pieces {
    count: usize,
    /// Since when the first of them waits, with none before it.
    since: Instant,
}

impl Unread {
    /// Since when the client has left something unread, if it has.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.out().pieces.values().map(|pieces| pieces.since).min()
    }

    /// The account of one more answer.
    fn answer(&self) -> Account {
        let mut out = self.out();
        out.next_answer += 1;
        Account { unread: self.clone(), answer: out.next_answer }
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one answer has on its way out.
#[derive(Debug)]
struct Account {
    unread: Unread,
    answer: u64,
}

impl Account {
    /// Waits until another piece may be handed over.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut out = self.unread.out();
        let count = out.pieces.get(&self.answer).map_or(0, |pieces| pieces.count);
        if count < MAX_PIECES && out.bytes < MAX_OUTGOING_BYTES {
            return Poll::Ready(());
        }
        out.waiting.insert(self.answer, cx.waker().clone());
        Poll::Pending
    }

    /// The piece, which is on its way out until it is dropped.
    fn hand_over(&self, data: Bytes, place: Option<Arc<Place>>) -> Bytes {
        if data.is_empty() {
            return data;
        }
        let mut out = self.unread.out();
        out.bytes += data.len();
        let pieces = out.pieces.entry(self.answer).or_insert_with(|| Pieces { count: 0, since: Instant::now() });
        pieces.count += 1;
        drop(out);
        Bytes::from_owner(Piece { data, unread: self.unread.clone(), answer: self.answer, _place: place })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.unread.out().waiting.remove(&self.answer);
    }
}

/// A piece on its way out. HTTP/2 drops it when all of it is written, or nobody wants it any more.
struct Piece {
    data: Bytes,
    unread: Unread,
    answer: u64,
    _place: Option<Arc<Place>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut out = self.unread.out();
        out.bytes -= self.data.len();
        if let Some(pieces) = out.pieces.get_mut(&self.answer) {
            (pieces.count, pieces.since) = (pieces.count - 1, Instant::now());
            if pieces.count == 0 {
                out.pieces.remove(&self.answer);
            }
        }
        let woken = if out.bytes < MAX_OUTGOING_BYTES { mem::take(&mut out.waiting) } else { BTreeMap::new() };
        drop(out);
        woken.into_values().for_each(Waker::wake);
    }
}

/// Lets the connection of each call know whether its answer is read, and bounds the calls that last. An `Arc<Place>` in the
/// extensions of an answer is kept until the answer is taken, or given up.
#[derive(Debug, Clone)]
pub struct Answers {
    lasting: [Places; 2],
}

impl Default for Answers {
    fn default() -> Self {
        Self { lasting: LASTING.map(|_| Places::new(MAX_LASTING_CALLS)) }
    }
}

impl<S> Layer<S> for Answers {
    type Service = Answered<S>;

    fn layer(&self, inner: S) -> Answered<S> {
        Answered { inner, lasting: self.lasting.clone() }
    }
}

/// A service whose answers have to be read.
#[derive(Debug, Clone)]
pub struct Answered<S> {
    inner: S,
    lasting: [Places; 2],
}

impl<S, In, Out> Service<Request<In>> for Answered<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<Outgoing<Out>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // The Unix socket is its owner's.
        let Some(caller) = request.extensions().get::<Caller>() else {
            return Answering { inner: Some(self.inner.call(request)), account: None, place: None };
        };
        let account = Some(caller.unread.answer());
        let mut kinds = LASTING.iter().zip(&self.lasting);
        let places = kinds.find(|(path, _)| request.uri().path().starts_with(**path)).map(|(_, places)| places);
        match places.map(|places| places.take(caller.remote.ip())).transpose() {
            Ok(place) => Answering { inner: Some(self.inner.call(request)), account, place: place.map(Arc::new) },
            Err(_) => Answering { inner: None, account, place: None },
        }
    }
}

pin_project! {
    /// An answer that is being made.
    #[derive(Debug)]
    pub struct Answering<F> {
        // `None`: there are too many such calls.
        #[pin]
        inner: Option<F>,
        account: Option<Account>,
        place: Option<Arc<Place>>,
    }
}

impl<F, Out, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
{
    type Output = Result<Response<Outgoing<Out>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll(cx))?.map(Some),
            None => {
                let many = "too many calls of this kind are open here; end others, or try again in a minute";
                Status::resource_exhausted(many).into_http()
            }
        };
        let place = response.extensions_mut().remove::<Arc<Place>>().or(this.place.take());
        let account = this.account.take();
        Poll::Ready(Ok(response.map(|inner| Outgoing { inner, rest: Bytes::new(), account, place })))
    }
}

pin_project! {
    /// A body on its way out, which goes in pieces.
    #[derive(Debug)]
    pub struct Outgoing<B> {
        // `None`: the answer has none.
        #[pin]
        inner: Option<B>,
        // What is left of the last frame.
        rest: Bytes,
        account: Option<Account>,
        place: Option<Arc<Place>>,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let Some(inner) = this.inner.as_pin_mut() else { return Poll::Ready(None) };
            match ready!(inner.poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let Some(account) = this.account else {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(this.rest)))));
        };
        ready!(account.poll_room(cx));
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(account.hand_over(piece, this.place.clone())))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint);
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests;
