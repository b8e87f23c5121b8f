//! Delivered entries, as everybody sees them and as they came.

use bytes::Bytes;
use p2p_chat_model::{EntryKind, MessageId, NetworkId, PeerId, Seq};
use rusqlite::{Connection, OptionalExtension};

use super::order::{Direction, FROM, walk};
use crate::{
    Store, StoreError,
    error::Fault,
    stored::{Entries, NetworkKey},
    stretch::{COLUMNS, MAX_ENTRIES, Placed, Stretch, Tag},
};

/// Bodies in one page of messages, in bytes (1 MiB); a page ends with the message that goes beyond.
pub const PAGE_BYTES: usize = 1 << 20;

/// A delivered entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// What users call it by.
    pub id: MessageId,
    /// Who wrote it.
    pub author: PeerId,
    /// Its number in the author's feed.
    pub seq: Seq,
    /// Its Lamport time.
    pub lamport: u64,
    /// The author's wall clock, milliseconds since 1970, as signed.
    pub wall_ms: u64,
    /// What it is.
    pub kind: EntryKind,
    /// What it says.
    pub body: Bytes,
    /// The order of delivery at this node, from 1 without gaps.
    pub position: u64,
    /// Whether it is shown as late.
    pub late: bool,
    /// When it arrived, milliseconds since 1970, by this node's clock.
    pub arrived_ms: u64,
}

impl StoredMessage {
    /// Its place in the order that is the same at every node.
    pub fn key(&self) -> TimelineKey {
        TimelineKey { lamport: self.lamport, author: self.author, seq: self.seq }
    }
}

/// A place in the order in which everybody sees the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineKey {
    /// The Lamport time; decides first.
    pub lamport: u64,
    /// The author; decides between equal times.
    pub author: PeerId,
    /// The number in the author's feed.
    pub seq: Seq,
}

impl TimelineKey {
    /// Before all messages.
    const START: Self = Self { lamport: 0, author: PeerId::new([0; 32]), seq: 0 };
    /// After all messages.
    const END: Self = Self { lamport: u64::MAX, author: PeerId::new([0xff; 32]), seq: Seq::MAX };
}

/// The outcome of a search by the beginning of a message id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lookup {
    /// No delivered message begins like that.
    #[default]
    Missing,
    /// One does.
    Found(Box<StoredMessage>),
    /// More than one does.
    Ambiguous,
}

impl Store {
    /// The newest messages before `before`, or of all, oldest first: at most `limit`, fewer where their bodies exceed
    /// [`PAGE_BYTES`], none only if there is none.
    pub async fn history(
        &self,
        network: NetworkId,
        before: Option<TimelineKey>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let end = before.unwrap_or(TimelineKey::END);
        self.read(network, move |db, network| {
            let mut page = page(db, network, (Direction::Back, end), limit)?;
            page.reverse();
            Ok(page)
        })
        .await
    }

    /// The messages after `after`, or from the first on, as everybody sees them; bounded like [`Store::history`].
    pub async fn history_after(
        &self,
        network: NetworkId,
        after: Option<TimelineKey>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let start = after.unwrap_or(TimelineKey::START);
        self.read(network, move |db, network| page(db, network, (Direction::On, start), limit)).await
    }

    /// The message before the newest `count` of those before `before`, or of all, for streaming these with
    /// [`Store::history_after`]; `None` if there are no more than `count`. Entries of unknown kinds don't count. Costs
    /// about a microsecond for each of `count`.
    pub async fn before_newest(
        &self,
        network: NetworkId,
        before: Option<TimelineKey>,
        count: u64,
    ) -> Result<Option<TimelineKey>, StoreError> {
        let end = before.unwrap_or(TimelineKey::END);
        self.read(network, move |db, network| before_newest(db, network, end, count)).await
    }

