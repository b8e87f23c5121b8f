//! Paging through what somebody lacks, on random logs.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::collections::BTreeSet;

use p2p_chat_model::{Run, Seq, VectorClock};
use proptest::prelude::*;
use support::{Author, open, write};

/// Runs: whose, how far the Lamport time jumps, how many entries.
fn logs() -> impl Strategy<Value = Vec<(usize, u64, usize)>> {
    prop::collection::vec((0usize..4, 1u64..5, 1usize..4), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_add_up_to_what_is_missing(log in logs(), have in prop::array::uniform4(0u64..30), max in 1usize..2_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&log, have, max))?;
    }
}

async fn check(log: &[(usize, u64, usize)], have: [Seq; 4], max: usize) -> Result<(), TestCaseError> {
    let (_directory, store) = open();
    let (alice, genesis, found) = Author::found(1, "lab");
    let network = alice.network;
    let mut authors: Vec<_> = std::iter::once(alice).chain((2..5).map(|seed| Author::join(seed, network))).collect();
    let have: VectorClock = authors.iter().zip(have).map(|(author, seq)| (author.peer(), seq)).collect();
    let mut runs = vec![genesis];
    for (author, jump, entries) in log {
        let author = &mut authors[*author];
        author.lamport += jump;
        runs.push(author.texts(&vec!["x"; *entries]));
    }
    // Another network beside it, which must never show up.
    let (other, _, foreign) = Author::found(9, "den");
    store.commit(other.network, foreign).await.unwrap();
    let writes = found.into_iter().chain(runs[1..].iter().map(write)).collect();
    store.commit(network, writes).await.unwrap();

    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = store.runs_beyond(network, &have, cursor, max).await.unwrap();
        let size: usize = page.iter().map(|bytes| bytes.len()).sum();
        prop_assert!(size <= max || page.len() == 1);
        prop_assert!(!page.is_empty() || next.is_none());
        pages.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: BTreeSet<_> = runs.iter().filter(|run| run.last() > have.at(&run.author)).map(Run::encode).collect();
    prop_assert_eq!(pages.len(), expected.len(), "something comes twice or not at all");
    prop_assert_eq!(&pages.iter().map(|bytes| bytes.to_vec()).collect::<BTreeSet<_>>(), &expected);
    let got: Vec<Run> = pages.iter().map(|bytes| Run::decode(bytes).unwrap()).collect();
    let times: Vec<_> = got.iter().map(|run| run.entries[0].1.header.lamport).collect();
    prop_assert!(times.is_sorted());
    if have.at(&authors[0].peer()) == 0 {
        prop_assert_eq!(&got[0], &runs[0], "the genesis comes first");
    }
    Ok(())
}

#[tokio::test]
async fn the_genesis_comes_first_even_if_somebody_claims_an_equal_time() {
    let (_directory, store) = open();
    let (alice, genesis, found) = Author::found(1, "lab");
    let mut bob = Author::join(2, alice.network);
    let early = bob.text_at(1, "early");
    // bob's run is stored first, so only its kind can put the genesis in front.
    let mut writes = found;
    writes.insert(1, write(&early));
    store.commit(alice.network, writes).await.unwrap();
    let (runs, cursor) = store.runs_beyond(alice.network, &VectorClock::new(), None, 1 << 20).await.unwrap();
    assert_eq!(runs, [genesis.encode(), early.encode()]);
    assert_eq!(cursor, None);
}
