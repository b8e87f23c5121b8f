//! Watches the driver's work, for the metrics and for whoever follows a message by its id. It changes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use p2p_chat_engine::{DiscoveryCall, Engine, Event, Output, PeerCall, Way, Write};
use p2p_chat_model::{EntryKind, Epoch, MessageId, PeerId, Seq};
use p2p_chat_traces::{Context, Span};
use tracing::{Level, debug, enabled, info, warn};

use super::{Incoming, Network, outbox::Written, trail::Trail, wall_ms};
use crate::metrics::Counts;

/// Own entries whose time of writing and id are kept, the newest ones: beyond that, an ack has no latency.
const MAX_REMEMBERED: usize = 4_096;

/// Who brought runs.
#[derive(Debug, Clone)]
pub(super) enum Brought {
    /// A call, whose span it is.
    HandedOver(Option<Context>),
    Fetched,
}

/// An own entry.
struct Own {
    at: Instant,
    message: MessageId,
}

/// An entry that is delivered with a commit.
struct Delivered {
    author: PeerId,
    message: MessageId,
    wall_ms: u64,
    /// Whether it is a text of somebody else.
    counts: bool,
}

/// What a commit brings, to be told once it is on disk.
#[derive(Default)]
pub(super) struct Batch {
    written: Vec<Written>,
    delivered: Vec<Delivered>,
    /// Only collected when somebody reads it.
    stored: Vec<(PeerId, MessageId)>,
    handed_over: u64,
    fetched: u64,
    causes: Vec<Context>,
    /// Ends with the batch.
    commit: Span,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
            && self.delivered.is_empty()
            && self.stored.is_empty()
            && self.causes.is_empty()
            && self.handed_over + self.fetched == 0
    }

    fn on_write(&mut self, me: PeerId, write: &Write, incoming: &[Option<Incoming>], brought: &[Brought]) {
        match write {
            Write::Deliver { author, entry, .. } => self.delivered.push(Delivered {
                author: *author,
                message: MessageId::from(entry.hash),
                wall_ms: entry.wall_ms,
                counts: entry.kind == EntryKind::Text && *author != me,
            }),
            Write::Run(token) => {
                let index = token.0 as usize;
                let Some(Some((run, _))) = incoming.get(index) else { return };
                // Own entries come back after a loss.
                let of_others = if run.author == me { 0 } else { run.entries.len() as u64 };
                match brought.get(index) {
                    Some(Brought::Fetched) => self.fetched += of_others,
                    _ => self.handed_over += of_others,
                }
                if enabled!(Level::DEBUG) {
                    self.stored.extend(run.entries.iter().map(|(hash, _)| (run.author, MessageId::from(*hash))));
                }
            }
            _ => {}
        }
    }
}

/// The memory of what was seen.
pub(super) struct Observer {
    network: Network,
    counts: Arc<Counts>,
    me: PeerId,
    /// The newest own entries; the last has the number `newest`.
    own: VecDeque<Own>,
    newest: Seq,
    acked: BTreeMap<PeerId, Seq>,
    /// The epoch in which this node last voted for itself.
    voted_for_itself: Epoch,
    stood_for: Epoch,
    pub(super) trail: Trail,
}

impl Observer {
    /// `acked` is up to where members are known to have the own feed.
    pub(super) fn new(network: &Network, me: PeerId, acked: Vec<(PeerId, Seq)>) -> Self {
        Self {
            network: network.clone(),
            counts: Arc::clone(&network.counts),
            me,
            own: VecDeque::new(),
            newest: 0,
            acked: acked.into_iter().collect(),
            voted_for_itself: Epoch(0),
            stood_for: Epoch(0),
            trail: Trail::new(network.traces.clone(), network.name.clone(), me),
        }
    }

