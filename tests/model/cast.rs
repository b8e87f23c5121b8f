//! Who takes part: alice, bob and carol (and dave), whom alice let in one after the other, with their logs on disk.

use std::sync::LazyLock;

use p2p_chat_engine::{Config, Durable, EntryFacts, FeedLog, Phase, Setup};
use p2p_chat_model::{
    ActiveMember, Address, Entry, EntryHash, Epoch, Genesis, Header, Identity, NetworkId, NodeId, PeerId, RosterOp,
    Run, VectorClock, View,
};

/// A party: a node by its place in the cast, or [`NDS`].
pub(crate) type Who = usize;
/// The discovery service.
pub(crate) const NDS: Who = 4;
/// What they are called.
pub(crate) const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "the NDS"];

/// Times are multiples of half a second where the engine draws none, so that histories meet in one state again.
/// What comes due rarely comes due after the horizon.
const CONFIG: Config = Config {
    silence_min_ms: 2_000,
    silence_max_ms: 2_000,
    indirect_timeout_ms: 1_000,
    elect_timeout_ms: 1_500,
    lease_renewal_ms: 20_000,
    anti_entropy_ms: 30_000,
    missing_retry_ms: 30_000,
    ..Config::LAN
};

/// What never changes.
pub(crate) struct Cast {
    pub(crate) network: NetworkId,
    pub(crate) peers: Vec<PeerId>,
    pub(crate) genesis: Run,
    /// The admission of each, as the run that holds it; none for alice.
    pub(crate) admissions: Vec<Option<Run>>,
    pub(crate) log: Vec<FeedLog>,
    setups: Vec<Setup>,
}

/// The casts by their size.
static CASTS: LazyLock<Vec<Cast>> = LazyLock::new(|| (1..=NDS).map(Cast::new).collect());

/// The cast of that size, 1 to 4.
pub(crate) fn cast(count: usize) -> &'static Cast {
    &CASTS[count - 1]
}

impl Cast {
    fn new(count: usize) -> Self {
        let identities: Vec<Identity> = (0..count).map(|who| Identity::from_seed([who as u8 + 1; 32])).collect();
        let alice = &identities[0];
        let genesis = Genesis { salt: [0; 32], name: name("lab"), creator: name("alice") };
        let (network, genesis) = Run::found(alice, &genesis, 0);
        let mut previous = genesis.head();
        let mut admissions = vec![None];
        for (seq, who) in (2..).zip(1..count) {
            let run = admit(alice, network, (seq, previous), (identities[who].peer(), NAMES[who]));
            previous = run.head();
            admissions.push(Some(run));
        }
        let runs = std::iter::once(&genesis).chain(admissions.iter().flatten());
        let roster: Vec<(u64, EntryFacts)> = (1..).zip(runs.flat_map(facts)).collect();
        let author = alice.peer();
        let lamport = count as u64;
        let feed = FeedLog { author, last: lamport, head: previous, lamport, held: Vec::new(), roster };
        let setups = (0..count).map(|who| setup(who, network, identities[who].clone())).collect();
        let peers = identities.iter().map(Identity::peer).collect();
        Self { network, peers, genesis, admissions, log: vec![feed], setups }
    }

    pub(crate) fn setup(&self, who: Who) -> Setup {
        self.setups[who].clone()
    }

    /// Who that is.
    pub(crate) fn who(&self, peer: &PeerId) -> Who {
        self.peers.iter().position(|known| known == peer).expect("everybody is in the cast")
    }

    /// The view that alice leads with everybody in it.
    pub(crate) fn view(&self) -> View {
        let active: Vec<ActiveMember> = (1..)
            .zip(&self.peers)
            .enumerate()
            .map(|(who, (node, peer))| ActiveMember {
                node: NodeId(node),
                peer: *peer,
                address: address(who),
                join_request: who as u64,
            })
            .collect();
        let count = active.len() as u64;
        View { epoch: Epoch(1), version: count, leader: NodeId(1), next_id: NodeId(count + 1), active }
    }

    /// What a node has on disk at the beginning.
    pub(crate) fn durable(&self, who: Who) -> Durable {
        let mut durable = Durable::new(Phase::Joined, who as u64);
        durable.epoch = Epoch(1);
        durable.addresses = self.peers.iter().enumerate().map(|(who, peer)| (*peer, address(who))).collect();
        durable.view = Some(self.view());
        if who == 0 {
            self.peers[1..].iter().for_each(|peer| durable.acked.set(*peer, self.peers.len() as u64));
        }
        durable
    }
}

fn setup(who: Who, network: NetworkId, identity: Identity) -> Setup {
    Setup { identity, network, name: name(NAMES[who]), address: address(who), services: 1, config: CONFIG }
}

fn name(text: &str) -> p2p_chat_model::Name {
    text.parse().expect("a name")
}

fn address(who: Who) -> Address {
    format!("{}:7500", NAMES[who]).parse().expect("an address")
}

fn admit(by: &Identity, network: NetworkId, place: (u64, EntryHash), whom: (PeerId, &str)) -> Run {
    let op = RosterOp::Admit { peer: whom.0, name: name(whom.1), past: 0 };
    let header = Header { lamport: place.0, wall_ms: 0, clock: VectorClock::new(), kind: op.kind() };
    Run::sign(by, network, place.0, place.1, vec![Entry { header, body: op.encode().into() }])
}

fn facts(run: &Run) -> impl Iterator<Item = EntryFacts> + '_ {
    run.entries.iter().map(|(hash, entry)| EntryFacts {
        hash: *hash,
        lamport: entry.header.lamport,
        wall_ms: 0,
        kind: entry.header.kind,
        clock: entry.header.clock.clone(),
        op: entry.roster_op().expect("a well-formed entry"),
    })
}
