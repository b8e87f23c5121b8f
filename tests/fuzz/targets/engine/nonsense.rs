//! Requests and answers that pass every check of the wire and make no sense.

use p2p_chat_engine::{
    CallError, DiscoveryAnswer, DiscoveryRefusal, Engine, EntryFacts, LeaderHint, Record, Request, Response, RunFacts,
    RunToken, Snapshot, Standing,
};
use p2p_chat_model::{
    ActiveMember, Certificate, Entry, EntryHash, EntryKind, Epoch, NodeId, PeerId, Rank, RosterOp, Seq, VectorClock,
    View, Vote,
    limits::{MAX_LAMPORT, MAX_MEMBERS, MAX_RUN_ENTRIES},
};

use super::super::{choices::Choices, valid};

/// Members of a large view. A thousand that drop out one after the other, and each told to all who are left, are nothing
/// but slow.
const LARGE: usize = 200;

/// Makes things up about a network as an engine sees it, near to the truth or far from it.
pub(super) struct Nonsense<'a, 'b> {
    snapshot: Snapshot,
    choices: &'a mut Choices<'b>,
}

impl<'a, 'b> Nonsense<'a, 'b> {
    pub(super) fn about(engine: &Engine, choices: &'a mut Choices<'b>) -> Self {
        Self { snapshot: engine.snapshot(), choices }
    }

    pub(super) fn request(&mut self, from: PeerId) -> Request {
        match self.choices.below(12) {
            0 => {
                let name = valid::name(valid::NAMES[self.choices.below(5)]);
                Request::Join { request: self.choices.number(), name, address: valid::address(self.choices.below(5)) }
            }
            1 => Request::Leave,
            2 => {
                let vote = self.choices.flag().then(|| self.vote());
                Request::UpdateView(self.view(Some(from)), vote)
            }
            3 => Request::UpdateView(self.view(None), None),
            4 => Request::Elect(self.epoch(), self.node()),
            5 => Request::Coordinate(self.view(Some(from)), self.certificate()),
            6 | 7 => Request::Ping(self.standing()),
            8 => Request::PingVia(self.peer()),
            9 => Request::Deliver(self.runs()),
            10 => Request::Relay(self.peer()),
            _ => Request::Fetch(self.clock(), [self.peer()].into()),
        }
    }

    pub(super) fn answer(&mut self) -> Result<Response, CallError> {
        Ok(match self.choices.below(18) {
            0 => Response::Admitted {
                view: self.view(None),
                admission: (self.peer(), self.choices.number()),
                frontier: self.clock(),
            },
            1 => Response::NotLeader(self.hint()),
            2 => Response::Left,
            3 => Response::Taken(self.choices.flag(), self.optional_hint()),
            4 => Response::TakeOver,
            5 => Response::Voted(self.vote()),
            6 => Response::LeaderAlive,
            7 => Response::Promised(self.epoch()),
            8 => Response::Outdated(self.hint()),
            9 | 10 => Response::Standing(self.standing()),
            11 => Response::Alive,
            12 => Response::Pinged(self.choices.flag(), self.optional_hint()),
            13 => Response::Acked(self.clock()),
            14 => Response::Relayed(self.choices.flag(), self.choices.number()),
            15 => Response::FetchDone,
            _ => return Err(self.error()),
        })
    }

    pub(super) fn discovery_answer(&mut self) -> Result<Response, CallError> {
        let refusals = [
            DiscoveryRefusal::Epoch,
            DiscoveryRefusal::LeaderAlive,
            DiscoveryRefusal::Outdated,
            DiscoveryRefusal::NotLeader,
            DiscoveryRefusal::Unreachable,
            DiscoveryRefusal::NotActive,
        ];
        Ok(Response::Discovery(match self.choices.below(8) {
            0 | 1 => DiscoveryAnswer::Accepted(self.record()),
            2 => DiscoveryAnswer::Closed,
            3 | 4 => DiscoveryAnswer::Refused(self.choices.pick(&refusals), self.record(), self.choices.number()),
            5 => DiscoveryAnswer::Unknown,
            _ => return Err(self.error()),
        }))
    }

    fn error(&mut self) -> CallError {
        let reason = "so it is said".to_owned();
        match self.choices.below(8) {
            0 => CallError::NotMember(reason),
            1 => CallError::NotHere(reason),
            2 => CallError::Unmet(reason),
            3 => CallError::Busy(reason),
            4 => CallError::Exists(reason),
            5 => CallError::Failed(reason),
            6 => CallError::Full(reason),
            _ => CallError::Unreachable(reason),
        }
    }