    /// The messages delivered after a position, in the order of delivery; bounded like [`Store::history`].
    pub async fn arrivals_after(
        &self,
        network: NetworkId,
        position: u64,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        if let Some(page) = self.inner.recent.arrivals_after(network, position, limit, PAGE_BYTES) {
            return Ok(page);
        }
        let Ok(position) = i64::try_from(position) else { return Ok(Vec::new()) };
        self.read(network, move |db, network| arrivals(db, network, position, limit)).await
    }

    /// The message whose id begins with `prefix`: hexadecimal digits, with or without hyphens and capitals. Looks
    /// through the whole timeline, which takes about half a second for a million entries that came alone, and less for stretches.
    pub async fn by_id(&self, network: NetworkId, prefix: &str) -> Result<Lookup, StoreError> {
        let digits: String = prefix.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Lookup::Missing);
        }
        self.read(network, move |db, network| by_id(db, network, &digits)).await
    }

    /// The position of the last delivered entry; 0 if there is none.
    pub async fn last_position(&self, network: NetworkId) -> Result<u64, StoreError> {
        self.read(network, |db, network| last_position(db, network.key)).await
    }

    /// Up to which position everything has been read.
    pub async fn read_position(&self, network: NetworkId) -> Result<u64, StoreError> {
        self.read(network, |db, network| Ok(read_position(db, network)?.cast_unsigned())).await
    }
}

const ARRIVALS: &str = "s.position > ?2 ORDER BY s.position";
const LAST: &str = "true ORDER BY s.position DESC LIMIT 1";

/// A page of messages that is being filled.
struct Page<'db> {
    entries: Entries<'db>,
    messages: Vec<StoredMessage>,
    size: usize,
    limit: usize,
}

impl<'db> Page<'db> {
    fn new(db: &'db Connection, network: NetworkKey, limit: u32) -> Self {
        Self { entries: Entries::new(db, network), messages: Vec::new(), size: 0, limit: limit as usize }
    }

    fn has_room(&self) -> bool {
        self.messages.len() < self.limit && self.size < PAGE_BYTES
    }

    /// Takes a message in and says whether there is room for another.
    fn push(&mut self, placed: Placed) -> Result<bool, Fault> {
        let message = message(&mut self.entries, placed)?;
        self.size += message.body.len();
        self.messages.push(message);
        Ok(self.has_room())
    }
}

fn page(
    db: &Connection,
    network: NetworkKey,
    start: (Direction, TimelineKey),
    limit: u32,
) -> Result<Vec<StoredMessage>, Fault> {
    let mut page = Page::new(db, network, limit);
    if page.has_room() {
        walk(db, network, start, |placed| page.push(placed))?;
    }
    Ok(page.messages)
}

fn arrivals(db: &Connection, network: NetworkKey, after: i64, limit: u32) -> Result<Vec<StoredMessage>, Fault> {
    let mut query = db.prepare_cached(&["SELECT ", COLUMNS, " ", FROM, ARRIVALS].concat())?;
    // The stretch in which the position lies, too.
    let mut rows = query.query((network.key, after.saturating_sub(MAX_ENTRIES as i64)))?;
    let mut page = Page::new(db, network, limit);
    while page.has_room()
        && let Some(row) = rows.next()?
    {
        let stretch = Stretch::of_row(row)?;
        let mut placed = (0..stretch.len()).map(|index| stretch.at(index));
        while page.has_room()
            && let Some(placed) = placed.find(|placed| placed.position > after.cast_unsigned())
        {
            page.push(placed)?;
        }
    }
    Ok(page.messages)
}

fn message(entries: &mut Entries<'_>, placed: Placed) -> Result<StoredMessage, Fault> {
    let Placed { author, seq, position, late, arrived_ms, .. } = placed;
    let (run, index) = entries.find(author, seq)?;
    let Some((hash, entry)) = run.entries.get(index) else {
        return Err(Fault::Corrupt(format!("entry {seq} is not in its run")));
    };
    let header = &entry.header;
    if (placed.lamport, placed.kind) != (header.lamport, header.kind) {
        return Err(Fault::Corrupt(format!("entry {seq} of {} is in the wrong place", run.author.short())));
    }
    Ok(StoredMessage {
        id: MessageId::from(*hash),
        author: run.author,
        seq,
        lamport: header.lamport,
        wall_ms: header.wall_ms,
        kind: header.kind,
        body: entry.body.clone(),
        position,
        late,
        arrived_ms,
    })
}