    /// Looks at a write before it is carried out; `incoming` are the runs that it may take.
    pub(super) fn on_write(
        &mut self,
        batch: &mut Batch,
        write: &Write,
        incoming: &[Option<Incoming>],
        brought: &[Brought],
    ) {
        batch.on_write(self.me, write, incoming, brought);
        if let Write::State(state) = write
            && let Some((epoch, _)) =
                state.vote.filter(|(epoch, candidate)| *candidate == self.me && *epoch > state.epoch)
        {
            self.voted_for_itself = epoch;
        }
        let run = match write {
            Write::Run(token) => {
                incoming.get(token.0 as usize).and_then(Option::as_ref).zip(brought.get(token.0 as usize))
            }
            _ => None,
        };
        let handed_over = run.and_then(|(run, brought)| match brought {
            Brought::HandedOver(cause) => Some((run, cause)),
            Brought::Fetched => None,
        });
        batch.causes.extend(self.trail.on_write(write, handed_over));
    }

    /// An own entry goes into the commit.
    pub(super) fn on_written(&mut self, batch: &mut Batch, written: Written) {
        self.trail.on_written(&written);
        batch.written.push(written);
    }

    /// The commit begins.
    pub(super) fn begin_commit(&self, batch: Batch) -> Batch {
        Batch { commit: self.trail.commit(&batch.causes), causes: Vec::new(), ..batch }
    }

    /// Counts runs that the engine did not take.
    pub(super) fn on_left_over(&self, engine: &Engine, incoming: &[Option<Incoming>]) {
        for (run, _) in incoming.iter().flatten() {
            let is_known = run.last() <= engine.stored_of(&run.author);
            let counter = if is_known { &self.counts.duplicates } else { &self.counts.not_taken };
            counter.add(run.entries.len() as u64);
        }
    }

    /// A commit is on disk.
    pub(super) fn on_committed(&mut self, batch: Batch) {
        drop(batch.commit);
        for Written { seq, message, is_text, .. } in batch.written {
            if is_text {
                self.counts.sent.increment();
            }
            debug!(network = %self.network.name, message_id = %message, seq, "written");
            self.remember(seq, message);
        }
        self.counts.handed_over.add(batch.handed_over);
        self.counts.fetched.add(batch.fetched);
        let name = &self.network.name;
        for (author, message) in batch.stored {
            debug!(network = %name, message_id = %message, author = %author.short(), "stored");
        }
        let now = if batch.delivered.is_empty() { 0 } else { wall_ms() };
        for Delivered { author, message, wall_ms, counts } in batch.delivered {
            if counts {
                self.counts.on_delivered(wall_ms, now);
            }
            debug!(network = %name, message_id = %message, author = %author.short(), "delivered");
        }
    }

    fn remember(&mut self, seq: Seq, message: MessageId) {
        if seq != self.newest + 1 {
            self.own.clear();
        }
        self.newest = seq;
        self.own.push_back(Own { at: Instant::now(), message });
        if self.own.len() > MAX_REMEMBERED {
            self.own.pop_front();
        }
    }

    /// Own entries with these numbers, as far as they are remembered.
    fn own(&self, from: Seq, upto: Seq) -> impl Iterator<Item = &Own> {
        let oldest = (self.newest + 1).saturating_sub(self.own.len() as Seq);
        let start = from.max(oldest).saturating_sub(oldest) as usize;
        let end = (upto.min(self.newest) + 1).saturating_sub(oldest) as usize;
        self.own.range(start.min(end)..end)
    }

    /// A member has the own feed up to `upto`.
    pub(super) fn on_ack(&mut self, peer: PeerId, upto: Seq, way: Way) {
        let acked = self.acked.entry(peer).or_insert(0);
        if upto <= *acked {
            // It had lost its disk, or a part of it, and catches up.
            return;
        }
        let before = std::mem::replace(acked, upto);
        self.counts.on_acknowledged(way, upto - before);
        let (now, name) = (Instant::now(), &self.network.name);
        let way = match way {
            Way::Direct => "direct",
            Way::Relayed(_) => "relayed",
            Way::Fetched => "fetched",
        };
        for own in self.own(before + 1, upto) {
            self.counts.ack_latency.observe(now.saturating_duration_since(own.at));
            debug!(network = %name, message_id = %own.message, peer = %peer.short(), way, "acknowledged");
        }
    }

