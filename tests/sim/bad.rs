//! A bad member: an honest engine behind an edge that lies, and calls that no engine makes. It tells two stories under
//! one number, writes in the name of others, repeats old calls, calls elections for nothing, counts its Lamport time
//! as it likes, and says it has what it has not. What it keeps doing once it has begun is in `habits`. (Not: a fresh
//! COORDINATOR of a higher epoch. By that a member can make itself the leader; that limit is documented.)

mod habits;

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use p2p_chat_engine::{Request, Response, Standing};
use p2p_chat_model::{
    Certificate, Entry, EntryHash, EntryKind, Epoch, PeerId, Rank, Run, VectorClock, View, limits::MAX_EPOCH_JUMP,
    limits::MAX_LAMPORT_JUMP,
};

use self::habits::Habits;
use crate::{
    calls::{Cargo, Waiting},
    edge::{self, Answer, Ask},
    gaps::Gap,
    net::Who,
    rng::Rng,
    world::World,
};

/// Calls that it remembers, to repeat them.
const MAX_CAPTURED: usize = 64;
const TIMEOUT_MS: u64 = 2_000;

/// Something that a bad member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Some are told another story than the rest, under the same number.
    Equivocate,
    /// Entries in another author's name.
    Forge,
    /// Genuine entries, but not quite.
    Falsify,
    Replay,
    /// A reign that is long over.
    StaleReign,
    Election,
    FarElection,
    LamportAhead,
    /// From now on it acknowledges what it does not take, and boasts of what it has not.
    Lie,
    /// From now on its Lamport time does not grow from run to run.
    StandStill,
    /// From now on it promises much to whoever fetches, and brings little, nothing, or no end.
    Stall,
    /// It says that it has more of somebody's feed than that one, does not bring it, takes it back, and says so again.
    Claim,
}

/// What is drawn among all other faults.
const TRICKS: [(Trick, &str); 9] = [
    (Trick::Equivocate, "fault: bad member equivocates"),
    (Trick::Forge, "fault: bad member forges"),
    (Trick::Falsify, "fault: bad member falsifies"),
    (Trick::Replay, "fault: bad member replays"),
    (Trick::StaleReign, "fault: bad member announces an old reign"),
    (Trick::Election, "fault: bad member calls an election"),
    (Trick::FarElection, "fault: bad member calls an election far ahead"),
    (Trick::LamportAhead, "fault: bad member runs ahead"),
    (Trick::Lie, "fault: bad member lies"),
];

/// What a bad member takes up once in a seed, if at all.
const HABITS: [(Trick, &str); 3] = [
    (Trick::StandStill, "fault: bad member's Lamport time stands still"),
    (Trick::Stall, "fault: bad member stalls fetches"),
    (Trick::Claim, "fault: bad member claims to have more of another's feed"),
];

/// The names of all tricks.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TRICKS.iter().chain(&HABITS).map(|(_, name)| *name)
}

/// The bad member.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) who: Who,
    /// Whether it is never heard of again when all faults end; else it is good from then on, but for its
    /// claims to others' feeds.
    pub(crate) falls_silent: bool,
    captured: VecDeque<Ask>,
    /// Who is told another story, and that story once there is one.
    fork: Option<(Vec<Who>, Option<Rc<Run>>)>,
    lamport_ahead: u64,
    is_lying: bool,
    habits: Habits,
    /// Runs that were found genuine, by their place in memory, where they stay as they are: what nobody takes is handed
    /// over again and again.
    genuine: BTreeMap<*const Run, Rc<Run>>,
}

impl Bad {
    pub(crate) fn new(who: Who, falls_silent: bool) -> Self {
        Self {
            who,
            falls_silent,
            captured: VecDeque::new(),
            fork: None,
            lamport_ahead: 0,
            is_lying: false,
            habits: Habits::default(),
            genuine: BTreeMap::new(),
        }
    }

    fn capture(&mut self, ask: &Ask) {
        if self.captured.len() == MAX_CAPTURED {
            self.captured.pop_front();
        }
        self.captured.push_back(ask.clone());
    }
}

