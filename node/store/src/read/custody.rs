//! Who has what this node wrote.

use p2p_chat_model::{NetworkId, PeerId, Seq};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::{
    Store, StoreError, Way,
    error::Fault,
    number::{Id, Number},
    stored::NetworkKey,
};

/// A peer has an entry of this node's feed on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custody {
    /// Who.
    pub peer: PeerId,
    /// When this node learnt of it, milliseconds since 1970.
    pub time_ms: u64,
    /// How the entry got there.
    pub way: Way,
}

impl Store {
    /// Who has entry `seq` of this node's feed, by peer: the first ack that covered it. Where that one is no longer kept
    /// (see [`crate::MAX_ACKS`]), the oldest that is.
    pub async fn custody(&self, network: NetworkId, seq: Seq) -> Result<Vec<Custody>, StoreError> {
        self.read(network, move |db, network| custody(db, network, seq)).await
    }

    /// Up to where each peer has this node's feed, by peer.
    pub async fn acked(&self, network: NetworkId) -> Result<Vec<(PeerId, Seq)>, StoreError> {
        self.read(network, acked).await
    }
}

fn custody(db: &Connection, network: NetworkKey, seq: Seq) -> Result<Vec<Custody>, Fault> {
    let mut first = db.prepare_cached(
        "SELECT p.id, a.time_ms, a.way, r.id FROM ack a JOIN peer p ON p.key = a.peer
         LEFT JOIN peer r ON r.key = a.relay
         WHERE a.network = ?1 AND a.peer = ?2 AND a.upto >= ?3 ORDER BY a.upto LIMIT 1",
    )?;
    let mut found = Vec::new();
    for peer in peers(db, network)? {
        let mut rows = first.query((network.key, peer, Number(seq)))?;
        if let Some(row) = rows.next()? {
            let (peer, time_ms) = (row.get::<_, Id>(0)?.into(), row.get::<_, Number>(1)?.0);
            found.push(Custody { peer, time_ms, way: way(row)? });
        }
    }
    found.sort_by_key(|custody| custody.peer);
    Ok(found)
}

fn way(row: &Row<'_>) -> Result<Way, Fault> {
    let relay: Option<Id> = row.get(3)?;
    match (row.get::<_, i64>(2)?, relay) {
        (0, None) => Ok(Way::Direct),
        (1, Some(relay)) => Ok(Way::Relayed(relay.into())),
        (2, None) => Ok(Way::Fetched),
        (code, _) => Err(Fault::Corrupt(format!("an ack came by way {code}"))),
    }
}

fn acked(db: &Connection, network: NetworkKey) -> Result<Vec<(PeerId, Seq)>, Fault> {
    let mut newest = db.prepare_cached(
        "SELECT p.id, a.upto FROM ack a JOIN peer p ON p.key = a.peer
         WHERE a.network = ?1 AND a.peer = ?2 ORDER BY a.upto DESC LIMIT 1",
    )?;
    let mut found = Vec::new();
    for peer in peers(db, network)? {
        let ack = |row: &Row<'_>| Ok((row.get::<_, Id>(0)?.into(), row.get::<_, Number>(1)?.0));
        found.extend(newest.query_row((network.key, peer), ack).optional()?);
    }
    found.sort_unstable();
    Ok(found)
}

/// The keys of all peers that ever acked. One seek each, however many acks there are.
fn peers(db: &Connection, network: NetworkKey) -> Result<Vec<i64>, Fault> {
    let mut next = db.prepare_cached("SELECT min(peer) FROM ack WHERE network = ?1 AND peer > ?2")?;
    let mut peers = Vec::new();
    let mut last = 0;
    while let Some(peer) = next.query_row((network.key, last), |row| row.get::<_, Option<i64>>(0))? {
        peers.push(peer);
        last = peer;
    }
    Ok(peers)
}
