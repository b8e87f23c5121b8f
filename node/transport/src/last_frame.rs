//! Bodies of calls that say with their last data that it is the last.
//!
//! The body of a unary call in tonic finds out only when it is asked for more that there is none. By then HTTP/2 has sent
//! the data, and the end of the stream follows in a frame, a TLS record and a packet of its own.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{
    body::Body,
    codegen::{Bytes, Service, http::Request},
};

/// A service whose requests end with their last data.
#[derive(Debug, Clone)]
pub struct EndWithData<S>(pub(crate) S);

impl<S: Service<Request<Body>>> Service<Request<Body>> for EndWithData<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.0.call(request.map(|inner| Body::new(LookAhead { inner, ahead: None, has_ended: false })))
    }
}

type NextFrame<B> = Option<Result<Frame<Bytes>, <B as HttpBody>::Error>>;

/// A body that is asked for what follows before what it gave is passed on.
struct LookAhead<B: HttpBody> {
    inner: B,
    ahead: NextFrame<B>,
    has_ended: bool,
}

impl<B: HttpBody<Data = Bytes, Error: Unpin> + Unpin> HttpBody for LookAhead<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame<B>> {
        let this = self.get_mut();
        let next = match this.ahead.take() {
            None if this.has_ended => None,
            None => ready!(Pin::new(&mut this.inner).poll_frame(cx)),
            ahead => ahead,
        };
        if matches!(&next, Some(Ok(_)))
            && !this.inner.is_end_stream()
            && let Poll::Ready(ahead) = Pin::new(&mut this.inner).poll_frame(cx)
        {
            this.has_ended = ahead.is_none();
            this.ahead = ahead;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && (self.has_ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // Of what is ahead the inner body does not know any more; nobody needs a guess.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use tonic::{Status, codegen::http::HeaderMap};

    use super::*;

    /// Gives what it has, one after the other, and knows nothing of its end. `None` is a frame that is not there yet.
    struct Body(VecDeque<Option<Result<Frame<Bytes>, Status>>>);

    impl HttpBody for Body {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<NextFrame<Self>> {
            match self.0.pop_front() {
                Some(None) => Poll::Pending,
                Some(frame) => Poll::Ready(frame),
                None => Poll::Ready(None),
            }
        }
    }

    fn data(bytes: &'static str) -> Option<Result<Frame<Bytes>, Status>> {
        Some(Ok(Frame::data(Bytes::from_static(bytes.as_bytes()))))
    }

    /// What comes out, and whether that was said to be the last.
    fn passed<const N: usize>(frames: [Option<Result<Frame<Bytes>, Status>>; N]) -> Vec<(String, bool)> {
        let mut body = LookAhead { inner: Body(frames.into()), ahead: None, has_ended: false };
        let mut passed = Vec::new();
        loop {
            let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
            let shown = match polled {
                Poll::Pending => "pending".to_owned(),
                Poll::Ready(None) => return passed,
                Poll::Ready(Some(Err(status))) => status.message().to_owned(),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                    Err(_) => "trailers".to_owned(),
                },
            };
            passed.push((shown, body.is_end_stream()));
        }
    }

    fn said(frames: &[(&str, bool)]) -> Vec<(String, bool)> {
        frames.iter().map(|(shown, is_last)| ((*shown).to_owned(), *is_last)).collect()
    }

    #[test]
    fn the_last_data_is_said_to_be_the_last() {
        assert_eq!(passed([]), []);
        assert_eq!(passed([data("a")]), said(&[("a", true)]));
        assert_eq!(passed([data("a"), data("b")]), said(&[("a", false), ("b", true)]));
    }

    #[test]
    fn what_follows_data_is_neither_lost_nor_waited_for() {
        let frames = [data("a"), None, data("b"), Some(Err(Status::aborted("broken")))];
        assert_eq!(passed(frames), said(&[("a", false), ("b", false), ("broken", false)]));
        let frames = [None, data("a"), Some(Ok(Frame::trailers(HeaderMap::new())))];
        assert_eq!(passed(frames), said(&[("pending", false), ("a", false), ("trailers", true)]));
    }
}
