//! What is valid: identities whose keys are known here, a network, runs, views, votes.

use std::sync::LazyLock;

use p2p_chat_model::{
    ActiveMember, Address, Certificate, Entry, EntryHash, EntryKind, Epoch, Genesis, Header, Identity, Name, NetworkId,
    NodeId, PeerId, Rank, RosterOp, Run, Seq, VectorClock, View, Vote,
};

pub(crate) const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

static IDENTITIES: LazyLock<Vec<Identity>> =
    LazyLock::new(|| (0..NAMES.len()).map(|who| Identity::from_seed([who as u8 + 1; 32])).collect());
static GENESIS: LazyLock<(NetworkId, Run)> = LazyLock::new(|| {
    let genesis = Genesis { salt: [7; 32], name: name("lab"), creator: name("alice") };
    Run::found(identity(0), &genesis, 1_700_000_000_000)
});

/// Somebody by number: alice is 0.
pub(crate) fn identity(who: usize) -> &'static Identity {
    &IDENTITIES[who % NAMES.len()]
}

pub(crate) fn peer(who: usize) -> PeerId {
    identity(who).peer()
}

/// Whose key is known here.
pub(crate) fn identity_of(peer: &PeerId) -> Option<&'static Identity> {
    IDENTITIES.iter().find(|identity| identity.peer() == *peer)
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn address(who: usize) -> Address {
    format!("{}:7500", NAMES[who % NAMES.len()]).parse().expect("an address")
}

/// alice's network.
pub(crate) fn network() -> NetworkId {
    GENESIS.0
}

/// The run that founds it.
pub(crate) fn genesis() -> &'static Run {
    &GENESIS.1
}

pub(crate) fn clock(positions: &[(usize, Seq)]) -> VectorClock {
    positions.iter().map(|(who, seq)| (peer(*who), *seq)).collect()
}

pub(crate) fn entry(lamport: u64, kind: EntryKind, body: Vec<u8>, past: &[(usize, Seq)]) -> Entry {
    Entry {
        header: Header { lamport, wall_ms: 1_700_000_000_000 + lamport, clock: clock(past), kind },
        body: body.into(),
    }
}

pub(crate) fn text(lamport: u64, text: &str, past: &[(usize, Seq)]) -> Entry {
    entry(lamport, EntryKind::Text, text.into(), past)
}

pub(crate) fn admit(lamport: u64, who: usize) -> Entry {
    let op = RosterOp::Admit { peer: peer(who), name: name(NAMES[who]), past: 0 };
    entry(lamport, op.kind(), op.encode(), &[])
}

/// Runs in a feed, one after the other.
pub(crate) fn feed(who: usize, first: Option<&Run>, runs: Vec<Vec<Entry>>) -> Vec<Run> {
    let (mut next, mut head) = first.map_or((1, EntryHash::NONE), |run| (run.last() + 1, run.head()));
    let mut feed: Vec<Run> = first.into_iter().cloned().collect();
    for entries in runs {
        let run = Run::sign(identity(who), network(), next, head, entries);
        (next, head) = (run.last() + 1, run.head());
        feed.push(run);
    }
    feed
}

/// alice founds the network and admits the others, and then speaks.
pub(crate) fn alices_feed() -> Vec<Run> {
    let admissions = (1..4).map(|who| admit(1 + who as u64, who)).collect();
    feed(0, Some(genesis()), vec![admissions, vec![text(6, "hello", &[(1, 1)]), text(7, "wörld", &[])]])
}

pub(crate) fn bobs_feed() -> Vec<Run> {
    let leave = entry(11, EntryKind::Leave, Vec::new(), &[]);
    let unknown = entry(10, EntryKind::Unknown(200), vec![0xff; 40], &[]);
    feed(1, None, vec![vec![text(5, "hi", &[(0, 2)])], vec![text(9, &"x".repeat(300), &[(0, 6)]), unknown, leave]])
}

pub(crate) fn view(epoch: u64, version: u64, leader: usize, members: &[usize]) -> View {
    let active: Vec<ActiveMember> = members.iter().map(|who| member(*who)).collect();
    let next_id = NodeId(active.last().map_or(1, |last| last.node.0 + 1));
    View { epoch: Epoch(epoch), version, leader: NodeId(leader as u64 + 1), next_id, active }
}

pub(crate) fn member(who: usize) -> ActiveMember {
    ActiveMember { node: NodeId(who as u64 + 1), peer: peer(who), address: address(who), join_request: 40 + who as u64 }
}

pub(crate) fn vote(voter: usize, epoch: u64, candidate: usize) -> Vote {
    Vote::cast(identity(voter), network(), Epoch(epoch), peer(candidate))
}

pub(crate) fn certificate(epoch: u64, candidate: usize) -> Certificate {
    Certificate { rank: Rank::Majority, votes: (0..3).map(|voter| vote(voter, epoch, candidate)).collect() }
}
