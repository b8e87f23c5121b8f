//! One commit's writes, inside a transaction.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use p2p_chat_model::{EntryHash, EntryKind, NetworkId, PeerId, Run, Seq};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::{
    error::Fault,
    forget::hide,
    number::{Id, Number},
    read::{StoredMessage, last_position},
    recent::Change,
    stored::{NetworkKey, StoredRun, network_key, peer_key, rank},
    stretch::{Placed, Stretch},
    sum,
    undelivered::{Facts, FeedKey, Fresh, Undelivered},
    write::{Way, Write},
};

/// Most acks kept for one peer in one network; the oldest go first.
pub const MAX_ACKS: i64 = 10_000;
/// Most peers and feeds the writer remembers something about; then it forgets all and reads again.
const MAX_MEMO: usize = 4_096;

/// What the writer need not read again. Holds only what is in the file, or in the transaction under way.
#[derive(Default)]
pub(crate) struct Memo {
    networks: BTreeMap<NetworkId, i64>,
    peers: BTreeMap<PeerId, i64>,
    /// Entries that are to be delivered.
    undelivered: Undelivered,
    /// Where feeds stand.
    feeds: BTreeMap<(i64, i64), Feed>,
    /// The newest ack of each peer: up to where, and its number.
    acks: BTreeMap<(i64, i64), (Seq, i64)>,
    /// The last position of each network's timeline.
    positions: BTreeMap<i64, u64>,
    /// What the commit under way delivers and has not written yet.
    stretch: Option<Stretch>,
}

/// Makes the changes, in order. What becomes known with the commit is added to `changes`.
pub(crate) fn apply(
    db: &Connection,
    memo: &mut Memo,
    network: NetworkId,
    writes: &[Write],
    changes: &mut Vec<Change>,
) -> Result<(), Fault> {
    for write in writes {
        match write {
            Write::Network { name } => {
                db.prepare_cached(
                    "INSERT INTO network (id, name) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                )?
                .execute((network.as_bytes(), name.as_str()))?;
            }
            Write::Forget => {
                let key = hide(db, network)?;
                *memo = Memo::default();
                changes.push(Change::Forget { network, key });
            }
            other => {
                let mut change = Commit { db, network: memo.network(db, network)?, memo };
                change.apply(other, changes)?;
            }
        }
    }
    if memo.stretch.is_some() {
        let network = memo.network(db, network)?;
        Commit { db, network, memo }.end_stretch()?;
    }
    memo.write_feeds(db)
}

impl Memo {
    fn network(&mut self, db: &Connection, id: NetworkId) -> Result<NetworkKey, Fault> {
        if let Some(key) = self.networks.get(&id) {
            return Ok(NetworkKey { id, key: *key });
        }
        let network = network_key(db, id)?.ok_or_else(|| Fault::Refused("the network is not stored".to_owned()))?;
        self.networks.insert(id, network.key);
        Ok(network)
    }

    fn peer(&mut self, db: &Connection, id: &PeerId) -> Result<i64, Fault> {
        if let Some(key) = self.peers.get(id) {
            return Ok(*key);
        }
        let key = match peer_key(db, id)? {
            Some(key) => key,
            None => {
                db.prepare_cached("INSERT INTO peer (id) VALUES (?1)")?.execute([id.as_bytes()])?;
                db.last_insert_rowid()
            }
        };
        if self.peers.len() >= MAX_MEMO {
            self.peers.clear();
        }
        self.peers.insert(*id, key);
        Ok(key)
    }

    /// Writes down where the feeds stand that have moved: once a commit, however many entries it delivers.
    fn write_feeds(&mut self, db: &Connection) -> Result<(), Fault> {
        let mut update = db.prepare_cached(
            "INSERT INTO feed (network, author, last, head, lamport, delivered) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET last = excluded.last, head = excluded.head, lamport = excluded.lamport,
                 delivered = excluded.delivered",
        )?;
        for ((network, author), feed) in self.feeds.iter_mut().filter(|(_, feed)| feed.moved) {
            let (last, lamport, delivered) = (Number(feed.last), Number(feed.lamport), Number(feed.delivered));
            update.execute((network, author, last, feed.head.as_bytes(), lamport, delivered))?;
            feed.moved = false;
        }
        if self.feeds.len() > MAX_MEMO || self.acks.len() > MAX_MEMO {
            self.feeds.clear();
            self.acks.clear();
        }
        Ok(())
    }
}

/// Where a feed stands.
struct Feed {
    last: Seq,
    head: EntryHash,
    lamport: u64,
    delivered: Seq,
    /// Whether the file does not say so yet.
    moved: bool,
}

/// A network that is being written to.
struct Commit<'a> {
    db: &'a Connection,
    network: NetworkKey,
    memo: &'a mut Memo,
}

