//! A modelled disk: writes are buffered until they are synced, all at once, and what was not synced is lost in a crash;
//! unless the disk had just got to the end of it.

use std::{collections::BTreeMap, rc::Rc};

use p2p_chat_engine::{Durable, EntryFacts, FeedLog, RunFacts, RunToken, Way};
use p2p_chat_model::{EntryHash, NetworkId, PeerId, Run, Seq, VectorClock};

/// One atomic write.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// A run of another author, or of the own feed coming back.
    Run(Rc<Run>),
    /// A run of the own feed.
    Own(Rc<Run>),
    /// An entry of such a run takes its place among all that is delivered.
    OwnDelivered { author: PeerId, seq: Seq },
    /// An entry of another author is delivered, or one of the own feed that came back.
    Delivered { author: PeerId, seq: Seq, hash: EntryHash, late: bool },
    /// A run that contradicts what is stored of its author, kept as proof.
    Fork(Rc<Run>),
    /// The engine's state, encoded.
    State(Vec<u8>),
    /// Somebody has the own feed up to there.
    Ack { peer: PeerId, upto: Seq, way: Way },
}

/// What is on the platters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) network: Option<NetworkId>,
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) feeds: BTreeMap<PeerId, Vec<Rc<Run>>>,
    pub(crate) delivered: BTreeMap<PeerId, Seq>,
}

/// A node's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    image: Image,
    pending: Vec<Record>,
    /// The end of the own feed, buffered writes included.
    own_end: (Seq, EntryHash),
}

impl Disk {
    /// An empty disk, for a network or for none yet.
    pub(crate) fn new(network: Option<NetworkId>) -> Self {
        let image = Image { network, ..Image::default() };
        Self { image, pending: Vec::new(), own_end: (0, EntryHash::NONE) }
    }

    pub(crate) const fn image(&self) -> &Image {
        &self.image
    }

    /// Where the next own run has to start, and after which hash.
    pub(crate) const fn own_end(&self) -> (Seq, EntryHash) {
        self.own_end
    }

    /// Buffers a write in its place among those that are buffered already.
    pub(crate) fn write(&mut self, me: PeerId, place: usize, record: Record) {
        if let Record::Own(run) | Record::Run(run) = &record
            && run.author == me
        {
            self.own_end = (run.last(), run.head());
        }
        self.pending.insert(place, record);
    }

    /// Syncs what is buffered; says what became durable.
    pub(crate) fn sync(&mut self) -> Result<Vec<Record>, String> {
        let written = std::mem::take(&mut self.pending);
        for record in &written {
            self.image.apply(record)?;
        }
        Ok(written)
    }

    /// How many writes are not synced.
    pub(crate) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Nothing of what is buffered can be written.
    pub(crate) fn discard(&mut self, me: PeerId) {
        self.pending.clear();
        self.own_end = self.image.end(&me);
    }

    /// The own feed is as it was before its latest run: somebody put a copy of the disk back, or the disk had promised
    /// more than it held.
    pub(crate) fn set_back(&mut self, me: PeerId) {
        self.image.feeds.get_mut(&me).and_then(Vec::pop);
        let end = self.image.end(&me);
        self.image.delivered.insert(me, end.0);
        self.own_end = end;
    }

    /// The bytes of a buffered write, if it has more than a few.
    pub(crate) fn bytes(&self, index: usize) -> Option<Vec<u8>> {
        match self.pending.get(index)? {
            Record::Run(run) | Record::Own(run) | Record::Fork(run) => Some(run.encode()),
            Record::State(bytes) => Some(bytes.clone()),
            Record::Delivered { .. } | Record::OwnDelivered { .. } | Record::Ack { .. } => None,
        }
    }

    /// Whether these bytes would be read as such a write.
    pub(crate) fn is_whole(&self, index: usize, bytes: &[u8]) -> bool {
        match self.pending.get(index) {
            Some(Record::State(_)) => Durable::decode(bytes).is_ok(),
            _ => Run::decode_trusted(bytes).is_ok(),
        }
    }
}

impl Image {
    /// The number and hash of the last stored entry of a feed.
    pub(crate) fn end(&self, author: &PeerId) -> (Seq, EntryHash) {
        self.feeds.get(author).and_then(|feed| feed.last()).map_or((0, EntryHash::NONE), |run| (run.last(), run.head()))
    }

    /// Up to where entries of `author` are delivered.
    pub(crate) fn delivered(&self, author: &PeerId) -> Seq {
        self.delivered.get(author).copied().unwrap_or(0)
    }

    /// Of whom there are entries.
    pub(crate) fn authors(&self) -> impl Iterator<Item = &PeerId> {
        self.feeds.keys()
    }

