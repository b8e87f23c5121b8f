//! Letting others in, as leader: the call-back, the signed admission, the node id, and the answer.

use p2p_chat_model::{ActiveMember, Address, Name, PeerId, RosterOp, Seq, limits::MAX_MEMBERS};

use crate::{
    durable::Phase,
    engine::{Engine, Purpose},
    io::{CallError, Event, PeerCall, Refusal, RequestId, Response, Standing},
    timers::Timer,
};

/// A join that this leader handles.
#[derive(Debug, Clone, Hash)]
pub(crate) struct PendingJoin {
    peer: PeerId,
    request: u64,
    name: Name,
    address: Address,
    /// How long the joiner's own feed is, says the joiner that has no view yet: a leave in it is undone too.
    past: Seq,
    /// Whether the joiner lacks the admission that this leader knows of.
    lacks_admission: bool,
    /// When it was called back, unless that is for the second time.
    called_ms: Option<u64>,
    /// Where the admission stands, and until when the answer waits for another member to store it.
    admitted: Option<(PeerId, Seq, u64)>,
}

impl Engine {
    pub(crate) fn on_join(&mut self, id: RequestId, peer: PeerId, request: u64, name: Name, address: Address) {
        if !self.is_leading() {
            let other = self.hint().filter(|hint| hint.peer != self.me);
            // Who is only on its way in leads nothing, whatever is on record.
            let outside = self.state.phase == Phase::Joining;
            let refusal = if outside { Refusal::NotHere } else { Refusal::Busy("no leader is known") };
            self.reply(id, other.map(Response::NotLeader).ok_or(refusal));
            return;
        }
        let refusal = if peer == self.me {
            Some(Refusal::Invalid("the leader is in its network already"))
        } else if self.is_full_for(&peer) {
            Some(Refusal::Full)
        } else if self.pending_joins.values().any(|join| join.peer == peer && join.admitted.is_none()) {
            Some(Refusal::Busy("an earlier join of this node is under way"))
        } else if !self.has_place_to_join(&peer) {
            Some(Refusal::Busy("many are joining"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.reply(id, Err(refusal));
            return;
        }
        let join = PendingJoin {
            peer,
            request,
            name,
            address: address.clone(),
            past: 0,
            lacks_admission: false,
            called_ms: Some(self.moment.now),
            admitted: None,
        };
        self.pending_joins.insert(id, join);
        let is_it = |member: &ActiveMember| member.address == address && member.join_request == request;
        let current = self.view().and_then(|view| view.member(&peer)).is_some_and(is_it);
        if current && self.roster.is_member(&peer) {
            self.heard(peer);
            self.admit(id);
            return;
        }
        self.call_back(id, peer, address);
    }

    /// Whether another join can be handled: those who are no members have half of the places, so that they keep no
    /// member from coming back.
    fn has_place_to_join(&self, peer: &PeerId) -> bool {
        let most = self.setup.config.max_pending_joins;
        let joins = || self.pending_joins.values();
        let of_strangers = || joins().filter(|join| !self.roster.is_member(&join.peer)).count();
        joins().count() < most && (self.roster.is_member(peer) || of_strangers() < most.div_ceil(2))
    }

    fn call_back(&mut self, id: RequestId, peer: PeerId, address: Address) {
        let standing = self.standing(&peer);
        let timeout = self.setup.config.call_back_timeout_ms;
        self.call(Purpose::CallBack(id), peer, address, PeerCall::Ping(standing), timeout);
    }

    fn is_full_for(&self, peer: &PeerId) -> bool {
        let roster_is_full = !self.roster.knows(peer) && self.roster.known() >= MAX_MEMBERS;
        let view_is_full = !self.is_active(peer) && self.others().len() >= MAX_MEMBERS - 1;
        roster_is_full || view_is_full
    }

    pub(crate) fn on_called_back(&mut self, id: RequestId, result: Result<Response, CallError>) {
        let Some(join) = self.pending_joins.get_mut(&id) else { return };
        let admitted = self.roster.member(&join.peer).map(|member| member.admitted);
        // A refusal comes from the key that was called: it is there, it only does not know this node yet.
        let peer = join.peer;
        if matches!(result, Err(CallError::Unreachable(_))) {
            // Where nobody listens the call fails at once. Silence may be one lost packet, or a joiner that is busy.
            let was_silent = |called| self.moment.now >= called + self.setup.config.ping_timeout_ms;
            let address = join.address.clone();
            if join.called_ms.take().is_some_and(was_silent) {
                self.call_back(id, peer, address);
                return;
            }
            self.pending_joins.remove(&id);
            self.reply(id, Err(Refusal::Unreachable(address)));
        } else {
            if let Ok(Response::Standing(Standing { frontier: Some(frontier), version, .. })) = &result {
                join.past = if *version == 0 { frontier.at(&peer) } else { 0 };
                join.lacks_admission = admitted.is_some_and(|(_, by, seq)| by != self.me && frontier.at(&by) < seq);
            }
            self.admit(id);
            // Whoever comes back may have what this leader lacks. The word of who was not let in counts for nothing.
            if let Ok(Response::Standing(Standing { frontier: Some(frontier), .. })) = &result
                && self.admits(&peer)
            {
                self.learn_frontier(peer, frontier);
            }
        }
    }

    /// The joiner is where it says: finds or writes its admission and takes it into the view.
    fn admit(&mut self, id: RequestId) {
        let Some(join) = self.pending_joins.get(&id).cloned() else { return };
        let past = self.feeds.delivered().at(&join.peer).max(join.past);
        let knows_all = self.feeds.delivered().at(&join.peer) >= past;
        let standing = self.roster.member(&join.peer).filter(|member| knows_all && member.stands());
        let standing = standing.map(|member| member.admitted).filter(|_| !self.wants_another(&join));
        let refusal = if !self.is_leading() || standing.is_none() && !self.may_write() {
            Some(Refusal::Busy("the leader is being replaced"))
        } else {
            // Others may have come in during the call-back.
            self.is_full_for(&join.peer).then_some(Refusal::Full)
        };
        if let Some(refusal) = refusal {
            self.pending_joins.remove(&id);
            self.reply(id, Err(refusal));
            return;
        }
        let now = self.moment.now;
        let (by, seq, wait) = match standing {
            Some((_, by, seq)) => (by, seq, 0),
            None => {
                let op = RosterOp::Admit { peer: join.peer, name: join.name.clone(), past };
                let (seq, _) = self.append(None, Some(op));
                (self.me, seq, self.setup.config.admission_wait_ms)
            }
        };
        self.activate(&join);
        if let Some(join) = self.pending_joins.get_mut(&id) {
            join.admitted = Some((by, seq, now + wait));
        }
        self.timers.hasten(Timer::Admission, now + wait);
    }

    /// Whether a member that is active asks for another admission: the author of the one that it has been told of has
    /// contradicted itself, and shown this leader what it has not shown the member.
    fn wants_another(&self, join: &PendingJoin) -> bool {
        let under = self.view().and_then(|view| view.member(&join.peer)).map(|member| member.join_request);
        join.lacks_admission && under.is_some_and(|request| request != join.request)
    }

    /// Takes a member into the view under the next id, or notes its new address.
    fn activate(&mut self, join: &PendingJoin) {
        let current = self.view().and_then(|view| view.member(&join.peer)).cloned();
        match current {
            Some(member) if member.address == join.address && member.join_request == join.request => {}
            Some(member) if member.join_request == join.request => self.change_view(|view| {
                for member in view.active.iter_mut().filter(|member| member.peer == join.peer) {
                    member.address = join.address.clone();
                }
            }),
            _ => self.change_view(|view| {
                view.active.retain(|member| member.peer != join.peer);
                let (node, next) = (view.next_id, view.next_id.next());
                view.next_id = next;
                let (peer, address) = (join.peer, join.address.clone());
                view.active.push(ActiveMember { node, peer, address, join_request: join.request });
            }),
        }
        self.liveness.hear_of(join.peer, self.moment.now);
    }

    pub(crate) fn on_admission_timer(&mut self) {
        let now = self.moment.now;
        let due = self.pending_joins.values().filter_map(|join| join.admitted).map(|(_, _, until)| until);
        if let Some(next) = due.filter(|until| *until > now).min() {
            self.timers.set(Timer::Admission, next);
        }
    }

    /// Answers the joiners whose admission another member holds, or that have waited long enough: so one crash
    /// can't undo an admission that was answered.
    pub(crate) fn answer_joins(&mut self) {
        let ready: Vec<RequestId> =
            self.pending_joins.iter().filter(|(_, join)| self.is_settled(join)).map(|(id, _)| *id).collect();
        for id in ready {
            let Some(join) = self.pending_joins.remove(&id) else { continue };
            let Some((by, seq, _)) = join.admitted else { continue };
            let answer = match self.view() {
                Some(view) if self.is_leading() && view.member(&join.peer).is_some() => Ok(Response::Admitted {
                    view: view.clone(),
                    admission: (by, seq),
                    frontier: self.feeds.stored().clone(),
                }),
                _ => Err(Refusal::Busy("the leader is being replaced")),
            };
            self.reply(id, answer);
        }
    }

    fn is_settled(&self, join: &PendingJoin) -> bool {
        let Some((by, seq, until)) = join.admitted else { return false };
        let others = self.others();
        let mut witnesses = others.iter().filter(|peer| **peer != join.peer).peekable();
        let alone = witnesses.peek().is_none();
        let held = witnesses.any(|peer| self.delivery.cursors.get(peer).is_some_and(|cursor| cursor.acked >= seq));
        by != self.me || alone || held || self.moment.now >= until
    }

    pub(crate) fn on_leave(&mut self, id: RequestId, from: PeerId) {
        if self.is_leading() {
            if self.is_active(&from) && from != self.me {
                self.change_view(|view| view.active.retain(|member| member.peer != from));
            }
            self.reply(id, Ok(Response::Left));
        } else {
            let other = self.hint().filter(|hint| hint.peer != self.me);
            self.reply(id, other.map(Response::NotLeader).ok_or(Refusal::Busy("no leader is known")));
        }
    }

    /// A signed change of the roster was delivered.
    pub(crate) fn on_roster_change(&mut self, place: (u64, PeerId, Seq), op: &RosterOp) {
        let author = place.1;
        self.roster.announce(author, op);
        self.roster.apply(place, op);
        if *op == RosterOp::Leave && !self.roster.is_member(&author) {
            self.event(Event::Left(author));
            self.drop_out(author);
            self.put_off_joins_of(author);
        }
    }

    /// A join from before the leave must not undo it. Whoever means to come back asks again.
    fn put_off_joins_of(&mut self, peer: PeerId) {
        let of_peer = self.pending_joins.iter().filter(|(_, join)| join.peer == peer).map(|(id, _)| *id);
        for id in of_peer.collect::<Vec<_>>() {
            self.pending_joins.remove(&id);
            self.reply(id, Err(Refusal::Busy("the joiner has just left")));
        }
    }
}
