//! Starts that must fail, and say why.

use std::{fs, net::TcpListener};

use p2p_chat_proto::v1;
use tokio::net::TcpSocket;
use tonic::{Code, Status};

use crate::support::{Cluster, Lines, NodeProcess, Process, node::call, process::Finished, wait::secs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_one_data_directory_is_refused_and_the_first_goes_on() {
    let mut cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    let mut args = cluster.node("bob").arguments();
    let listen = args.iter().position(|arg| arg == "--listen").expect("it is told where to listen") + 1;
    args[listen] = "127.0.0.1:0".to_owned();
    let refused = refused(&cluster, "second", &args).await;
    says(&refused, &cluster.data_dir("bob").display().to_string());
    let sent = cluster.ledger.say_and_wait(cluster.node("bob"), "still here", v1::Wait::All).await;
    assert_eq!(sent.map_err(|status| status.to_string()).map(|sent| sent.stored_by), Ok(1));

    let dir = cluster.nds.dir.display().to_string();
    let args = ["nds", "--listen", "127.0.0.1:0", "--data-dir", &dir].map(str::to_owned);
    let refused = self::refused(&cluster, "second-nds", &args).await;
    says(&refused, &dir);
    cluster.nds.record("lab").await.expect("the first one still serves");
    cluster.nds.kill();
    cluster.nds.restart().await;
    cluster.assert_histories(&["alice", "bob"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named_in_the_error() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("a bound socket has an address").to_string();
    let node = cluster.add("alice").await;
    node.listen = address.clone();
    let finished = node.try_start(&[]).await.expect_err("the port is taken");
    is_one_error(&finished);
    says(&finished, &address);
    let dir = cluster.data_dir("another").display().to_string();
    let args = ["nds", "--listen", &address, "--data-dir", &dir].map(str::to_owned);
    let refused = refused(&cluster, "another", &args).await;
    says(&refused, &address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_can_not_say_what_it_is_for_answers_nobody() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let dir = cluster.data_dir("alice");
    let file = dir.join("node.json");
    fs::create_dir_all(&file).expect("a directory where the file should be");
    let finished = cluster.add("alice").await.try_start(&[]).await.expect_err("it can't write the file");
    is_one_error(&finished);
    says(&finished, &file.display().to_string());
    // Whoever finds the socket finds the file: a second chat must not take the first one's node for a daemon's.
    assert!(!dir.join("node.sock").exists(), "it listened before it had said what it is for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advertised_address_that_does_not_lead_back_founds_and_joins_nothing() {
    let mut cluster = Cluster::of(Lines::Direct, &["alice"]).await;
    // Bound, so that nobody else gets it; but nobody listens.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
    let vacant = socket.local_addr().expect("a bound socket has an address").to_string();
    let before = cluster.rest(&["alice"]).await;
    let to_alice = cluster.node("alice").address.clone();
    for (name, advertised) in [("nowhere", vacant), ("elsewhere", to_alice)] {
        cluster.add(name).await.start(&["--advertise", &advertised]).await;
        let node = cluster.node(name);
        let create = v1::CreateRequest { network: "garden".to_owned() };
        let refused = node.client().create(call(create)).await.expect_err("the address does not lead back");
        names_address(&refused, &advertised);
        let join = tonic::Request::new(v1::JoinNetworkRequest { network: "lab".to_owned() });
        let refused = node.client().join(join).await.expect_err("the address does not lead back");
        names_address(&refused, &advertised);
        nothing_happened(&cluster, node).await;
    }
    let after = cluster.rest(&["alice"]).await;
    assert_eq!(before, after);
    let members = cluster.node("alice").members().await.expect("alice answers");
    assert_eq!(members.len(), 1, "{members:?}");
}

async fn nothing_happened(cluster: &Cluster, node: &NodeProcess) {
    let listed = cluster.nds.record("garden").await;
    assert_eq!(listed.map_err(|status| status.code()), Err(Code::NotFound));
    let status = node.status().await.expect("it still runs");
    assert!(status.networks.is_empty(), "{status:?}");
}

fn names_address(refused: &Status, address: &str) {
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains(address) && refused.message().contains("--preset wan"), "{refused}");
    assert!(!refused.message().contains('\n'), "{refused}");
}

/// Starts a process that must end with an error.
async fn refused(cluster: &Cluster, name: &str, args: &[String]) -> Finished {
    let finished = Process::start(name, &[], args, &cluster.logs()).end(secs(30)).await;
    is_one_error(&finished);
    finished
}

fn is_one_error(finished: &Finished) {
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.stdout, "", "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}

fn says(finished: &Finished, what: &str) {
    assert!(finished.stderr.contains(what), "{what:?} is not named: {finished:?}");
}
