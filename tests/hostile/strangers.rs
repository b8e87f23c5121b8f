//! Calls without an identity, and with one that is no member's.

use bytes::Bytes;
use p2p_chat_proto::v1;
use p2p_chat_transport::dial;
use tonic::Code;

use crate::{
    crafted::bad_names,
    outlaw::{Outlaw, Services},
    raw::{field, raw},
    support::{Cluster, LAB, Lines},
    table::{Expect, Row, calling, row, run},
};

const NAMES: [&str; 2] = ["alice", "bob"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_identity_gets_nothing_but_a_sign_of_life() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let network = cluster.nds.record(LAB).await.expect("it is listed").network;
    let mut rows = Vec::new();
    for name in NAMES {
        let plain = dial::plaintext(&format!("http://{}", cluster.node(name).address)).expect("a URL");
        let services = Services::over(&plain);
        let expect = Expect::Refused(&[Code::Unauthenticated]);
        rows.extend(every_call(&services, &network, &format!("no identity, to {name}"), expect));
        let join = join(&network, "mallory", "127.0.0.1:1");
        rows.push(row(
            format!("no identity, to {name}: Join"),
            expect,
            calling!(services.membership, join, join.clone()),
        ));
        rows.extend(pings(&services, &network, &format!("no identity, to {name}")));
    }
    run(&cluster, "calls without an identity", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_member_gets_nothing_but_the_chance_to_join() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let network = cluster.nds.record(LAB).await.expect("it is listed").network;
    let stranger = Outlaw::new(0x51).await;
    let mut rows = Vec::new();
    for name in NAMES {
        let services = stranger.services(cluster.node(name));
        let who = format!("stranger, to {name}");
        rows.extend(every_call(&services, &network, &who, Expect::Refused(&[Code::PermissionDenied])));
        rows.extend(pings(&services, &network, &who));
        let nowhere = Bytes::from(vec![0xab; 32]);
        let not_here = Expect::Refused(&[Code::NotFound, Code::PermissionDenied]);
        rows.extend(every_call(&services, &nowhere, &format!("{who}, about an unknown network"), not_here));
        rows.extend(joins(&services, &network, &who));
    }
    let alice = cluster.node("alice");
    let services = stranger.services(alice);
    for (what, address) in [
        ("where nobody listens", "127.0.0.1:1".to_owned()),
        ("where somebody else listens", cluster.node("bob").address.clone()),
        ("where the leader itself listens", alice.address.clone()),
        ("of a name that does not exist", "nobody.invalid:7500".to_owned()),
    ] {
        let join = join(&network, "mallory", &address);
        let refused = Expect::Refused(&[Code::FailedPrecondition]);
        rows.push(row(
            format!("join from an address {what}"),
            refused,
            calling!(services.membership, join, join.clone()),
        ));
    }
    run(&cluster, "calls of a stranger", rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_request_are_refused_at_every_port() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let stranger = Outlaw::new(0x52).await;
    let node = dial::plaintext(&format!("http://{}", cluster.node("alice").address)).expect("a URL");
    let ports = [
        ("node, plaintext", node, "/p2pchat.v1.Chat/Deliver", "/p2pchat.v1.Liveness/Ping"),
        ("node, TLS", stranger.channel(cluster.node("alice")), "/p2pchat.v1.Chat/Deliver", "/p2pchat.v1.Liveness/Ping"),
        (
            "discovery service",
            cluster.nds.channel(),
            "/p2pchat.v1.Discovery/GetNetwork",
            "/p2pchat.v1.Discovery/ListNetworks",
        ),
        (
            "local API",
            dial::unix(cluster.node("alice").dir.join("node.sock")),
            "/p2pchat.v1.Node/Send",
            "/p2pchat.v1.Node/Create",
        ),
    ];
    let mut rows = Vec::new();
    for (port, channel, one, other) in ports {
        // The decoder refuses before the service is asked who calls; tonic answers INTERNAL then.
        let malformed =
            Expect::Refused(&[Code::Internal, Code::InvalidArgument, Code::Unauthenticated, Code::PermissionDenied]);
        let large = Expect::Refused(&[Code::OutOfRange, Code::ResourceExhausted, Code::InvalidArgument]);
        let send = |path: &'static str, bytes: Vec<u8>| {
            let (channel, bytes) = (channel.clone(), Bytes::from(bytes));
            move || raw(channel.clone(), path, bytes.clone())
        };
        for path in [one, other] {
            rows.push(row(format!("{port}: noise to {path}"), malformed, send(path, vec![0xff; 100])));
            rows.push(row(format!("{port}: a field cut short to {path}"), malformed, send(path, vec![0x0a, 0x7f, 1])));
            rows.push(row(format!("{port}: 5 MiB to {path}"), large, send(path, field(1, &vec![0; 5 << 20]))));
        }
        let unknown = Expect::Refused(&[Code::Unimplemented]);
        let call = send("/p2pchat.v1.Nothing/Nothing", Vec::new());
        rows.push(row_without_sentence(format!("{port}: a method that does not exist"), unknown, call));
    }
    let text = [field(1, LAB.as_bytes()), field(2, &[b'a', 0xff])].concat();
    let local = dial::unix(cluster.node("alice").dir.join("node.sock"));
    let not_utf8 = Expect::Refused(&[Code::Internal, Code::InvalidArgument]);
    rows.push(row("local API: text that is not UTF-8", not_utf8, move || {
        raw(local.clone(), "/p2pchat.v1.Node/Send", text.clone().into())
    }));
    let nds = cluster.nds.channel();
    rows.push(row("discovery service: a name that is not UTF-8", not_utf8, move || {
        raw(nds.clone(), "/p2pchat.v1.Discovery/GetNetwork", field(1, &[b'a', 0xff]).into())
    }));
    run(&cluster, "noise", rows).await;
}

/// tonic itself answers a method that does not exist, without a message.
fn row_without_sentence<F>(name: String, expect: Expect, call: impl Fn() -> F + 'static) -> Row
where
    F: Future<Output = Result<tonic::Response<Bytes>, tonic::Status>> + 'static,
{
    row(name, expect, move || {
        let calling = call();
        async move { calling.await.map_err(|status| tonic::Status::new(status.code(), "no such method")) }
    })
}

/// A well-formed call of everything that members call, but Join.
fn every_call(services: &Services, network: &Bytes, who: &str, expect: Expect) -> Vec<Row> {
    let Services { chat, election, liveness, membership } = services;
    let (network, target) = (network.clone(), Bytes::from(vec![1; 32]));
    let view = v1::View {
        epoch: 2,
        version: 9,
        leader: 1,
        next_id: 2,
        active: vec![v1::ActiveMember {
            node_id: 1,
            peer: target.clone(),
            address: "127.0.0.1:1".to_owned(),
            join_request: 0,
        }],
    };
    let certificate = v1::Certificate { rank: v1::Rank::Majority.into(), votes: Vec::new() };
    let leave = v1::LeaveRequest { network: network.clone() };
    let update = v1::UpdateViewRequest { network: network.clone(), view: Some(view.clone()), handover: None };
    let elect = v1::ElectRequest { network: network.clone(), epoch: 2, candidate: 1 };
    let coordinate =
        v1::CoordinateRequest { network: network.clone(), view: Some(view), certificate: Some(certificate) };
    let ping_via = v1::PingViaRequest { network: network.clone(), target: target.clone() };
    let deliver = v1::DeliverRequest { network: network.clone(), runs: Vec::new() };
    let relay = v1::RelayRequest { network: network.clone(), target };
    let fetch = v1::FetchRequest { network, have: None, not_of: vec![] };
    let name = |call: &str| format!("{who}: {call}");
    vec![
        row(name("Leave"), expect, calling!(membership, leave, leave.clone())),
        row(name("UpdateView"), expect, calling!(membership, update_view, update.clone())),
        row(name("Elect"), expect, calling!(election, elect, elect)),
        row(name("Coordinate"), expect, calling!(election, coordinate, coordinate.clone())),
        row(name("PingVia"), expect, calling!(liveness, ping_via, ping_via.clone())),
        row(name("Deliver"), expect, calling!(chat, deliver, deliver.clone())),
        row(name("Relay"), expect, calling!(chat, relay, relay.clone())),
        row(name("Fetch"), expect, calling!(chat, fetch, fetch.clone())),
    ]
}

/// Anybody may ask whether the node lives, and learns nothing else.
fn pings(services: &Services, network: &Bytes, who: &str) -> Vec<Row> {
    let standing = v1::Standing { epoch: 1 << 40, view_version: 1 << 40, ..v1::Standing::default() };
    let alive = Expect::Says("standing: None");
    let ping = |network: &Bytes, standing| v1::PingRequest { network: network.clone(), standing };
    let asks = [
        ("Ping", ping(&Bytes::new(), None)),
        ("Ping about the network", ping(network, None)),
        ("Ping about an unknown network", ping(&Bytes::from(vec![0xcd; 32]), None)),
        ("Ping with a claim", ping(network, Some(standing))),
    ];
    let row_of = |(what, request): (&str, v1::PingRequest)| {
        row(format!("{who}: {what}"), alive, calling!(services.liveness, ping, request.clone()))
    };
    asks.into_iter().map(row_of).collect()
}

/// Joins that are wrong in themselves.
fn joins(services: &Services, network: &Bytes, who: &str) -> Vec<Row> {
    let malformed = Expect::Refused(&[Code::InvalidArgument]);
    let row_of = |what: String, expect, request: v1::JoinRequest| {
        row(format!("{who}: Join {what}"), expect, calling!(services.membership, join, request.clone()))
    };
    let mut rows = vec![
        row_of(
            "an unknown network".to_owned(),
            Expect::Refused(&[Code::NotFound]),
            join(&vec![0xab; 32].into(), "m", "127.0.0.1:1"),
        ),
        row_of("a network of 31 bytes".to_owned(), malformed, join(&network.slice(1..), "m", "127.0.0.1:1")),
        row_of("no network".to_owned(), malformed, join(&Bytes::new(), "m", "127.0.0.1:1")),
    ];
    for (what, name) in bad_names() {
        if let Ok(name) = String::from_utf8(name) {
            rows.push(row_of(format!("under a name with {what}"), malformed, join(network, &name, "127.0.0.1:1")));
        }
    }
    for address in ["", "alice", "alice:0", "127.0.0.1:65536", "a b:1", "http://127.0.0.1:1", "\u{1b}[2J:1"] {
        rows.push(row_of(format!("from {address:?}"), malformed, join(network, "mallory", address)));
    }
    rows
}

fn join(network: &Bytes, name: &str, address: &str) -> v1::JoinRequest {
    v1::JoinRequest { network: network.clone(), request_id: 3, name: name.to_owned(), address: address.to_owned() }
}
