//! The four words the engine speaks: [`Input`], [`Output`], and with them the calls between nodes.
//!
//! Outputs are to be executed in their order: a [`Output::Write`] is on disk before any later output takes effect.

mod message;

use p2p_chat_model::{Address, EntryHash, EntryKind, Epoch, NodeId, PeerId, RosterOp, Seq, VectorClock};

pub use self::message::{
    CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, LeaderHint, PeerCall, Record, Refusal, Request,
    Response, Standing,
};
use crate::durable::Durable;

/// A moment: what the engine may know of time and chance while it handles one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time, milliseconds since an arbitrary start.
    pub now: u64,
    /// Wall clock, milliseconds since 1970. Written into entries; nothing is decided by it.
    pub wall_ms: u64,
    /// A fresh random number.
    pub random: u64,
}

/// Names a command until its [`Output::Done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Names a peer's request until its [`Output::Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a call of this node until its [`Input::Response`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Names the bytes of a run that came in; valid until the outputs of that input are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunToken(pub u64);

/// What happens to the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The user wants something.
    Command(CommandId, Command),
    /// A peer calls. `from` is the key it proved to have.
    Request(RequestId, PeerId, Request),
    /// A call of this node has ended. Every [`Output::Call`] ends exactly once.
    Response(CallId, Result<Response, CallError>),
    /// A chunk of a running [`PeerCall::Fetch`]. The driver reads on when the outputs of this input are done.
    Fetched(CallId, Vec<RunFacts>),
    /// The deadline has come.
    Tick,
}

/// What a user can want of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Write a text. The driver holds its bytes under the command's id.
    Send,
    /// End the membership once another member has everything that is here.
    Leave {
        /// How long that may take, in milliseconds.
        wait_ms: u64,
        /// Whether to leave then all the same.
        force: bool,
    },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The network is registered.
    Created,
    /// This node is in.
    Joined(NodeId),
    /// The text is on disk, as this entry of the own feed.
    Sent {
        /// Its number.
        seq: Seq,
        /// Its Lamport time.
        lamport: u64,
    },
    /// The membership has ended.
    Left {
        /// How many own entries nobody else has.
        unreplicated: u64,
        /// Nobody else was in: the network is closed.
        closed: bool,
    },
}

/// Why a command failed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The discovery service, or the leader, refused.
    #[error("the request was refused: {0}")]
    Refused(String),
    /// Another network has the name.
    #[error("another network is registered under this name")]
    NameTaken,
    /// No discovery service answers.
    #[error("no discovery service can be reached: {0}")]
    NoDiscovery(String),
    /// The leader can't be reached.
    #[error("the leader can't be reached: {0}")]
    NoLeader(String),
    /// The leader, or the discovery service, can't call this node back.
    #[error("this node can't be reached at its advertised address: {0}")]
    NotReachable(String),
    /// The node is joining or leaving, or takes back its own feed; too many commands wait already.
    #[error("the node is busy with this network, try again in a moment")]
    Busy,
    /// Nobody else has all that is here, as far as is known: of the own entries so many, or some of others.
    #[error(
        "nobody else that can be reached has all that is here (own entries that nobody else has: {0}), and leaving would take it along"
    )]
    OnlyHere(u64),
    /// The node is not in the network any more.
    #[error("the node has left this network")]
    Left,
}

/// What is known of a run before its bytes are looked at again: it is well-formed and genuinely its author's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// Its bytes.
    pub token: RunToken,
    /// Whose feed it is of.
    pub author: PeerId,
    /// The number of its first entry.
    pub first: Seq,
    /// The hash of the entry before.
    pub previous: EntryHash,
    /// Its entries; at least one.
    pub entries: Vec<EntryFacts>,
}

impl RunFacts {
    /// The number of the last entry.
    pub fn last(&self) -> Seq {
        self.first + self.entries.len().saturating_sub(1) as Seq
    }
}

