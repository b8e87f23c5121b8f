//! What a run costs its author and everybody who receives it, by its length: `cargo bench -p p2p-chat-model`.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark ends where something is wrong")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use p2p_chat_model::{Entry, EntryHash, EntryKind, Header, Identity, NetworkId, PeerId, Run, VectorClock};

const NETWORK: NetworkId = NetworkId::new([7; 32]);
const BEFORE: EntryHash = EntryHash::new([5; 32]);
const BODY_BYTES: usize = 256;

/// Texts of an author in a busy group: each follows something new of three others.
fn texts(count: u64) -> Vec<Entry> {
    let text = |number: u64| {
        let clock: VectorClock = (1..=3).map(|other| (PeerId::new([other; 32]), 1_000 + number)).collect();
        let header = Header { lamport: 9_000 + number, wall_ms: 1_700_000_000_000, clock, kind: EntryKind::Text };
        Entry { header, body: vec![b'x'; BODY_BYTES].into() }
    };
    (0..count).map(text).collect()
}

fn runs(criterion: &mut Criterion) {
    let identity = Identity::from_seed([1; 32]);
    let mut group = criterion.benchmark_group("run");
    for length in [1, 8, 64] {
        let entries = texts(length);
        group.throughput(Throughput::Elements(length));
        group.bench_with_input(BenchmarkId::new("sign and encode", length), &entries, |bencher, entries| {
            bencher.iter_batched(
                || entries.clone(),
                |entries| Run::sign(&identity, NETWORK, 4_000, BEFORE, entries).encode(),
                criterion::BatchSize::SmallInput,
            );
        });
        let bytes = Run::sign(&identity, NETWORK, 4_000, BEFORE, entries).encode();
        group.bench_with_input(BenchmarkId::new("decode and verify", length), &bytes, |bencher, bytes| {
            bencher.iter(|| Run::decode(black_box(bytes)).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("decode what is trusted", length), &bytes, |bencher, bytes| {
            bencher.iter(|| Run::decode_trusted(black_box(bytes)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, runs);
criterion_main!(benches);
