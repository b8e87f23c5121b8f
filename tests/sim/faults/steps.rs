//! The steps of a join, a change of the view, a hand-over and an election, at each of which a process may crash. A
//! step is told by what the process has just written or said.

use p2p_chat_engine::{DiscoveryCall, Durable, Output, PeerCall, Response};
use p2p_chat_model::{EntryKind, PeerId, View};

use super::{Fault, When, Whom};
use crate::{disk::Record, net::Who, node::Node, rng::Rng, world::World};

/// A step after which a process may crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    AdmissionWritten,
    JoinerActive,
    JoinAnswered,
    DropWritten,
    ViewToldToOne,
    ViewToldToTwo,
    LeaveWritten,
    HandoverOffered,
    ElectionCalled,
    TakenOver,
    OwnVoteWritten,
    VoteWritten,
    VoteGiven,
    ServiceAsked,
    ServiceAccepted,
    OfficeWritten,
    CoordinatorToOne,
    CoordinatorToTwo,
}

/// All steps, and under which names a crash at them is counted.
const STEPS: [(Step, &str); 18] = [
    (Step::AdmissionWritten, "crash: admission written, joiner not answered"),
    (Step::JoinerActive, "crash: view with the joiner written, nobody told"),
    (Step::JoinAnswered, "crash: joiner answered"),
    (Step::DropWritten, "crash: view without a member written, nobody told"),
    (Step::ViewToldToOne, "crash: one member told of a view"),
    (Step::ViewToldToTwo, "crash: two members told of a view"),
    (Step::LeaveWritten, "crash: leave written"),
    (Step::HandoverOffered, "crash: hand-over offered"),
    (Step::ElectionCalled, "crash: ELECTION sent to one"),
    (Step::TakenOver, "crash: election taken over"),
    (Step::OwnVoteWritten, "crash: own vote written"),
    (Step::VoteWritten, "crash: vote written, not given"),
    (Step::VoteGiven, "crash: vote given"),
    (Step::ServiceAsked, "crash: NDS asked for a reign"),
    (Step::ServiceAccepted, "crash: NDS has accepted a reign"),
    (Step::OfficeWritten, "crash: reign written, nobody told"),
    (Step::CoordinatorToOne, "crash: COORDINATOR sent to one"),
    (Step::CoordinatorToTwo, "crash: COORDINATOR sent to two"),
];

/// The names of all crashes at steps.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|(_, name)| *name)
}

/// Whoever takes the step next crashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    pub(crate) step: Step,
    pub(crate) down_ms: u64,
}

impl Step {
    /// One of all, by chance.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        STEPS[rng.below(STEPS.len() as u64) as usize].0
    }

    fn name(self) -> &'static str {
        STEPS.iter().find(|(step, _)| *step == self).map_or("", |(_, name)| name)
    }

    /// Something that leads to this step.
    pub(crate) fn cause(self, rng: &mut Rng, count: usize) -> Fault {
        let somebody = Whom::Node(rng.below(count as u64) as Who);
        let gone = |whom, rng: &mut Rng| Fault::Crash {
            whom,
            when: When::Now,
            down_ms: rng.between(6_000, 20_000),
            moves: false,
        };
        match self {
            // Who leaves soon comes back.
            Self::AdmissionWritten | Self::JoinerActive | Self::JoinAnswered => Fault::Leave(somebody),
            Self::DropWritten | Self::ViewToldToOne | Self::ViewToldToTwo => gone(somebody, rng),
            Self::LeaveWritten | Self::HandoverOffered => Fault::Leave(Whom::Leader),
            _ => gone(Whom::Leader, rng),
        }
    }
}

/// The step that a write is, and which state the node's disk held before.
fn of_record(me: PeerId, record: &Record, before: Option<&Durable>, now: Option<&Durable>) -> Option<Step> {
    match (record, now) {
        (Record::Own(run), _) => run.entries.iter().find_map(|(_, entry)| match entry.header.kind {
            EntryKind::Admit => Some(Step::AdmissionWritten),
            EntryKind::Leave => Some(Step::LeaveWritten),
            _ => None,
        }),
        (Record::State(_), Some(now)) => of_state(me, before?, now),
        _ => None,
    }
}

fn of_state(me: PeerId, before: &Durable, now: &Durable) -> Option<Step> {
    if before.vote != now.vote {
        let whom = now.vote.map(|(_, whom)| whom);
        return Some(if whom == Some(me) { Step::OwnVoteWritten } else { Step::VoteWritten });
    }
    let leads = |view: &View| view.leader().is_some_and(|leader| leader.peer == me);
    let (old, new) = (before.view.as_ref()?, now.view.as_ref().filter(|view| leads(view))?);
    if old.epoch < new.epoch {
        return Some(Step::OfficeWritten);
    }
    let is_gone = old.active.iter().any(|member| new.member(&member.peer).is_none());
    let is_new = old.next_id != new.next_id;
    is_new.then_some(Step::JoinerActive).or(is_gone.then_some(Step::DropWritten))
}

/// The step that an output is, and how many have been told of the node's view since it was written.
fn of_output(output: &Output, told: u32) -> Option<Step> {
    match output {
        Output::Reply(_, Ok(Response::Admitted { .. })) => Some(Step::JoinAnswered),
        Output::Reply(_, Ok(Response::TakeOver)) => Some(Step::TakenOver),
        Output::Reply(_, Ok(Response::Voted(_))) => Some(Step::VoteGiven),
        Output::Discover { call: DiscoveryCall::Update { .. }, .. } => Some(Step::ServiceAsked),
        Output::Call { call, .. } => match (call, told) {
            (PeerCall::UpdateView(_, Some(_)), _) => Some(Step::HandoverOffered),
            (PeerCall::UpdateView(_, None), 1) => Some(Step::ViewToldToOne),
            (PeerCall::UpdateView(_, None), 2) => Some(Step::ViewToldToTwo),
            (PeerCall::Coordinate(..), 1) => Some(Step::CoordinatorToOne),
            (PeerCall::Coordinate(..), 2) => Some(Step::CoordinatorToTwo),
            (PeerCall::Elect(..), _) => Some(Step::ElectionCalled),
            _ => None,
        },
        _ => None,
    }
}

impl World {
    /// A node has written something.
    pub(crate) fn took_step_on_disk(&mut self, who: Who, record: &Record, state: Option<Durable>) {
        let node = &mut self.nodes[who];
        let step = self.trap.and_then(|_| of_record(node.peer, record, node.written.as_ref(), state.as_ref()));
        if let Some(state) = state {
            node.take_note(state);
        }
        self.took_step(who, step);
    }

    /// The step that a node takes by saying something.
    pub(crate) fn step_of(&mut self, who: Who, output: &Output) -> Option<Step> {
        if let Output::Call { call: PeerCall::UpdateView(..) | PeerCall::Coordinate(..), .. } = output {
            self.nodes[who].told += 1;
        }
        self.trap.and_then(|_| of_output(output, self.nodes[who].told))
    }

    /// A node is through with a step: it crashes if that was planned.
    pub(crate) fn took_step(&mut self, who: Who, step: Option<Step>) {
        let Some(trap) = self.trap.filter(|trap| Some(trap.step) == step && self.nodes[who].is_up) else { return };
        self.trap = None;
        self.tally.count(trap.step.name());
        self.crash_for(who, trap.down_ms, false);
    }
}

impl Node {
    fn take_note(&mut self, state: Durable) {
        if self.written.as_ref().is_none_or(|before| before.view != state.view) {
            self.told = 0;
        }
        self.written = Some(state);
    }
}
