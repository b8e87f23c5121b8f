//! The log as the engine sees it: per author how much is stored and how much delivered, and the entries between,
//! held back until everything they depend on is delivered (Birman, Schiper and Stephenson 1991).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2p_chat_model::{
    EntryHash, PeerId, RosterOp, Seq, VectorClock,
    limits::{MAX_LAMPORT, MAX_LAMPORT_JUMP},
};

use crate::{io::EntryFacts, roster::Roster};

/// Up to here Lamport time may be driven by what rests on entries that can't be had. What is left is enough for ever.
const MAX_LAMPORT_UNSEEN: u64 = MAX_LAMPORT / 2;
/// Most entries of one author that another's may rest on and that can't be had.
const MAX_UNSEEN: Seq = 1 << 24;

#[derive(Debug, Clone, Default)]
struct Feed {
    last: Seq,
    head: Option<EntryHash>,
    /// The Lamport time of the last entry.
    lamport: u64,
    /// Of authors that have contradicted themselves: up to where this feed's delivered entries rest on theirs.
    unseen: VectorClock,
    held: VecDeque<EntryFacts>,
    frozen: bool,
}

/// What becomes of a run that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It continues the feed: store it.
    Taken,
    /// It is stored already.
    Duplicate,
    /// Entries between are missing, or it names authors that are not known yet.
    TooEarly,
    /// It contradicts what is stored: the author has written two entries under one number.
    Fork(Seq),
    /// Too many entries wait already, the feed is frozen, or its Lamport time does not grow.
    Refused,
}

/// All feeds of a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feeds {
    feeds: BTreeMap<PeerId, Feed>,
    /// What is stored: the frontier.
    stored: VectorClock,
    delivered: VectorClock,
    /// Whose next entry waits for an entry of the key.
    waiting: BTreeMap<PeerId, BTreeSet<PeerId>>,
    /// Whose next entry has a Lamport time that nobody else has come near to.
    ahead: BTreeSet<PeerId>,
    /// Whose next entry may have become deliverable.
    ready: BTreeSet<PeerId>,
    held: usize,
    /// Whether any feed is frozen: whom its author has admitted may stay unknown.
    some_frozen: bool,
    lamport: u64,
    newest: (u64, Option<PeerId>, Seq),
    digest: Option<u64>,
}

impl Feeds {
    pub(crate) fn stored(&self) -> &VectorClock {
        &self.stored
    }

