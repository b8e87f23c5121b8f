//! The timeline in stretches: a row for entries that were delivered one after the other and differ in nothing but what
//! counts up. A run that is delivered in one go takes one row instead of one for each entry.

use p2p_chat_model::{EntryKind, MessageId, PeerId, Seq};
use rusqlite::{Connection, Row};

use crate::{
    error::Fault,
    number::{Id, Number},
    read::TimelineKey,
};

/// Most entries of a stretch. Whoever looks for one by an entry in the middle of it counts on this.
pub(crate) const MAX_ENTRIES: u64 = 64;
/// Bytes of a message id that a stretch has of each entry, to find it by.
const TAG_BYTES: usize = 6;

/// The first 48 bits of a message id.
pub(crate) type Tag = [u8; TAG_BYTES];

/// The columns that [`Stretch::of_row`] takes, of tables `s` (stretch) and `p` (peer).
pub(crate) const COLUMNS: &str = "s.position, s.author, s.seq, s.lamport, s.kind, s.arrived_ms, s.late, s.tags, p.id";

/// A delivered entry, as the timeline knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The author's key in the file.
    pub(crate) author: i64,
    pub(crate) peer: PeerId,
    pub(crate) seq: Seq,
    pub(crate) lamport: u64,
    pub(crate) kind: EntryKind,
    pub(crate) position: u64,
    pub(crate) arrived_ms: u64,
    pub(crate) late: bool,
}

impl Placed {
    pub(crate) fn key(&self) -> TimelineKey {
        TimelineKey { lamport: self.lamport, author: self.peer, seq: self.seq }
    }

    /// From a row with the columns of [`COLUMNS`].
    pub(crate) fn of_row(row: &Row<'_>) -> Result<Self, Fault> {
        let number = |column| row.get::<_, Number>(column).map(|number| number.0);
        Ok(Self {
            position: row.get::<_, i64>(0)?.cast_unsigned(),
            author: row.get(1)?,
            seq: number(2)?,
            lamport: number(3)?,
            kind: EntryKind::from_code(row.get(4)?),
            arrived_ms: number(5)?,
            late: row.get(6)?,
            peer: row.get::<_, Id>(8)?.into(),
        })
    }
}

/// Consecutive entries of one feed with consecutive positions and Lamport times; all else is the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    first: Placed,
    tags: Vec<u8>,
}

impl Stretch {
    pub(crate) fn new(first: Placed, tag: Tag) -> Self {
        Self { first, tags: tag.to_vec() }
    }

    /// How many entries there are; at least one.
    pub(crate) fn len(&self) -> u64 {
        (self.tags.len() / TAG_BYTES) as u64
    }

    /// An entry, counted from 0.
    pub(crate) fn at(&self, index: u64) -> Placed {
        let Placed { seq, lamport, position, .. } = self.first;
        // Numbers of an entry that is there don't overflow.
        let (seq, lamport) = (seq.saturating_add(index), lamport.saturating_add(index));
        Placed { seq, lamport, position: position.saturating_add(index), ..self.first }
    }

    pub(crate) fn first(&self) -> Placed {
        self.first
    }

    pub(crate) fn last(&self) -> Placed {
        self.at(self.len() - 1)
    }

    /// What its entries can be found by, in their order.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.tags.chunks_exact(TAG_BYTES)
    }

    /// Takes an entry in, if it continues the stretch.
    pub(crate) fn take(&mut self, next: &Placed, tag: Tag) -> bool {
        let fits = self.len() < MAX_ENTRIES && self.at(self.len()) == *next;
        if fits {
            self.tags.extend(tag);
        }
        fits
    }

    pub(crate) fn insert(&self, db: &Connection, network: i64) -> Result<(), Fault> {
        let Placed { author, seq, lamport, kind, position, arrived_ms, late, .. } = self.first;
        let position = i64::try_from(position).map_err(|_| Fault::Refused("the timeline is full".to_owned()))?;
        let numbers = (Number(seq), Number(lamport), Number(arrived_ms));
        db.prepare_cached(
            "INSERT INTO stretch (network, position, author, seq, lamport, kind, arrived_ms, late, tags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            network,
            position,
            author,
            numbers.0,
            numbers.1,
            kind.code(),
            numbers.2,
            late,
            &self.tags,
        ))?;
        Ok(())
    }

    pub(crate) fn of_row(row: &Row<'_>) -> Result<Self, Fault> {
        let first = Placed::of_row(row)?;
        let tags: Vec<u8> = row.get(7)?;
        let len = (tags.len() / TAG_BYTES) as u64;
        let is_whole = tags.len().is_multiple_of(TAG_BYTES) && (1..=MAX_ENTRIES).contains(&len);
        let fits = |first: u64| first.checked_add(len.saturating_sub(1)).is_some();
        if !is_whole || !fits(first.seq) || !fits(first.lamport) || !fits(first.position) {
            return Err(Fault::Corrupt(format!("the timeline can't be read at {}", first.position)));
        }
        Ok(Self { first, tags })
    }
}

/// What a message can be found by.
pub(crate) fn tag(id: &MessageId) -> Tag {
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&id.as_bytes()[..TAG_BYTES]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(position: u64, seq: Seq, lamport: u64) -> Placed {
        let (author, peer, kind) = (1, PeerId::new([1; 32]), EntryKind::Text);
        Placed { author, peer, seq, lamport, kind, position, arrived_ms: 5, late: false }
    }

    #[test]
    fn only_what_continues_in_everything_is_taken_in() {
        let mut stretch = Stretch::new(placed(7, 3, 20), [1; 6]);
        let next = placed(8, 4, 21);
        let others = [
            placed(9, 4, 21),
            placed(8, 5, 21),
            placed(8, 4, 22),
            Placed { author: 2, ..next },
            Placed { kind: EntryKind::Leave, ..next },
            Placed { arrived_ms: 6, ..next },
            Placed { late: true, ..next },
        ];
        assert!(others.iter().all(|other| !stretch.take(other, [2; 6])));
        assert!(stretch.take(&next, [2; 6]));
        assert_eq!((stretch.len(), stretch.first(), stretch.last()), (2, placed(7, 3, 20), next));
        assert_eq!(stretch.tags().collect::<Vec<_>>(), [[1; 6], [2; 6]]);
    }

    #[test]
    fn a_stretch_does_not_grow_for_ever() {
        let mut stretch = Stretch::new(placed(1, 1, 1), [0; 6]);
        let taken = (2..=100).take_while(|next| stretch.take(&placed(*next, *next, *next), [0; 6])).count() as u64;
        assert_eq!((taken + 1, stretch.len()), (MAX_ENTRIES, MAX_ENTRIES));
    }
}