/// What the engine needs to know of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFacts {
    /// Its hash.
    pub hash: EntryHash,
    /// Its Lamport time.
    pub lamport: u64,
    /// The author's wall clock.
    pub wall_ms: u64,
    /// Its kind.
    pub kind: EntryKind,
    /// What it depends on, as far as that changed since the author's entry before.
    pub clock: VectorClock,
    /// The roster change it is, if it is one.
    pub op: Option<RosterOp>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Make something durable before any later output takes effect.
    Write(Write),
    /// Answer a request.
    Reply(RequestId, Result<Response, Refusal>),
    /// Call a peer; report a [`Input::Response`] within `timeout_ms`.
    Call {
        /// The call's name.
        id: CallId,
        /// Whom to call.
        peer: PeerId,
        /// Where it listens.
        address: Address,
        /// What to ask.
        call: PeerCall,
        /// How long the answer may take; for a Fetch, how long each chunk may take.
        timeout_ms: u64,
    },
    /// Call a discovery service.
    Discover {
        /// The call's name.
        id: CallId,
        /// Which of the configured services, from 0.
        service: usize,
        /// What to ask.
        call: DiscoveryCall,
        /// How long the answer may take.
        timeout_ms: u64,
    },
    /// Tell the user what became of a command.
    Done(CommandId, Result<Done, CommandError>),
    /// Tell whoever listens.
    Event(Event),
}

/// Something to be made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The next entry of the own feed; it is delivered at the same time. Consecutive ones form a run.
    Own {
        /// The command whose text it is; `None` for a roster change.
        text: Option<CommandId>,
        /// The roster change, if it is one.
        op: Option<RosterOp>,
        /// Its number.
        seq: Seq,
        /// Its Lamport time.
        lamport: u64,
        /// The wall clock.
        wall_ms: u64,
        /// Its clock, differentially.
        clock: VectorClock,
    },
    /// A run of another author.
    Run(RunToken),
    /// A run that contradicts what is stored of its author: proof that the author has written two entries under one
    /// number. Kept beside the log.
    Fork(RunToken),
    /// An entry of another author has been delivered: it enters the timeline.
    Deliver {
        /// Its author.
        author: PeerId,
        /// Its number.
        seq: Seq,
        /// The rest.
        entry: EntryFacts,
        /// Whether something that comes after it in the timeline was delivered before it.
        late: bool,
    },
    /// The engine's own state.
    State(Box<Durable>),
    /// `peer` has the own feed up to `upto` on disk.
    Ack {
        /// Who.
        peer: PeerId,
        /// Up to where.
        upto: Seq,
        /// How it got there.
        way: Way,
    },
}

/// How an entry got to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Its author handed it over.
    Direct,
    /// That member passed it on.
    Relayed(PeerId),
    /// The member fetched it.
    Fetched,
}

/// Something that whoever listens may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An entry was delivered, own ones too; it is being written.
    Delivered {
        /// Its author.
        author: PeerId,
        /// Its number.
        seq: Seq,
    },
    /// A member became active for the first time.
    Joined(PeerId, NodeId),
    /// A member left.
    Left(PeerId),
    /// A member dropped out of the view.
    DroppedOut(PeerId, NodeId),
    /// A member is active again.
    Returned(PeerId, NodeId),
    /// There is a new leader, `after_ms` after the old one was found missing.
    LeaderChanged {
        /// Who.
        leader: PeerId,
        /// Its node id.
        node: NodeId,
        /// Its reign.
        epoch: Epoch,
        /// How long there was none, as seen from here.
        after_ms: u64,
    },
    /// The leader is missing and no new one found yet.
    Leaderless(Epoch),
    /// The leader that was missing is there after all.
    LeaderBack(PeerId),
    /// This node is outside the view and asks to be let in again.
    Outside,
    /// Entries are missing and being fetched.
    CatchingUp {
        /// How many are missing.
        missing: u64,
        /// From whom they are fetched.
        from: PeerId,
    },
    /// Nothing known of is missing any more.
    CaughtUp,
    /// `peer` has the own feed up to `upto` on disk.
    Acked {
        /// Who.
        peer: PeerId,
        /// Up to where.
        upto: Seq,
    },
    /// Two entries under one number: the feed is frozen before it.
    Equivocation {
        /// Whose feed.
        author: PeerId,
        /// The number.
        seq: Seq,
    },
    /// As leader: the discovery service with this number refuses, for this reason, to list the network.
    Unlisted(usize, String),
    /// The network was never founded after all: forget it.
    Abandoned,
    /// The membership has ended; the engine does nothing any more.
    Stopped,
}
