//! Counts calls by method and status code, on the side that serves them and on the side that makes them.
//!
//! A call is counted once, when it ends: with the code that the other side was, or has, told; as CANCELLED if the
//! caller went away before, as DEADLINE_EXCEEDED if this side gave its own call up. Counting is a search in a fixed
//! table and one atomic operation; nothing is allocated.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use p2p_chat_metrics::Counter;
use p2p_chat_proto::METHODS;
use pin_project_lite::pin_project;
use tonic::{
    Code, Status,
    codegen::{
        Service,
        http::{HeaderMap, HeaderValue, Request, Response},
    },
    transport::Channel,
};
use tower::Layer;

use crate::last_frame::EndWithData;

/// Methods that are counted beside those of the wire contract; whatever else is asked for is counted together.
const COMMON: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];
/// The header in which a call says what caused it (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";
/// The codes of gRPC, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// How many calls ended how: one table for whatever is to be told apart from others. At most as many series as there
/// are methods, times 17.
pub struct Calls {
    /// By method, then by code; the last row is for unknown methods.
    counts: Box<[[Counter; CODES.len()]]>,
}

impl Default for Calls {
    fn default() -> Self {
        let rows = METHODS.len() + COMMON.len() + 1;
        Self { counts: (0..rows).map(|_| Default::default()).collect() }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    /// Tells of every method of `services` (short names, such as `Chat`; of all if there are none) how many calls ended
    /// with OK, and with any other code that has occurred.
    pub fn each(&self, services: &[&str], mut tell: impl FnMut(&str, &str, &str, u64)) {
        let paths = METHODS.iter().chain(&COMMON).chain(&["/other/other"]);
        for (path, counts) in paths.zip(&self.counts) {
            let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or(("other", "other"));
            let short = service.rsplit('.').next().unwrap_or(service);
            let wanted = services.is_empty() || services.contains(&short) || !path.starts_with("/p2pchat.");
            for (code, count) in CODES.iter().zip(counts) {
                let count = count.value();
                if count > 0 || wanted && *code == "OK" {
                    tell(short, method, code, count);
                }
            }
        }
    }

    /// How many calls of a method ended with a code.
    pub fn count(&self, path: &str, code: Code) -> u64 {
        self.counter(Self::row(path), code).map_or(0, Counter::value)
    }

    fn row(path: &str) -> usize {
        let common = || COMMON.iter().position(|known| *known == path).map(|index| METHODS.len() + index);
        METHODS.binary_search(&path).ok().or_else(common).unwrap_or(METHODS.len() + COMMON.len())
    }

    fn counter(&self, row: usize, code: Code) -> Option<&Counter> {
        self.counts.get(row)?.get(code as usize)
    }
}

/// Counts the calls that a server answers, in this table.
#[derive(Debug, Clone)]
pub struct Observe(pub(crate) Arc<Calls>);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, calls: Arc::clone(&self.0), given_up: Code::Cancelled, cause: None }
    }
}

/// A channel whose calls are counted.
pub type Line = Observed<EndWithData<Channel>>;

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub struct Observed<S> {
    inner: S,
    calls: Arc<Calls>,
    given_up: Code,
    cause: Option<HeaderValue>,
}

impl Line {
    /// Counts the calls made on `channel`.
    pub fn new(channel: Channel, calls: &Arc<Calls>) -> Self {
        let inner = EndWithData(channel);
        Self { inner, calls: Arc::clone(calls), given_up: Code::DeadlineExceeded, cause: None }
    }

    /// The same channel, whose calls say in [`TRACEPARENT`] what caused them.
    #[must_use]
    pub fn caused_by(self, cause: Option<HeaderValue>) -> Self {
        Self { cause, ..self }
    }
}

impl<S, In, Out> Service<Request<In>> for Observed<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<Counted<Out>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        if let Some(cause) = &self.cause {
            request.headers_mut().insert(TRACEPARENT, cause.clone());
        }
        let row = Calls::row(request.uri().path());
        let ticket = Ticket { calls: Some(Arc::clone(&self.calls)), row, given_up: self.given_up };
        Answering { inner: self.inner.call(request), ticket: Some(ticket) }
    }
}

/// A call that has not ended. Dropping it ends it.
#[derive(Debug)]
struct Ticket {
    calls: Option<Arc<Calls>>,
    row: usize,
    given_up: Code,
}

impl Ticket {
    fn end(&mut self, code: Code) {
        if let Some(counter) = self.calls.take().as_deref().and_then(|calls| calls.counter(self.row, code)) {
            counter.increment();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(self.given_up);
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

pin_project! {
    /// The answer to a counted call, on its way.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        inner: F,
        ticket: Option<Ticket>,
    }
}

impl<F, Out, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
{
    type Output = Result<Response<Counted<Out>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        let mut ticket = this.ticket.take();
        Poll::Ready(match outcome {
            Ok(response) => {
                // A status in the headers: there is no body, or none that matters.
                if let (Some(ticket), Some(code)) = (&mut ticket, code(response.headers())) {
                    ticket.end(code);
                }
                Ok(response.map(|inner| Counted { inner, ticket }))
            }
            // Nobody answered.
            Err(error) => {
                if let Some(ticket) = &mut ticket {
                    ticket.end(Code::Unavailable);
                }
                Err(error)
            }
        })
    }
}

pin_project! {
    /// The body of the answer to a counted call; its trailers say how the call ended.
    #[derive(Debug)]
    pub struct Counted<B> {
        #[pin]
        inner: B,
        ticket: Option<Ticket>,
    }
}

impl<B: HttpBody> HttpBody for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let Some(ticket) = this.ticket.as_mut() {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        ticket.end(code(trailers).unwrap_or(Code::Unknown));
                    }
                }
                Some(Err(_)) => ticket.end(Code::Unavailable),
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_methods_is_sorted_and_finds_every_one() {
        assert!(METHODS.is_sorted(), "{METHODS:?}");
        let rows: Vec<usize> = METHODS.iter().chain(&COMMON).map(|path| Calls::row(path)).collect();
        assert_eq!(rows, (0..METHODS.len() + COMMON.len()).collect::<Vec<_>>());
        assert_eq!(Calls::row("/p2pchat.v1.Chat/Shout"), rows.len());
    }

    #[test]
    fn a_call_is_counted_once_with_its_first_end() {
        let calls = Arc::new(Calls::default());
        let path = "/p2pchat.v1.Chat/Deliver";
        let ticket = || Ticket { calls: Some(Arc::clone(&calls)), row: Calls::row(path), given_up: Code::Cancelled };
        let mut ended = ticket();
        ended.end(Code::Ok);
        drop(ended);
        drop(ticket());
        assert_eq!((calls.count(path, Code::Ok), calls.count(path, Code::Cancelled)), (1, 1));
        let mut told = Vec::new();
        calls.each(&["Chat"], |service, method, code, count| told.push(format!("{service}/{method} {code} {count}")));
        assert!(told.contains(&"Chat/Deliver CANCELLED 1".to_owned()), "{told:?}");
        assert!(told.contains(&"Chat/Fetch OK 0".to_owned()), "{told:?}");
        assert!(!told.iter().any(|line| line.starts_with("Node/")), "{told:?}");
    }
}
