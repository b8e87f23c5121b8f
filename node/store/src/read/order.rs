//! Walks through the timeline in the order in which everybody sees it. Stretches overlap in that order, as authors write
//! at the same time, so those that may hold the next entry are merged. Where to begin is not known exactly: the stretches
//! of the [`MAX_ENTRIES`] Lamport times around it are read too, so a page costs up to that many rows a member that writes.

use std::collections::BTreeMap;

use rusqlite::{Connection, Rows};

use super::timeline::TimelineKey;
use crate::{
    error::Fault,
    number::Number,
    stored::NetworkKey,
    stretch::{COLUMNS, MAX_ENTRIES, Placed, Stretch},
};

/// `CROSS JOIN` keeps SQLite from starting with the peers: so the index on (network, lamport) gives the order.
pub(super) const FROM: &str = "FROM stretch s CROSS JOIN peer p ON p.key = s.author WHERE s.network = ?1 AND ";
pub(super) const ON: &str = "s.lamport > ?2 ORDER BY s.lamport";
pub(super) const BACK: &str = "s.lamport <= ?2 ORDER BY s.lamport DESC";

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From what comes right after a place.
    On,
    /// From what comes right before a place.
    Back,
}

/// Shows `visit` one entry after the other until there are no more, or it says false.
pub(super) fn walk(
    db: &Connection,
    network: NetworkKey,
    (direction, from): (Direction, TimelineKey),
    mut visit: impl FnMut(Placed) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let (tail, bound) = match direction {
        // The stretch in which `from` lies, too.
        Direction::On => (ON, from.lamport.checked_sub(MAX_ENTRIES)),
        Direction::Back => (BACK, Some(from.lamport)),
    };
    let mut query = db.prepare_cached(&["SELECT ", COLUMNS, " ", FROM, tail].concat())?;
    // Lamport times begin at 1.
    let mut rows = query.query((network.key, Number(bound.unwrap_or(0))))?;
    let mut unread = next(&mut rows)?;
    let mut open = Open { direction, from, entries: BTreeMap::new() };
    loop {
        while let Some(stretch) = unread.take_if(|stretch| !open.comes_before(stretch)) {
            open.begin(stretch);
            unread = next(&mut rows)?;
        }
        let Some(entry) = open.take() else { return Ok(()) };
        if !visit(entry)? {
            return Ok(());
        }
    }
}

fn next(rows: &mut Rows<'_>) -> Result<Option<Stretch>, Fault> {
    rows.next()?.map(Stretch::of_row).transpose()
}

/// The stretches that are being walked through, each by its next entry.
struct Open {
    direction: Direction,
    from: TimelineKey,
    entries: BTreeMap<TimelineKey, (Stretch, u64)>,
}

impl Open {
    /// Whether some entry comes before all of a stretch that is not open, and of those that follow it.
    fn comes_before(&self, stretch: &Stretch) -> bool {
        let begins = stretch.first().lamport;
        match self.direction {
            Direction::On => self.entries.first_key_value().is_some_and(|(key, _)| key.lamport < begins),
            Direction::Back => {
                let behind = begins.checked_add(MAX_ENTRIES);
                let last = self.entries.last_key_value();
                last.is_some_and(|(key, _)| behind.is_some_and(|behind| key.lamport >= behind))
            }
        }
    }

    /// Opens a stretch at its first entry on the way, if it has one.
    fn begin(&mut self, stretch: Stretch) {
        let mut indices = 0..stretch.len();
        let index = match self.direction {
            Direction::On => indices.find(|index| stretch.at(*index).key() > self.from),
            Direction::Back => indices.rfind(|index| stretch.at(*index).key() < self.from),
        };
        if let Some(index) = index {
            self.entries.insert(stretch.at(index).key(), (stretch, index));
        }
    }

    fn take(&mut self) -> Option<Placed> {
        let (_, (stretch, index)) = match self.direction {
            Direction::On => self.entries.pop_first(),
            Direction::Back => self.entries.pop_last(),
        }?;
        let entry = stretch.at(index);
        let next = match self.direction {
            Direction::On => Some(index + 1).filter(|next| *next < stretch.len()),
            Direction::Back => index.checked_sub(1),
        };
        if let Some(next) = next {
            self.entries.insert(stretch.at(next).key(), (stretch, next));
        }
        Some(entry)
    }
}