    fn record(&mut self) -> Record {
        let contacts =
            (0..self.choices.below(4)).map(|_| (self.peer(), valid::address(self.choices.below(5)))).collect();
        Record { leader: self.hint(), contacts }
    }

    fn epoch(&mut self) -> Epoch {
        Epoch(self.choices.near(self.snapshot.epoch.0))
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.choices.near(3))
    }

    /// Somebody of the story, or nobody that is known.
    fn peer(&mut self) -> PeerId {
        match self.choices.byte() {
            kind @ 0..220 => valid::peer(usize::from(kind)),
            kind => PeerId::new([kind; 32]),
        }
    }

    fn hint(&mut self) -> LeaderHint {
        LeaderHint { epoch: self.epoch(), peer: self.peer(), address: valid::address(self.choices.below(5)) }
    }

    fn optional_hint(&mut self) -> Option<LeaderHint> {
        self.choices.flag().then(|| self.hint())
    }

    fn standing(&mut self) -> Standing {
        let frontier = self.choices.flag().then(|| self.clock());
        let version = self.snapshot.view.as_ref().map_or(0, |view| view.version);
        let digest = if self.choices.flag() { self.snapshot.frontier.digest() } else { self.choices.number() };
        Standing {
            leader: self.optional_hint(),
            epoch: self.epoch(),
            version: self.choices.near(version),
            digest,
            frontier,
            peer_active: self.choices.flag(),
            leaving: self.choices.flag(),
        }
    }

    /// What the engine has, changed a little; or the most authors that there may be.
    fn clock(&mut self) -> VectorClock {
        let mut clock = if self.choices.flag() { self.snapshot.frontier.clone() } else { VectorClock::new() };
        for _ in 0..self.choices.below(6) {
            let peer = self.peer();
            let position = self.choices.near(clock.at(&peer));
            clock.set(peer, position);
        }
        if self.choices.byte() >= 250 {
            let position = self.choices.number().max(1);
            let room = MAX_MEMBERS.saturating_sub(clock.len());
            (0..room).for_each(|number| clock.set(crowd(number), position));
        }
        clock
    }

    fn vote(&mut self) -> Vote {
        let voter = valid::identity(self.choices.below(5));
        Vote::cast(voter, valid::network(), self.epoch(), self.peer())
    }

    fn certificate(&mut self) -> Certificate {
        let rank = if self.choices.flag() { Rank::Majority } else { Rank::Registered };
        Certificate { rank, votes: (0..self.choices.below(6)).map(|_| self.vote()).collect() }
    }

    /// A view that does not contradict itself, led by `leader` if that is given.
    fn view(&mut self, leader: Option<PeerId>) -> View {
        let known = self.snapshot.view.clone();
        let mut view =
            known.filter(|_| self.choices.below(4) < 3).unwrap_or_else(|| valid::view(3, 9, 0, &[0, 1, 2, 3]));
        view.epoch = Epoch(self.epoch().0.max(1));
        view.version = self.choices.near(view.version).max(1);
        for _ in 0..self.choices.below(3) {
            let which = self.choices.below(view.active.len().max(1));
            if self.choices.flag() && which < view.active.len() {
                view.active.remove(which);
            } else {
                let last = view.active.last().map_or(0, |member| member.node.0);
                let (peer, who) = (self.peer(), self.choices.below(5));
                let node = NodeId(self.choices.near(last.saturating_add(2)));
                let join_request = self.choices.number();
                view.active.push(ActiveMember { node, peer, address: valid::address(who), join_request });
            }
        }
        if self.choices.byte() >= 250 {
            let first = view.active.last().map_or(0, |member| member.node.0).saturating_add(1);
            let offset = self.choices.below(3) * LARGE;
            let many = self.choices.pick(&[30, 30, 30, 60, LARGE]);
            view.active.extend((0..many).map(|number| ActiveMember {
                node: NodeId(first.saturating_add(number as u64)),
                peer: crowd(offset + number),
                address: valid::address(number),
                join_request: 0,
            }));
        }
        view.leader = leader.and_then(|leader| view.member(&leader)).map_or(NodeId(0), |member| member.node);
        consistent(view, leader)
    }

    pub(super) fn runs(&mut self) -> Vec<RunFacts> {
        (0..self.choices.below(5) as u64).map(|token| self.run(RunToken(token))).collect()
    }

    fn run(&mut self, token: RunToken) -> RunFacts {
        let author = self.peer();
        let stored = self.snapshot.frontier.at(&author);
        let first = self.choices.near(stored.saturating_add(1)).clamp(1, MAX_LAMPORT - 128);
        let branch = self.choices.byte() / 200;
        let previous = if first == 1 { EntryHash::NONE } else { hash(&author, first - 1, branch) };
        let count = if self.choices.byte() >= 250 { MAX_RUN_ENTRIES } else { 1 + self.choices.below(3) };
        let mut lamport = self.choices.near(first.saturating_add(4)).clamp(first, MAX_LAMPORT - 64);
        let mut entries = Vec::new();
        for seq in (first..).take(count) {
            if seq > lamport || seq > MAX_LAMPORT - 64 {
                lamport = seq.min(MAX_LAMPORT);
            }
            entries.push(self.entry(&author, seq, lamport, branch));
            lamport += 1;
        }
        RunFacts { token, author, first, previous, entries }
    }

    fn entry(&mut self, author: &PeerId, seq: Seq, lamport: u64, branch: u8) -> EntryFacts {
        let op = match self.choices.byte() {
            0..12 => {
                let name = valid::name(valid::NAMES[self.choices.below(5)]);
                Some(RosterOp::Admit { peer: self.peer(), name, past: self.choices.number() })
            }
            12..20 => Some(RosterOp::Leave),
            _ => None,
        };
        let kind = op.as_ref().map_or(EntryKind::Text, RosterOp::kind);
        let mut clock = if self.choices.below(3) == 0 { self.clock() } else { VectorClock::new() };
        clock.set(*author, 0);
        let wall_ms = if self.choices.below(8) == 0 { self.choices.number() } else { 1_700_000_000_000 };
        EntryFacts { hash: hash(author, seq, branch), lamport, wall_ms, kind, clock, op }
    }
}

