//! Delivered entries, as everybody sees them and as they came.

use bytes::Bytes;
use p2p_chat_model::{EntryKind, MessageId, NetworkId, PeerId, Seq};
use rusqlite::{Connection, Params, Row};

use crate::{
    Store, StoreError,
    error::Fault,
    number::{Id, Number},
    stored::{Entries, NetworkKey},
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
            let sql = [SELECT, BEFORE].concat();
            let bounds = (network.key, Number(end.lamport), end.author.as_bytes(), Number(end.seq), limit);
            let mut page = messages(db, network, &sql, bounds)?;
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
        self.read(network, move |db, network| {
            let sql = [SELECT, AFTER].concat();
            let bounds = (network.key, Number(start.lamport), start.author.as_bytes(), Number(start.seq), limit);
            messages(db, network, &sql, bounds)
        })
        .await
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
        self.read(network, move |db, network| {
            let sql = [SELECT, ARRIVALS].concat();
            messages(db, network, &sql, (network.key, position, limit))
        })
        .await
    }

    /// The message whose id begins with `prefix`: hexadecimal digits, with or without hyphens and capitals. Looks
    /// through the whole timeline, which takes about a tenth of a second for a million entries.
    pub async fn by_id(&self, network: NetworkId, prefix: &str) -> Result<Lookup, StoreError> {
        let digits: String = prefix.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Lookup::Missing);
        }
        self.read(network, move |db, network| by_id(db, network, &digits)).await
    }

    /// The position of the last delivered entry; 0 if there is none.
    pub async fn last_position(&self, network: NetworkId) -> Result<u64, StoreError> {
        self.read(network, |db, network| Ok(last_position(db, network)?.cast_unsigned())).await
    }

    /// Up to which position everything has been read.
    pub async fn read_position(&self, network: NetworkId) -> Result<u64, StoreError> {
        self.read(network, |db, network| {
            let mut query = db.prepare_cached("SELECT read FROM network WHERE key = ?1")?;
            Ok(query.query_row([network.key], |row| row.get::<_, i64>(0))?.cast_unsigned())
        })
        .await
    }

    /// How many delivered texts of others than `me` have not been read. Costs about 0.1 microseconds for each.
    pub async fn unread_count(&self, network: NetworkId, me: PeerId) -> Result<u64, StoreError> {
        self.read(network, move |db, network| {
            let mut query = db.prepare_cached(
                "SELECT count(*) FROM timeline WHERE network = ?1 AND kind = ?2
                 AND position > (SELECT read FROM network WHERE key = ?1)
                 AND author IS NOT (SELECT key FROM peer WHERE id = ?3)",
            )?;
            let of_text = (network.key, EntryKind::Text.code(), me.as_bytes());
            Ok(query.query_row(of_text, |row| row.get::<_, i64>(0))?.cast_unsigned())
        })
        .await
    }
}

/// `CROSS JOIN` keeps SQLite from starting with the peers: so the index on (network, lamport) gives the order, and only
/// entries of equal time are sorted.
const SELECT: &str = "SELECT t.position, t.author, t.seq, t.late, t.arrived_ms, t.lamport, t.kind
    FROM timeline t CROSS JOIN peer p ON p.key = t.author WHERE t.network = ?1 AND ";
const KEYS: &str = "SELECT t.lamport, p.id, t.seq, t.kind
    FROM timeline t CROSS JOIN peer p ON p.key = t.author WHERE t.network = ?1 AND ";
const BEFORE: &str = "t.lamport <= ?2 AND (t.lamport, p.id, t.seq) < (?2, ?3, ?4)
    ORDER BY t.lamport DESC, p.id DESC, t.seq DESC LIMIT ?5";
const AFTER: &str = "t.lamport >= ?2 AND (t.lamport, p.id, t.seq) > (?2, ?3, ?4)
    ORDER BY t.lamport, p.id, t.seq LIMIT ?5";
const ARRIVALS: &str = "t.position > ?2 ORDER BY t.position LIMIT ?3";
const TAGGED: &str = "t.tag BETWEEN ?2 AND ?3";

fn messages(db: &Connection, network: NetworkKey, sql: &str, bounds: impl Params) -> Result<Vec<StoredMessage>, Fault> {
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(bounds)?;
    let mut entries = Entries::new(db, network);
    let (mut page, mut size) = (Vec::new(), 0);
    while size < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let message = message(&mut entries, row)?;
        size += message.body.len();
        page.push(message);
    }
    Ok(page)
}

