//! The discovery service dies; the group does not need it to go on.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use p2p_chat_proto::v1::{self, node_client::NodeClient};
use p2p_chat_transport::dial;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::{
    Cluster, LAB, Lines, Nds, eventually, figure, let_pass,
    node::call,
    process::{self, Finished, Process},
    wait::{ensure, secs},
};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// A node waits 3 s for an answer of a discovery service, and on a busy machine there is none in time now and then.
const HEARD: Duration = secs(60);
/// How soon a join is answered, whatever happens.
const JOINED: Duration = secs(15);
/// A busy machine may delay an answer beyond that, but hardly three; who promises too much is late every time.
const JOINERS: [&str; 3] = ["bob", "carol", "dave"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chat_leave_and_election_go_on_without_the_discovery_service() {
    let mut cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let mut writers = cluster.talk(&NAMES, 10);
    let_pass(secs(1)).await;

    cluster.nds.kill();
    what_needs_the_service_fails_clearly(&mut cluster).await;
    let dave = writers.pop().expect("four writers");
    dave.stop().await;
    let leave = v1::LeaveNetworkRequest { network: LAB.to_owned(), timeout_ms: 20_000, force: false };
    let mut leave = tonic::Request::new(leave);
    leave.set_timeout(secs(30));
    let left = cluster.node("dave").client().leave(leave).await.expect("leave needs the leader only");
    assert_eq!(left.into_inner(), v1::LeaveNetworkResponse { unreplicated: 0, closed: false });
    cluster.agree(&NAMES[..3], secs(60)).await;

    cluster.node_mut("alice").kill();
    let killed = Instant::now();
    let reign = cluster.agree(&NAMES[1..3], secs(90)).await;
    figure(format!("leader killed with no discovery service: elected by majority after {:.1?}", killed.elapsed()));
    assert_eq!(reign.leader, "bob");

    is_listed_again(&mut cluster, "its disk", reign.epoch).await;
    cluster.nds.kill();
    cluster.nds.wipe();
    is_listed_again(&mut cluster, "an empty disk", reign.epoch).await;

    cluster.node_mut("alice").restart().await;
    let after = cluster.agree(&NAMES[..3], secs(60)).await;
    assert_eq!((after.leader.as_str(), after.epoch), ("bob", reign.epoch));
    cluster.conclude(writers, &NAMES[..3]).await;
}

async fn what_needs_the_service_fails_clearly(cluster: &mut Cluster) {
    let create = v1::CreateRequest { network: "garden".to_owned() };
    let refused = cluster.node("bob").client().create(call(create)).await.expect_err("there is no service");
    is_clear(&refused, &cluster.nds.url());
    cluster.add("erin").await.start(&[]).await;
    let join = v1::JoinNetworkRequest { network: LAB.to_owned() };
    let refused = cluster.node("erin").client().join(tonic::Request::new(join)).await.expect_err("there is no service");
    is_clear(&refused, &cluster.nds.url());
    for name in ["bob", "erin"] {
        let status = cluster.node(name).status().await.expect("it runs");
        assert!(status.networks.iter().all(|state| state.name != "garden"), "a failed create left {status:?}");
        assert!(name == "bob" || status.networks.is_empty(), "a failed join left {status:?}");
        assert!(status.discovery.iter().all(|service| !service.reachable), "{status:?}");
    }
    cluster.node_mut("erin").kill();
}

fn is_clear(refused: &Status, url: &str) {
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let sentence = refused.message();
    let address = url.trim_start_matches("http://");
    assert!(sentence.contains(address) && !sentence.contains('\n') && sentence.len() < 300, "{sentence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_discovery_service_among_several_is_named_and_hides_nothing() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES[..2]).await;
    let (_open, silent) = silent_service();
    cluster.add("carol").await.start(&["--nds", &silent]).await;
    join(&cluster, "carol", LAB).await.expect("one service answers");
    cluster.add("dave").await.start(&["--nds", &silent]).await;
    for name in ["carol", "dave"] {
        let listed = networks_of_one_that_answers(&cluster, name, &["--json"]).await;
        assert_eq!(listed.status.code(), Some(0), "{listed:?}");
        assert!(listed.stdout.lines().count() == 1 && listed.stdout.contains("\"name\":\"lab\""), "{listed:?}");
        assert!(listed.stderr.contains(&silent) && !listed.stderr.contains(&cluster.nds.url()), "{listed:?}");
    }
    let refused = join(&cluster, "dave", "garden").await.expect_err("nobody lists it");
    assert_eq!(refused.code(), Code::NotFound, "{refused}");

    cluster.nds.kill();
    let listed = networks(&cluster, "dave", &[]).await;
    assert_eq!((listed.status.code(), listed.stdout.as_str()), (Some(6), ""), "{listed:?}");
    assert!(listed.stderr.contains(&silent) && listed.stderr.contains(&cluster.nds.url()), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_taken_for_a_discovery_service_is_said_to_be_none() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES[..1]).await;
    let url = format!("http://{}", cluster.node("alice").address);
    let bob = cluster.add("bob").await;
    bob.nds = url.clone();
    bob.start(&[]).await;
    let create = v1::CreateRequest { network: "garden".to_owned() };
    let founded = cluster.node("bob").client().create(call(create)).await.expect_err("there is no service");
    let join = v1::JoinNetworkRequest { network: LAB.to_owned() };
    let joined = cluster.node("bob").client().join(tonic::Request::new(join)).await.expect_err("there is no service");
    for refused in [founded, joined] {
        is_clear(&refused, &url);
        assert!(refused.message().contains("is no discovery service"), "{refused}");
    }
    let listed = networks(&cluster, "bob", &[]).await;
    assert_eq!((listed.status.code(), listed.stdout.as_str()), (Some(6), ""), "{listed:?}");
    assert!(listed.stderr.contains(&format!("{url} is no discovery service")), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_the_discovery_service_goes_and_returns_is_logged_once() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES[..1]).await;
    let told = |cluster: &Cluster, words: &str| cluster.node("alice").process().log().matches(words).count();
    let [goes, returns] = ["the discovery service does not answer", "the discovery service answers again"];
    // Before that it may have been slow on a busy machine.
    networks_of_one_that_answers(&cluster, "alice", &[]).await;
    let before = [told(&cluster, goes), told(&cluster, returns)];
    cluster.nds.kill();
    for _ in 0..3 {
        let listed = networks(&cluster, "alice", &[]).await;
        assert!(listed.stderr.contains("did not answer"), "{listed:?}");
    }
    assert_eq!([told(&cluster, goes), told(&cluster, returns)], [before[0] + 1, before[1]]);
    cluster.nds.restart().await;
    eventually(HEARD, "a word of its return", async || {
        networks(&cluster, "alice", &[]).await;
        ensure(told(&cluster, returns) == before[1] + 1, || cluster.node("alice").process().log())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_silent_discovery_services_are_waited_for_together() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES[..1]).await;
    let silent: [_; 5] = std::array::from_fn(|_| silent_service());
    let options: Vec<&str> = silent.iter().flat_map(|(_, url)| ["--nds", url]).collect();
    cluster.add("carol").await.start(&options).await;
    let refused = join(&cluster, "carol", "garden").await.expect_err("nobody lists it");
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    let listed = eventually(HEARD, "an answer of the discovery service", async || {
        let listed = cluster.node("carol").client().networks(call(v1::NetworksRequest {})).await;
        let listed = listed.expect("the node answers").into_inner();
        let heard = listed.unreachable.iter().all(|service| service.url != cluster.nds.url());
        ensure(heard, || format!("{listed:?}"))?;
        Ok(listed)
    })
    .await;
    assert_eq!((listed.networks.len(), listed.unreachable.len()), (1, silent.len()), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_is_answered_in_time_where_a_discovery_service_and_the_leader_are_silent() {
    let cluster = Cluster::of(Lines::Direct, &NAMES[..1]).await;
    let (_open, silent) = silent_service();
    let logs = cluster.logs();
    cluster.node("alice").freeze();
    let mut answers = Vec::new();
    for name in JOINERS {
        let dir = cluster.data_dir(name);
        let (at, nds) = (dir.display().to_string(), cluster.nds.url());
        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &at, "--nds", &silent, "--nds", &nds];
        let mut joiner = Process::start(name, &[], &args.map(str::to_owned), &logs);
        joiner.listening().await.expect("it starts");
        let mut client = NodeClient::new(dial::unix(dir.join("node.sock")));
        let join = v1::JoinNetworkRequest { network: LAB.to_owned() };
        let answer = timeout(JOINED, client.join(tonic::Request::new(join))).await;
        let code = answer.map(|refused| refused.expect_err("the leader is silent").code());
        if code == Ok(Code::Unavailable) {
            return;
        }
        answers.push(code);
    }
    panic!("nobody was told in time that the leader can't be reached: {answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_one_service_lists_nothing_is_not_told_as_if_none_had_answered() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let (_open, silent) = silent_service();
    cluster.add("alice").await.start(&["--nds", &silent]).await;
    let listed = networks_of_one_that_answers(&cluster, "alice", &[]).await;
    assert!(listed.stderr.contains(&silent), "{listed:?}");
    let answer = "there are no networks where an answer came from\n";
    assert_eq!((listed.status.code(), listed.stdout.as_str()), (Some(0), answer), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_means_two_networks_is_not_guessed() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES[..1]).await;
    let second = Nds::start(cluster.data_dir("second-nds"), &cluster.logs(), &Lines::Direct, false).await;
    let (at, nds) = (cluster.data_dir("bob").display().to_string(), second.url());
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &at, "--nds", &nds, "--create", LAB];
    let _bob = Process::start("bob", &[], &args.map(str::to_owned), &cluster.logs());
    let elsewhere = second.lists(LAB, "bob has founded another one", |_| true).await;
    let here = cluster.nds.lists(LAB, "alice has founded it", |_| true).await;

    let ids = [&here, &elsewhere].map(|record| hex::encode(&record.network));
    let mut entered = Vec::new();
    // On a busy machine the second service may be heard too late now and then, but hardly three times.
    for name in ["carol", "dave", "erin"] {
        cluster.add(name).await.start(&["--nds", &nds]).await;
        match join(&cluster, name, LAB).await {
            Err(refused) => {
                assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
                assert!(ids.iter().all(|id| refused.message().contains(id)), "{refused}");
                let joined = join(&cluster, name, &ids[1]).await.expect("an id means one network");
                assert_eq!(joined.network.map(|network| network.id), Some(ids[1].clone()));
                return;
            }
            Ok(joined) => entered.push(joined.network.map(|network| network.id)),
        }
    }
    panic!("nobody was told that there are two: {ids:?}, and they are in {entered:?}");
}

/// Takes connections, and never answers anything.
fn silent_service() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, format!("http://{address}"))
}

/// What becomes of a join; tried again where the discovery service did not answer in time.
async fn join(cluster: &Cluster, name: &str, network: &str) -> Result<v1::JoinNetworkResponse, Status> {
    eventually(HEARD, format!("an answer of the discovery service to {name}"), async || {
        let join = v1::JoinNetworkRequest { network: network.to_owned() };
        match cluster.node(name).client().join(tonic::Request::new(join)).await {
            Err(status) if status.code() == Code::Unavailable => Err(status.to_string()),
            answered => Ok(answered.map(tonic::Response::into_inner)),
        }
    })
    .await
}

/// As [`networks`], until the discovery service that is not silent was heard.
async fn networks_of_one_that_answers(cluster: &Cluster, name: &str, more: &[&str]) -> Finished {
    eventually(HEARD, format!("an answer of the discovery service to {name}"), async || {
        let listed = networks(cluster, name, more).await;
        ensure(!listed.stderr.contains(&cluster.nds.url()), || format!("{listed:?}"))?;
        Ok(listed)
    })
    .await
}

/// `p2p-chat networks` at a node that runs.
async fn networks(cluster: &Cluster, name: &str, more: &[&str]) -> Finished {
    let dir = cluster.data_dir(name).display().to_string();
    let args = [&["networks", "--data-dir", &dir], more].concat();
    process::run(&args, &cluster.logs()).await
}

async fn is_listed_again(cluster: &mut Cluster, with: &str, epoch: u64) {
    cluster.nds.restart().await;
    let back = Instant::now();
    let bob = hex::decode(&cluster.node("bob").peer).expect("a peer id");
    let wanted = |record: &v1::NetworkRecord| record.leader == bob && record.epoch == epoch && !record.stale;
    // Its leader renews every 10 s, and tries again after 2 s what failed.
    cluster.nds.lists(LAB, "bob leads", wanted).await;
    figure(format!("discovery service back with {with}: the network is listed after {:.1?}", back.elapsed()));
}
