//! The oracle: the invariants of the design, one a file, each with the sentence that it enforces. It watches what
//! becomes durable, what is said and what is shown, and shares no code with the engine.

mod acked_is_durable;
mod bounds_hold;
mod causal_order;
mod epoch_never_decreases;
mod ids_never_reused;
mod ledger;
mod liveness;
mod no_duplicate;
mod no_loss;
mod no_needless_election;
mod no_phantom;
mod one_leader_per_epoch_and_rank;
mod one_vote_per_epoch;
mod outsiders_change_nothing;
mod rosters_are_true;
mod same_set_same_state;
mod silence_never_removes;

use std::collections::BTreeMap;

use p2p_chat_engine::{Done, Durable, Engine, Output, PeerCall, Phase, Request, Response};
use p2p_chat_model::{EntryHash, Epoch, PeerId, Run, Signature, limits::MAX_EPOCH_JUMP};
use p2p_chat_nds::registry;

use crate::{
    disk::Record,
    net::{Service, Who},
    node::Node,
    users::Wish,
};
use ledger::Ledger;

pub(crate) use outsiders_change_nothing::mallory;

/// What a check says: nothing, or what it saw.
pub(crate) type Finding = Result<(), String>;

/// The reign that an engine leads; 0 if none.
pub(crate) fn leads_epoch(engine: &Engine) -> Epoch {
    engine.leads().unwrap_or(Epoch(0))
}

/// What an engine does in the network.
pub(crate) fn phase(engine: &Engine) -> Phase {
    engine.snapshot().phase
}

/// All invariants and what they remember.
#[derive(Debug)]
pub(crate) struct Oracle {
    ledger: Ledger,
    acked: acked_is_durable::Acked,
    shown: causal_order::Shown,
    told: no_duplicate::Told,
    epochs: epoch_never_decreases::Epochs,
    votes: one_vote_per_epoch::Votes,
    leaders: one_leader_per_epoch_and_rank::Leaders,
    ids: ids_never_reused::Ids,
    rosters: silence_never_removes::Rosters,
    excused: rosters_are_true::Excused,
    /// The bad member: nothing is promised to it, nor of it.
    bad: Option<PeerId>,
    /// Whether nothing goes wrong any more, and all follow one leader.
    is_peace: bool,
    /// Signatures that were found genuine, by the hash of the entry they vouch for.
    genuine: BTreeMap<EntryHash, Signature>,
    /// Whether somebody was seen to hold an entry back.
    has_held: bool,
    finding: Option<(&'static str, String)>,
}

impl Oracle {
    pub(crate) fn new(count: usize, services: usize) -> Self {
        Self {
            ledger: Ledger::default(),
            acked: acked_is_durable::Acked::new(count),
            shown: causal_order::Shown::new(count),
            told: no_duplicate::Told::new(count),
            epochs: epoch_never_decreases::Epochs::new(count, services),
            votes: one_vote_per_epoch::Votes::default(),
            leaders: one_leader_per_epoch_and_rank::Leaders::new(services),
            ids: ids_never_reused::Ids::default(),
            rosters: silence_never_removes::Rosters::new(count),
            excused: rosters_are_true::Excused::default(),
            bad: None,
            is_peace: false,
            genuine: BTreeMap::new(),
            has_held: false,
            finding: None,
        }
    }

    /// What was found since the last time, if anything.
    pub(crate) fn take_finding(&mut self) -> Option<(&'static str, String)> {
        self.finding.take()
    }

