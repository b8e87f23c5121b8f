//! What a bad member keeps doing once it has begun. Its Lamport time does not grow from run to run. It promises much,
//! and whoever fetches from it gets little, nothing, no answer, or no end. It claims to have more of somebody's feed
//! than there is, again and again.

use p2p_chat_engine::{LeaderHint, Request, Standing};
use p2p_chat_model::{Entry, EntryKind, Seq, VectorClock};

use super::Trick;
use crate::{
    calls::FlightId,
    edge::{Answer, Ask},
    faults::Fault,
    net::Who,
    world::{Happening, World},
};

/// How much more a bad member promises than there is.
const PROMISED: Seq = 1_000;
/// How often it says so to everybody.
const PROMISE_MS: u64 = 5_000;
/// How long each chunk of a fetch without end takes: just not too long.
const STALL_MS: (u64, u64) = (1_000, 4_500);
/// How long a bad member claims to have more of somebody's feed, before it takes that back.
const CLAIM_MS: u64 = 4_000;
/// How soon it claims that again.
const WITHDRAWAL_MS: u64 = 500;

/// The habits that a bad member has taken up.
#[derive(Debug, Default)]
pub(super) struct Habits {
    stands_still: bool,
    /// The Lamport time of the last entry that it wrote.
    lamport: u64,
    stalls: bool,
    claims: bool,
    /// Of whose feed it claims to have more, and whether it does so now.
    victim: Option<(Who, bool)>,
}

impl Habits {
    pub(super) const fn stand_still(&mut self) {
        self.stands_still = true;
    }

    pub(super) const fn claim_from(&mut self, victim: Who) {
        self.claims = true;
        self.victim = Some((victim, false));
    }
}

impl World {
    fn habits(&mut self, who: Who) -> Option<&mut Habits> {
        let is_bad = self.is_bad(who);
        self.bad.as_mut().map(|bad| &mut bad.habits).filter(|_| is_bad)
    }

    /// The bad member is not in at the moment: it takes a habit up later.
    pub(super) fn put_off(&mut self, trick: Trick) {
        if self.calm_since.is_none() && Trick::habits().any(|habit| habit == trick) {
            self.after(PROMISE_MS, Happening::Fault(Fault::Bad(trick)));
        }
    }

    /// The bad member writes a run whose first entry has this number. (Only texts are tampered with: whatever comes
    /// after such a run is not taken either.)
    pub(crate) fn hold_time_back(&mut self, who: Who, first: Seq, entries: &mut [Entry]) {
        let Some(habits) = self.habits(who) else { return };
        let (stands_still, latest) = (habits.stands_still, habits.lamport);
        if stands_still && entries.iter().all(|entry| entry.header.kind == EntryKind::Text) {
            // What is below an entry's number does not get past whoever decodes it.
            let lamport = self.rng.between(first, latest.max(first));
            (lamport..).zip(entries.iter_mut()).for_each(|(lamport, entry)| entry.header.lamport = lamport);
        }
        let latest = entries.last().map_or(latest, |entry| entry.header.lamport);
        self.habits(who).into_iter().for_each(|habits| habits.lamport = latest);
    }

    /// The bad member tells everybody that it has much, again and again.
    pub(super) fn promise_much(&mut self, who: Who) {
        let is_new = self.habits(who).is_some_and(|habits| !std::mem::replace(&mut habits.stalls, true));
        if is_new {
            self.tally.count(Trick::Stall.name());
        }
        for to in (0..self.nodes.len()).filter(|to| *to != who) {
            if let Some(mut standing) = self.standing_of(who, to) {
                self.overstate(who, &mut standing);
                self.send_besides(who, to, Ask::Plain(Box::new(Request::Ping(standing))));
            }
        }
        self.after(PROMISE_MS, Happening::Fault(Fault::Bad(Trick::Stall)));
    }

    /// What a node would say of itself to another one.
    fn standing_of(&self, who: Who, to: Who) -> Option<Standing> {
        let state = self.nodes[who].written.as_ref()?;
        let view = state.view.as_ref()?;
        let leader = view.leader()?;
        let leader = LeaderHint { epoch: view.epoch, peer: leader.peer, address: leader.address.clone() };
        let frontier = self.frontier_of(who);
        Some(Standing {
            leader: Some(leader),
            epoch: state.epoch,
            version: view.version,
            digest: frontier.digest(),
            frontier: Some(frontier),
            peer_active: view.member(&self.nodes[to].peer).is_some(),
            leaving: false,
        })
    }

    fn frontier_of(&self, who: Who) -> VectorClock {
        let image = self.nodes[who].disk.image();
        image.authors().map(|author| (*author, image.end(author).0)).collect()
    }

