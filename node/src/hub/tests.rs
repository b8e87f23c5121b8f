use std::{net::TcpListener, time::Duration};

use p2p_chat_engine::LeaderHint;
use p2p_chat_model::{Epoch, PeerId};
use p2p_chat_transport::{DialSettings, Dialer};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    metrics::Metrics,
    network::{Look, Message, unreadable},
};

/// What a full disk is to the table of networks.
const BREAK: &str = "
CREATE TRIGGER full_for_updates BEFORE UPDATE ON network BEGIN SELECT RAISE(ABORT, 'full'); END;
CREATE TRIGGER full_for_deletes BEFORE DELETE ON network BEGIN SELECT RAISE(ABORT, 'full'); END;
";
/// The same for a network that is not in it yet.
const FULL: &str = "CREATE TRIGGER full_for_inserts BEFORE INSERT ON network BEGIN SELECT RAISE(ABORT, 'full'); END;";
const MEND: &str = "DROP TRIGGER full_for_updates; DROP TRIGGER full_for_deletes;";

/// The networks of a node that nobody else knows, with a discovery service that takes calls and never answers.
pub(crate) struct Stage {
    pub(crate) hub: Arc<Hub>,
    service: Option<TcpListener>,
    dir: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let store = Store::open(dir.path()).expect("the directory is empty");
        let service = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", service.local_addr().expect("it is bound"));
        let (metrics, identity) = (Metrics::default(), Identity::from_seed([1; 32]));
        let directory = Arc::new(Directory::new(&[url], DialSettings::default(), &metrics).expect("a sound URL"));
        let dialer = Dialer::new(&identity).expect("the key makes a certificate");
        let address = "127.0.0.1:1".parse().expect("an address");
        let outbound = Outbound::new((identity, dialer), (name("alice"), address), store, directory, metrics.made);
        // Only its end ends the wait for the service.
        let config = Config { discovery_timeout_ms: 600_000, ..Config::LAN };
        let hub = Arc::new(Hub::new(Arc::new(outbound), config, Traces::default()));
        Self { hub, service: Some(service), dir }
    }

    pub(crate) fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.hub.outbound)
    }

    /// Begins to create `lab`. Returns when the service has been asked and the first state is on disk.
    pub(crate) async fn begin_to_create(&self) -> (JoinHandle<Result<NetworkId, HubError>>, Network) {
        let hub = Arc::clone(&self.hub);
        let creating = tokio::spawn(async move { hub.create(name("lab"), None).await });
        let begun = async {
            loop {
                if let Ok(network) = self.hub.joined("lab")
                    && self.hub.store.state(network.id).await.expect("the disk is fine").is_some()
                {
                    return network;
                }
                tokio::task::yield_now().await;
            }
        };
        let network = tokio::time::timeout(Duration::from_secs(20), begun).await.expect("the first state is stored");
        (creating, network)
    }

    /// A network that was being created when the node stopped: its first state and its genesis are on disk.
    pub(crate) async fn stopped_while_creating(&self) -> Network {
        let (creating, network) = self.begin_to_create().await;
        self.hub.stop().await;
        creating.await.expect("it does not panic").expect_err("it was stopped");
        network
    }

    /// The node is in a network whose task is played by the test.
    pub(crate) fn put(&self, network: &Network) {
        let entry = Entry { id: network.id, name: network.name.clone(), network: Some(network.clone()) };
        self.hub.state().entries.insert(network.id, entry);
    }

    /// The service is gone: calls that wait for it fail.
    fn end_service(&mut self) {
        self.service = None;
    }

    pub(crate) fn disk(&self, statements: &str) {
        let db = Connection::open(self.dir.path().join(p2p_chat_store::FILE_NAME)).expect("the database opens");
        db.execute_batch(statements).expect("the schema can be changed");
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a sound name")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_could_not_be_created_leaves_no_task_behind() {
    let mut stage = Stage::new();
    let (creating, network) = stage.begin_to_create().await;
    stage.end_service();
    let failed = creating.await.expect("it does not panic");
    assert!(matches!(failed, Err(HubError::Command(CommandError::NoDiscovery(_)))), "{failed:?}");
    assert!(network.look().await.is_none(), "its task goes on");
    assert!(stage.hub.entries().is_empty());
    assert_eq!(stage.hub.store.networks().await.map(|networks| networks.len()), Ok(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_full_disk_keeps_of_a_failed_creation_has_no_task_and_can_be_forgotten() {
    let mut stage = Stage::new();
    let (creating, network) = stage.begin_to_create().await;
    stage.disk(BREAK);
    stage.end_service();
    let failed = creating.await.expect("it does not panic");
    assert!(matches!(failed, Err(HubError::Store(_))), "{failed:?}");
    assert!(network.look().await.is_none(), "its task waits for the disk, and goes on after that");
    assert!(matches!(stage.hub.joined("lab"), Err(HubError::Left(_))));
    let left = dormant(&stage.hub.setup(network.id), &stage.hub.store)
        .await
        .expect("the disk is fine")
        .expect("its state is on disk");
    assert_eq!(left.phase, p2p_chat_engine::Phase::Left);

    stage.disk(MEND);
    assert_eq!(stage.hub.forget("lab").await.ok(), Some(1));
    assert_eq!(stage.hub.store.networks().await.map(|networks| networks.len()), Ok(0));
    assert!(stage.hub.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_earlier_task_is_not_the_end_of_the_one_in_its_place() {
    let stage = Stage::new();
    let (creating, earlier) = stage.begin_to_create().await;
    creating.abort();
    stage.hub.start(earlier.id, name("lab"), Start::Resume);
    let later = stage.hub.active(&earlier.id).expect("it was started");
    stage.hub.on_left(&earlier).await;
    let active = stage.hub.active(&earlier.id);
    assert!(active.is_some_and(|network| network.is(&later)), "the hub has lost the later one");
    let ended = async {
        while earlier.look().await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the earlier one was told to stop");
    stage.hub.on_left(&later).await;
    assert!(stage.hub.active(&later.id).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_the_full_disk_kept_from_beginning_can_be_tried_again() {
    let stage = Stage::new();
    let nobody = LeaderHint { epoch: Epoch(1), peer: PeerId::new([9; 32]), address: "127.0.0.1:1".parse().unwrap() };
    let join = async || {
        let (known, record) =
            ((NetworkId::new([7; 32]), name("lab")), Record { leader: nobody.clone(), contacts: vec![] });
        stage.hub.join(known, record, Duration::from_millis(200), None).await.expect_err("nobody leads it")
    };
    stage.disk(FULL);
    let failed = join().await;
    assert!(matches!(failed, HubError::Store(_)), "{failed:?}");
    stage.disk("DROP TRIGGER full_for_inserts;");
    let failed = join().await;
    assert!(matches!(failed, HubError::Command(_)), "the disk has room again: {failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_can_not_be_read_or_deleted_keeps_no_other_from_being_resumed() {
    let stage = Stage::new();
    let lab = stage.stopped_while_creating().await;
    let (den, nothing) = (NetworkId::new([7; 32]), NetworkId::new([8; 32]));
    for (id, called) in [(den, "den"), (nothing, "nothing")] {
        stage.hub.store.commit(id, vec![Write::Network { name: name(called) }]).await.expect("the disk is fine");
    }
    stage.hub.store.commit(den, vec![Write::State(b"no engine's".to_vec())]).await.expect("the disk is fine");
    stage.disk(BREAK);

    stage.hub.resume().await.expect("each for itself");
    assert!(stage.hub.active(&lab.id).is_some_and(|resumed| resumed.name == name("lab")));
    assert!(matches!(stage.hub.joined("nothing"), Err(HubError::Left(_))));
    let look = stage.hub.joined("den").expect("it may be in it").look().await.expect("its task answers");
    assert!(look.problem.is_some_and(|problem| problem.contains("damaged")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_the_disk_does_not_let_go_is_not_said_to_be_forgotten() {
    let stage = Stage::new();
    let lab = stage.stopped_while_creating().await;
    stage.hub.state().entries.insert(lab.id, Entry { id: lab.id, name: name("lab"), network: None });
    stage.disk("CREATE TRIGGER held BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'held'); END;");
    for _ in 0..2 {
        assert!(matches!(stage.hub.forget("lab").await, Err(HubError::Store(_))));
    }
    stage.disk("DROP TRIGGER held;");
    assert_eq!(stage.hub.forget("lab").await.ok(), Some(1), "and how much it was");
    assert!(matches!(stage.hub.forget("lab").await, Err(HubError::Unknown(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_whose_state_is_damaged_can_be_forgotten_alone() {
    let stage = Stage::new();
    let lab = stage.stopped_while_creating().await;
    let den = NetworkId::new([7; 32]);
    stage.hub.store.commit(den, vec![Write::Network { name: name("den") }]).await.expect("the disk is fine");
    stage.hub.state().entries.insert(den, Entry { id: den, name: name("den"), network: None });
    stage.disk("UPDATE network SET state = CAST(x'ff' || substr(state, 2) AS BLOB) WHERE state IS NOT NULL");
    stage.hub.start(lab.id, name("lab"), Start::Resume);
    let network = stage.hub.joined("lab").expect("it may be in it");
    let problem = network.look().await.and_then(|look| look.problem).expect("its state can't be read");
    assert!(problem.contains(&lab.id.short()) && problem.contains("`p2p-chat forget`"), "{problem}");

    assert_eq!(stage.hub.forget("lab").await.ok(), Some(1));
    assert!(network.look().await.is_none(), "its task goes on");
    assert!(matches!(stage.hub.find("lab"), Err(HubError::Unknown(_))));
    let left = stage.hub.store.networks().await.expect("the disk is fine");
    assert_eq!(left.into_iter().map(|network| network.id).collect::<Vec<_>>(), [den]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_only_the_disk_keeps_from_taking_part_is_not_forgotten() {
    let stage = Stage::new();
    let lab = stage.stopped_while_creating().await;
    let (network, mut messages, _) = Network::new(lab.id, name("lab"), Traces::default());
    stage.put(&network);
    let setup = stage.hub.setup(lab.id);
    let task = tokio::spawn(async move {
        while let Some(Message::Look(reply)) = messages.recv().await {
            let look = Look { snapshot: unreadable(&setup), problem: Some("the disk is full".to_owned()) };
            reply.send(look).expect("it is awaited");
        }
    });
    assert!(matches!(stage.hub.forget("lab").await, Err(HubError::StillIn(_))));
    assert!(stage.hub.joined("lab").is_ok_and(|listed| listed.is(&network)));
    assert_eq!(stage.hub.store.entry_count(lab.id).await, Ok(1));
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_nobody_waits_for_and_that_fails_leaves_nothing() {
    let mut stage = Stage::new();
    let (creating, _) = stage.begin_to_create().await;
    creating.abort();
    assert!(creating.await.is_err_and(|error| error.is_cancelled()));
    stage.end_service();
    let gone = async {
        while !stage.hub.entries().is_empty() || stage.hub.store.networks().await != Ok(vec![]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it takes a place for ever");
}

#[tokio::test]
async fn with_all_places_taken_only_a_network_that_has_one_is_joined_again() {
    let stage = Stage::new();
    let id = |number: usize| NetworkId::new([number as u8; 32]);
    for number in 0..MAX_NETWORKS {
        let left = Entry { id: id(number), name: name(&number.to_string()), network: None };
        stage.hub.state().entries.insert(left.id, left);
    }
    assert!(stage.hub.enter(&name("3"), Some(id(3))).is_ok());
    stage.hub.state().entries.remove(&id(3)).expect("it is listed");
    assert!(stage.hub.enter(&name("3"), Some(id(3))).is_ok(), "a place is free");
    let other = Entry {
        id: NetworkId::new([1, 2].repeat(16).try_into().expect("32 bytes")),
        name: name("other"),
        network: None,
    };
    stage.hub.state().entries.insert(other.id, other);
    assert!(matches!(stage.hub.enter(&name("3"), Some(id(3))), Err(HubError::Full)));
    assert!(matches!(stage.hub.enter(&name("new"), None), Err(HubError::Full)));
}

#[tokio::test]
async fn a_network_that_is_being_entered_is_not_said_to_be_entered() {
    let stage = Stage::new();
    let (lab, other) = (NetworkId::new([2; 32]), NetworkId::new([3; 32]));
    let joining = stage.hub.enter(&name("lab"), Some(lab)).expect("it is free");
    for id in [Some(lab), Some(other), None] {
        assert!(matches!(stage.hub.enter(&name("lab"), id), Err(HubError::Entering(_))), "{id:?}");
    }
    drop(joining);
    assert!(stage.hub.enter(&name("lab"), Some(lab)).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_being_joined_again_is_not_forgotten() {
    let stage = Stage::new();
    let lab = stage.stopped_while_creating().await;
    let left = Entry { id: lab.id, name: name("lab"), network: None };
    stage.hub.state().entries.insert(lab.id, left);
    let joining = stage.hub.enter(&name("lab"), Some(lab.id)).expect("it was left");
    assert!(matches!(stage.hub.forget("lab").await, Err(HubError::StillIn(_))));
    assert_eq!(stage.hub.store.entry_count(lab.id).await, Ok(1));
    drop(joining);
    assert_eq!(stage.hub.forget("lab").await.ok(), Some(1));
    let unknown = stage.hub.forget("lab").await.expect_err("it is forgotten").to_string();
    assert_eq!(unknown, "this node is in no network lab; see `p2p-chat networks` for those there are");
}
