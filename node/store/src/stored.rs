//! Runs as they lie in the file, and what every query starts from.

use std::collections::BTreeMap;

use bytes::Bytes;
use p2p_chat_model::{EntryKind, NetworkId, PeerId, Run, Seq};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    error::Fault,
    number::{Id, Number},
    sum,
};

/// Most run bytes that a query keeps decoded for the next entry of the same run.
const DECODED_BYTES: usize = 4 << 20;

/// A network, by its id and by its key in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkKey {
    pub(crate) id: NetworkId,
    pub(crate) key: i64,
}

pub(crate) fn network_key(db: &Connection, id: NetworkId) -> Result<Option<NetworkKey>, Fault> {
    let mut query = db.prepare_cached("SELECT key FROM network WHERE id = ?1")?;
    let key = query.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    Ok(key.map(|key| NetworkKey { id, key }))
}

pub(crate) fn peer_key(db: &Connection, id: &PeerId) -> Result<Option<i64>, Fault> {
    let mut query = db.prepare_cached("SELECT key FROM peer WHERE id = ?1")?;
    Ok(query.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
}

/// The place of a run in the order of catching up: the genesis first, then by Lamport time.
pub(crate) fn rank(run: &Run) -> u64 {
    match run.entries.first() {
        Some((_, entry)) if entry.header.kind != EntryKind::Genesis => entry.header.lamport,
        _ => 0,
    }
}

/// A run from the file, checked against the columns it is found by.
pub(crate) struct StoredRun {
    pub(crate) run: Run,
    pub(crate) bytes: Bytes,
}

impl StoredRun {
    /// The run of a row key.
    pub(crate) fn of_key(db: &Connection, network: NetworkKey, key: i64) -> Result<Self, Fault> {
        let mut query = db.prepare_cached(
            "SELECT r.first, r.last, r.rank, r.digest, r.bytes, p.id
             FROM run r LEFT JOIN peer p ON p.key = r.author WHERE r.key = ?1",
        )?;
        let mut rows = query.query([key])?;
        let Some(row) = rows.next()? else {
            return Err(Fault::Corrupt(format!("run {key} is in an index only")));
        };
        let (first, last) = (row.get::<_, Number>(0)?.0, row.get::<_, Number>(1)?.0);
        let author: Option<Id> = row.get(5)?;
        let bytes = Bytes::copy_from_slice(row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?);
        let damage = |what: &str| {
            Fault::Corrupt(format!("run {key}, entries {first} to {last} in network {}, {what}", network.id.short()))
        };
        let run = Run::decode_trusted(&bytes).map_err(|error| damage(&format!("does not decode: {error}")))?;
        let agrees = run.network == network.id
            && author.is_some_and(|author| PeerId::from(author) == run.author)
            && (run.first, run.last()) == (first, last)
            && !run.entries.is_empty()
            && rank(&run) == row.get::<_, Number>(2)?.0
            && sum::is_of_run(row.get(3)?, &run, &bytes);
        if agrees { Ok(Self { run, bytes }) } else { Err(damage("is not what its index says")) }
    }

    /// Whether the bytes of a row are what was written, whatever the tables say of them.
    pub(crate) fn is_sound(db: &Connection, key: i64) -> Result<bool, Fault> {
        let mut query = db.prepare_cached("SELECT digest, bytes FROM run WHERE key = ?1")?;
        let mut rows = query.query([key])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let digest = row.get(0)?;
        Ok(Run::decode_trusted(bytes).is_ok_and(|run| sum::is_of_run(digest, &run, bytes)))
    }

    /// The run that contains an entry, or, if that is not stored, the last before it.
    pub(crate) fn key_at(db: &Connection, network: NetworkKey, author: i64, seq: Seq) -> Result<Option<i64>, Fault> {
        let mut query = db.prepare_cached(
            "SELECT key FROM run WHERE network = ?1 AND author = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1",
        )?;
        Ok(query.query_row((network.key, author, Number(seq)), |row| row.get(0)).optional()?)
    }
}

/// Entries of one network, by author and number. Runs of which one entry was read stay decoded for the next.
pub(crate) struct Entries<'db> {
    db: &'db Connection,
    network: NetworkKey,
    decoded: BTreeMap<i64, StoredRun>,
    size: usize,
}

impl<'db> Entries<'db> {
    pub(crate) fn new(db: &'db Connection, network: NetworkKey) -> Self {
        Self { db, network, decoded: BTreeMap::new(), size: 0 }
    }

    /// The run of an author's entry that some table says is stored, and the entry's index in it.
    pub(crate) fn find(&mut self, author: i64, seq: Seq) -> Result<(&Run, usize), Fault> {
        let index_in = |run: &Run| (run.first..=run.last()).contains(&seq).then(|| (seq - run.first) as usize);
        if self.decoded.get(&author).and_then(|stored| index_in(&stored.run)).is_none() {
            let missing = || Fault::Corrupt(format!("entry {seq} of peer {author} is in an index only"));
            let key = StoredRun::key_at(self.db, self.network, author, seq)?.ok_or_else(missing)?;
            let stored = StoredRun::of_key(self.db, self.network, key)?;
            index_in(&stored.run).ok_or_else(missing)?;
            self.keep(author, stored);
        }
        match self.decoded.get(&author) {
            Some(stored) if seq >= stored.run.first => Ok((&stored.run, (seq - stored.run.first) as usize)),
            _ => Err(Fault::Refused(format!("bug: entry {seq} of peer {author} was not kept"))),
        }
    }

    fn keep(&mut self, author: i64, stored: StoredRun) {
        if self.size + stored.bytes.len() > DECODED_BYTES {
            self.decoded.clear();
            self.size = 0;
        }
        self.size += stored.bytes.len();
        if let Some(before) = self.decoded.insert(author, stored) {
            self.size = self.size.saturating_sub(before.bytes.len());
        }
    }
}