    /// Whether somebody was seen to hold an entry back since the last time.
    pub(crate) fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.has_held)
    }

    fn note(&mut self, invariant: &'static str, found: Finding) {
        if let Err(what) = found {
            self.finding.get_or_insert((invariant, what));
        }
    }

    /// Something has become durable on a node's disk.
    pub(crate) fn check_record(&mut self, node: &Node, record: &Record, state: Option<&Durable>) {
        let who = node.who;
        if self.bad == Some(node.peer) {
            match record {
                // What it writes under a number is one of the things it says there.
                Record::Own(run) => drop(self.ledger.write(run)),
                Record::OwnDelivered { author, seq } => {
                    self.ledger.rests_on(*author, *seq, self.shown.past(who));
                    self.shown.trust(who, *author, *seq);
                }
                Record::Delivered { author, seq, .. } => self.shown.trust(who, *author, *seq),
                Record::Run(_) | Record::State(_) | Record::Fork(_) | Record::Ack { .. } => {}
            }
            return;
        }
        if let Some(state) = state {
            self.check_state(node, state);
        }
        match record {
            Record::Own(run) => {
                let found = self.ledger.write(run);
                self.note("no_duplicate", found);
            }
            Record::OwnDelivered { author, seq } => {
                self.ledger.rests_on(*author, *seq, self.shown.past(who));
                let found = self.shown.wrote(&self.ledger, who, (*author, *seq));
                self.note("causal_order", found);
            }
            Record::Run(run) => {
                let found = no_phantom::check_run(&self.ledger, node.name, run);
                self.note("no_phantom", found);
                let found = causal_order::check_run(node.name, node.disk.image(), run);
                self.note("causal_order", found);
                if self.bad.is_some() {
                    // Without a bad member nobody ever touches a run, and it would be the same as at its author.
                    let found = no_phantom::check_signature(&mut self.genuine, node.name, run);
                    self.note("no_phantom", found);
                }
            }
            Record::Delivered { author, seq, hash, late } => {
                let found = no_phantom::check_delivered(&self.ledger, node.name, (*author, *seq), *hash);
                self.note("no_phantom", found);
                // A bad author's Lamport times may go up and down: what comes after them is not known after a restart.
                let late = *late || self.bad.is_some();
                let found = self.shown.deliver(&self.ledger, node.name, who, (*author, *seq, *hash), late);
                self.note("causal_order", found);
            }
            Record::State(_) | Record::Fork(_) | Record::Ack { .. } => {}
        }
    }

    fn check_state(&mut self, node: &Node, state: &Durable) {
        self.excused.note_state(node.peer, state);
        let found = self.epochs.check_state(node.who, node.name, state);
        self.note("epoch_never_decreases", found);
        if let Some((epoch, candidate)) = state.vote {
            let found = self.votes.check((node.peer, epoch, candidate));
            self.note("one_vote_per_epoch", found);
        }
        let Some(view) = &state.view else { return };
        let found = self.ids.check_view(view);
        self.note("ids_never_reused", found);
        let found = self.leaders.check_view(node.peer, view, &state.certificate);
        self.note("one_leader_per_epoch_and_rank", found);
    }

    /// An output takes effect; if it answers a command, this was the wish.
    pub(crate) fn check_output(&mut self, nodes: &[Node], who: Who, output: &Output, wish: Option<Wish>) {
        let node = &nodes[who];
        if self.bad == Some(node.peer) {
            return;
        }
        let found = no_needless_election::check(node.name, output, self.is_peace);
        self.note("liveness", found);
        let found = self.acked.check_output(nodes, who, output);
        self.note("acked_is_durable", found);
        if matches!(output, Output::Done(_, Ok(Done::Left { .. }))) && wish == Some(Wish::LeaveByForce) {
            self.acked.forgo(node.peer);
            self.excused.leaves_by_force(node.peer);
        }
        let found = no_loss::check_left(nodes, who, output, wish);
        // A bad member may have said that it has all.
        let found = if self.bad.is_none() { found } else { Ok(()) };
        self.note("no_loss", found);
        let found = self.told.check_output(who, node.name, output);
        self.note("no_duplicate", found);
        match output {
            Output::Call { call: PeerCall::Coordinate(view, certificate), .. } => {
                let leader = view.leader().map_or(node.peer, |leader| leader.peer);
                let found = self.leaders.check_announced(view.epoch, certificate, leader);
                self.note("one_leader_per_epoch_and_rank", found);
                let found = self.ids.check_view(view);
                self.note("ids_never_reused", found);
            }
            Output::Call { call: PeerCall::UpdateView(view, vote), .. } => {
                // A reign that is handed over is only offered until its leader takes it.
                let found = if vote.is_none() { self.ids.check_view(view) } else { Ok(()) };
                self.note("ids_never_reused", found);
                self.note_vote(node, vote.as_ref());
            }
            Output::Reply(_, Ok(Response::Voted(vote))) => self.note_vote(node, Some(vote)),
            Output::Reply(_, Ok(Response::Admitted { view, .. })) => {
                let found = self.ids.check_view(view);
                self.note("ids_never_reused", found);
            }
            _ => {}
        }
    }

    fn note_vote(&mut self, node: &Node, vote: Option<&p2p_chat_model::Vote>) {
        // Votes for the last epoch that a node takes are not remembered.
        let last = node.written.as_ref().map(|state| state.epoch.0.saturating_add(MAX_EPOCH_JUMP));
        if let Some(vote) = vote.filter(|vote| Some(vote.epoch.0) != last) {
            let found = self.votes.check((vote.voter, vote.epoch, vote.candidate));
            self.note("one_vote_per_epoch", found);
        }
    }

    /// A request arrives: the edge checks signatures here.
    pub(crate) fn check_request(&mut self, request: &Request) {
        let found = one_vote_per_epoch::check_request(request);
        self.note("one_vote_per_epoch", found);
    }

    /// An answer arrives: the edge checks signatures here.
    pub(crate) fn check_response(&mut self, response: &Response) {
        let found = one_vote_per_epoch::check_response(response);
        self.note("one_vote_per_epoch", found);
    }

    /// A discovery service has changed its record.
    pub(crate) fn check_registry(&mut self, service: Service, record: Option<&registry::Record>) {
        if let Some(record) = record {
            self.leaders.accept(service, record.epoch(), record.leader().peer);
        }
        let found = self.epochs.check_registry(service, record);
        self.note("epoch_never_decreases", found);
    }

    /// From time to time: everything that is too costly after each step.
    pub(crate) fn check_all(&mut self, nodes: &[Node], flights: &[usize]) {
        let bad = self.bad;
        for node in nodes.iter().filter(|node| Some(node.peer) != bad) {
            let found = bounds_hold::check(node, flights[node.who]);
            self.note("bounds_hold", found);
            let found = self.acked.check_disk(node);
            self.note("acked_is_durable", found);
            if let Some(engine) = node.engine.as_ref().filter(|_| node.is_settled()) {
                let snapshot = engine.snapshot();
                self.has_held |= snapshot.held > 0;
                let found = same_set_same_state::check(node, &snapshot);
                self.note("same_set_same_state", found);
                let found = self.rosters.check(&self.ledger, node, &snapshot);
                self.note("silence_never_removes", found);
            }
        }
    }

    /// At rest: whoever is in has everything, and everybody agrees.
    pub(crate) fn check_rest(&mut self, nodes: &[Node]) {
        let found = no_loss::check(&self.ledger, &self.acked, nodes, self.bad);
        self.note("no_loss", found);
        let found = liveness::check_rest(nodes, self.bad);
        self.note("liveness", found);
        let found = rosters_are_true::check(&self.ledger, &self.excused, nodes, self.bad);
        self.note("rosters_are_true", found);
    }

    /// One leader, the lowest active id, known to everybody and to the discovery services, which have this on record.
    pub(crate) fn check_leader(&mut self, nodes: &[Node], registered: &[Option<(PeerId, Epoch)>]) {
        let found = liveness::check_leader(nodes, self.bad, registered);
        self.is_peace = found.is_ok();
        self.note("liveness", found);
    }

    /// A member turns out to be bad.
    pub(crate) fn distrust(&mut self, node: &Node) {
        self.bad = Some(node.peer);
        self.shown.distrust(node.peer);
        self.acked.distrust(node.who);
    }

    /// The bad member has something else to say under numbers that it uses too.
    pub(crate) fn check_fork(&mut self, run: &Run) {
        self.ledger.fork(run);
    }

    /// What an outsider's request did.
    pub(crate) fn check_intrusion(&mut self, found: Finding) {
        self.note("outsiders_change_nothing", found);
    }

    /// A discovery service has lost its disk, or all after some earlier epoch.
    pub(crate) fn nds_set_back(&mut self, service: Service, epoch: Epoch) {
        self.epochs.nds_set_back(service, epoch);
        self.leaders.nds_set_back(service);
    }

    /// A node comes back after having left: it may find the others in an earlier epoch. Its votes still stand.
    pub(crate) fn rejoins(&mut self, who: Who) {
        self.epochs.rejoins(who);
    }

    /// A node's own feed is on its disk up to less than before.
    pub(crate) fn set_back(&mut self, node: &Node) {
        let end = node.disk.image().end(&node.peer).0;
        self.shown.set_back(node.who, node.peer, end);
        self.told.set_back(node.who, node.peer, end);
    }

    /// A node has dropped its disk.
    pub(crate) fn forgotten(&mut self, node: &Node) {
        let who = node.who;
        self.leaders.forgotten(node.peer);
        self.acked.forgotten(who);
        self.shown.forgotten(who);
        self.told.forgotten(who);
        self.epochs.forgotten(who);
        self.rosters.forgotten(who);
    }
}
