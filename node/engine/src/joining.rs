//! The way into the view: joining for the first time, and coming back after having dropped out.

use std::collections::VecDeque;

use p2p_chat_model::{Address, Certificate, Epoch, PeerId, Seq, VectorClock, View};

use crate::{
    durable::{Durable, Phase},
    engine::{Engine, Purpose},
    io::{
        CallError, CommandError, CommandId, DiscoveryAnswer, DiscoveryCall, Done, Event, LeaderHint, PeerCall, Response,
    },
    registration::Asked,
    timers::Timer,
};

/// After so many turns of asking in vain, a member asks a discovery service to let it lead. Even, since the services
/// are asked who leads at the odd ones.
const TURNS_UNTIL_STRANDED: usize = 6;

/// This node's way into the view.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Joining {
    /// Who waits for it, the first time.
    command: Option<CommandId>,
    /// Whom else to ask.
    contacts: VecDeque<(PeerId, Address)>,
    /// How often somebody was asked.
    tries: u32,
    /// How often the next way in was chosen: the discovery services and the known members take turns.
    turns: u32,
    in_flight: bool,
    /// A later reign heard of while a call was in flight.
    next: Option<LeaderHint>,
    last_error: String,
}

impl Engine {
    pub(crate) fn start_join(
        &mut self,
        command: CommandId,
        leader: LeaderHint,
        contacts: Vec<(PeerId, Address)>,
        before: Option<Durable>,
    ) {
        let request = self.draw(u64::MAX);
        self.state = Durable::new(Phase::Joining, request);
        if let Some(before) = before {
            self.state.vote = before.vote;
            self.state.frozen = before.frozen;
            self.keep_frozen();
        }
        self.state.own_floor = self.feeds.stored().at(&self.me);
        self.persist();
        self.joining = Some(Joining { command: Some(command), contacts: contacts.into(), ..Joining::default() });
        self.set_timer(Timer::JoinDeadline, self.setup.config.join_timeout_ms);
        self.ask_to_join(leader);
    }

    /// The node ended while it asked to be let in. The leader may have done so: it is asked again until somebody answers, or
    /// the others would have a member that knows nothing of it. Whoever wanted it can still leave.
    pub(crate) fn resume_joining(&mut self) {
        self.joining = Some(Joining::default());
        self.set_timer(Timer::Seek, 0);
    }

    /// Asks a leader to be let in again, or to be told what it knows of this node.
    pub(crate) fn seek(&mut self, hint: LeaderHint) {
        if !matches!(self.state.phase, Phase::Joined | Phase::Joining) || hint.peer == self.me {
            return;
        }
        let joining = self.joining.get_or_insert_default();
        if joining.in_flight {
            if joining.next.as_ref().is_none_or(|next| next.epoch < hint.epoch) {
                joining.next = Some(hint);
            }
            return;
        }
        self.ask_to_join(hint);
    }

    /// `peer` does not know this node: the admission died with the leader that wrote it.
    pub(crate) fn seek_at(&mut self, peer: PeerId) {
        if let Some(address) = self.address_of(&peer) {
            self.seek(LeaderHint { epoch: self.state.epoch, peer, address });
        }
    }

    /// A member whose admission does not arrive is as good as none: its leader is asked for another one. Where the
    /// author of the admission has contradicted itself it never arrives, and the request is a new one.
    pub(crate) fn seek_admission(&mut self) {
        let lacks_it = !self.has_arrived() || !self.roster.is_member(&self.me);
        let Some(hint) = self.hint().filter(|_| lacks_it && self.joining.is_none()) else { return };
        if self.state.admission.is_some_and(|(by, _)| self.state.frozen.contains(&by)) {
            self.state.join_request = self.draw(u64::MAX);
            self.persist();
        }
        self.seek(hint);
    }

    /// Whether the own admission is delivered here.
    pub(crate) fn has_arrived(&self) -> bool {
        self.state.admission.is_none_or(|(by, seq)| self.feeds.delivered().at(&by) >= seq)
    }

    /// Whether the way into the view has been tried more than once already.
    pub(crate) fn seeks_in_vain(&self) -> bool {
        self.joining.as_ref().is_some_and(|joining| joining.tries > 2)
    }

    /// Without a leader, and no candidate itself: asks the discovery services and the known members who leads.
    pub(crate) fn seek_anybody(&mut self) {
        if self.state.phase == Phase::Joined && self.joining.is_none() {
            self.joining = Some(Joining::default());
            self.seek_later("the leader is gone");
        }
    }