impl Trick {
    /// One of those that are drawn among all other faults, by chance.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        rng.pick(&TRICKS).map_or(Self::Forge, |(trick, _)| trick)
    }

    /// What a bad member may take up.
    pub(crate) fn habits() -> impl Iterator<Item = Self> {
        HABITS.iter().map(|(trick, _)| *trick)
    }

    fn name(self) -> &'static str {
        TRICKS.iter().chain(&HABITS).find(|(trick, _)| *trick == self).map_or("", |(_, name)| name)
    }
}

impl World {
    /// Whether this is the bad member. What it has sent may still be under way when it is bad no more.
    pub(crate) fn was_bad(&self, who: Who) -> bool {
        self.bad.as_ref().is_some_and(|bad| bad.who == who)
    }

    /// Whether this is the bad member, and bad still.
    pub(crate) fn is_bad(&self, who: Who) -> bool {
        self.calm_since.is_none() && self.was_bad(who)
    }

    /// The bad member does something.
    pub(crate) fn play_trick(&mut self, trick: Trick) {
        let Some(who) = self.bad.as_ref().map(|bad| bad.who).filter(|who| self.is_bad(*who) && self.is_in(*who)) else {
            return self.put_off(trick);
        };
        let others: Vec<Who> = (0..self.nodes.len()).filter(|other| *other != who).collect();
        let to = self.rng.pick(&others).unwrap_or(who);
        let ask = match trick {
            Trick::Equivocate => {
                let told = others.into_iter().filter(|_| self.rng.chance(500)).collect();
                return self.change_ways(trick, |bad| bad.fork = Some((told, None)));
            }
            Trick::LamportAhead => {
                let ahead = self.rng.pick(&[100, MAX_LAMPORT_JUMP / 2, 1 << 40]);
                let ahead = ahead.filter(|ahead| Gap::FarAhead.is_on() || *ahead < MAX_LAMPORT_JUMP).unwrap_or(100);
                return self.change_ways(trick, |bad| bad.lamport_ahead = ahead);
            }
            Trick::Lie => return self.change_ways(trick, |bad| bad.is_lying = true),
            Trick::StandStill => return self.change_ways(trick, |bad| bad.habits.stand_still()),
            Trick::Stall => return self.promise_much(who),
            Trick::Claim => {
                self.change_ways(trick, |bad| bad.habits.claim_from(to));
                return self.claim_or_withdraw();
            }
            Trick::Forge => self.forged(who, to),
            Trick::Falsify => self.falsified(who),
            Trick::Replay => self.captured(|_| true),
            Trick::StaleReign => self.stale_reign(who, to),
            Trick::Election => self.election(who, 0, 3),
            // Also the last one that is taken, and the one before.
            Trick::FarElection if self.rng.chance(30) => self.election(who, MAX_EPOCH_JUMP - 1, 2),
            Trick::FarElection => self.election(who, 0, 2 * MAX_EPOCH_JUMP),
        };
        if let Some(ask) = ask {
            self.tally.count(trick.name());
            self.send_besides(who, to, ask);
        }
    }

    /// A member sends what its engine never meant to send, and does not look at the answer.
    pub(crate) fn send_besides(&mut self, who: Who, to: Who, ask: Ask) {
        let flight = self.take_off(who, Waiting::Nobody, to, Cargo::Peer(ask), TIMEOUT_MS);
        self.send_request(flight, who, to);
    }

    fn change_ways(&mut self, trick: Trick, change: impl FnOnce(&mut Bad)) {
        self.tally.count(trick.name());
        if let Some(bad) = &mut self.bad {
            change(bad);
        }
    }

    fn captured(&mut self, is_it: impl Fn(&Ask) -> bool) -> Option<Ask> {
        let captured: Vec<Ask> =
            self.bad.iter().flat_map(|bad| &bad.captured).filter(|ask| is_it(ask)).cloned().collect();
        let at = self.rng.below(captured.len() as u64) as usize;
        captured.get(at).cloned()
    }