    /// An output is about to be carried out. Returns the span of the call that it is, if it is one.
    pub(super) fn on_output(&mut self, output: &Output) -> Span {
        let candidacy = self.candidacy(output);
        if let Some(epoch) = candidacy.filter(|epoch| *epoch > self.stood_for) {
            self.stood_for = epoch;
            self.counts.elections.increment();
        }
        match output {
            Output::Call { peer, call: PeerCall::Deliver { author, from, upto }, .. } if enabled!(Level::DEBUG) => {
                self.log_hand_over(peer, author, (*from, *upto));
            }
            Output::Event(event) => {
                self.counts.on_event(event);
                log(&self.network, event);
            }
            _ => {}
        }
        self.trail.on_output(output, candidacy, &self.acked)
    }

    /// The epoch for which this node stands, if the output is a step of that.
    fn candidacy(&self, output: &Output) -> Option<Epoch> {
        match output {
            Output::Call { call: PeerCall::Elect(epoch, _), .. } => Some(*epoch),
            // A hand-over is registered the same way, without an own vote.
            Output::Discover { call: DiscoveryCall::Update { view, votes, .. }, .. } => {
                votes.iter().any(|vote| vote.voter == self.me).then_some(view.epoch)
            }
            // Out of the view, or where nothing is on record. A leader registers the same way where a record was lost.
            Output::Discover { call: DiscoveryCall::Create { view, .. }, .. } => {
                Some(view.epoch).filter(|epoch| *epoch == self.voted_for_itself)
            }
            _ => None,
        }
    }

    fn log_hand_over(&self, peer: &PeerId, author: &PeerId, (from, upto): (Seq, Seq)) {
        let (name, peer) = (&self.network.name, peer.short());
        if *author == self.me {
            for own in self.own(from, upto) {
                debug!(network = %name, message_id = %own.message, %peer, "handed over to peer");
            }
        } else {
            debug!(network = %name, author = %author.short(), from, upto, %peer, "passed on to peer");
        }
    }
}

/// The event as a line for whoever follows the log.
fn log(network: &Network, event: &Event) {
    let name = &network.name;
    match event {
        // Told with the message's id: see `on_committed` and `on_ack`.
        Event::Delivered { .. } | Event::Acked { .. } => {}
        Event::Joined(peer, node) => info!(network = %name, peer = %peer.short(), node = node.0, "joined"),
        Event::Left(peer) => info!(network = %name, peer = %peer.short(), "left"),
        Event::DroppedOut(peer, node) => info!(network = %name, peer = %peer.short(), node = node.0, "dropped out"),
        Event::Returned(peer, node) => info!(network = %name, peer = %peer.short(), node = node.0, "returned"),
        Event::LeaderChanged { leader, node, epoch, after_ms } => {
            info!(network = %name, leader = %leader.short(), node = node.0, epoch = epoch.0, after_ms, "new leader");
        }
        Event::Leaderless(epoch) => warn!(network = %name, epoch = epoch.0, "the leader can't be reached"),
        Event::LeaderBack(leader) => info!(network = %name, leader = %leader.short(), "the leader is back"),
        Event::Outside => warn!(network = %name, "outside the view; asking to be let in again"),
        Event::CatchingUp { missing, from } => info!(network = %name, missing, from = %from.short(), "catching up"),
        Event::CaughtUp => info!(network = %name, "caught up"),
        Event::Equivocation { author, seq } => {
            warn!(network = %name, author = %author.short(), seq, "two entries under one number; the feed is frozen");
        }
        Event::Unlisted(service, reason) => {
            warn!(network = %name, service, reason, "a discovery service does not list it")
        }
        // Whoever asked for it is told why, and may ask again and again.
        Event::Abandoned => debug!(network = %name, "abandoned"),
        Event::Stopped => info!(network = %name, "not a member any more"),
    }
}

#[cfg(test)]
mod tests;