    /// Where the bad member stands, as it tells everybody.
    pub(super) fn overstate(&mut self, who: Who, standing: &mut Standing) {
        if self.habits(who).is_some_and(|habits| habits.stalls) {
            let me = self.nodes[who].peer;
            let mut frontier = standing.frontier.take().unwrap_or_else(|| self.frontier_of(who));
            frontier.raise(me, frontier.at(&me) + PROMISED);
            standing.digest = frontier.digest();
            standing.frontier = Some(frontier);
        }
    }

    /// The bad member claims to have more of its victim's feed than there is, or takes that back.
    pub(crate) fn claim_or_withdraw(&mut self) {
        let Some(bad) = self.bad.as_mut() else { return };
        let who = bad.who;
        let Some((victim, claims)) = &mut bad.habits.victim else { return };
        *claims = !*claims;
        let (victim, pause_ms) = (*victim, if *claims { CLAIM_MS } else { WITHDRAWAL_MS });
        if let Some(mut standing) = self.standing_of(who, victim).filter(|_| self.is_in(who)) {
            self.claim(who, victim, &mut standing);
            self.send_besides(who, victim, Ask::Plain(Box::new(Request::Ping(standing))));
        }
        self.after(pause_ms, Happening::Fault(Fault::Claim));
    }

    /// When all faults end, this one pauses: of whom more is claimed can't lead, nor let others in.
    pub(crate) fn end_claims(&mut self) {
        self.bad.iter_mut().for_each(|bad| bad.habits.victim = None);
    }

    /// Everything is at rest, and the bad member claims again, if it did before, and never stops. Whether it does.
    pub(crate) fn claims_for_ever(&mut self) -> bool {
        let Some(bad) = self.bad.as_ref().filter(|bad| bad.habits.claims).map(|bad| bad.who) else { return false };
        let victims: Vec<Who> = (0..self.nodes.len()).filter(|who| *who != bad && self.is_in(*who)).collect();
        let victim = self.rng.pick(&victims).map(|victim| (victim, false));
        self.bad.iter_mut().for_each(|bad| bad.habits.victim = victim);
        self.claim_or_withdraw();
        victim.is_some()
    }

    fn is_claiming(&self, who: Who, victim: Who) -> bool {
        self.bad.as_ref().is_some_and(|bad| bad.who == who && bad.habits.victim == Some((victim, true)))
    }

    /// Where the bad member stands, as it tells its victim.
    pub(super) fn claim(&mut self, who: Who, to: Who, standing: &mut Standing) {
        if self.is_claiming(who, to) {
            let (victim, written) = (self.nodes[to].peer, self.nodes[to].disk.own_end().0);
            let mut frontier = standing.frontier.take().unwrap_or_else(|| self.frontier_of(who));
            frontier.raise(victim, written.max(frontier.at(&victim)) + self.rng.between(1, 50));
            standing.digest = frontier.digest();
            standing.frontier = Some(frontier);
        }
    }

    /// The bad member answers a call: of what somebody fetches it may bring all, or nothing, or a little for ever. Or
    /// there is no answer.
    pub(crate) fn stall(&mut self, who: Who, id: FlightId, answer: Answer) -> Option<Answer> {
        let Answer::Stream(chunks) = answer else { return Some(answer) };
        // What it claims to have it does not bring, and does not say so: then its word counts for longer.
        let victim = self.bad.as_ref().filter(|bad| bad.who == who).and_then(|bad| bad.habits.victim);
        if victim.is_some_and(|(victim, _)| self.flights.get(&id).is_some_and(|flight| flight.caller == victim)) {
            return None;
        }
        if !self.habits(who).is_some_and(|habits| habits.stalls) {
            return Some(Answer::Stream(chunks));
        }
        match self.rng.below(8) {
            0 => Some(Answer::Stream(chunks)),
            1 => Some(Answer::Stream(Vec::new())),
            2 => None,
            _ => {
                let one_by_one = chunks.into_iter().flatten().map(|run| vec![run]).collect();
                self.flights.get_mut(&id)?.is_endless = true;
                Some(Answer::Stream(one_by_one))
            }
        }
    }

    /// How long the next chunk of a fetch without end takes.
    pub(crate) fn pause_of_stall(&mut self) -> u64 {
        self.rng.between(STALL_MS.0, STALL_MS.1)
    }

    /// Whether somebody waits for the end of a fetch that has none.
    pub(crate) fn is_stalled(&self) -> bool {
        self.flights.iter().any(|(id, flight)| flight.is_endless && self.is_wanted(*id))
    }
}
