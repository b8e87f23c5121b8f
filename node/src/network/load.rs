//! What the engine starts from, read from the store.

use std::collections::BTreeMap;

use p2p_chat_engine::{Durable, Engine, EntryFacts, FeedLog, Moment, Phase, RunToken, Setup, Snapshot, Start};
use p2p_chat_model::{DecodeError, EntryHash, NetworkId, PeerId, Seq, limits::MAX_MEMBERS};
use p2p_chat_store::{Store, StoreError};

use crate::wire;

/// The log of a network as the engine needs it, and the end of the own feed.
pub(crate) struct Loaded {
    pub(crate) log: Vec<FeedLog>,
    pub(crate) own: (Seq, EntryHash),
}

/// Reads the log of a network.
pub(crate) async fn load(store: &Store, network: NetworkId, me: PeerId) -> Result<Loaded, StoreError> {
    let mut held: BTreeMap<PeerId, Vec<(Seq, EntryFacts)>> = BTreeMap::new();
    for run in store.undelivered(network).await? {
        let entries = wire::facts(&run, RunToken(0)).entries;
        held.entry(run.author).or_default().extend((run.first..).zip(entries));
    }
    let mut roster: BTreeMap<PeerId, Vec<(Seq, EntryFacts)>> = BTreeMap::new();
    for stored in store.roster_entries(network).await?.into_iter().filter(|stored| stored.delivered) {
        roster.entry(stored.author).or_default().push((stored.seq, wire::entry_facts(&stored.entry, stored.hash)));
    }
    // Where entries wait, the time of the last delivered one is not known by itself; the newest of all will do.
    let newest = store.history(network, None, 1).await?.pop().map_or(0, |message| message.lamport);
    let mut own = (0, EntryHash::NONE);
    let mut log = Vec::new();
    for feed in store.feeds(network).await? {
        if feed.author == me {
            own = (feed.last, feed.head);
        }
        let waiting = held.remove(&feed.author).unwrap_or_default();
        log.push(FeedLog {
            author: feed.author,
            last: feed.last,
            head: feed.head,
            lamport: if feed.delivered == feed.last { feed.last_lamport } else { newest },
            held: waiting.into_iter().filter(|(seq, _)| *seq > feed.delivered).map(|(_, entry)| entry).collect(),
            roster: roster.remove(&feed.author).unwrap_or_default(),
        });
    }
    Ok(Loaded { log, own })
}

/// What the disk says of a network in which no engine runs; `None` if it says nothing yet.
pub(crate) async fn dormant(setup: &Setup, store: &Store) -> Result<Option<Snapshot>, StoreError> {
    let Some(mut durable) = stored_state(store, setup.network).await? else { return Ok(None) };
    if matches!(durable.phase, Phase::Founding | Phase::Joining) {
        // Nothing came of it.
        durable.phase = Phase::Left;
    }
    let log = load(store, setup.network, setup.identity.peer()).await?.log;
    Ok(Some(at_rest(setup, durable, log)))
}

/// What is known of a network of which nothing can be read.
pub(crate) fn unreadable(setup: &Setup) -> Snapshot {
    at_rest(setup, Durable::new(Phase::Left, 0), Vec::new())
}

fn at_rest(setup: &Setup, durable: Durable, log: Vec<FeedLog>) -> Snapshot {
    let moment = Moment { now: 0, wall_ms: 0, random: 0 };
    Engine::new(setup.clone(), Start::Resume { durable, log }, moment).snapshot()
}

/// The engine's state on disk, if it has ever written one.
pub(crate) async fn stored_state(store: &Store, network: NetworkId) -> Result<Option<Durable>, StoreError> {
    let Some(bytes) = store.state(network).await? else { return Ok(None) };
    let corrupt = |error: DecodeError| StoreError::Damaged {
        file: store.file().to_owned(),
        network,
        what: format!("its state: {error}"),
    };
    let mut durable = Durable::decode(&bytes).map_err(corrupt)?;
    // Acks are kept one by one; the state has them only as of its last change for another reason, and of so many peers.
    for (peer, upto) in store.acked(network).await? {
        if durable.acked.at(&peer) > 0 || durable.acked.len() < MAX_MEMBERS {
            durable.acked.raise(peer, upto);
        }
    }
    Ok(Some(durable))
}