    /// The next entry of somebody's feed, which that one never wrote.
    fn forged(&self, who: Who, to: Who) -> Option<Ask> {
        let node = &self.nodes[who];
        let victim = self.nodes.iter().find(|node| node.who != who && node.who != to)?.peer;
        let (last, head) = node.disk.image().end(&victim);
        let text = entry(node.disk.image().entries().last()?.3, "I never said that");
        let mut run = Run::sign(&node.identity, self.network?, last + 1, head, vec![text]);
        run.author = victim;
        Some(Ask::Deliver(vec![Rc::new(run)]))
    }

    /// A run of somebody else in which something is changed.
    fn falsified(&mut self, who: Who) -> Option<Ask> {
        let image = self.nodes[who].disk.image();
        let runs: Vec<Rc<Run>> = image.feeds.values().flatten().cloned().collect();
        let at = self.rng.below(runs.len() as u64) as usize;
        let mut run = runs.get(at)?.as_ref().clone();
        match self.rng.below(4) {
            0 => run.first += 1,
            1 => run.previous = EntryHash::NONE,
            2 => drop(run.entries.pop()),
            _ => run.entries.iter_mut().for_each(|(_, entry)| entry.header.lamport += 1),
        }
        Some(Ask::Deliver(vec![Rc::new(run)]))
    }

    /// A reign of the bad member's that is over, as far as the other knows; or one that was announced to it.
    fn stale_reign(&mut self, who: Who, to: Who) -> Option<Ask> {
        let is_reign = |ask: &Ask| matches!(ask, Ask::Plain(request) if matches!(**request, Request::Coordinate(..) | Request::UpdateView(_, None)));
        if self.rng.chance(500) {
            return self.captured(is_reign);
        }
        let known = self.nodes[to].written.as_ref().map_or(Epoch(0), |state| state.epoch);
        let me = self.nodes[who].peer;
        let mut view: View = self.nodes[who].written.as_ref()?.view.clone()?;
        view.leader = view.member(&me)?.node;
        view.active.retain(|member| member.node >= view.leader);
        view.epoch = Epoch(self.rng.below(known.0));
        view.version = self.rng.below(1_000);
        // What is no view at all does not get past whoever decodes it.
        view.check().ok()?;
        let certificate = Certificate { rank: Rank::Majority, votes: Vec::new() };
        let is_told = self.rng.chance(500);
        let request = if is_told { Request::UpdateView(view, None) } else { Request::Coordinate(view, certificate) };
        Some(Ask::Plain(Box::new(request)))
    }

    fn election(&mut self, who: Who, least: u64, range: u64) -> Option<Ask> {
        let me = self.nodes[who].peer;
        let state = self.nodes[who].written.as_ref()?;
        let (epoch, node) = (state.epoch, state.view.as_ref()?.member(&me)?.node);
        let epoch = Epoch(epoch.0 + least + self.rng.below(range));
        Some(Ask::Plain(Box::new(Request::Elect(epoch, node))))
    }

    /// What the bad member sends where its engine would have sent `ask`.
    pub(crate) fn tamper_ask(&mut self, who: Who, to: Who, ask: Ask) -> Ask {
        if !self.was_bad(who) {
            return ask;
        }
        let ask = match ask {
            Ask::Deliver(runs) => Ask::Deliver(self.second_story(who, to, runs)),
            Ask::Plain(mut request) => {
                if let Request::Ping(standing) = &mut *request {
                    self.misstate(who, to, standing);
                }
                Ask::Plain(request)
            }
        };
        self.bad.as_mut().into_iter().for_each(|bad| bad.capture(&ask));
        ask
    }

