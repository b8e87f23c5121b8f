//! Networks, feeds, and what an engine needs to start again.

use p2p_chat_model::{Entry, EntryHash, EntryKind, Name, NetworkId, PeerId, Run, Seq};
use rusqlite::Connection;

use crate::{
    Store, StoreError,
    error::Fault,
    number::{Id, Number},
    stored::{Entries, NetworkKey, StoredRun},
    sum,
};

/// A network in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNetwork {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: Name,
}

/// One author's feed in the log. It has no gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFeed {
    /// Whose it is.
    pub author: PeerId,
    /// The number of the last stored entry.
    pub last: Seq,
    /// The hash of that entry.
    pub head: EntryHash,
    /// The Lamport time of that entry.
    pub last_lamport: u64,
    /// The number of the last delivered entry; 0 if none is.
    pub delivered: Seq,
}

/// A stored entry that bears on the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterEntry {
    /// Whose it is.
    pub author: PeerId,
    /// Its number.
    pub seq: Seq,
    /// Its hash.
    pub hash: EntryHash,
    /// The entry.
    pub entry: Entry,
    /// Whether it has been delivered.
    pub delivered: bool,
}

impl Store {
    /// The networks, in the order in which they were first committed.
    pub async fn networks(&self) -> Result<Vec<StoredNetwork>, StoreError> {
        self.inner.readers.read(None, networks).await
    }

    /// The engine's state of a network as last committed.
    pub async fn state(&self, network: NetworkId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(network, state).await
    }

    /// The feeds of a network, by author.
    pub async fn feeds(&self, network: NetworkId) -> Result<Vec<StoredFeed>, StoreError> {
        self.read(network, |db, network| Ok(feeds(db, network)?.into_iter().map(|(_, feed)| feed).collect())).await
    }

    /// The runs with entries that are stored and not delivered, by author and number. Memory: all of them, decoded.
    pub async fn undelivered(&self, network: NetworkId) -> Result<Vec<Run>, StoreError> {
        self.read(network, undelivered).await
    }

    /// All stored entries that change the roster, in the order (lamport, author, seq).
    pub async fn roster_entries(&self, network: NetworkId) -> Result<Vec<RosterEntry>, StoreError> {
        self.read(network, roster_entries).await
    }

    /// How many entries of a network are stored.
    pub async fn entry_count(&self, network: NetworkId) -> Result<u64, StoreError> {
        // Feeds have no gaps.
        self.read(network, |db, network| {
            Ok(feeds(db, network)?.iter().fold(0, |count: u64, (_, feed)| count.saturating_add(feed.last)))
        })
        .await
    }
}

fn networks(db: &Connection) -> Result<Vec<StoredNetwork>, Fault> {
    let mut query = db.prepare_cached("SELECT id, name FROM network WHERE read >= 0 ORDER BY key")?;
    let mut rows = query.query([])?;
    let mut networks = Vec::new();
    while let Some(row) = rows.next()? {
        let id = NetworkId::from(row.get::<_, Id>(0)?);
        let name = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let name = name.parse().map_err(|error| Fault::Corrupt(format!("name of network {}: {error}", id.short())))?;
        networks.push(StoredNetwork { id, name });
    }
    Ok(networks)
}

fn state(db: &Connection, network: NetworkKey) -> Result<Option<Vec<u8>>, Fault> {
    let mut query = db.prepare_cached("SELECT state FROM network WHERE key = ?1")?;
    let stored: Option<Vec<u8>> = query.query_row([network.key], |row| row.get(0))?;
    stored.map(|stored| sum::unseal(network.id, stored)).transpose()
}

/// The feeds with the keys of their authors.
pub(crate) fn feeds(db: &Connection, network: NetworkKey) -> Result<Vec<(i64, StoredFeed)>, Fault> {
    let mut query = db.prepare_cached(
        "SELECT f.author, p.id, f.last, f.head, f.lamport, f.delivered
         FROM feed f JOIN peer p ON p.key = f.author WHERE f.network = ?1 ORDER BY p.id",
    )?;
    let rows = query.query_map([network.key], |row| {
        let feed = StoredFeed {
            author: row.get::<_, Id>(1)?.into(),
            last: row.get::<_, Number>(2)?.0,
            head: row.get::<_, Id>(3)?.into(),
            last_lamport: row.get::<_, Number>(4)?.0,
            delivered: row.get::<_, Number>(5)?.0,
        };
        Ok((row.get(0)?, feed))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn undelivered(db: &Connection, network: NetworkKey) -> Result<Vec<Run>, Fault> {
    let mut runs = Vec::new();
    for (author, feed) in feeds(db, network)? {
        let mut next = feed.delivered.saturating_add(1);
        while next <= feed.last {
            let run = containing(db, network, author, next)?.run;
            next = run.last() + 1;
            runs.push(run);
        }
    }
    Ok(runs)
}

/// The run with an entry that the feed is known to have.
pub(super) fn containing(db: &Connection, network: NetworkKey, author: i64, seq: Seq) -> Result<StoredRun, Fault> {
    let missing = || Fault::Corrupt(format!("entry {seq} of a feed in network {} is missing", network.id.short()));
    let key = StoredRun::key_at(db, network, author, seq)?.ok_or_else(missing)?;
    let stored = StoredRun::of_key(db, network, key)?;
    if stored.run.last() < seq { Err(missing()) } else { Ok(stored) }
}

fn roster_entries(db: &Connection, network: NetworkKey) -> Result<Vec<RosterEntry>, Fault> {
    let mut query = db.prepare_cached(
        "SELECT r.author, r.seq, r.seq <= f.delivered FROM roster r
         JOIN feed f ON f.network = r.network AND f.author = r.author WHERE r.network = ?1 ORDER BY r.author, r.seq",
    )?;
    let mut rows = query.query([network.key])?;
    let mut entries = Entries::new(db, network);
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, Number>(1)?.0;
        let (run, index) = entries.find(row.get(0)?, seq)?;
        let entry = run.entries.get(index);
        let entry = entry.filter(|(_, entry)| !matches!(entry.header.kind, EntryKind::Text | EntryKind::Unknown(_)));
        let Some((hash, entry)) = entry else {
            return Err(Fault::Corrupt(format!("entry {seq} of {} changes no roster", run.author.short())));
        };
        let (hash, entry) = (*hash, entry.clone());
        found.push(RosterEntry { author: run.author, seq, hash, entry, delivered: row.get(2)? });
    }
    found.sort_by_key(|entry| (entry.entry.header.lamport, entry.author, entry.seq));
    Ok(found)
}