impl Commit<'_> {
    fn apply(&mut self, write: &Write, changes: &mut Vec<Change>) -> Result<(), Fault> {
        match write {
            Write::State(state) => {
                let mut update = self.db.prepare_cached("UPDATE network SET state = ?2 WHERE key = ?1")?;
                update.execute((self.network.key, sum::seal(self.network.id, state)))?;
                Ok(())
            }
            Write::Run { run, bytes } => self.run(run, bytes, changes),
            Write::Fork { run, bytes } => {
                let author = self.memo.peer(self.db, &run.author)?;
                let mut insert = self.db.prepare_cached("INSERT OR IGNORE INTO fork VALUES (?1, ?2, ?3)")?;
                insert.execute((self.network.key, author, &bytes[..]))?;
                Ok(())
            }
            Write::Deliver { author, first, last, arrived_ms, late } => {
                self.deliver(author, (*first, *last), (*arrived_ms, *late), changes)
            }
            Write::Ack { peer, upto, way, time_ms } => self.ack(peer, *upto, *way, *time_ms),
            Write::MarkRead { position } => {
                let position = i64::try_from((*self.last_position()?).min(*position)).unwrap_or(i64::MAX);
                let mut update = self.db.prepare_cached("UPDATE network SET read = max(read, ?2) WHERE key = ?1")?;
                update.execute((self.network.key, position))?;
                Ok(())
            }
            Write::Network { .. } | Write::Forget => Ok(()),
        }
    }

    /// Where a feed stands, to be changed.
    fn feed(&mut self, author: i64) -> Result<&mut Feed, Fault> {
        let key = (self.network.key, author);
        let feed = match self.memo.feeds.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let mut query = self.db.prepare_cached(
                    "SELECT last, head, lamport, delivered FROM feed WHERE network = ?1 AND author = ?2",
                )?;
                let stored = query.query_row(key, |row| {
                    let number = |column| row.get::<_, Number>(column).map(|number| number.0);
                    let head = row.get::<_, Id>(1)?.into();
                    Ok(Feed { last: number(0)?, head, lamport: number(2)?, delivered: number(3)?, moved: false })
                });
                let new = Feed { last: 0, head: EntryHash::NONE, lamport: 0, delivered: 0, moved: false };
                vacant.insert(stored.optional()?.unwrap_or(new))
            }
        };
        Ok(feed)
    }

    /// The last position of the timeline, to be changed.
    fn last_position(&mut self) -> Result<&mut u64, Fault> {
        Ok(match self.memo.positions.entry(self.network.key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(last_position(self.db, self.network.key)?),
        })
    }

    fn run(&mut self, run: &Run, bytes: &Bytes, changes: &mut Vec<Change>) -> Result<(), Fault> {
        let author = self.memo.peer(self.db, &run.author)?;
        let ends = run.entries.first().zip(run.entries.last());
        let Some(((_, oldest), (_, newest))) = ends.filter(|_| run.network == self.network.id) else {
            return Err(Fault::Refused("the run is empty or of another network".to_owned()));
        };
        let feed = self.feed(author)?;
        if run.first.checked_sub(1) != Some(feed.last) || run.previous != feed.head {
            let (first, short, last) = (run.first, run.author.short(), feed.last);
            return Err(Fault::Refused(format!("a run from entry {first} does not continue feed {short} at {last}")));
        }
        if oldest.header.lamport <= feed.lamport {
            let (first, short) = (run.first, run.author.short());
            return Err(Fault::Refused(format!("the Lamport time of feed {short} does not grow at entry {first}")));
        }
        let last = run.last();
        (feed.last, feed.head, feed.lamport, feed.moved) = (last, run.head(), newest.header.lamport, true);
        let mut insert = self.db.prepare_cached(
            "INSERT INTO run (network, author, first, last, rank, digest, bytes)
             VALUES (:network, :author, :first, :last, :rank, :digest, :bytes)",
        )?;
        insert.execute(named_params! {
            ":network": self.network.key, ":author": author, ":first": Number(run.first), ":last": Number(last),
            ":rank": Number(rank(run)), ":digest": sum::of_run(run), ":bytes": &bytes[..],
        })?;
        for (seq, (_, entry)) in (run.first..).zip(&run.entries) {
            if !matches!(entry.header.kind, EntryKind::Text | EntryKind::Unknown(_)) {
                let mut insert = self.db.prepare_cached("INSERT INTO roster VALUES (?1, ?2, ?3)")?;
                insert.execute((self.network.key, author, Number(seq)))?;
            }
        }
        self.memo.undelivered.add((self.network.key, author), run);
        let (network, author, bytes) = (self.network.id, run.author, bytes.clone());
        changes.push(Change::Run { network, author, first: run.first, last, bytes });
        Ok(())
    }

    fn deliver(
        &mut self,
        author: &PeerId,
        (first, last): (Seq, Seq),
        arrival: (u64, bool),
        changes: &mut Vec<Change>,
    ) -> Result<(), Fault> {
        let peer = self.memo.peer(self.db, author)?;
        let feed = self.feed(peer)?;
        if first.checked_sub(1) != Some(feed.delivered) || last < first || last > feed.last {
            let (short, delivered, stored) = (author.short(), feed.delivered, feed.last);
            return Err(Fault::Refused(format!(
                "entries {first} to {last} of feed {short} can't be delivered: {delivered} of {stored} stored ones are"
            )));
        }
        (feed.delivered, feed.moved) = (last, true);
        let mut messages = Some(Vec::new());
        for seq in first..=last {
            let message = self.place((*author, peer), seq, arrival)?;
            messages = messages.zip(message).map(|(mut messages, message)| {
                messages.push(message);
                messages
            });
        }
        changes.push(Change::Delivered { network: self.network.id, messages });
        Ok(())
    }

    /// Puts an entry at the end of the timeline. Gives the message, if it is at hand.
    fn place(
        &mut self,
        (author, peer): (PeerId, i64),
        seq: Seq,
        (arrived_ms, late): (u64, bool),
    ) -> Result<Option<StoredMessage>, Fault> {
        let last = self.last_position()?;
        *last += 1;
        let position = *last;
        let Facts { lamport, kind, tag, fresh } = self.facts((self.network.key, peer), seq)?;
        let placed = Placed { author: peer, peer: author, seq, lamport, kind, position, arrived_ms, late };
        if !self.memo.stretch.as_mut().is_some_and(|stretch| stretch.take(&placed, tag)) {
            self.end_stretch()?;
            self.memo.stretch = Some(Stretch::new(placed, tag));
        }
        Ok(fresh.map(|Fresh { id, wall_ms, body }| StoredMessage {
            id,
            author,
            seq,
            lamport,
            wall_ms,
            kind,
            body,
            position,
            late,
            arrived_ms,
        }))
    }

    fn end_stretch(&mut self) -> Result<(), Fault> {
        match self.memo.stretch.take() {
            Some(stretch) => stretch.insert(self.db, self.network.key),
            None => Ok(()),
        }
    }

    /// What is known of the next entry of a feed to be delivered.
    fn facts(&mut self, feed: FeedKey, seq: Seq) -> Result<Facts, Fault> {
        if let Some(facts) = self.memo.undelivered.take(feed, seq) {
            return Ok(facts);
        }
        let missing = || Fault::Corrupt(format!("entry {seq} of a feed is counted but not stored"));
        let key = StoredRun::key_at(self.db, self.network, feed.1, seq)?.ok_or_else(missing)?;
        self.memo.undelivered.add_stored(feed, &StoredRun::of_key(self.db, self.network, key)?.run, seq);
        self.memo.undelivered.take(feed, seq).ok_or_else(missing)
    }

    fn ack(&mut self, peer: &PeerId, upto: Seq, way: Way, time_ms: u64) -> Result<(), Fault> {
        let peer = self.memo.peer(self.db, peer)?;
        let (code, relay) = match way {
            Way::Direct => (0, None),
            Way::Relayed(relay) => (1, Some(self.memo.peer(self.db, &relay)?)),
            Way::Fetched => (2, None),
        };
        let newest = self.newest_ack(peer)?;
        if upto <= newest.0 {
            return Ok(());
        }
        *newest = (upto, newest.1.saturating_add(1));
        let number = newest.1;
        let mut insert = self.db.prepare_cached("INSERT INTO ack VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        insert.execute((self.network.key, peer, Number(upto), number, Number(time_ms), code, relay))?;
        if number > MAX_ACKS {
            let mut expire = self.db.prepare_cached(
                "DELETE FROM ack WHERE network = ?1 AND peer = ?2 AND number <= ?3 AND upto =
                     (SELECT min(upto) FROM ack WHERE network = ?1 AND peer = ?2)",
            )?;
            expire.execute((self.network.key, peer, number - MAX_ACKS))?;
        }
        Ok(())
    }

    /// Up to where the own feed is acknowledged by a peer, and how many times it has been; to be changed.
    fn newest_ack(&mut self, peer: i64) -> Result<&mut (Seq, i64), Fault> {
        let key = (self.network.key, peer);
        let newest = match self.memo.acks.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let mut query = self.db.prepare_cached(
                    "SELECT upto, number FROM ack WHERE network = ?1 AND peer = ?2 ORDER BY upto DESC LIMIT 1",
                )?;
                let stored = query.query_row(key, |row| Ok((row.get::<_, Number>(0)?.0, row.get(1)?)));
                vacant.insert(stored.optional()?.unwrap_or((0, 0)))
            }
        };
        Ok(newest)
    }
}
