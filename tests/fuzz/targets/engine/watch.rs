//! What must hold of an engine after every step, whatever it was told.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_engine::{
    CallId, Config, DiscoveryCall, Durable, Engine, MAX_STATE_BYTES, Output, PeerCall, RequestId, Snapshot, Write,
};
use p2p_chat_model::{
    Epoch, PeerId, Seq, View, Vote,
    limits::{MAX_LAMPORT, MAX_MEMBERS},
};

use super::super::limits;

/// Keeps the books.
pub(super) struct Watch {
    me: PeerId,
    disk: Durable,
    votes: BTreeMap<Epoch, PeerId>,
    open: BTreeMap<CallId, bool>,
    unanswered: BTreeSet<RequestId>,
    requests: u64,
    /// Somebody else has its key: a copy of its directory runs elsewhere.
    has_twin: bool,
    own: Option<(Seq, u64)>,
    steps: u64,
    /// The signatures of the votes that went out.
    verified: BTreeSet<[u8; 64]>,
    pub(super) calls: u64,
}

impl Watch {
    pub(super) fn new(me: PeerId, disk: Durable) -> Self {
        let (votes, open) = (BTreeMap::new(), BTreeMap::new());
        Self {
            me,
            disk,
            votes,
            open,
            unanswered: BTreeSet::new(),
            requests: 0,
            has_twin: false,
            own: None,
            steps: 0,
            verified: BTreeSet::new(),
            calls: 0,
        }
    }

    /// The name of a new request.
    pub(super) fn asked(&mut self, from: PeerId) -> RequestId {
        self.has_twin |= from == self.me;
        self.requests += 1;
        self.unanswered.insert(RequestId(self.requests));
        RequestId(self.requests)
    }

    /// One of the calls that are under way, and whether it goes to a discovery service.
    pub(super) fn open_call(&self, which: usize) -> Option<(CallId, bool)> {
        let which = which % self.open.len().max(1);
        self.open.iter().nth(which).map(|(id, is_discovery)| (*id, *is_discovery))
    }

    pub(super) fn answered(&mut self, id: CallId) {
        self.open.remove(&id);
    }

    pub(super) fn everybody_is_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    pub(super) fn waiting(&self) -> &BTreeSet<RequestId> {
        &self.unanswered
    }

    /// Looks at the outputs of one step, which had `size` entries in it.
    pub(super) fn see(&mut self, engine: &Engine, outputs: Vec<Output>, size: usize) {
        let snapshot = engine.snapshot();
        let members = snapshot.view.as_ref().map_or(0, |view| view.active.len());
        let before = self.disk.view.as_ref().map_or(0, |view| view.active.len());
        let held = snapshot.delivered.iter().map(|(_, seq)| seq).sum::<u64>().min(5_000) as usize;
        let most = 400 + 12 * (members + before + size + held);
        assert!(outputs.len() <= most, "{} outputs of one step, with {members} members", outputs.len());
        for output in outputs {
            self.see_one(output);
        }
        // Of a large group not after each of many steps: that takes longer than all the engine does.
        self.steps += 1;
        if members <= 64 || self.steps.is_multiple_of(32) {
            self.see_snapshot(&snapshot, members);
        }
    }

    fn see_one(&mut self, output: Output) {
        match output {
            Output::Call { id, peer, call, address, timeout_ms } => {
                assert!(peer != self.me || self.has_twin, "it calls itself: {call:?}");
                if self.calls < 2_000 {
                    limits::address(&address);
                }
                assert!((1..600_000).contains(&timeout_ms), "{timeout_ms} ms for {call:?}");
                self.sendable(&call);
                self.opened(id, false);
            }
            Output::Discover { id, call, .. } => {
                registrable(&call);
                self.opened(id, true);
            }
            Output::Reply(id, reply) => {
                assert!(self.unanswered.remove(&id), "two answers to {id:?}");
                match reply {
                    Ok(response) => limits::response(&response),
                    Err(refusal) => limits::sentence(&refusal.to_string()),
                }
            }
            Output::Write(Write::State(state)) => self.see_state(*state),
            Output::Write(Write::Own { seq, lamport, clock, .. }) => {
                if let Some((last, time)) = self.own.replace((seq, lamport)) {
                    assert!(seq > last && lamport > time, "own entries out of order");
                }
                assert!(lamport <= MAX_LAMPORT && lamport >= seq, "nobody takes an entry of time {lamport}");
                limits::clock(&clock);
                assert_eq!(clock.at(&self.me), 0);
            }
            Output::Write(_) | Output::Done(..) | Output::Event(_) => {}
        }
    }

