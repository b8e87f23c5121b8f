//! What the engine starts from, read from the store.

use std::collections::BTreeMap;

use p2p_chat_engine::{Durable, Engine, EntryFacts, FeedLog, Moment, RunToken, Setup, Snapshot, Start};
use p2p_chat_model::{DecodeError, EntryHash, NetworkId, PeerId, Seq};
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

/// What the disk says of a network in which no engine runs.
pub(crate) async fn dormant(setup: &Setup, store: &Store) -> Option<Snapshot> {
    let durable = stored_state(store, setup.network).await.ok().flatten()?;
    let log = load(store, setup.network, setup.identity.peer()).await.ok()?.log;
    let moment = Moment { now: 0, wall_ms: 0, random: 0 };
    let engine = Engine::new(setup.clone(), Start::Resume { durable, log }, moment);
    Some(engine.snapshot())
}

/// The engine's state on disk, if it has ever written one.
pub(super) async fn stored_state(store: &Store, network: NetworkId) -> Result<Option<Durable>, StoreError> {
    let networks = store.networks().await?;
    let Some(bytes) = networks.into_iter().find(|stored| stored.id == network).and_then(|stored| stored.state) else {
        return Ok(None);
    };
    let corrupt = |error: DecodeError| StoreError::Corrupt {
        file: store.file().to_owned(),
        what: format!("state of network {}: {error}", network.short()),
    };
    let mut durable = Durable::decode(&bytes).map_err(corrupt)?;
    // Acks are kept one by one; the state has them only as of its last change for another reason.
    for (peer, upto) in store.acked(network).await? {
        durable.acked.raise(peer, upto);
    }
    Ok(Some(durable))
}
