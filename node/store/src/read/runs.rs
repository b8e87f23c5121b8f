//! Runs, for handing on.

use std::collections::BTreeMap;

use bytes::Bytes;
use p2p_chat_model::{NetworkId, PeerId, Run, Seq, VectorClock};
use rusqlite::{Connection, OptionalExtension};

use super::feeds::{containing, feeds};
use crate::{
    Store, StoreError,
    error::Fault,
    number::Number,
    stored::{NetworkKey, StoredRun, peer_key},
};

/// Where to go on with [`Store::runs_beyond`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    rank: Number,
    author: i64,
    last: Number,
}

impl Store {
    /// The runs of a feed from the one that contains entry `from`, without gaps, together at most `max_bytes` but at
    /// least one. Empty if there is no such entry. Runs written lately come from memory.
    pub async fn runs(
        &self,
        network: NetworkId,
        author: PeerId,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        if let Some(recent) = self.inner.recent.runs(network, author, from, max_bytes) {
            return Ok(recent);
        }
        self.read(network, move |db, network| runs(db, network, &author, from, max_bytes)).await
    }

    /// The run that proves that an author has contradicted itself, if one was kept.
    pub async fn fork(&self, network: NetworkId, author: PeerId) -> Result<Option<Bytes>, StoreError> {
        self.read(network, move |db, network| {
            let Some(author_key) = peer_key(db, &author)? else { return Ok(None) };
            let mut query = db.prepare_cached("SELECT bytes FROM fork WHERE network = ?1 AND author = ?2")?;
            let bytes = query.query_row((network.key, author_key), |row| row.get::<_, Vec<u8>>(0)).optional()?;
            // What is no genuine run of the author proves nothing.
            let genuine = |bytes: &Vec<u8>| Run::decode(bytes).is_ok_and(|run| run.author == author);
            if bytes.as_ref().is_some_and(|bytes| !genuine(bytes)) {
                return Err(Fault::Corrupt(format!("the proof against {} is not genuine", author.short())));
            }
            Ok(bytes.map(Bytes::from))
        })
        .await
    }

    /// The runs with an entry that `have` lacks, in chunks of at most `max_bytes` but at least one run: the genesis
    /// first, then by the Lamport time of the first entry. Call it with the cursor of the answer before until that is
    /// `None`, with the same `have`. What is committed in between may or may not be among them.
    ///
    /// The first call costs a look-up for each feed, all together one pass over an index from the oldest missing run on.
    pub async fn runs_beyond(
        &self,
        network: NetworkId,
        have: &VectorClock,
        cursor: Option<RunCursor>,
        max_bytes: usize,
    ) -> Result<(Vec<Bytes>, Option<RunCursor>), StoreError> {
        let have = have.clone();
        self.read(network, move |db, network| runs_beyond(db, network, &have, cursor, max_bytes)).await
    }
}

fn runs(
    db: &Connection,
    network: NetworkKey,
    author: &PeerId,
    from: Seq,
    max_bytes: usize,
) -> Result<Vec<Bytes>, Fault> {
    let Some(author) = peer_key(db, author)? else { return Ok(Vec::new()) };
    let mut query = db.prepare_cached("SELECT last FROM feed WHERE network = ?1 AND author = ?2")?;
    let end = query.query_row((network.key, author), |row| row.get::<_, Number>(0)).optional()?;
    let end = end.map_or(0, |last| last.0);
    let (mut found, mut size, mut next) = (Vec::new(), 0, from.max(1));
    while next <= end {
        let stored = containing(db, network, author, next)?;
        size += stored.bytes.len();
        if size > max_bytes && !found.is_empty() {
            break;
        }
        next = stored.run.last() + 1;
        found.push(stored.bytes);
    }
    Ok(found)
}

fn runs_beyond(
    db: &Connection,
    network: NetworkKey,
    have: &VectorClock,
    cursor: Option<RunCursor>,
    max_bytes: usize,
) -> Result<(Vec<Bytes>, Option<RunCursor>), Fault> {
    let feeds = feeds(db, network)?;
    let lacking: BTreeMap<i64, Seq> = feeds
        .iter()
        .filter_map(|(key, feed)| (feed.last > have.at(&feed.author)).then_some((*key, have.at(&feed.author))))
        .collect();
    let start = match cursor {
        Some(cursor) => Some(cursor),
        None => oldest(db, network, &lacking)?,
    };
    let (mut found, mut size) = (Vec::new(), 0);
    let Some(start) = start else { return Ok((found, None)) };
    let mut query = db.prepare_cached(BEYOND)?;
    let mut rows = query.query((network.key, start.rank, start.author, start.last))?;
    while let Some(row) = rows.next()? {
        let here = RunCursor { rank: row.get(1)?, author: row.get(2)?, last: row.get(3)? };
        if lacking.get(&here.author).is_none_or(|have| here.last.0 <= *have) {
            continue;
        }
        let bytes = StoredRun::of_key(db, network, row.get(0)?)?.bytes;
        size += bytes.len();
        if size > max_bytes && !found.is_empty() {
            return Ok((found, Some(here)));
        }
        found.push(bytes);
    }
    Ok((found, None))
}

const BEYOND: &str = "SELECT key, rank, author, last FROM run
    WHERE network = ?1 AND (rank, author, last) >= (?2, ?3, ?4) ORDER BY rank, author, last";

/// The first missing run in the order of catching up.
fn oldest(db: &Connection, network: NetworkKey, lacking: &BTreeMap<i64, Seq>) -> Result<Option<RunCursor>, Fault> {
    let mut query = db.prepare_cached(
        "SELECT rank, author, last FROM run WHERE network = ?1 AND author = ?2 AND first <= ?3
         ORDER BY first DESC LIMIT 1",
    )?;
    let mut oldest: Option<RunCursor> = None;
    for (author, have) in lacking {
        let first = query
            .query_row((network.key, author, Number(have.saturating_add(1))), |row| {
                Ok(RunCursor { rank: row.get(0)?, author: row.get(1)?, last: row.get(2)? })
            })
            .optional()?;
        let order = |cursor: &RunCursor| (cursor.rank, cursor.author, cursor.last);
        if let Some(first) = first
            && oldest.as_ref().is_none_or(|oldest| order(&first) < order(oldest))
        {
            oldest = Some(first);
        }
    }
    Ok(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn catching_up_seeks_in_an_index_and_reads_only_the_runs_it_hands_on() {
        let directory = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&directory.path().join(schema::FILE_NAME), None).unwrap();
        let plan = schema::plan(&db, BEYOND);
        assert!(plan.contains("COVERING INDEX run_rank (network=? AND (rank,author,last)>(?,?,?))"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