    /// Whether the wire can carry it and the other side will take it.
    fn sendable(&mut self, call: &PeerCall) {
        match call {
            PeerCall::UpdateView(view, vote) => {
                assert_eq!(view.check(), Ok(()));
                self.genuine(vote.iter());
            }
            PeerCall::Coordinate(view, certificate) => {
                assert_eq!(view.check(), Ok(()));
                assert!(certificate.votes.len() <= MAX_MEMBERS);
                self.genuine(&certificate.votes);
            }
            PeerCall::Ping(standing) => limits::standing(standing),
            PeerCall::Fetch(have, _) => limits::clock(have),
            PeerCall::Deliver { from, upto, .. } => assert!(1 <= *from && from <= upto, "{call:?}"),
            PeerCall::Join { .. }
            | PeerCall::Leave
            | PeerCall::Elect(..)
            | PeerCall::PingVia(_)
            | PeerCall::Relay(_) => {}
        }
    }

    /// Verifies votes, each once: they go out to everybody.
    fn genuine<'a>(&mut self, votes: impl IntoIterator<Item = &'a Vote>) {
        for vote in votes {
            if self.verified.insert(*vote.signature.as_bytes()) {
                limits::vote(vote);
            }
        }
    }

    fn opened(&mut self, id: CallId, is_discovery: bool) {
        self.calls += 1;
        assert!(self.open.insert(id, is_discovery).is_none(), "{id:?} names two calls");
    }

    fn see_state(&mut self, state: Durable) {
        let bytes = state.encode();
        assert!(bytes.len() <= MAX_STATE_BYTES, "a state of {} bytes", bytes.len());
        match Durable::decode(&bytes) {
            Ok(back) => assert_eq!(back, state),
            Err(error) => panic!("a state is written that can't be read: {error}"),
        }
        assert!(state.epoch >= self.disk.epoch, "the epoch fell to {}", state.epoch);
        if let Some((epoch, whom)) = state.vote {
            let before = *self.votes.entry(epoch).or_insert(whom);
            assert_eq!(before, whom, "two votes in epoch {epoch}");
            assert!(self.disk.vote.is_none_or(|(last, _)| last <= epoch), "a vote was taken back");
        }
        state.view.iter().for_each(limits::view);
        self.disk = state;
    }

    fn see_snapshot(&self, snapshot: &Snapshot, members: usize) {
        let config = Config::LAN;
        assert!(snapshot.held <= config.max_held + 64, "{} entries are held back", snapshot.held);
        assert!(snapshot.frontier.covers(&snapshot.delivered));
        limits::clock(&snapshot.frontier);
        snapshot.view.iter().for_each(limits::view);
        let most = 1_000 + 16 * (members + snapshot.roster.iter().count());
        assert!(self.open.len() <= most, "{} calls are under way", self.open.len());
    }
}

fn registrable(call: &DiscoveryCall) {
    let view: &View = match call {
        DiscoveryCall::Create { view, .. } | DiscoveryCall::Renew { view, .. } | DiscoveryCall::Close { view, .. } => {
            view
        }
        DiscoveryCall::Update { view, votes, .. } => {
            votes.iter().for_each(limits::vote);
            view
        }
        DiscoveryCall::Lookup => return,
    };
    limits::view(view);
}
