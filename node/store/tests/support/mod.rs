//! Authors that write into a store.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use bytes::Bytes;
use p2p_chat_model::{
    Entry, EntryHash, EntryKind, Genesis, Header, Identity, MessageId, NetworkId, PeerId, RosterOp, Run, Seq,
    VectorClock,
};
use p2p_chat_store::{Store, StoredFeed, Write};

/// The arrival time of everything that is delivered through [`deliver`].
pub const ARRIVED_MS: u64 = 1_800_000_000_000;

/// Someone with a feed in one network.
pub struct Author {
    pub identity: Identity,
    pub network: NetworkId,
    pub last: Seq,
    pub head: EntryHash,
    pub lamport: u64,
}

impl Author {
    /// Founds a network; the first writes are its name and its genesis.
    pub fn found(seed: u8, name: &str) -> (Self, Run, Vec<Write>) {
        let identity = Identity::from_seed([seed; 32]);
        let genesis = Genesis {
            salt: [seed; 32],
            name: name.parse().unwrap(),
            creator: format!("author{seed}").parse().unwrap(),
        };
        let (network, run) = Run::found(&identity, &genesis, 1);
        let author = Self { identity, network, last: 1, head: run.head(), lamport: 1 };
        (author, run.clone(), vec![Write::Network { name: name.parse().unwrap() }, write(&run)])
    }

    /// Someone else in that network, with nothing written yet.
    pub fn join(seed: u8, network: NetworkId) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        Self { identity, network, last: 0, head: EntryHash::NONE, lamport: 1 }
    }

    /// Goes on with a feed that is stored.
    pub fn resume(seed: u8, network: NetworkId, feed: &StoredFeed) -> Self {
        let (last, head, lamport) = (feed.last, feed.head, feed.last_lamport);
        Self { identity: Identity::from_seed([seed; 32]), network, last, head, lamport }
    }

    pub fn peer(&self) -> PeerId {
        self.identity.peer()
    }

    /// The next run: each entry with its Lamport time.
    pub fn sign(&mut self, entries: Vec<(u64, EntryKind, Vec<u8>)>) -> Run {
        let entries = entries
            .into_iter()
            .map(|(lamport, kind, body)| Entry {
                header: Header {
                    lamport,
                    wall_ms: 1_700_000_000_000u64.wrapping_add(lamport),
                    clock: VectorClock::new(),
                    kind,
                },
                body: body.into(),
            })
            .collect();
        let run = Run::sign(&self.identity, self.network, self.last + 1, self.head, entries);
        self.lamport = run.entries.last().unwrap().1.header.lamport;
        (self.last, self.head) = (run.last(), run.head());
        run
    }

    /// The next run, of texts.
    pub fn texts(&mut self, texts: &[&str]) -> Run {
        let lamport = self.lamport;
        self.sign((lamport + 1..).zip(texts).map(|(at, text)| (at, EntryKind::Text, (*text).into())).collect())
    }

    /// The next run, of one text with a Lamport time of choice.
    pub fn text_at(&mut self, lamport: u64, text: &str) -> Run {
        self.sign(vec![(lamport, EntryKind::Text, text.into())])
    }

    /// The next run: admits another.
    pub fn admit(&mut self, other: &Self) -> Run {
        let op = RosterOp::Admit { peer: other.peer(), name: "other".parse().unwrap(), past: 0 };
        self.sign(vec![(self.lamport + 1, op.kind(), op.encode())])
    }
}

pub fn write(run: &Run) -> Write {
    Write::Run { run: run.clone(), bytes: Bytes::from(run.encode()) }
}

/// Delivers all entries of a run.
pub fn deliver(run: &Run) -> Vec<Write> {
    let author = run.author;
    (run.first..=run.last())
        .map(|seq| Write::Deliver { author, first: seq, last: seq, arrived_ms: ARRIVED_MS + seq, late: false })
        .collect()
}

pub fn write_and_deliver(run: &Run) -> Vec<Write> {
    std::iter::once(write(run)).chain(deliver(run)).collect()
}

pub fn message_id(run: &Run, seq: Seq) -> MessageId {
    MessageId::from(run.entries[(seq - run.first) as usize].0)
}

/// A store in a directory of its own, which lives as long as the first value.
pub fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

/// Another connection to the file, as a vandal or a rival has it.
pub fn sql(store: &Store) -> rusqlite::Connection {
    rusqlite::Connection::open(store.file()).unwrap()
}

/// Puts the timeline back to a row for each entry, as in the first format of the file.
pub fn downgrade(db: &rusqlite::Connection) {
    db.execute_batch(
        "BEGIN;
         CREATE TABLE timeline (network INTEGER NOT NULL, position INTEGER NOT NULL, author INTEGER NOT NULL,
             seq ANY NOT NULL, lamport ANY NOT NULL, kind INTEGER NOT NULL, tag INTEGER NOT NULL,
             arrived_ms ANY NOT NULL, late INTEGER NOT NULL, PRIMARY KEY (network, position)) STRICT, WITHOUT ROWID;
         CREATE INDEX timeline_lamport ON timeline (network, lamport);",
    )
    .unwrap();
    let mut query = db
        .prepare("SELECT network, position, author, seq, lamport, kind, tags, arrived_ms, late FROM stretch")
        .unwrap();
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let number = |column| row.get::<_, i64>(column).unwrap();
        for (at, tag) in (0..).zip(row.get::<_, Vec<u8>>(6).unwrap().chunks(6)) {
            let tag = tag.iter().fold(0, |tag, byte| tag << 8 | i64::from(*byte));
            let place = (number(0), number(1) + at, number(2), number(3) + at, number(4) + at, number(5));
            let rest = (tag, number(7), number(8));
            db.execute(
                "INSERT INTO timeline VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                (place.0, place.1, place.2, place.3, place.4, place.5, rest.0, rest.1, rest.2),
            )
            .unwrap();
        }
    }
    db.execute_batch("DROP TABLE stretch; PRAGMA user_version = 1; COMMIT").unwrap();
}
