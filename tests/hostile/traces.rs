//! The trace context that comes with a call: nonsense in it is ignored, and what strangers say of it is not heard.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use p2p_chat_proto::{convert::ToWire, v1};
use tonic::{Code, metadata::MetadataValue};

use crate::{
    outlaw::Outlaw,
    support::{
        Cluster, LAB, Lines,
        collector::{Collector, Span},
        eventually,
        wait::{ensure, secs},
    },
    table::request,
};

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const RELAY: &str = "p2pchat.v1.Chat/Relay";

/// Everything but contexts, up to what fits into the headers of a call.
fn nonsense() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "",
        "-",
        "00",
        "traceparent",
        "00-0-0-1",
        "{}",
        "00--------",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    all.push(vec![0xff; 55]);
    all.push("ÿ-é".repeat(11).into_bytes());
    all.push(b"-".repeat(8_000));
    all.push(GOOD.repeat(140).into_bytes());
    all
}

fn relay(network: &bytes::Bytes, target: &Outlaw, context: &[u8]) -> tonic::Request<v1::RelayRequest> {
    let mut request = request(v1::RelayRequest { network: network.clone(), target: target.peer().to_wire() });
    let value = MetadataValue::try_from(context).expect("a value that HTTP/2 carries");
    request.metadata_mut().insert("traceparent", value);
    request.metadata_mut().insert("tracestate", "x=y,".repeat(1_000).parse().expect("it is ASCII"));
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_for_a_trace_context_is_ignored_and_that_of_strangers_is_not_heard() {
    let collector = Collector::start().await;
    let mut cluster = Cluster::new(Lines::Direct).await;
    cluster.add("alice").await.start(&["--create", LAB, "--otlp", &collector.url]).await;
    cluster.node("alice").is_in(LAB).await;
    let (mut mallory, stranger) = (Outlaw::new(0x67).await, Outlaw::new(0x68).await);
    mallory.join(&cluster, cluster.node("alice"), "mallory").await;
    let network = mallory.standing().network.to_wire();

    let mut chat = stranger.services(cluster.node("alice")).chat;
    let refused = chat.relay(relay(&network, &stranger, GOOD.as_bytes())).await.expect_err("not a member");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let mut chat = mallory.services(cluster.node("alice")).chat;
    for context in nonsense() {
        let answer = chat.relay(relay(&network, &stranger, &context)).await;
        let answer = answer.unwrap_or_else(|status| panic!("{:?}: {status}", String::from_utf8_lossy(&context)));
        assert!(!answer.into_inner().reached);
    }
    chat.relay(relay(&network, &stranger, GOOD.as_bytes())).await.expect("an answer");

    let answered = |span: &Span| span.name == RELAY && span.kind == SpanKind::Server;
    let of_good = eventually(secs(30), "the span under mallory's", async || {
        collector.one("under mallory's", |span| answered(span) && span.trace == GOOD[3..35])
    })
    .await;
    assert_eq!(of_good.parent, GOOD[36..52]);
    let roots: Vec<Span> =
        collector.spans().into_iter().filter(|span| answered(span) && span.parent.is_empty()).collect();
    let traces: BTreeSet<&str> = roots.iter().map(|span| &*span.trace).collect();
    assert_eq!((roots.len(), traces.len()), (nonsense().len(), nonsense().len()), "{roots:?}");
    ensure(collector.spans().iter().all(|span| span.says("peer") != &stranger.peer().to_string()[..8]), || {
        "a stranger has a span".to_owned()
    })
    .expect("strangers are not heard");
}