/// The last position of a network's timeline; 0 if there is none.
pub(crate) fn last_position(db: &Connection, network: i64) -> Result<u64, Fault> {
    let mut query = db.prepare_cached(&["SELECT ", COLUMNS, " ", FROM, LAST].concat())?;
    let last = query.query_row([network], |row| Ok(Stretch::of_row(row))).optional()?;
    Ok(last.transpose()?.map_or(0, |stretch| stretch.last().position))
}

/// Up to which position a network has been read.
pub(super) fn read_position(db: &Connection, network: NetworkKey) -> Result<i64, Fault> {
    let mut query = db.prepare_cached("SELECT read FROM network WHERE key = ?1")?;
    Ok(query.query_row([network.key], |row| row.get(0))?)
}

fn before_newest(
    db: &Connection,
    network: NetworkKey,
    end: TimelineKey,
    count: u64,
) -> Result<Option<TimelineKey>, Fault> {
    // Positions have no gaps.
    if count >= last_position(db, network.key)? {
        return Ok(None);
    }
    let (mut passed, mut found) = (0, None);
    walk(db, network, (Direction::Back, end), |placed| {
        if passed == count {
            found = Some(placed.key());
            return Ok(false);
        }
        passed += u64::from(!matches!(placed.kind, EntryKind::Unknown(_)));
        Ok(true)
    })?;
    Ok(found)
}

/// `digits` are 1 to 32 of them.
fn by_id(db: &Connection, network: NetworkKey, digits: &str) -> Result<Lookup, Fault> {
    let head = digits.get(..2 * size_of::<Tag>()).unwrap_or(digits);
    let mut query = db.prepare_cached(&["SELECT ", COLUMNS, " ", FROM, "true"].concat())?;
    let mut rows = query.query([network.key])?;
    let mut entries = Entries::new(db, network);
    let mut found = Lookup::Missing;
    while let Some(row) = rows.next()? {
        let stretch = Stretch::of_row(row)?;
        for (index, _) in (0..).zip(stretch.tags()).filter(|(_, tag)| begins_with(tag, head)) {
            let candidate = message(&mut entries, stretch.at(index))?;
            if candidate.id.to_string().replace('-', "").starts_with(digits) {
                if found != Lookup::Missing {
                    return Ok(Lookup::Ambiguous);
                }
                found = Lookup::Found(Box::new(candidate));
            }
        }
    }
    Ok(found)
}

/// Whether the hexadecimal digits of `tag` begin with these.
fn begins_with(tag: &[u8], digits: &str) -> bool {
    let of_tag = tag.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.chars().zip(of_tag).all(|(digit, half)| digit.to_digit(16) == Some(half.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read::order, schema};

    #[test]
    fn a_page_of_history_is_read_along_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&directory.path().join(schema::FILE_NAME), None).unwrap();
        let plan = |tail| schema::plan(&db, &["SELECT ", COLUMNS, " ", FROM, tail].concat());
        for (history, range) in [(plan(order::ON), "lamport>?"), (plan(order::BACK), "lamport<?")] {
            assert!(history.contains(&format!("stretch_lamport (network=? AND {range})")), "{history}");
            assert!(!history.contains("TEMP B-TREE"), "{history}");
        }
        for (along, range) in [(plan(ARRIVALS), "network=? AND position>?"), (plan(LAST), "network=?")] {
            assert!(along.contains(&format!("PRIMARY KEY ({range})")), "{along}");
            assert!(!along.contains("TEMP B-TREE"), "{along}");
        }
    }
}