fn message(entries: &mut Entries<'_>, row: &Row<'_>) -> Result<StoredMessage, Fault> {
    let seq = row.get::<_, Number>(2)?.0;
    let (run, index) = entries.find(row.get(1)?, seq)?;
    let Some((hash, entry)) = run.entries.get(index) else {
        return Err(Fault::Corrupt(format!("entry {seq} is not in its run")));
    };
    let (lamport, kind) = (entry.header.lamport, entry.header.kind.code());
    if (row.get::<_, Number>(5)?.0, row.get::<_, i64>(6)?) != (lamport, i64::from(kind)) {
        return Err(Fault::Corrupt(format!("entry {seq} of {} is in the wrong place", run.author.short())));
    }
    Ok(StoredMessage {
        id: MessageId::from(*hash),
        author: run.author,
        seq,
        lamport: entry.header.lamport,
        wall_ms: entry.header.wall_ms,
        kind: entry.header.kind,
        body: entry.body.clone(),
        position: row.get::<_, i64>(0)?.cast_unsigned(),
        late: row.get(3)?,
        arrived_ms: row.get::<_, Number>(4)?.0,
    })
}

fn last_position(db: &Connection, network: NetworkKey) -> Result<i64, Fault> {
    let mut query = db.prepare_cached("SELECT ifnull(max(position), 0) FROM timeline WHERE network = ?1")?;
    Ok(query.query_row([network.key], |row| row.get(0))?)
}

fn before_newest(
    db: &Connection,
    network: NetworkKey,
    end: TimelineKey,
    count: u64,
) -> Result<Option<TimelineKey>, Fault> {
    // Positions have no gaps.
    if count >= last_position(db, network)?.cast_unsigned() {
        return Ok(None);
    }
    let mut query = db.prepare_cached(&[KEYS, BEFORE].concat())?;
    let bounds = (network.key, Number(end.lamport), end.author.as_bytes(), Number(end.seq), i64::MAX);
    let mut rows = query.query(bounds)?;
    let mut passed = 0;
    while let Some(row) = rows.next()? {
        if passed == count {
            let (lamport, author) = (row.get::<_, Number>(0)?.0, row.get::<_, Id>(1)?.into());
            return Ok(Some(TimelineKey { lamport, author, seq: row.get::<_, Number>(2)?.0 }));
        }
        passed += u64::from(!matches!(EntryKind::from_code(row.get(3)?), EntryKind::Unknown(_)));
    }
    Ok(None)
}

fn by_id(db: &Connection, network: NetworkKey, digits: &str) -> Result<Lookup, Fault> {
    // The tag is the first 12 digits.
    let head = digits.get(..12).unwrap_or(digits);
    let bound = |fill: char| {
        let padded: String = head.chars().chain(std::iter::repeat(fill)).take(12).collect();
        i64::from_str_radix(&padded, 16).map_err(|error| Fault::Refused(error.to_string()))
    };
    let mut query = db.prepare_cached(&[SELECT, TAGGED].concat())?;
    let mut rows = query.query((network.key, bound('0')?, bound('f')?))?;
    let mut entries = Entries::new(db, network);
    let mut found = Lookup::Missing;
    while let Some(row) = rows.next()? {
        let candidate = message(&mut entries, row)?;
        if candidate.id.to_string().replace('-', "").starts_with(digits) {
            if found != Lookup::Missing {
                return Ok(Lookup::Ambiguous);
            }
            found = Lookup::Found(Box::new(candidate));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn a_page_of_history_is_read_along_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&directory.path().join(schema::FILE_NAME), None).unwrap();
        let plan = |tail| schema::plan(&db, &[SELECT, tail].concat());
        let keys = schema::plan(&db, &[KEYS, BEFORE].concat());
        for (history, range) in [(plan(AFTER), "lamport>?"), (plan(BEFORE), "lamport<?"), (keys, "lamport<?")] {
            assert!(history.contains(&format!("timeline_lamport (network=? AND {range})")), "{history}");
            assert!(history.contains("LAST 2 TERMS"), "{history}");
        }
        let search = plan(TAGGED);
        assert!(search.contains("PRIMARY KEY (network=?)"), "{search}");
        let arrivals = plan(ARRIVALS);
        assert!(arrivals.contains("PRIMARY KEY (network=? AND position>?)"), "{arrivals}");
        assert!(!arrivals.contains("TEMP B-TREE"), "{arrivals}");
    }
}
