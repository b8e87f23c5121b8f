//! False statements to the discovery service.

use bytes::Bytes;
use p2p_chat_model::{Epoch, Identity, NetworkId, Registration, Run, View, Vote, registration::Action};
use p2p_chat_proto::{
    convert::ToWire,
    v1::{self, discovery_client::DiscoveryClient, get_network_request::Key},
};
use p2p_chat_transport::identity_file;
use tonic::{Code, transport::Channel};

use crate::{
    crafted::{bad_names, founding, spoiled_views},
    outlaw::Outlaw,
    support::{Cluster, LAB, Lines},
    table::{Expect, Row, calling, row, run},
};

const NAMES: [&str; 2] = ["alice", "bob"];
const MALFORMED: Expect = Expect::Refused(&[Code::InvalidArgument]);
const FORGED: Expect = Expect::Refused(&[Code::Unauthenticated, Code::InvalidArgument]);
const NOT_ALLOWED: Expect = Expect::RefusedOr(&[Code::PermissionDenied, Code::InvalidArgument], "accepted: false");
const UNREACHABLE: Expect = Expect::Refused(&[Code::FailedPrecondition]);
/// Above every serial that an honest leader reaches in a test.
const SERIAL: u64 = 1 << 40;

struct Scene {
    cluster: Cluster,
    /// The leader's own key, as only its theft would give it: for statements that are false though well signed.
    alice: Identity,
    /// An active member that does not lead.
    mallory: Outlaw,
    stranger: Outlaw,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
        let mut mallory = Outlaw::new(0x71).await;
        mallory.join(&cluster, cluster.node("alice"), "mallory").await;
        mallory.says(&NAMES.map(|name| cluster.node(name)), "good day").await;
        let alice = identity_file::load_or_create(&cluster.node("alice").dir).expect("alice's key");
        Self { cluster, alice, mallory, stranger: Outlaw::new(0x72).await }
    }

    fn client(&self) -> DiscoveryClient<Channel> {
        DiscoveryClient::new(self.cluster.nds.channel()).max_encoding_message_size(usize::MAX)
    }

    fn lab(&self) -> NetworkId {
        self.mallory.standing().network
    }

    /// The view in force, led by a peer in it in an epoch.
    fn view(&self, leader: &Identity, epoch: u64) -> View {
        let mut view = self.mallory.standing().view.clone();
        view.leader = view.member(&leader.peer()).map_or(view.leader, |member| member.node);
        (view.epoch, view.version) = (Epoch(epoch), view.version + 1);
        view
    }

    fn statement(&self, view: View, expected_epoch: u64) -> Registration {
        Registration { network: self.lab(), view, expected_epoch: Epoch(expected_epoch), serial: SERIAL }
    }
}

fn alone(identity: &Identity, address: &str) -> View {
    View::founding(identity.peer(), address.parse().expect("an address"))
}

