//! A host whose nodes are fakes.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use p2p_chat_cli::{Failure, Holder, Host, Mode, NdsOptions, NodeOptions, Running, SOCKET, StartFailure};
use p2p_chat_proto::v1::node_server::NodeServer;
use tokio::{net::UnixListener, sync::watch, task::JoinHandle};
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};

use super::FakeNode;

/// Starts fakes, and remembers with what. All its nodes share one state.
#[derive(Debug)]
pub(crate) struct FakeHost {
    pub(crate) node: FakeNode,
    started: Mutex<Vec<Started>>,
    held: Mutex<BTreeSet<PathBuf>>,
    /// What a node says at its shutdown that nobody else has, and how long it takes to find out.
    pub(crate) unreplicated: Mutex<(u64, Duration)>,
    stopped: watch::Sender<u32>,
    ending: watch::Sender<Option<Result<(), Failure>>>,
    looks: watch::Sender<u32>,
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Started {
    Node(NodeOptions),
    Nds(NdsOptions),
}

impl Default for FakeHost {
    fn default() -> Self {
        Self {
            node: FakeNode::default(),
            started: Mutex::default(),
            held: Mutex::default(),
            unreplicated: Mutex::default(),
            stopped: watch::channel(0).0,
            ending: watch::channel(None).0,
            looks: watch::channel(0).0,
        }
    }
}

impl FakeHost {
    /// What was started so far.
    pub(crate) fn started(&self) -> Vec<Started> {
        self.started.lock().expect("not poisoned").clone()
    }

    /// The options of the only node that was started.
    pub(crate) fn node_options(&self) -> NodeOptions {
        match self.started().as_slice() {
            [Started::Node(options)] => options.clone(),
            other => panic!("expected one node, got {other:?}"),
        }
    }

    /// How many nodes and services were shut down in order.
    pub(crate) fn stopped(&self) -> u32 {
        *self.stopped.borrow()
    }

    /// Lets everything that runs end with a failure of its own.
    pub(crate) fn die(&self, failure: Failure) {
        self.ending.send_replace(Some(Err(failure)));
    }

    /// Lets everything that runs end as if told so through its API.
    pub(crate) fn is_told_to_stop(&self) {
        self.ending.send_replace(Some(Ok(())));
    }

    /// Waits until somebody has connected to a node so often from now on.
    pub(crate) async fn is_looked_at(&self, times: u32) {
        let mut looks = self.looks.subscribe();
        let until = *looks.borrow() + times;
        let many = looks.wait_for(|looks| *looks >= until);
        super::streams::soon("a look at the node", many).await.expect("the host is there");
    }

    /// The data directories that are in use.
    pub(crate) fn held(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.held.lock().expect("not poisoned")
    }

    /// Runs a node on `data_dir` as another process would.
    pub(crate) fn run_elsewhere(&self, data_dir: &Path, mode: Mode) -> Elsewhere {
        fs::create_dir_all(data_dir).expect("created");
        assert!(self.held().insert(data_dir.to_owned()), "{} is held", data_dir.display());
        Holder { pid: 77, mode }.write(data_dir).expect("written");
        Elsewhere { data_dir: data_dir.to_owned(), server: self.serve(data_dir) }
    }

    /// Ends a node of another process, in order.
    pub(crate) fn end_elsewhere(&self, node: Elsewhere) {
        Holder::remove(&node.data_dir).expect("removed");
        node.server.abort();
        fs::remove_file(node.data_dir.join(SOCKET)).expect("removed");
        self.node.hang_up();
        self.held().remove(&node.data_dir);
    }

    fn running(&self) -> FakeRunning {
        FakeRunning {
            address: "127.0.0.1:7555".parse().expect("an address"),
            server: None,
            unreplicated: *self.unreplicated.lock().expect("not poisoned"),
            stopped: self.stopped.clone(),
            ending: self.ending.subscribe(),
        }
    }

    fn serve(&self, data_dir: &Path) -> JoinHandle<()> {
        let socket = data_dir.join(SOCKET);
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).expect("bound");
        let service = NodeServer::new(self.node.clone());
        let looks = self.looks.clone();
        tokio::spawn(async move {
            let connections = UnixListenerStream::new(listener).map(move |connection| {
                looks.send_modify(|looks| *looks += 1);
                connection
            });
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(connections).await.expect("served");
        })
    }
}

/// A node of another process.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    data_dir: PathBuf,
    server: JoinHandle<()>,
}

impl Host for FakeHost {
    type Node = FakeRunning;
    type Nds = FakeRunning;

    async fn start(&self, options: NodeOptions) -> Result<FakeRunning, StartFailure> {
        if self.held().contains(&options.data_dir) {
            return Err(StartFailure::Held);
        }
        fs::create_dir_all(&options.data_dir).expect("created");
        Holder::this_process(options.mode).write(&options.data_dir).expect("written");
        let server = self.serve(&options.data_dir);
        self.node.state().status.name = options.name.to_string();
        self.started.lock().expect("not poisoned").push(Started::Node(options));
        Ok(FakeRunning { server: Some(server), ..self.running() })
    }

    async fn start_nds(&self, options: NdsOptions) -> Result<FakeRunning, StartFailure> {
        if self.held().contains(&options.data_dir) {
            return Err(StartFailure::Held);
        }
        self.started.lock().expect("not poisoned").push(Started::Nds(options));
        Ok(self.running())
    }
}

/// A fake that runs.
#[derive(Debug)]
pub(crate) struct FakeRunning {
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
    unreplicated: (u64, Duration),
    stopped: watch::Sender<u32>,
    ending: watch::Receiver<Option<Result<(), Failure>>>,
}

impl Running for FakeRunning {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn stopped(&mut self) -> Result<(), Failure> {
        let ended = self.ending.wait_for(Option::is_some).await;
        ended.expect("the host lives").clone().expect("an end")
    }

    async fn shutdown(self, patience: Duration) -> Result<u64, Failure> {
        tokio::time::sleep(self.unreplicated.1.min(patience)).await;
        if let Some(server) = &self.server {
            server.abort();
        }
        self.stopped.send_modify(|count| *count += 1);
        Ok(self.unreplicated.0)
    }
}
