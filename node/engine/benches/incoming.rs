//! What the engine takes for what comes in: `cargo bench -p p2p-chat-engine`.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark ends where something is wrong")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use p2p_chat_engine::{EntryFacts, Input, Moment, Request, RequestId};
use p2p_chat_model::PeerId;

use crate::common::{ALICE, BOB, CAROL, CONFIG, DAVE, ERIN, Node, WALL, Who, hash, run, text, view};

// Shared with the tests, which use all of it.
#[allow(dead_code)]
#[path = "../tests/engine/common.rs"]
mod common;

/// A member of a group of five.
fn bob() -> Node {
    Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL, DAVE, ERIN]))
}

/// Gives a request in and takes every output, as the driver does. `Node::request` also keeps books for the tests.
fn handle(node: &mut Node, from: PeerId, request: Request) {
    let moment = Moment { now: node.now, wall_ms: WALL, random: node.random };
    node.engine.handle(moment, Input::Request(RequestId(1), from, request));
    while let Some(output) = node.engine.poll() {
        black_box(output);
    }
}

/// The next texts of an author, of whom `seq` were written before.
fn next(author: Who, seq: &mut u64, count: u64, past: &[(Who, u64)]) -> Request {
    let first = *seq + 1;
    *seq += count;
    // Who somebody is takes a key to be made; once is enough.
    let like = text(author, first, 0, past);
    let entry = |seq| EntryFacts { hash: hash(author, seq, 0), lamport: 100 + seq, ..like.clone() };
    let entries = (first..=*seq).map(entry).collect();
    Request::Deliver(vec![run(1, author, first, entries)])
}

/// A run that continues its feed and depends on what is there.
fn incoming_run(criterion: &mut Criterion) {
    let carol = CAROL.peer();
    let mut group = criterion.benchmark_group("incoming run");
    for length in [1, 8, 64] {
        group.throughput(Throughput::Elements(length));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            let (mut node, mut seq) = (bob(), 0);
            bencher.iter_batched(
                || next(CAROL, &mut seq, length, &[(ALICE, 4)]),
                |request| handle(&mut node, carol, request),
                BatchSize::SmallInput,
            );
            assert_eq!(node.snapshot().frontier.at(&carol), seq, "everything was taken");
        });
    }
    group.finish();
}

/// So many texts wait for one of another author; then it comes.
fn hold_back(criterion: &mut Criterion) {
    let (carol, dave) = (CAROL.peer(), DAVE.peer());
    let mut group = criterion.benchmark_group("hold back and release");
    for length in [1, 8, 64] {
        group.throughput(Throughput::Elements(length));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            let (mut node, mut replies, mut questions) = (bob(), 0, 0);
            bencher.iter_batched(
                || {
                    let held = next(CAROL, &mut replies, length, &[(DAVE, questions + 1)]);
                    (held, next(DAVE, &mut questions, 1, &[]))
                },
                |(held, question)| {
                    handle(&mut node, carol, held);
                    handle(&mut node, dave, question);
                },
                BatchSize::SmallInput,
            );
            let after = node.snapshot();
            assert_eq!((after.held, after.frontier.at(&carol)), (0, replies), "everything was taken and released");
        });
    }
    group.finish();
}

criterion_group!(benches, incoming_run, hold_back);
criterion_main!(benches);
