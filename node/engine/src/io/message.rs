//! What nodes say to each other and to discovery services, and what they are answered.

use std::collections::BTreeSet;

use p2p_chat_model::{Address, Certificate, Epoch, Name, NodeId, PeerId, Seq, VectorClock, View, Vote};

use super::RunFacts;

/// A peer's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Let me in.
    Join {
        /// The same for a retry.
        request: u64,
        /// How the joiner calls itself.
        name: Name,
        /// Where it listens.
        address: Address,
    },
    /// I leave.
    Leave,
    /// This is who is active; with a vote: lead from now on.
    UpdateView(View, Option<Vote>),
    /// ELECTION: I stand for this epoch.
    Elect(Epoch, NodeId),
    /// COORDINATOR: I lead.
    Coordinate(View, Certificate),
    /// Are you there? Here is where I stand.
    Ping(Standing),
    /// Ping that one for me.
    PingVia(PeerId),
    /// Here are entries.
    Deliver(Vec<RunFacts>),
    /// Pass my entries on to that one.
    Relay(PeerId),
    /// Catches up: a stream of everything beyond this frontier, but of these authors.
    Fetch(VectorClock, BTreeSet<PeerId>),
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whom it follows, if anyone.
    pub leader: Option<LeaderHint>,
    /// The reign it follows.
    pub epoch: Epoch,
    /// The version of its view.
    pub version: u64,
    /// Digest of its frontier.
    pub digest: u64,
    /// Its frontier, where the other side may lack something.
    pub frontier: Option<VectorClock>,
    /// Whether the other side is active in its view.
    pub peer_active: bool,
    /// Whether it is on its way out: what it has is not safe with it.
    pub leaving: bool,
}

/// Who leads, as far as somebody knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaderHint {
    /// The reign.
    pub epoch: Epoch,
    /// The leader.
    pub peer: PeerId,
    /// Where it listens.
    pub address: Address,
}

/// The answer to a [`Request`] or a [`PeerCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To Join: you are in.
    Admitted {
        /// The view, the joiner in it.
        view: View,
        /// The admission: the joiner writes nothing before it has delivered this entry.
        admission: (PeerId, Seq),
        /// What the leader has.
        frontier: VectorClock,
    },
    /// To Join and Leave: ask that one.
    NotLeader(LeaderHint),
    /// To Leave: the view no longer holds the caller.
    Left,
    /// To UpdateView and Coordinate: whether it was taken, and whom the answering node follows.
    Taken(bool, Option<LeaderHint>),
    /// To Elect: I have a lower id and stand myself.
    TakeOver,
    /// To Elect: my vote.
    Voted(Vote),
    /// To Elect: I reach the leader.
    LeaderAlive,
    /// To Elect: my vote for this epoch is somebody else's.
    Promised(Epoch),
    /// To Elect: this is the reign now.
    Outdated(LeaderHint),
    /// To Ping.
    Standing(Standing),
    /// To Ping, by a node that takes no part in the network or does not know the caller as a member.
    Alive,
    /// To PingVia: whether the target answered, and whom the answering node follows.
    Pinged(bool, Option<LeaderHint>),
    /// To Deliver: up to here the authors' feeds are on disk.
    Acked(VectorClock),
    /// To Relay: whether the target answered, and up to where it has the caller's feed.
    Relayed(bool, Seq),
    /// To Fetch: stream everything beyond this frontier, which is what the caller has or does not want.
    Serve(VectorClock),
    /// The end of a Fetch of this node.
    FetchDone,
    /// Of the discovery service.
    Discovery(DiscoveryAnswer),
}