    /// What the bad member answers where its engine would have said `answer`.
    pub(crate) fn tamper_answer(&mut self, who: Who, to: Who, answer: Answer) -> Answer {
        if !self.was_bad(who) {
            return answer;
        }
        match answer {
            Answer::Response(Response::Standing(mut standing)) => {
                self.misstate(who, to, &mut standing);
                Answer::Response(Response::Standing(standing))
            }
            Answer::Stream(chunks) => {
                Answer::Stream(chunks.into_iter().map(|runs| self.second_story(who, to, runs)).collect())
            }
            other => other,
        }
    }

    /// Whether the runs in a request of the bad member pass the checks of whoever decodes them.
    pub(crate) fn is_genuine(&mut self, ask: &Ask) -> bool {
        let (Ask::Deliver(runs), Some(bad)) = (ask, &mut self.bad) else { return true };
        runs.iter().all(|run| {
            let place = Rc::as_ptr(run);
            let is_genuine = bad.genuine.contains_key(&place) || edge::is_genuine(run, self.network);
            if is_genuine {
                bad.genuine.entry(place).or_insert_with(|| run.clone());
            }
            is_genuine
        })
    }

    /// The bad member hears a request; it may answer without having listened.
    pub(crate) fn feign(&mut self, who: Who, ask: &Ask) -> Option<Answer> {
        let bad = self.bad.as_mut().filter(|bad| bad.who == who && self.calm_since.is_none())?;
        bad.capture(ask);
        match ask {
            Ask::Deliver(runs) if bad.is_lying && self.rng.chance(500) => {
                let upto: VectorClock = runs.iter().map(|run| (run.author, run.last())).collect();
                Some(Answer::Response(Response::Acked(upto)))
            }
            _ => None,
        }
    }

    /// Where the bad member stands, as it says.
    fn misstate(&mut self, who: Who, to: Who, standing: &mut Standing) {
        if self.is_bad(who) {
            self.boast(standing);
            self.overstate(who, standing);
        }
        self.claim(who, to, standing);
    }

    fn boast(&mut self, standing: &mut Standing) {
        let is_lying = self.bad.as_ref().is_some_and(|bad| bad.is_lying);
        let Some(frontier) = standing.frontier.as_mut().filter(|_| is_lying) else { return };
        let authors: Vec<PeerId> = self.nodes.iter().map(|node| node.peer).collect();
        if let Some(author) = self.rng.pick(&authors) {
            frontier.raise(author, frontier.at(&author) + self.rng.between(1, 50));
        }
        standing.digest = frontier.digest();
    }

    fn second_story(&self, who: Who, to: Who, mut runs: Vec<Rc<Run>>) -> Vec<Rc<Run>> {
        if let Some((told, Some(other))) = self.bad.as_ref().and_then(|bad| bad.fork.as_ref())
            && told.contains(&to)
            && self.is_bad(who)
        {
            for run in &mut runs {
                if run.author == other.author && run.first == other.first {
                    *run = other.clone();
                }
            }
        }
        runs
    }

    /// The bad member writes an entry.
    pub(crate) fn distort(&self, who: Who, entry: &mut Entry) {
        if let Some(bad) = self.bad.as_ref().filter(|_| self.is_bad(who)) {
            entry.header.lamport += bad.lamport_ahead;
        }
    }

    /// The bad member has written a run: it may have another one ready for some.
    pub(crate) fn tell_second_story(&mut self, who: Who, run: &Run) {
        if !self.is_bad(who) || run.entries.iter().any(|(_, entry)| entry.header.kind != EntryKind::Text) {
            return;
        }
        let Some((_, other @ None)) = self.bad.as_mut().and_then(|bad| bad.fork.as_mut()) else { return };
        let entries = run.entries.iter().map(|(_, said)| entry(said, "this is what I said")).collect();
        let second = Run::sign(&self.nodes[who].identity, run.network, run.first, run.previous, entries);
        self.oracle.check_fork(&second);
        *other = Some(Rc::new(second));
    }
}

/// A text in the place of `like`.
fn entry(like: &Entry, text: &str) -> Entry {
    let mut entry = like.clone();
    entry.header.kind = EntryKind::Text;
    entry.body = text.as_bytes().to_vec().into();
    entry
}
