//! The bodies of answers on their way out. HTTP/2 keeps what a client takes no part of, for ever if it likes; so a
//! client that asks for much and reads nothing could fill the memory. Here each connection knows which answers wait to
//! be read, and is closed when one has waited for too long. A stream that has nothing to say waits for nobody.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::codegen::{
    Bytes, Service,
    http::{Request, Response},
};
use tower::Layer;

use crate::{connection::Caller, places::Place};

/// Most of an answer that is handed over at once, in bytes. For each such piece the client has the whole time anew, so
/// that a slow line is not taken for a client that does not read.
const PIECE_BYTES: usize = 64 << 10;
/// The last piece of a frame, in bytes. Of what went before, the client has asked for all when this goes out; of this
/// nobody sees whether it does.
const LAST_PIECE_BYTES: usize = 1 << 10;

/// The answers of one connection that wait to be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    /// When each began.
    begun: BTreeSet<(Instant, u64)>,
    next: u64,
}

impl Unread {
    /// Since when the client has left something unread, if it has.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.waits().begun.first().map(|(begun, _)| *begun)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait of one answer. Dropping it ends it.
#[derive(Debug)]
struct Wait {
    unread: Unread,
    begun: Option<(Instant, u64)>,
}

impl Wait {
    /// A wait that begins now.
    fn of(unread: Unread) -> Self {
        let mut wait = Self { unread, begun: None };
        wait.begin();
        wait
    }

    fn begin(&mut self) {
        self.end();
        let mut waits = self.unread.waits();
        let begun = (Instant::now(), waits.next);
        waits.next += 1;
        waits.begun.insert(begun);
        self.begun = Some(begun);
    }

    fn end(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.unread.waits().begun.remove(&begun);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets the connection of each call know whether its answer is read. An `Arc<Place>` in the extensions of an answer is
/// kept until the answer is taken, or given up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers;

impl<S> Layer<S> for Answers {
    type Service = Answered<S>;

    fn layer(&self, inner: S) -> Answered<S> {
        Answered { inner }
    }
}

/// A service whose answers have to be read.
#[derive(Debug, Clone)]
pub struct Answered<S> {
    inner: S,
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
        let unread = request.extensions().get::<Caller>().map(|caller| caller.unread.clone());
        Answering { inner: self.inner.call(request), unread }
    }
}

pin_project! {
    /// An answer that is being made.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        inner: F,
        unread: Option<Unread>,
    }
}

impl<F, Out, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
{
    type Output = Result<Response<Outgoing<Out>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let place = response.extensions_mut().remove::<Arc<Place>>();
        let wait = this.unread.take().map(Wait::of);
        Poll::Ready(Ok(response.map(|inner| Outgoing { inner, rest: Bytes::new(), wait, place })))
    }
}

pin_project! {
    /// A body on its way out. Whoever sends it asks for the next piece when the client has asked for more than came
    /// before the last one (hyper holds that one back until then), so it waits to be read from when it gives a piece
    /// until it is asked again.
    #[derive(Debug)]
    pub struct Outgoing<B> {
        #[pin]
        inner: B,
        // What is left of the last frame.
        rest: Bytes,
        wait: Option<Wait>,
        place: Option<Arc<Place>>,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(wait) = this.wait {
            wait.end();
        }
        if this.rest.is_empty() {
            match ready!(this.inner.poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        if let Some(wait) = this.wait {
            wait.begin();
        }
        let size = match this.rest.len() {
            size @ ..=LAST_PIECE_BYTES => size,
            size => (size - LAST_PIECE_BYTES).min(PIECE_BYTES),
        };
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, task::Waker};

    use http_body_util::StreamBody;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;
    use tonic::codegen::http::HeaderMap;

    use super::*;
    use crate::places::Places;

    type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>;
    type Stream = StreamBody<UnboundedReceiverStream<Result<Frame<Bytes>, Infallible>>>;

    fn answer(unread: &Unread) -> (Frames, Outgoing<Stream>) {
        let (frames, sent) = mpsc::unbounded_channel();
        let inner = StreamBody::new(UnboundedReceiverStream::new(sent));
        (frames, Outgoing { inner, rest: Bytes::new(), wait: Some(Wait::of(unread.clone())), place: None })
    }

    /// The next frame; `None` while there is nothing to send.
    fn taken(body: &mut Outgoing<Stream>) -> Option<Option<Frame<Bytes>>> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => Some(frame.map(|frame| frame.unwrap())),
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_answer_waits_from_each_piece_until_the_next_is_asked_for() {
        let unread = Unread::default();
        let (frames, mut body) = answer(&unread);
        assert!(unread.since().is_some(), "nobody has asked for anything yet");
        assert!(taken(&mut body).is_none());
        assert_eq!(unread.since(), None, "there is nothing to read");
        frames.send(Ok(Frame::data(Bytes::from_static(b"news")))).unwrap();
        assert!(taken(&mut body).is_some());
        assert!(unread.since().is_some());
        assert!(taken(&mut body).is_none());
        assert_eq!(unread.since(), None, "it was read");
        let (_frames, other) = answer(&unread);
        assert!(unread.since().is_some());
        drop(other);
        assert_eq!(unread.since(), None, "who hangs up waits for nothing");
    }

    #[test]
    fn a_large_answer_goes_out_in_pieces_and_arrives_as_it_was() {
        let (frames, mut body) = answer(&Unread::default());
        let text: Vec<u8> = (0..3 * PIECE_BYTES + 7 + LAST_PIECE_BYTES).map(|number| number as u8).collect();
        frames.send(Ok(Frame::data(text.clone().into()))).unwrap();
        frames.send(Ok(Frame::trailers(HeaderMap::new()))).unwrap();
        drop(frames);
        let (mut arrived, mut sizes) = (Vec::new(), Vec::new());
        while let Some(Some(Ok(piece))) = taken(&mut body).map(|frame| frame.map(Frame::into_data)) {
            sizes.push(piece.len());
            arrived.extend_from_slice(&piece);
            assert_eq!((body.is_end_stream(), body.size_hint().lower()), (false, (text.len() - arrived.len()) as u64));
        }
        assert_eq!((arrived, sizes), (text, vec![PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 7, LAST_PIECE_BYTES]));
        assert!(matches!(taken(&mut body), Some(None)), "the trailers came last");
    }

    #[tokio::test]
    async fn a_place_is_kept_until_the_answer_is_taken() {
        let places = Places::new(1);
        let mut service = Answers.layer(tower::service_fn(async |_: Request<()>| {
            let mut response = Response::new(());
            response.extensions_mut().insert(Arc::new(places.take([10, 0, 0, 1].into()).unwrap()));
            Ok::<_, Infallible>(response)
        }));
        let answer = service.call(Request::new(())).await.unwrap().into_body();
        assert_eq!(places.taken_by_all(), 1);
        drop(answer);
        assert_eq!(places.taken_by_all(), 0);
    }
}