    /// The runs that hold the entries from `from` to `upto` of a feed.
    pub(crate) fn runs(&self, author: &PeerId, from: Seq, upto: Seq) -> Vec<Rc<Run>> {
        let feed = self.feeds.get(author).map_or(&[][..], Vec::as_slice);
        feed.iter().filter(|run| run.first <= upto && run.last() >= from).cloned().collect()
    }

    /// The Lamport time of an entry.
    pub(crate) fn lamport(&self, author: &PeerId, seq: Seq) -> Option<u64> {
        let run = self.runs(author, seq, seq).into_iter().next()?;
        run.entries.get((seq - run.first) as usize).map(|(_, entry)| entry.header.lamport)
    }

    /// The entries that are stored and not delivered.
    pub(crate) fn held(&self) -> impl Iterator<Item = (PeerId, Seq)> {
        self.entries().map(|(author, seq, ..)| (author, seq)).filter(|(author, seq)| *seq > self.delivered(author))
    }

    /// What entry `upto` of a feed depends on, as its clock and those before it say.
    pub(crate) fn past_of(&self, author: &PeerId, upto: Seq) -> Option<VectorClock> {
        let mut past = VectorClock::new();
        for (_, seq, _, entry) in self.entries().filter(|(by, ..)| by == author) {
            if seq <= upto {
                past.merge(&entry.header.clock);
            }
        }
        past.set(*author, upto);
        (upto > 0).then_some(past)
    }

    /// All stored entries: author, number, hash and the run they are in.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (PeerId, Seq, EntryHash, &p2p_chat_model::Entry)> {
        self.feeds
            .values()
            .flatten()
            .flat_map(|run| (run.first..).zip(&run.entries).map(|(seq, (hash, entry))| (run.author, seq, *hash, entry)))
    }

    /// What an engine starts from again; `None` if nothing was ever written.
    pub(crate) fn resume(&self) -> Option<(Durable, Vec<FeedLog>)> {
        let durable = Durable::decode(self.state.as_ref()?).expect("the engine reads what it wrote");
        Some((durable, self.log()))
    }

    /// All feeds, as an engine is told of them.
    pub(crate) fn log(&self) -> Vec<FeedLog> {
        self.feeds.keys().map(|author| self.feed_log(*author)).collect()
    }

    fn feed_log(&self, author: PeerId) -> FeedLog {
        let (last, head) = self.end(&author);
        let delivered = self.delivered(&author);
        let facts: Vec<(Seq, EntryFacts)> =
            (1..).zip(self.runs(&author, 1, last).iter().flat_map(|run| entries(run))).collect();
        let (done, held): (Vec<_>, Vec<_>) = facts.into_iter().partition(|(seq, _)| *seq <= delivered);
        let lamport = done.last().map_or(0, |(_, entry)| entry.lamport);
        let roster = done.into_iter().filter(|(_, entry)| entry.op.is_some()).collect();
        let held = held.into_iter().map(|(_, entry)| entry).collect();
        FeedLog { author, last, head, lamport, held, roster }
    }

    fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Run(run) | Record::Own(run) => self.append(run)?,
            Record::Delivered { author, seq, .. } | Record::OwnDelivered { author, seq } => {
                let (last, _) = self.end(author);
                if *seq != self.delivered(author) + 1 || *seq > last {
                    return Err(format!("entry {seq} of {author:?} is delivered with {last} entries on disk"));
                }
                self.delivered.insert(*author, *seq);
            }
            Record::State(bytes) => self.state = Some(bytes.clone()),
            Record::Fork(_) | Record::Ack { .. } => {}
        }
        Ok(())
    }

    fn append(&mut self, run: &Rc<Run>) -> Result<(), String> {
        let (last, head) = self.end(&run.author);
        if run.first != last + 1 || run.previous != head {
            return Err(format!("a run of {:?} from {} is written after entry {last}", run.author, run.first));
        }
        self.feeds.entry(run.author).or_default().push(run.clone());
        Ok(())
    }
}

/// What the engine is told of a run.
pub(crate) fn facts(run: &Run, token: RunToken) -> RunFacts {
    RunFacts { token, author: run.author, first: run.first, previous: run.previous, entries: entries(run).collect() }
}

fn entries(run: &Run) -> impl Iterator<Item = EntryFacts> + '_ {
    run.entries.iter().map(|(hash, entry)| EntryFacts {
        hash: *hash,
        lamport: entry.header.lamport,
        wall_ms: entry.header.wall_ms,
        kind: entry.header.kind,
        clock: entry.header.clock.clone(),
        op: entry.roster_op().expect("a stored run is well-formed"),
    })
}