/// Drops what contradicts the rest, until nothing does.
fn consistent(mut view: View, leader: Option<PeerId>) -> View {
    let mut last = NodeId(0);
    let mut peers = std::collections::BTreeSet::new();
    view.active.retain(|member| {
        let stays = member.node > last && member.node < NodeId(u64::MAX) && peers.insert(member.peer);
        if stays {
            last = member.node;
        }
        stays
    });
    view.active.truncate(MAX_MEMBERS);
    if let Some(leader) = leader.filter(|leader| view.member(leader).is_none()) {
        view.active.clear();
        let address = valid::address(0);
        view.active.push(ActiveMember { node: NodeId(1), peer: leader, address, join_request: 0 });
    }
    if view.active.is_empty() {
        view.active.push(valid::member(0));
    }
    let led = leader.and_then(|leader| view.member(&leader)).map(|member| member.node);
    view.leader = led.unwrap_or(view.active[0].node);
    let last = view.active.last().map_or(NodeId(1), |member| member.node);
    view.next_id = view.next_id.max(last.next());
    view
}

/// Made-up members, a different one for each number.
fn crowd(number: usize) -> PeerId {
    let mut bytes = [0xcc; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    PeerId::new(bytes)
}

fn hash(author: &PeerId, seq: Seq, branch: u8) -> EntryHash {
    let mut bytes = *author.as_bytes();
    bytes[24..].copy_from_slice(&seq.to_be_bytes());
    bytes[0] ^= branch;
    EntryHash::new(bytes)
}

/// What the engine is told of an entry.
pub(super) fn facts_of(hash: EntryHash, entry: &Entry) -> EntryFacts {
    let header = &entry.header;
    let (lamport, wall_ms, kind, clock) = (header.lamport, header.wall_ms, header.kind, header.clock.clone());
    EntryFacts { hash, lamport, wall_ms, kind, clock, op: entry.roster_op().ok().flatten() }
}

/// How many entries, members and votes a request is made of.
pub(super) fn size(request: &Request) -> usize {
    match request {
        Request::Deliver(runs) => runs.iter().map(|run| run.entries.len()).sum(),
        Request::UpdateView(view, _) | Request::Coordinate(view, _) => view.active.len(),
        _ => 0,
    }
}