    pub(crate) fn delivered(&self) -> &VectorClock {
        &self.delivered
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The highest Lamport time seen.
    pub(crate) fn lamport(&self) -> u64 {
        self.lamport
    }

    fn see_lamport(&mut self, lamport: u64) {
        if lamport > self.lamport {
            self.lamport = lamport;
            self.ready.append(&mut self.ahead);
        }
    }

    /// The digest of the frontier, computed when it has changed.
    pub(crate) fn digest(&mut self) -> u64 {
        *self.digest.get_or_insert_with(|| self.stored.digest())
    }

    /// Puts a feed back as the disk holds it; `held` are the entries after `delivered`.
    pub(crate) fn restore(&mut self, author: PeerId, last: Seq, head: EntryHash, lamport: u64, held: Vec<EntryFacts>) {
        self.see_lamport(lamport);
        let delivered = last - held.len() as Seq;
        if delivered > 0 {
            self.newest = self.newest.max((lamport, Some(author), delivered));
        }
        self.stored.set(author, last);
        self.delivered.set(author, delivered);
        self.held += held.len();
        self.ready.insert(author);
        self.digest = None;
        let lamport = held.last().map_or(lamport, |entry| entry.lamport);
        let feed = Feed { last, head: Some(head), lamport, held: held.into(), ..Feed::default() };
        self.feeds.insert(author, feed);
    }

    /// Takes note of an own entry: written and delivered at once.
    pub(crate) fn append_own(&mut self, me: PeerId, lamport: u64) -> Seq {
        let feed = self.feeds.entry(me).or_default();
        feed.last += 1;
        feed.lamport = lamport;
        // The driver chains own entries; nobody else continues this feed.
        feed.head = None;
        let seq = feed.last;
        self.see_lamport(lamport);
        self.stored.set(me, seq);
        self.digest = None;
        self.mark_delivered(me, seq, lamport);
        seq
    }

    /// Decides about a run of another author, or of the own feed coming back from a peer.
    pub(crate) fn offer(
        &mut self,
        author: PeerId,
        first: Seq,
        previous: EntryHash,
        entries: &[EntryFacts],
        roster: &Roster,
        caps: (usize, usize),
    ) -> Offer {
        let some_frozen = self.some_frozen;
        let feed = self.feeds.entry(author).or_default();
        let last = first + entries.len().saturating_sub(1) as Seq;
        if last <= feed.last {
            return match (last == feed.last, feed.head, entries.last()) {
                (true, Some(head), Some(entry)) if entry.hash != head => Offer::Fork(last),
                _ => Offer::Duplicate,
            };
        }
        if first > feed.last + 1 {
            return Offer::TooEarly;
        }
        if feed.frozen {
            return Offer::Refused;
        }
        // Runs are formed once, by their author: one that overlaps what is stored was formed a second time. So was one that
        // goes on where this node itself has written: see `append_own`.
        let continues = feed.head.is_some_and(|head| head == previous) || feed.last == 0;
        if first <= feed.last || !continues {
            return Offer::Fork(first);
        }
        if entries.first().is_some_and(|entry| entry.lamport <= feed.lamport) {
            return Offer::Refused;
        }
        let admitted = |peer: &PeerId| {
            let admits = |op: &RosterOp| matches!(op, RosterOp::Admit { peer: admitted, .. } if admitted == peer);
            entries.iter().filter_map(|entry| entry.op.as_ref()).any(admits)
        };
        let known = |peer: &PeerId| some_frozen || roster.knows(peer) || admitted(peer);
        let unknown = |entry: &EntryFacts| entry.clock.iter().any(|(peer, _)| !known(&peer));
        if entries.iter().any(unknown) {
            return Offer::TooEarly;
        }
        let (per_feed, in_all) = caps;
        if feed.held.len() + entries.len() > per_feed || self.held + entries.len() > in_all {
            // A run that can be delivered at once never waits, so it is taken whatever else does.
            let waits = |entry: &EntryFacts| entry.clock.iter().any(|(peer, seq)| self.waits_for(&peer, seq));
            let blocked = entries.iter().any(waits);
            if blocked || !self.feeds.get(&author).is_some_and(|feed| feed.held.is_empty()) {
                return Offer::Refused;
            }
        }
        self.take(author, last, entries);
        Offer::Taken
    }

    fn take(&mut self, author: PeerId, last: Seq, entries: &[EntryFacts]) {
        let feed = self.feeds.entry(author).or_default();
        feed.last = last;
        if let Some(newest) = entries.last() {
            (feed.head, feed.lamport) = (Some(newest.hash), newest.lamport);
        }
        feed.held.extend(entries.iter().cloned());
        self.held += entries.len();
        self.stored.set(author, last);
        self.digest = None;
        self.ready.insert(author);
    }

    /// Stops taking entries of `author`, who has contradicted itself. Returns whether it was not stopped before.
    pub(crate) fn freeze(&mut self, author: PeerId) -> bool {
        self.ready.extend(self.waiting.remove(&author).unwrap_or_default());
        self.some_frozen = true;
        let feed = self.feeds.entry(author).or_default();
        !std::mem::replace(&mut feed.frozen, true)
    }

    /// Takes the next entry whose causal past is delivered, and whether it comes before one delivered already.
    ///
    /// Lamport time grows by one an entry, so an honest one is just above everything in its causal past. One that is
    /// far beyond waits until the others have come so far: nobody can use the numbers up for all. Each entry of the past
    /// that can't be had, because its author has contradicted itself, may have gone as far ahead as one may; but there
    /// are only so many of them, and each counts once in a feed, or a few could drive Lamport time to its end together.
    pub(crate) fn next_deliverable(&mut self) -> Option<(PeerId, Seq, EntryFacts, bool)> {
        loop {
            let author = *self.ready.first()?;
            let Some(entry) = self.feeds.get(&author).and_then(|feed| feed.held.front()) else {
                self.ready.remove(&author);
                continue;
            };
            if let Some((missing, _)) = entry.clock.iter().find(|(peer, seq)| self.waits_for(peer, *seq)) {
                self.waiting.entry(missing).or_default().insert(author);
                self.ready.remove(&author);
                continue;
            }
            let unseen = entry.clock.since(&self.delivered);
            if entry.lamport > self.highest_lamport(&author, &unseen) {
                self.ahead.insert(author);
                self.ready.remove(&author);
                continue;
            }
            let feed = self.feeds.get_mut(&author)?;
            feed.unseen.merge(&unseen);
            let entry = feed.held.pop_front()?;
            self.held -= 1;
            self.see_lamport(entry.lamport);
            let seq = self.delivered.at(&author) + 1;
            let late = (entry.lamport, Some(author), seq) < self.newest;
            self.mark_delivered(author, seq, entry.lamport);
            return Some((author, seq, entry, late));
        }
    }

    /// Whether entry `seq` of `author` is yet to be delivered. What an author wrote that has contradicted itself is
    /// not waited for: there may be as many versions of it as members, and not all of them can be had.
    fn waits_for(&self, author: &PeerId, seq: Seq) -> bool {
        self.delivered.at(author) < seq && !self.feeds.get(author).is_some_and(|feed| feed.frozen)
    }

    /// Whether the next entry of some feed waits for one of `author`.
    pub(crate) fn is_waited_for(&self, author: &PeerId) -> bool {
        self.waiting.contains_key(author)
    }

    /// Whose next entry waits for one that is not stored here. Its author had it.
    pub(crate) fn witnesses_of_missing(&self) -> BTreeSet<PeerId> {
        let lacks = |author: &PeerId, missing: &PeerId| {
            let next = self.feeds.get(author).and_then(|feed| feed.held.front());
            next.is_some_and(|entry| entry.clock.at(missing) > self.stored.at(missing))
        };
        let waiting = self.waiting.iter().flat_map(|(missing, authors)| authors.iter().map(move |it| (it, missing)));
        waiting.filter(|(author, missing)| lacks(author, missing)).map(|(author, _)| *author).collect()
    }

    /// Up to which Lamport time the next entry of `author` is delivered, if what it rests on and can't be had is `unseen`.
    fn highest_lamport(&self, author: &PeerId, unseen: &VectorClock) -> u64 {
        let counted = |peer: &PeerId| self.feeds.get(author).map_or(0, |feed| feed.unseen.at(peer));
        let new = |(peer, seq): (PeerId, Seq)| {
            let delivered = self.delivered.at(&peer);
            seq.min(delivered + MAX_UNSEEN).saturating_sub(delivered.max(counted(&peer)))
        };
        let jumps = unseen.iter().map(new).fold(0, u64::saturating_add);
        let seen = self.lamport.saturating_add(MAX_LAMPORT_JUMP);
        seen.max(seen.saturating_add(MAX_LAMPORT_JUMP.saturating_mul(jumps)).min(MAX_LAMPORT_UNSEEN))
    }

    fn mark_delivered(&mut self, author: PeerId, seq: Seq, lamport: u64) {
        self.delivered.set(author, seq);
        self.newest = self.newest.max((lamport, Some(author), seq));
        if let Some(waiting) = self.waiting.remove(&author) {
            self.ready.extend(waiting);
        }
    }
}

#[cfg(test)]
mod tests;