    fn ask_to_join(&mut self, hint: LeaderHint) {
        let config = &self.setup.config;
        // The leader may have to be connected to, calls back twice, and waits for the admission to be stored.
        let timeout = 3 * config.call_back_timeout_ms + config.admission_wait_ms;
        if let Some(joining) = &mut self.joining {
            joining.in_flight = true;
            joining.tries += 1;
        }
        let call = PeerCall::Join { request: self.state.join_request };
        self.call(Purpose::Join(hint.clone()), hint.peer, hint.address, call, timeout);
    }

    pub(crate) fn on_join_answer(&mut self, hint: LeaderHint, result: Result<Response, CallError>) {
        let Some(joining) = &mut self.joining else { return };
        joining.in_flight = false;
        let (next, tries) = (joining.next.take(), joining.tries);
        match result {
            Ok(Response::Admitted { view, admission, frontier }) => {
                let (me, plausible) = (self.me, self.is_plausible_view(&view));
                let outdated = view.epoch < self.state.epoch || self.has_dropped_out_since(&view);
                let current = !outdated && view.member(&me).is_some() && plausible;
                if current && view.leader().is_some_and(|leader| leader.peer == hint.peer) {
                    self.on_admitted(hint.peer, view, admission, &frontier);
                } else if self.is_leading() {
                    // The leader of an earlier reign had never heard of this node. Now it has, and can be told.
                    self.stop_seeking();
                    self.learn_frontier(hint.peer, &frontier);
                    self.coordinate(hint.peer);
                } else {
                    if outdated {
                        // It may lead whoever is left, and has to go above the reign that is followed here.
                        self.tell_standing(&hint);
                    }
                    self.seek_later("the answer of an outdated leader");
                }
            }
            Ok(Response::NotLeader(other)) => {
                let better = next.filter(|next| next.epoch > other.epoch).unwrap_or(other);
                if self.is_leading() && better.peer == self.me {
                    self.win_back(hint.epoch);
                    return;
                }
                let loops = better.peer == hint.peer || better.peer == self.me;
                if loops || tries % 8 == 0 || better.epoch < self.state.epoch {
                    self.seek_later("nobody says who leads");
                } else {
                    self.ask_to_join(better);
                }
            }
            Err(CallError::Unmet(reason)) if self.state.phase == Phase::Joining => {
                self.fail_join(CommandError::NotReachable(reason));
            }
            // It won't change its mind soon: a full network, or a request it can't make sense of.
            Err(CallError::Full(reason) | CallError::Failed(reason)) if self.state.phase == Phase::Joining => {
                self.fail_join(CommandError::Refused(reason));
            }
            Err(error) => self.on_join_failed(&hint, next, &error),
            Ok(_) => self.seek_later("an answer that makes no sense"),
        }
    }

    /// Whether this node follows a later view of the same reign, without it: the answer was long under way.
    fn has_dropped_out_since(&self, view: &View) -> bool {
        let is_later =
            |mine: &View| (mine.epoch, mine.leader) == (view.epoch, view.leader) && mine.version > view.version;
        self.node().is_none() && self.view().is_some_and(is_later)
    }

    /// Tells a leader of an earlier reign of the later one.
    fn tell_standing(&mut self, hint: &LeaderHint) {
        let purpose = Purpose::Compare(hint.peer);
        if !self.is_asking(&purpose) {
            let standing = self.standing(&hint.peer);
            let timeout = self.setup.config.ping_timeout_ms;
            self.call(purpose, hint.peer, hint.address.clone(), PeerCall::Ping(standing), timeout);
        }
    }

    fn on_join_failed(&mut self, hint: &LeaderHint, next: Option<LeaderHint>, error: &CallError) {
        if let Some(next) = next.filter(|next| next.peer != hint.peer) {
            self.ask_to_join(next);
            return;
        }
        let asked = hint.peer;
        // Then it leads, for all that is known, and only has no time or no room.
        let leads = matches!(error, CallError::Busy(_) | CallError::Full(_));
        if !leads && self.can_be_outbid(hint.epoch) {
            self.election.outbid(hint.epoch);
        }
        let in_view = self.node().is_some();
        if self.is_leading() && !leads {
            self.win_back(hint.epoch);
            return;
        }
        if in_view && self.leader() == Some(asked) && self.can_lead() {
            // This node is in the leader's view as far as it knows: if the leader is gone, there is an election. After one
            // that has just failed it is looked at again in a while, not at once and over and over.
            self.stop_seeking();
            if !self.election.backs_off() {
                self.suspect(asked);
            }
            return;
        }
        self.seek_later(&error.to_string());
    }

    /// As leader: who is on record for `epoch` does not lead, or can't be reached. It won the record and never
    /// took office, or its side of a partition has to be outvoted.
    fn win_back(&mut self, epoch: Epoch) {
        self.stop_seeking();
        self.reassert(epoch);
    }

