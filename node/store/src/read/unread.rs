//! How many messages have not been read. They are counted once; after that only what has come, and what has been read,
//! since then: so a monitor may ask often, however much nobody reads.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use p2p_chat_model::{EntryKind, NetworkId, PeerId};
use rusqlite::{Connection, Row};

use super::{last_position, timeline::read_position};
use crate::{
    Store, StoreError,
    error::Fault,
    stored::NetworkKey,
    stretch::{MAX_ENTRIES, Tag},
};

/// A count: texts of others than `me` that are delivered up to `last`, and not read, since reading has come to `read`.
#[derive(Debug, Clone, Copy)]
struct Tally {
    me: PeerId,
    read: i64,
    last: i64,
    unread: u64,
}

/// The newest count of each network.
#[derive(Default)]
pub(crate) struct Tallies(Mutex<State>);

#[derive(Default)]
struct State {
    networks: BTreeMap<NetworkId, Tally>,
    /// How many times a network was forgotten: whoever read before that may know what means nothing any more.
    forgotten: u64,
}

impl Tallies {
    /// Nothing of the network is stored any more.
    pub(crate) fn forget(&self, network: NetworkId) {
        let mut state = self.state();
        state.forgotten += 1;
        state.networks.remove(&network);
    }

    fn newest(&self, network: NetworkId) -> (u64, Option<Tally>) {
        let state = self.state();
        (state.forgotten, state.networks.get(&network).copied())
    }

    /// Remembers a count. Returns `false` if it may rest on what has been forgotten meanwhile.
    fn keep(&self, network: NetworkId, forgotten: u64, tally: Tally) -> bool {
        let mut state = self.state();
        let holds = state.forgotten == forgotten;
        if holds {
            state.networks.insert(network, tally);
        }
        holds
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// How many delivered texts of others than `me` have not been read. Costs less than a microsecond for each stretch,
    /// once; after that, for each that has come or has been read.
    pub async fn unread_count(&self, network: NetworkId, me: PeerId) -> Result<u64, StoreError> {
        let tallies = self.inner.recent.tallies();
        loop {
            let (forgotten, before) = tallies.newest(network);
            let before = before.filter(|tally| tally.me == me);
            let Some(tally) = self.read(network, move |db, network| count(db, network, me, before).map(Some)).await?
            else {
                return Ok(0);
            };
            if tallies.keep(network, forgotten, tally) {
                return Ok(tally.unread);
            }
        }
    }
}

fn count(db: &Connection, network: NetworkKey, me: PeerId, before: Option<Tally>) -> Result<Tally, Fault> {
    let last = i64::try_from(last_position(db, network.key)?).unwrap_or(i64::MAX);
    let read = read_position(db, network)?;
    let nothing = Tally { me, read, last: read, unread: 0 };
    // Neither goes back, unless somebody has exchanged the file.
    let before = before.filter(|tally| tally.read <= read && tally.last <= last).unwrap_or(nothing);
    let texts = |range| texts(db, network, me, range);
    let since = before.unread.saturating_sub(texts(before.read..read.min(before.last))?);
    let unread = since + texts(read.max(before.last)..last)?;
    Ok(Tally { me, read, last, unread })
}

/// How many texts of others there are after the start of the range, up to its end.
fn texts(db: &Connection, network: NetworkKey, me: PeerId, range: Range<i64>) -> Result<u64, Fault> {
    if range.is_empty() {
        return Ok(0);
    }
    let mut query = db.prepare_cached(
        "SELECT position - 1, length(tags) / ?6 FROM stretch
         WHERE network = ?1 AND kind = ?2 AND position > ?4 AND position <= ?5
         AND author IS NOT (SELECT key FROM peer WHERE id = ?3)",
    )?;
    // The stretch in which the range begins, too.
    let (from, size) = (range.start.saturating_sub(MAX_ENTRIES as i64), size_of::<Tag>() as i64);
    let of_text = (network.key, EntryKind::Text.code(), me.as_bytes(), from, range.end, size);
    let place = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let mut count = 0;
    for place in query.query_map(of_text, place)? {
        let (before, len) = place?;
        count += (range.end.min(before + len) - range.start.max(before)).max(0).cast_unsigned();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_was_made_before_something_was_forgotten_is_not_kept() {
        let (tallies, lab) = (Tallies::default(), NetworkId::new([1; 32]));
        let tally = Tally { me: PeerId::new([2; 32]), read: 0, last: 9, unread: 9 };
        let (before, _) = tallies.newest(lab);
        tallies.forget(lab);
        assert!(!tallies.keep(lab, before, tally));
        let (after, none) = tallies.newest(lab);
        assert!(none.is_none());
        assert!(tallies.keep(lab, after, tally));
        assert_eq!(tallies.newest(lab).1.map(|kept| kept.unread), Some(9));
    }
}
