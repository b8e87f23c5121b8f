//! What the engine takes for what comes in: `cargo bench -p p2p-chat-engine`.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark ends where something is wrong")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use p2p_chat_engine::{EntryFacts, Request};

use crate::common::{ALICE, BOB, CAROL, CONFIG, DAVE, ERIN, Node, Who, run, text, view};

// Shared with the tests, which use all of it.
#[allow(dead_code)]
#[path = "../tests/engine/common.rs"]
mod common;

/// A member of a group of five.
fn bob() -> Node {
    Node::settled_with(BOB, 0, CONFIG, &view(1, 5, ALICE, &[ALICE, BOB, CAROL, DAVE, ERIN]))
}

/// The next texts of an author, of whom `seq` were written before.
fn next(author: Who, seq: &mut u64, count: u64, past: &[(Who, u64)]) -> Request {
    let first = *seq + 1;
    *seq += count;
    let entries: Vec<EntryFacts> = (first..=*seq).map(|seq| text(author, seq, 100 + seq, past)).collect();
    Request::Deliver(vec![run(1, author, first, entries)])
}

/// A run that continues its feed and depends on what is there.
fn incoming_run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("incoming run");
    for length in [1, 8, 64] {
        group.throughput(Throughput::Elements(length));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            let (mut node, mut seq) = (bob(), 0);
            bencher.iter_batched(
                || next(CAROL, &mut seq, length, &[(ALICE, 4)]),
                |request| node.request(CAROL, request),
                BatchSize::SmallInput,
            );
            assert_eq!(node.snapshot().frontier.at(&CAROL.peer()), seq, "everything was taken");
        });
    }
    group.finish();
}

/// So many texts wait for one of another author; then it comes.
fn hold_back(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hold back and release");
    for length in [1, 8, 64] {
        group.throughput(Throughput::Elements(length));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            let (mut node, mut carol, mut dave) = (bob(), 0, 0);
            bencher.iter_batched(
                || {
                    let replies = next(CAROL, &mut carol, length, &[(DAVE, dave + 1)]);
                    (replies, next(DAVE, &mut dave, 1, &[]))
                },
                |(replies, question)| (node.request(CAROL, replies), node.request(DAVE, question)),
                BatchSize::SmallInput,
            );
            let after = node.snapshot();
            assert_eq!((after.held, after.frontier.at(&CAROL.peer())), (0, carol), "everything was taken and released");
        });
    }
    group.finish();
}

criterion_group!(benches, incoming_run, hold_back);
criterion_main!(benches);