/// Why a request is refused. The caller changes its ways or tries again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller is not a member.
    #[error("you are not a member of this network: join it first")]
    NotMember,
    /// The node asked has left the network.
    #[error("this node is not in that network")]
    NotHere,
    /// The caller's address does not lead to the caller.
    #[error(
        "{0} does not lead back to the joiner, as far as the leader can tell; advertise an address that others can reach, and over long lines give everybody --preset wan"
    )]
    Unreachable(Address),
    /// Something about the request contradicts itself or what is known.
    #[error("{0}")]
    Invalid(&'static str),
    /// A leader is just being replaced, or too much is under way.
    #[error("{0}, try again in a moment")]
    Busy(&'static str),
    /// As many members as there may be.
    #[error("the network is full")]
    Full,
}

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody answered in time, or the connection failed, or the key was another one.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The caller is not a member, says the peer.
    #[error("refused: {0}")]
    NotMember(String),
    /// The peer is not in the network.
    #[error("refused: {0}")]
    NotHere(String),
    /// This node's advertised address does not lead to it (FAILED_PRECONDITION).
    #[error("refused: {0}")]
    Unmet(String),
    /// Try again later.
    #[error("busy: {0}")]
    Busy(String),
    /// The network has no room for one more member (OUT_OF_RANGE).
    #[error("refused: {0}")]
    Full(String),
    /// Another network has this name (ALREADY_EXISTS).
    #[error("refused: {0}")]
    Exists(String),
    /// Anything else.
    #[error("failed: {0}")]
    Failed(String),
}

/// A call to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerCall {
    /// See [`Request::Join`].
    Join {
        /// The same for a retry.
        request: u64,
    },
    /// See [`Request::Leave`].
    Leave,
    /// See [`Request::UpdateView`].
    UpdateView(View, Option<Vote>),
    /// See [`Request::Elect`].
    Elect(Epoch, NodeId),
    /// See [`Request::Coordinate`].
    Coordinate(View, Certificate),
    /// See [`Request::Ping`].
    Ping(Standing),
    /// See [`Request::PingVia`].
    PingVia(PeerId),
    /// Hand over the runs of `author` that hold the entries from `from` to `upto`, or as many as fit.
    Deliver {
        /// Whose feed.
        author: PeerId,
        /// The first entry.
        from: Seq,
        /// The last entry.
        upto: Seq,
    },
    /// See [`Request::Relay`].
    Relay(PeerId),
    /// See [`Request::Fetch`].
    Fetch(VectorClock, BTreeSet<PeerId>),
}

/// A call to a discovery service. The driver signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryCall {
    /// Register the network; the entries prove that this node was admitted.
    Create {
        /// The view.
        view: View,
        /// See [`p2p_chat_model::registration::check_admission`]: where those admissions stand.
        admission: Vec<(PeerId, Seq)>,
        /// The serial.
        serial: u64,
    },
    /// Take the leadership on record.
    Update {
        /// The view.
        view: View,
        /// The epoch that should be on record.
        expected: Epoch,
        /// The votes.
        votes: Vec<Vote>,
        /// The serial.
        serial: u64,
    },
    /// Renew the lease.
    Renew {
        /// The view.
        view: View,
        /// The serial.
        serial: u64,
    },
    /// The network ends.
    Close {
        /// The view, nobody else in it.
        view: View,
        /// The serial.
        serial: u64,
    },
    /// Who leads?
    Lookup,
}

/// What a discovery service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryAnswer {
    /// Done as asked; for a lookup, this is on record.
    Accepted(Record),
    /// Closed.
    Closed,
    /// Not done.
    Refused(DiscoveryRefusal, Record, u64),
    /// The service does not know the network.
    Unknown,
}

/// Why a discovery service did not do as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryRefusal {
    /// The epoch on record is another one.
    Epoch,
    /// The leader on record answers.
    LeaderAlive,
    /// Serial or version are old; the answer's number is the serial on record.
    Outdated,
    /// Another leader is on record.
    NotLeader,
    /// It can't reach this node.
    Unreachable,
    /// This node is not in the view on record.
    NotActive,
}

/// What is on record of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who leads.
    pub leader: LeaderHint,
    /// Some active members and where they listen.
    pub contacts: Vec<(PeerId, Address)>,
}