    pub(crate) fn stop_seeking(&mut self) {
        self.joining = None;
        self.timers.clear(Timer::Seek);
    }

    fn seek_later(&mut self, error: &str) {
        if let Some(joining) = &mut self.joining {
            joining.last_error = error.to_owned();
        }
        let config = &self.setup.config;
        // Who is in, or was, has to come back soon; who only wanted to get in may wait for somebody who is gone for good.
        let doublings = match (self.state.phase, &self.joining) {
            (Phase::Joining, Some(joining)) if joining.command.is_none() => (joining.turns / 4).min(8),
            _ => 0,
        };
        let retry = (config.join_retry_ms << doublings).min(config.join_timeout_ms);
        let jitter = self.draw(retry);
        self.set_timer(Timer::Seek, retry + jitter);
    }

    /// Tries the next way in: the discovery services and the known members in turn.
    pub(crate) fn on_seek(&mut self) {
        let Some(joining) = &mut self.joining else { return };
        if joining.in_flight {
            return;
        }
        joining.tries += 1;
        joining.turns += 1;
        let (turns, services) = (joining.turns as usize, self.setup.services);
        let stranded = turns % TURNS_UNTIL_STRANDED == 0;
        let contact = joining.contacts.pop_front();
        if let Some(contact) = &contact {
            joining.contacts.push_back(contact.clone());
        }
        if services > 0 && turns % 2 == 1 {
            joining.in_flight = true;
            self.discover((turns / 2) % services, Asked::Lookup, DiscoveryCall::Lookup);
            return;
        }
        if stranded {
            self.stand_outside();
        }
        let known: Vec<PeerId> = self.state.addresses.keys().filter(|peer| **peer != self.me).copied().collect();
        let known = self.choose(&known).and_then(|peer| Some((peer, self.address_of(&peer)?)));
        let epoch = self.state.epoch;
        match contact.or(known) {
            Some((peer, address)) if peer != self.me => self.ask_to_join(LeaderHint { epoch, peer, address }),
            _ => self.seek_later("nobody is known who could be asked"),
        }
    }

    pub(crate) fn on_lookup(&mut self, result: Result<DiscoveryAnswer, CallError>) {
        let Some(joining) = &mut self.joining else { return };
        joining.in_flight = false;
        match result {
            Ok(DiscoveryAnswer::Accepted(record)) => {
                joining.contacts = record.contacts.clone().into();
                self.go_beyond_own(&record);
                if record.leader.peer == self.me {
                    self.seek_later("the discovery service lists this node as the leader");
                } else {
                    self.ask_to_join(record.leader);
                }
            }
            Ok(_) => self.seek_later("no discovery service knows the network"),
            Err(error) => self.seek_later(&error.to_string()),
        }
    }

    fn on_admitted(&mut self, leader: PeerId, view: View, admission: (PeerId, Seq), frontier: &VectorClock) {
        let command = self.joining.take().and_then(|joining| joining.command);
        self.timers.clear(Timer::Seek);
        self.timers.clear(Timer::JoinDeadline);
        let first = self.state.phase == Phase::Joining;
        self.state.phase = Phase::Joined;
        // An admission that can't be delivered, since its author or somebody before it has contradicted itself, is
        // worth nothing: the newer one replaces it.
        if first || !self.has_arrived() {
            self.state.admission = Some(admission);
        }
        self.state.own_floor = self.state.own_floor.max(frontier.at(&self.me));
        let same = self.view().is_some_and(|mine| mine.epoch == view.epoch && mine.leader == view.leader);
        let newer = |mine: &View| mine.version < view.version || mine.member(&self.me).is_none();
        // Versions of two leaders of one epoch say nothing about which of them is followed.
        if !same || self.view().is_none_or(newer) {
            let certificate = Certificate::founding();
            self.adopt(view, if same { None } else { Some(certificate) });
        } else {
            self.persist();
        }
        self.heard(leader);
        if let (Some(command), Some(node)) = (command, self.node()) {
            self.done(command, Ok(Done::Joined(node)));
        }
        self.learn_frontier(leader, frontier);
    }

    pub(crate) fn on_join_deadline(&mut self) {
        let error = self.joining.as_ref().map_or(String::new(), |joining| joining.last_error.clone());
        self.fail_join(CommandError::NoLeader(error));
    }

    fn fail_join(&mut self, error: CommandError) {
        if self.state.phase != Phase::Joining {
            return;
        }
        let command = self.joining.take().and_then(|joining| joining.command);
        self.event(Event::Abandoned);
        self.stop();
        if let Some(command) = command {
            self.done(command, Err(error));
        }
    }
}