fn registration(network: NetworkId, view: View) -> Registration {
    Registration { network, expected_epoch: view.epoch, view, serial: 1 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_network_is_registered_by_a_false_statement() {
    let scene = Scene::new().await;
    let mut rows = foundings(&scene);
    rows.extend(founding_addresses(&scene));
    run(&scene.cluster, "false foundings", rows).await;
}

fn create_row(scene: &Scene, what: impl Into<String>, expect: Expect, request: v1::CreateNetworkRequest) -> Row {
    let client = scene.client();
    row(format!("CreateNetwork: {}", what.into()), expect, calling!(client, create_network, request.clone()))
}

fn creation(registration: Option<v1::Registration>, genesis: Vec<u8>) -> v1::CreateNetworkRequest {
    v1::CreateNetworkRequest { registration, genesis: genesis.into(), admission: Vec::new() }
}

fn foundings(scene: &Scene) -> Vec<Row> {
    let Outlaw { identity, address, .. } = &scene.stranger;
    let view = || alone(identity, address.as_str());
    let (garden, genesis) = founding(identity, b"garden");
    let signed = |network, view, action| v1::Registration::signed(&registration(network, view), action, identity);
    let sound = || signed(garden, view(), Action::Create);
    let mut another_signer = sound();
    another_signer.signer = scene.alice.peer().to_wire();
    let mut altered = sound();
    altered.serial += 1;
    let mut no_signature = sound();
    no_signature.signature = Bytes::new();
    let far = View { epoch: Epoch(1 << 40), ..view() };
    let (lab, another_lab) = founding(identity, LAB.as_bytes());
    let stolen = scene.mallory.standing().genesis.to_vec();
    let not_creator = Expect::Refused(&[Code::PermissionDenied, Code::AlreadyExists]);
    let genesis = genesis.encode();
    let mut rows: Vec<Row> = [
        ("no registration", MALFORMED, creation(None, genesis.clone())),
        ("signed for another call", FORGED, creation(Some(signed(garden, view(), Action::Renew)), genesis.clone())),
        ("in another's name", FORGED, creation(Some(another_signer), genesis.clone())),
        ("altered after signing", FORGED, creation(Some(altered), genesis.clone())),
        ("not signed", FORGED, creation(Some(no_signature), genesis.clone())),
        ("no genesis", MALFORMED, creation(Some(sound()), Vec::new())),
        ("noise for a genesis", MALFORMED, creation(Some(sound()), vec![0xff; 200])),
        ("a genesis of 5 KiB", MALFORMED, creation(Some(sound()), vec![0; 5 * 1024])),
        ("the genesis of another network", MALFORMED, creation(Some(sound()), another_lab.encode())),
        ("somebody else's genesis", not_creator, creation(Some(signed(scene.lab(), view(), Action::Create)), stolen)),
        (
            "an epoch from the far future",
            Expect::Refused(&[Code::FailedPrecondition, Code::InvalidArgument, Code::PermissionDenied]),
            creation(Some(signed(garden, far, Action::Create)), genesis.clone()),
        ),
        (
            "a name that is taken",
            Expect::Refused(&[Code::AlreadyExists]),
            creation(Some(signed(lab, view(), Action::Create)), another_lab.encode()),
        ),
    ]
    .into_iter()
    .map(|(what, expect, request)| create_row(scene, what, expect, request))
    .collect();
    for (what, name) in bad_names() {
        let (network, genesis) = founding(identity, &name);
        let request = creation(Some(signed(network, view(), Action::Create)), genesis.encode());
        rows.push(create_row(scene, format!("a name with {what}"), MALFORMED, request));
    }
    let forged = forged_genesis(scene);
    rows.push(create_row(scene, "a genesis with a forged signature", FORGED, forged));
    rows
}

fn forged_genesis(scene: &Scene) -> v1::CreateNetworkRequest {
    let Outlaw { identity, address, .. } = &scene.stranger;
    let (network, mut genesis): (_, Run) = founding(identity, b"orchard");
    genesis.signature = scene.alice.sign("p2p-chat v1 run", genesis.head().as_bytes());
    let statement = registration(network, alone(identity, address.as_str()));
    creation(Some(v1::Registration::signed(&statement, Action::Create, identity)), genesis.encode())
}

fn founding_addresses(scene: &Scene) -> Vec<Row> {
    let identity = &scene.stranger.identity;
    let (network, genesis) = founding(identity, b"garden");
    let places = [
        ("where nobody listens", "127.0.0.1:1".to_owned()),
        ("where another node listens", scene.cluster.node("alice").address.clone()),
        ("of a name that does not exist", "nobody.invalid:7500".to_owned()),
        ("where the discovery service itself listens", scene.cluster.nds.url().replace("http://", "")),
    ];
    let row_of = |(what, address): (&str, String)| {
        let statement = registration(network, alone(identity, &address));
        let signed = v1::Registration::signed(&statement, Action::Create, identity);
        create_row(scene, format!("an address {what}"), UNREACHABLE, creation(Some(signed), genesis.encode()))
    };
    places.into_iter().map(row_of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_network_gets_another_leader_by_a_false_statement() {
    let scene = Scene::new().await;
    let client = scene.client();
    let mallory = &scene.mallory.identity;
    let signed = |statement: &Registration, by: &Identity| v1::Registration::signed(statement, Action::Update, by);
    let sound = scene.statement(scene.view(mallory, 2), 1);
    let stranger = &scene.stranger;
    let strangers =
        scene.statement(View { epoch: Epoch(2), ..alone(&stranger.identity, stranger.address.as_str()) }, 1);
    let for_mallory = |by: &Identity, epoch| v1::Vote::from(&Vote::cast(by, scene.lab(), Epoch(epoch), mallory.peer()));
    let mut forged = for_mallory(mallory, 2);
    forged.voter = scene.alice.peer().to_wire();
    let own = for_mallory(mallory, 2);
    let outside = for_mallory(&stranger.identity, 2);
    let unknown = Registration { network: NetworkId::new([0xab; 32]), ..sound.clone() };
    let mut not_signed = signed(&sound, mallory);
    not_signed.signature = vec![0; 64].into();
    let wrong_call = v1::Registration::signed(&sound, Action::Renew, mallory);
    let stale = scene.statement(scene.view(mallory, 1), 1);
    let unexpected = scene.statement(scene.view(mallory, 3), 2);
    let far = scene.statement(scene.view(mallory, u64::MAX), 1);
    let refused = Expect::RefusedOr(&[Code::InvalidArgument, Code::FailedPrecondition], "accepted: false");
    let table = [
        ("no registration", MALFORMED, None, vec![]),
        ("signed for another call", FORGED, Some(wrong_call), vec![]),
        ("a signature of zeros", FORGED, Some(not_signed), vec![]),
        ("while the leader lives", refused, Some(signed(&sound, mallory)), vec![]),
        ("with one's own vote only", refused, Some(signed(&sound, mallory)), vec![own.clone()]),
        ("with one's own vote three times", refused, Some(signed(&sound, mallory)), vec![own; 3]),
        ("with votes of strangers", refused, Some(signed(&sound, mallory)), vec![outside]),
        ("with a vote for another epoch", refused, Some(signed(&sound, mallory)), vec![for_mallory(&scene.alice, 9)]),
        ("with a forged vote", FORGED, Some(signed(&sound, mallory)), vec![forged]),
        ("by a stranger", NOT_ALLOWED, Some(signed(&strangers, &stranger.identity)), vec![]),
        ("of the epoch that runs", refused, Some(signed(&stale, mallory)), vec![]),
        ("that expects another epoch", refused, Some(signed(&unexpected, mallory)), vec![]),
        ("to an epoch from the far future", refused, Some(signed(&far, mallory)), vec![]),
        ("of an unknown network", Expect::Refused(&[Code::NotFound]), Some(signed(&unknown, mallory)), vec![]),
    ];
    let mut rows = Vec::new();
    for (what, expect, registration, votes) in table {
        let request = v1::UpdateLeaderRequest { registration, votes };
        rows.push(row(format!("UpdateLeader {what}"), expect, calling!(client, update_leader, request.clone())));
    }
    for (what, view) in spoiled_views(&(&scene.view(mallory, 2)).into()) {
        let registration = v1::Registration { view, ..signed(&sound, mallory) };
        let request = v1::UpdateLeaderRequest { registration: Some(registration), votes: Vec::new() };
        rows.push(row(
            format!("UpdateLeader with {what}"),
            MALFORMED,
            calling!(client, update_leader, request.clone()),
        ));
    }
    run(&scene.cluster, "false claims to lead", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_is_renewed_and_no_network_closed_by_a_false_statement() {
    let scene = Scene::new().await;
    let client = scene.client();
    let (alice, mallory) = (&scene.alice, &scene.mallory.identity);
    let current = |by: &Identity| scene.statement(scene.view(by, 1), 1);
    let stranger = &scene.stranger;
    let strangers = scene.statement(alone(&stranger.identity, stranger.address.as_str()), 1);
    let replayed = Registration { serial: 0, ..current(alice) };
    let old_view = View { version: 1, ..scene.view(alice, 1) };
    let outdated = Registration { serial: 0, view: old_view, ..current(alice) };
    let unknown = Registration { network: NetworkId::new([0xab; 32]), ..current(alice) };
    let refused = Expect::RefusedOr(
        &[Code::InvalidArgument, Code::FailedPrecondition, Code::PermissionDenied],
        "accepted: false",
    );
    let never = Expect::Refused(&[Code::PermissionDenied]);
    let others_active = Expect::Refused(&[Code::FailedPrecondition]);
    let not_found = Expect::Refused(&[Code::NotFound]);
    let renewals = [
        ("by a member that does not lead", refused, current(mallory), Action::Renew, mallory),
        ("by a stranger", refused, strangers.clone(), Action::Renew, &stranger.identity),
        ("replayed", refused, replayed, Action::Renew, alice),
        ("with an old view", refused, outdated, Action::Renew, alice),
        ("signed for another call", FORGED, current(alice), Action::Close, alice),
        ("signed by another", FORGED, current(alice), Action::Renew, mallory),
        ("of an unknown network", not_found, unknown, Action::Renew, alice),
    ];
    let closings = [
        ("by a member that does not lead", never, current(mallory), Action::Close, mallory),
        ("by a stranger", never, strangers, Action::Close, &stranger.identity),
        ("while others are active", others_active, current(alice), Action::Close, alice),
        ("signed for another call", FORGED, current(alice), Action::Renew, alice),
        ("signed by another", FORGED, current(alice), Action::Close, mallory),
    ];
    let sign = |statement: &Registration, action, by: &Identity| {
        let mut registration = v1::Registration::signed(statement, action, by);
        // Whoever signs, the statement names the leader of its view.
        let leader = statement.view.leader().map(|leader| leader.peer.to_wire());
        registration.signer = leader.unwrap_or_default();
        Some(registration)
    };
    let mut rows = Vec::new();
    for (what, expect, statement, action, by) in renewals {
        let request = v1::RenewLeaseRequest { registration: sign(&statement, action, by) };
        rows.push(row(format!("RenewLease {what}"), expect, calling!(client, renew_lease, request.clone())));
    }
    for (what, expect, statement, action, by) in closings {
        let request = v1::CloseNetworkRequest { registration: sign(&statement, action, by) };
        rows.push(row(format!("CloseNetwork {what}"), expect, calling!(client, close_network, request.clone())));
    }
    run(&scene.cluster, "false renewals and closings", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_questions_to_the_discovery_service_are_refused() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let client = DiscoveryClient::new(cluster.nds.channel());
    let mut rows = Vec::new();
    let mut get = |what: &str, expect, key: Option<Key>| {
        let request = v1::GetNetworkRequest { key };
        rows.push(row(format!("GetNetwork of {what}"), expect, calling!(client, get_network, request.clone())));
    };
    get("nothing", MALFORMED, None);
    get("31 bytes", MALFORMED, Some(Key::Network(vec![1; 31].into())));
    get("no bytes", MALFORMED, Some(Key::Network(Bytes::new())));
    get("an unknown id", Expect::Refused(&[Code::NotFound]), Some(Key::Network(vec![1; 32].into())));
    get("an unknown name", Expect::Refused(&[Code::NotFound]), Some(Key::Name("garden".to_owned())));
    for (what, name) in bad_names() {
        if let Ok(name) = String::from_utf8(name) {
            get(&format!("a name with {what}"), MALFORMED, Some(Key::Name(name)));
        }
    }
    for token in ["x", "zz", "ff", "1b5b324a", &"61".repeat(65)] {
        let request = v1::ListNetworksRequest { page_size: 0, page_token: token.to_owned() };
        let call = calling!(client, list_networks, request.clone());
        rows.push(row(format!("ListNetworks from the page {token:?}"), MALFORMED, call));
    }
    let request = v1::ListNetworksRequest { page_size: u32::MAX, page_token: String::new() };
    let call = calling!(client, list_networks, request.clone());
    rows.push(row("ListNetworks in a page of any size", Expect::Says("\"lab\""), call));
    run(&cluster, "bad questions", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_the_address_and_the_network_they_are_about() {
    let scene = Scene::new().await;
    let Outlaw { identity, address, .. } = &scene.stranger;
    let refusal = async |name: &[u8], address: &str| {
        let (network, genesis) = founding(identity, name);
        let statement = registration(network, alone(identity, address));
        let signed = v1::Registration::signed(&statement, Action::Create, identity);
        let created = scene.client().create_network(creation(Some(signed), genesis.encode())).await;
        created.expect_err("it must be refused").message().to_owned()
    };
    let nowhere = refusal(b"garden", "127.0.0.1:1").await;
    assert!(nowhere.contains("127.0.0.1:1"), "{nowhere}");
    let taken = refusal(LAB.as_bytes(), address.as_str()).await;
    assert!(taken.contains(LAB), "{taken}");
}
