//! A member that lies: about who is active, about who leads, about what it has.

use bytes::Bytes;
use p2p_chat_model::{Epoch, NodeId, PeerId, View, Vote};
use p2p_chat_proto::{convert::ToWire, v1};
use tonic::Code;

use crate::{
    crafted::{spoiled_clocks, spoiled_views},
    outlaw::{JOIN_REQUEST, Outlaw, Services},
    support::{Cluster, Lines},
    table::{Expect, Row, calling, row, run},
};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const MALFORMED: Expect = Expect::Refused(&[Code::InvalidArgument]);
const FORGED: Expect = Expect::Refused(&[Code::Unauthenticated, Code::InvalidArgument]);
const NOT_TAKEN: Expect = Expect::RefusedOr(&[Code::InvalidArgument, Code::PermissionDenied], "accepted: false");

struct Scene {
    cluster: Cluster,
    mallory: Outlaw,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
        let mut mallory = Outlaw::new(0x66).await;
        mallory.join(&cluster, cluster.node("alice"), "mallory").await;
        mallory.says(&NAMES.map(|name| cluster.node(name)), "I am one of you").await;
        Self { cluster, mallory }
    }

    fn network(&self) -> Bytes {
        self.mallory.standing().network.to_wire()
    }

    fn services(&self, name: &str) -> Services {
        self.mallory.services(self.cluster.node(name))
    }

    fn peer(&self, name: &str) -> PeerId {
        self.cluster.node(name).peer.parse().expect("a peer id")
    }

    /// The view in force, changed.
    fn view(&self, change: impl FnOnce(&mut View)) -> v1::View {
        let mut view = self.mallory.standing().view.clone();
        change(&mut view);
        (&view).into()
    }

    /// The node id of the liar.
    fn node(&self) -> NodeId {
        self.mallory.standing().view.member(&self.mallory.peer()).expect("mallory is active").node
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_lead_changes_no_view() {
    let scene = Scene::new().await;
    let mut rows = Vec::new();
    for name in NAMES {
        let membership = scene.services(name).membership;
        let update = |view: Option<v1::View>, handover: Option<v1::Vote>| {
            let request = v1::UpdateViewRequest { network: scene.network(), view, handover };
            calling!(membership, update_view, request.clone())
        };
        for (what, view) in spoiled_views(&scene.view(|_| {})) {
            rows.push(row(format!("UpdateView to {name}: {what}"), MALFORMED, update(view, None)));
        }
        let mine = scene.node();
        let usurped = scene.view(|view| (view.leader, view.version) = (mine, view.version + 1));
        let emptied = scene.view(|view| {
            view.version += 1;
            view.active.retain(|member| member.node == view.leader || member.node == mine);
        });
        let far = scene.view(|view| (view.epoch, view.leader) = (Epoch(u64::MAX), mine));
        let handed = Vote::cast(&scene.mallory.identity, scene.mallory.standing().network, Epoch(2), scene.peer(name));
        let mut forged = v1::Vote::from(&handed);
        forged.voter = scene.peer("alice").to_wire();
        let next = scene.view(|view| (view.epoch, view.leader, view.version) = (Epoch(2), mine, view.version + 1));
        for (what, expect, view, vote) in [
            ("one's own leadership in the same epoch", NOT_TAKEN, usurped, None),
            ("in the leader's name", NOT_TAKEN, emptied, None),
            ("an epoch from the far future", NOT_TAKEN, far, None),
            ("a handover by somebody who does not lead", NOT_TAKEN, next.clone(), Some((&handed).into())),
            ("a handover with a forged vote", FORGED, next, Some(forged)),
        ] {
            rows.push(row(format!("UpdateView to {name}: {what}"), expect, update(Some(view), vote)));
        }
    }
    run(&scene.cluster, "views of a liar", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_no_claim_wins_no_election() {
    let scene = Scene::new().await;
    let mut rows = Vec::new();
    for name in NAMES {
        rows.extend(coordinations(&scene, name));
        rows.extend(elections(&scene, name));
    }
    run(&scene.cluster, "claims of a liar", rows).await;
}

fn coordinations(scene: &Scene, to: &str) -> Vec<Row> {
    let election = scene.services(to).election;
    let (mine, network) = (scene.node(), scene.mallory.standing().network);
    let coordinate = |view: Option<v1::View>, certificate: Option<v1::Certificate>| {
        let request = v1::CoordinateRequest { network: scene.network(), view, certificate };
        calling!(election, coordinate, request.clone())
    };
    let majority = |votes: Vec<v1::Vote>| Some(v1::Certificate { rank: v1::Rank::Majority.into(), votes });
    let own = v1::Vote::from(&Vote::cast(&scene.mallory.identity, network, Epoch(1), scene.mallory.peer()));
    let mut forged = own.clone();
    forged.voter = scene.peer("bob").to_wire();
    let mut moved = own.clone();
    moved.epoch = 2;
    let same_epoch = scene.view(|view| view.leader = mine);
    let in_alices_name = scene.view(|view| (view.epoch, view.version) = (Epoch(2), view.version + 1));
    let far = scene.view(|view| (view.epoch, view.leader) = (Epoch(u64::MAX), mine));
    let row_of = |what: &str, expect, call| row(format!("Coordinate to {to}: {what}"), expect, call);
    let mut rows = vec![
        row_of("no certificate", MALFORMED, coordinate(Some(same_epoch.clone()), None)),
        row_of(
            "a certificate without a rank",
            MALFORMED,
            coordinate(Some(same_epoch.clone()), Some(v1::Certificate::default())),
        ),
        row_of(
            "the running epoch, a majority without votes",
            NOT_TAKEN,
            coordinate(Some(same_epoch.clone()), majority(vec![])),
        ),
        row_of(
            "the running epoch, one's own vote only",
            NOT_TAKEN,
            coordinate(Some(same_epoch.clone()), majority(vec![own.clone()])),
        ),
        row_of(
            "the running epoch, one's own vote three times",
            NOT_TAKEN,
            coordinate(Some(same_epoch.clone()), majority(vec![own; 3])),
        ),
        row_of("a forged vote", FORGED, coordinate(Some(same_epoch.clone()), majority(vec![forged]))),
        row_of(
            "a vote for another epoch than it was cast for",
            FORGED,
            coordinate(Some(same_epoch), majority(vec![moved])),
        ),
        row_of("in the leader's name", NOT_TAKEN, coordinate(Some(in_alices_name), majority(vec![]))),
        row_of("an epoch from the far future", NOT_TAKEN, coordinate(Some(far), majority(vec![]))),
    ];
    for (what, view) in spoiled_views(&scene.view(|view| view.leader = mine)) {
        rows.push(row_of(what, MALFORMED, coordinate(view, majority(vec![]))));
    }
    rows
}

fn elections(scene: &Scene, to: &str) -> Vec<Row> {
    let election = scene.services(to).election;
    let mine = scene.node().0;
    let elect = |epoch, candidate| {
        let request = v1::ElectRequest { network: scene.network(), epoch, candidate };
        calling!(election, elect, request.clone())
    };
    let no_vote = [Code::InvalidArgument, Code::PermissionDenied, Code::Aborted];
    let refused: &'static [Code] = Box::leak(Box::new(no_vote));
    // Whatever the answer is, it must not be a vote: the state that is compared does not show one.
    let row_of = |what: &str, says, call| row(format!("Elect at {to}: {what}"), Expect::RefusedOr(refused, says), call);
    let alive = "LeaderAlive(true)";
    let mut rows =
        vec![row_of("a stale epoch", "Outdated(", elect(1, mine)), row_of("epoch 0", "Outdated(", elect(0, mine))];
    // The leader itself, asked by a higher id, has no other leader to reach: it takes over or says that it lives.
    if to != "alice" {
        rows.push(row_of("while the leader lives", alive, elect(2, mine)));
        rows.push(row_of("under another's id", "(", elect(2, 1)));
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_claims_what_nobody_has_stops_nobody() {
    let scene = Scene::new().await;
    let mut rows = Vec::new();
    for name in NAMES {
        let Services { chat, liveness, .. } = scene.services(name);
        let ping = |standing: v1::Standing| {
            let request = v1::PingRequest { network: scene.network(), standing: Some(standing) };
            calling!(liveness, ping, request.clone())
        };
        let fetch = |have: v1::VectorClock| {
            let request = v1::FetchRequest { network: scene.network(), have: Some(have), not_of: vec![] };
            calling!(chat, fetch, request.clone())
        };
        for (what, clock) in spoiled_clocks() {
            let standing = v1::Standing { epoch: 1, frontier: Some(clock.clone()), ..v1::Standing::default() };
            rows.push(row(format!("Ping to {name}: {what}"), MALFORMED, ping(standing)));
            rows.push(row(format!("Fetch from {name}: {what}"), MALFORMED, fetch(clock)));
        }
        let has = |author: PeerId| v1::VectorClock {
            feeds: vec![v1::FeedPosition { author: author.to_wire(), seq: 1 << 40 }],
        };
        let answered = Expect::RefusedOr(&[Code::InvalidArgument], "");
        for (what, author) in [
            ("more of the receiver's own feed than there is", scene.peer(name)),
            ("more of another's feed than there is", scene.peer(if name == "carol" { "bob" } else { "carol" })),
            ("a feed of nobody", PeerId::new([0x77; 32])),
        ] {
            let standing = v1::Standing { epoch: 1, frontier: Some(has(author)), ..v1::Standing::default() };
            rows.push(row(format!("Ping to {name} that claims {what}"), answered, ping(standing)));
            rows.push(row(format!("Fetch from {name} that claims {what}"), answered, fetch(has(author))));
        }
        let usurper = v1::LeaderHint {
            epoch: u64::MAX,
            leader: scene.mallory.peer().to_wire(),
            address: scene.mallory.address.to_string(),
        };
        let standing =
            v1::Standing { epoch: u64::MAX, view_version: u64::MAX, leader: Some(usurper), ..v1::Standing::default() };
        rows.push(row(format!("Ping to {name} that claims a reign from the far future"), answered, ping(standing)));
    }
    run(&scene.cluster, "boasts of a liar", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_for_nonsense_is_told_so() {
    let scene = Scene::new().await;
    let (elsewhere, short) = (Bytes::from(vec![0xab; 32]), Bytes::from(vec![1; 31]));
    let mut rows = Vec::new();
    for name in NAMES {
        let Services { chat, liveness, membership, election } = scene.services(name);
        let not_here = Expect::Refused(&[Code::NotFound]);
        for (what, expect, network) in [
            ("of an unknown network", not_here, &elsewhere),
            ("of a network of 31 bytes", MALFORMED, &short),
            ("of no network", MALFORMED, &Bytes::new()),
        ] {
            let network = network.clone();
            let leave = v1::LeaveRequest { network: network.clone() };
            let view =
                v1::UpdateViewRequest { network: network.clone(), view: Some(scene.view(|_| {})), handover: None };
            let elect = v1::ElectRequest { network: network.clone(), epoch: 2, candidate: 4 };
            let deliver = v1::DeliverRequest { network: network.clone(), runs: Vec::new() };
            let fetch = v1::FetchRequest { network, have: None, not_of: vec![] };
            let named = |call: &str| format!("{call} {what}, to {name}");
            rows.push(row(named("Leave"), expect, calling!(membership, leave, leave.clone())));
            rows.push(row(named("UpdateView"), expect, calling!(membership, update_view, view.clone())));
            rows.push(row(named("Elect"), expect, calling!(election, elect, elect.clone())));
            rows.push(row(named("Deliver"), expect, calling!(chat, deliver, deliver.clone())));
            rows.push(row(named("Fetch"), expect, calling!(chat, fetch, fetch.clone())));
        }
        for (what, target, expect) in [
            ("nobody", Bytes::from(vec![0x77; 32]), Expect::Says("reached: false")),
            ("31 bytes", Bytes::from(vec![1; 31]), MALFORMED),
        ] {
            let relay = v1::RelayRequest { network: scene.network(), target: target.clone() };
            let ping = v1::PingViaRequest { network: scene.network(), target };
            rows.push(row(format!("Relay by {name} to {what}"), expect, calling!(chat, relay, relay.clone())));
            rows.push(row(format!("PingVia {name} of {what}"), expect, calling!(liveness, ping_via, ping.clone())));
        }
    }
    let membership = scene.services("alice").membership;
    let again = v1::JoinRequest {
        network: scene.network(),
        request_id: JOIN_REQUEST,
        name: "mallory".to_owned(),
        address: scene.mallory.address.to_string(),
    };
    let call = calling!(membership, join, again.clone());
    rows.push(row("the Join that was answered, once more", Expect::Says("Admitted("), call));
    run(&scene.cluster, "nonsense of a member", rows).await;
}
