//! How fast the log takes commits that wait together, each a run of one text that is delivered at once:
//! `cargo bench -p p2p-chat-store`. The disk is that of the directory for temporary files.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark ends where something is wrong")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use p2p_chat_store::Pending;

use crate::support::{Author, deliver, open, write_and_deliver};

// Shared with the tests.
#[path = "../tests/support/mod.rs"]
mod support;

const BODY_BYTES: usize = 256;

fn append(criterion: &mut Criterion) {
    let text = "x".repeat(BODY_BYTES);
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    for batch in [1, 8, 64, 512] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            let (_directory, store) = open();
            let (mut alice, genesis, found) = Author::found(1, "lab");
            let network = alice.network;
            store.commit(network, found.into_iter().chain(deliver(&genesis)).collect()).wait().unwrap();
            bencher.iter_batched(
                || (0..batch).map(|_| write_and_deliver(&alice.texts(&[&text]))).collect::<Vec<_>>(),
                |commits| {
                    let pending: Vec<Pending> =
                        commits.into_iter().map(|writes| store.commit(network, writes)).collect();
                    for commit in pending {
                        commit.wait().unwrap();
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
