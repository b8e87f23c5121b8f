//! What is known of answers on their way out.

use std::{convert::Infallible, future, net::SocketAddr};

use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{body::Body, codegen::http::HeaderMap};

use super::*;
use crate::connection::Hangup;

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>;
type Stream = StreamBody<UnboundedReceiverStream<Result<Frame<Bytes>, Infallible>>>;

fn answer(unread: &Unread) -> (Frames, Outgoing<Stream>) {
    let (frames, sent) = mpsc::unbounded_channel();
    let inner = Some(StreamBody::new(UnboundedReceiverStream::new(sent)));
    (frames, Outgoing { inner, rest: Bytes::new(), account: Some(unread.answer()), place: None })
}

/// The next frame; `None` while there is nothing to send.
fn taken<B: HttpBody<Data = Bytes, Error: std::fmt::Debug> + Unpin>(body: &mut B) -> Option<Option<Frame<Bytes>>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => Some(frame.map(|frame| frame.unwrap())),
        Poll::Pending => None,
    }
}

fn piece(body: &mut Outgoing<Stream>) -> Option<Bytes> {
    taken(body)?.and_then(|frame| frame.into_data().ok())
}

fn data(size: usize) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(vec![7; size].into()))
}

#[test]
fn an_answer_waits_until_its_pieces_are_written_and_each_has_the_whole_time() {
    let unread = Unread::default();
    let (frames, mut body) = answer(&unread);
    assert!(taken(&mut body).is_none());
    assert_eq!(unread.since(), None, "there is nothing to read");
    frames.send(data(3 * PIECE_BYTES)).unwrap();
    let first = piece(&mut body).unwrap();
    let since = unread.since().expect("nobody has read it");
    let second = piece(&mut body).unwrap();
    assert_eq!(unread.since(), Some(since), "the first one waits for longer");
    assert!(piece(&mut body).is_none(), "two are enough");
    drop(first);
    assert!(unread.since().unwrap() > since);
    let third = piece(&mut body).expect("there is room again");
    assert!(taken(&mut body).is_none());
    drop(body);
    assert!(unread.since().is_some(), "what HTTP/2 has taken is not read yet");
    drop((second, third));
    assert_eq!(unread.since(), None, "all of it is on the wire");
}

#[test]
fn the_answers_of_a_connection_share_what_may_be_on_its_way_out() {
    let unread = Unread::default();
    let mut answers: Vec<_> = (0..64).map(|_| answer(&unread)).collect();
    let mut out = Vec::new();
    for (frames, body) in &mut answers {
        frames.send(data(4 * PIECE_BYTES)).unwrap();
        out.extend(std::iter::from_fn(|| piece(body)));
    }
    assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), MAX_OUTGOING_BYTES);
    let (_, other) = answers.last_mut().unwrap();
    assert!(piece(other).is_none());
    let (_, apart) = &mut answer(&Unread::default());
    assert!(taken(apart).is_none(), "another connection has its own");
    out.pop();
    assert!(piece(other).is_some());
}

#[tokio::test]
async fn who_waits_for_room_is_told_when_there_is_some() {
    let unread = Unread::default();
    let (frames, mut body) = answer(&unread);
    frames.send(data(3 * PIECE_BYTES)).unwrap();
    let first = [piece(&mut body), piece(&mut body)];
    let next = tokio::spawn(async move { future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() });
    while unread.out().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert!(next.await.unwrap());
}

#[test]
fn a_large_answer_goes_out_in_pieces_and_arrives_as_it_was() {
    let (frames, mut body) = answer(&Unread::default());
    let text: Vec<u8> = (0..3 * PIECE_BYTES + 7).map(|number| number as u8).collect();
    frames.send(Ok(Frame::data(text.clone().into()))).unwrap();
    frames.send(Ok(Frame::trailers(HeaderMap::new()))).unwrap();
    drop(frames);
    let (mut arrived, mut sizes) = (Vec::new(), Vec::new());
    while let Some(piece) = piece(&mut body) {
        sizes.push(piece.len());
        arrived.extend_from_slice(&piece);
        assert_eq!((body.is_end_stream(), body.size_hint().lower()), (false, (text.len() - arrived.len()) as u64));
    }
    assert_eq!((arrived, sizes), (text, vec![PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 7]));
    assert!(matches!(taken(&mut body), Some(None)), "the trailers came last");
}

fn call(path: &str) -> Request<()> {
    let remote = SocketAddr::from(([10, 0, 0, 1], 7_400));
    let caller = Caller { peer: None, remote, hangup: Hangup::default(), unread: Unread::default() };
    Request::builder().uri(path).extension(caller).body(()).unwrap()
}

#[tokio::test]
async fn a_place_is_kept_until_the_answer_is_written() {
    let places = Places::new(1);
    let mut service = Answers::default().layer(tower::service_fn(async |_: Request<()>| {
        let mut response = Response::new(Body::new(http_body_util::Full::from("news")));
        response.extensions_mut().insert(Arc::new(places.take([10, 0, 0, 1].into()).unwrap()));
        Ok::<_, Infallible>(response)
    }));
    let mut answer = service.call(call("/list")).await.unwrap().into_body();
    let piece = taken(&mut answer);
    drop(answer);
    assert_eq!(places.taken_by_all(), 1);
    drop(piece);
    assert_eq!(places.taken_by_all(), 0);
}

#[tokio::test]
async fn calls_that_last_are_bounded_and_others_are_not() {
    let mut service = Answers::default()
        .layer(tower::service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::empty()))));
    let mut open = Vec::new();
    for path in ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Watch"] {
        for _ in 0..MAX_LASTING_CALLS / 2 {
            open.push(service.call(call(path)).await.unwrap());
        }
        let refused = service.call(call(path)).await.unwrap();
        let status = Status::from_header_map(refused.headers()).expect("a status");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{path}");
    }
    for path in ["/grpc.health.v1.Health/Check", "/p2pchat.v1.Liveness/Ping"] {
        let served = service.call(call(path)).await.unwrap();
        assert!(served.headers().is_empty(), "{path}");
    }
    drop(open);
    let served = service.call(call("/grpc.health.v1.Health/Watch")).await.unwrap();
    assert!(served.headers().is_empty(), "the places are freed");
}
