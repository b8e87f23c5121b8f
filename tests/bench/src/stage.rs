//! A discovery service and nodes, in this process or each in one of its own, as the program would run them.

use std::{
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use p2p_chat::ProcessHost;
use p2p_chat_cli::{Host, Mode, NdsOptions, NodeOptions, Preset, Running, SOCKET};
use p2p_chat_proto::v1::{self, discovery_client::DiscoveryClient, get_network_request::Key, node_client::NodeClient};
use p2p_chat_transport::dial;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::Channel;

/// A client of a node.
pub(crate) type Client = NodeClient<Channel>;

type NdsHere = <ProcessHost as Host>::Nds;
type NodeHere = <ProcessHost as Host>::Node;

/// The network of the benchmark.
pub(crate) const LAB: &str = "lab";
/// The word that makes this program run the product's command line instead.
pub(crate) const PROGRAM: &str = "p2p-chat";
/// Between two looks at a group that is not where it shall be.
const LOOK: Duration = Duration::from_millis(5);
/// How long a call of the local API may take.
const CALL: Duration = Duration::from_secs(20);

/// Everything that runs for one measurement. Dropping it ends the processes and deletes the data.
pub(crate) struct Stage {
    pub(crate) nodes: Vec<Node>,
    processes: bool,
    nds: NdsHere,
    discovery: DiscoveryClient<Channel>,
    dir: TempDir,
}

/// A node. It keeps its data and its address over restarts.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: Client,
    dir: PathBuf,
    listen: String,
    runs: Option<Runs>,
}

enum Runs {
    Here(NodeHere),
    Process(Leashed),
}

/// A child process that ends with this one.
struct Leashed(Child);

impl Drop for Leashed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage {
    /// A discovery service alone, with its data and that of the nodes to come below `at`.
    pub(crate) async fn new(at: &Path, processes: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("p2p-chat-bench-").tempdir_in(at)?;
        let options = NdsOptions {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            data_dir: dir.path().join("nds"),
            preset: Preset::Lan,
            metrics: None,
            otlp: None,
        };
        let nds = ProcessHost.start_nds(options).await?;
        let discovery = DiscoveryClient::new(dial::plaintext(&url_of(&nds))?);
        Ok(Self { nodes: Vec::new(), processes, nds, discovery, dir })
    }

    /// A group of so many nodes that agree on who is in it. Returns also how long that took.
    pub(crate) async fn of(at: &Path, nodes: usize, processes: bool) -> Result<(Self, Duration)> {
        let mut stage = Self::new(at, processes).await?;
        let began = Instant::now();
        for number in 0..nodes {
            let node = stage.add(number).await?;
            if number == 0 {
                let request = v1::CreateRequest { network: LAB.to_owned() };
                node.client.clone().create(request).await.context("the network could not be created")?;
            } else {
                node.join().await?;
            }
        }
        stage.agree(Duration::from_secs(60)).await?;
        Ok((stage, began.elapsed()))
    }

    /// Starts another node, which is in no network yet.
    pub(crate) async fn add(&mut self, number: usize) -> Result<&mut Node> {
        let name = format!("node-{number}");
        let dir = self.dir.path().join(&name);
        let client = NodeClient::new(dial::unix(dir.join(SOCKET)));
        let mut node = Node { name, client, dir, listen: "127.0.0.1:0".to_owned(), runs: None };
        node.start(&self.nds_url(), self.processes).await?;
        self.nodes.push(node);
        self.nodes.last_mut().ok_or_else(|| anyhow!("bug: no node was added"))
    }

    /// Starts a node again that was stopped or killed.
    pub(crate) async fn restart(&mut self, number: usize) -> Result<()> {
        let (nds, process) = (self.nds_url(), self.processes);
        self.nodes[number].start(&nds, process).await
    }

    /// What the discovery service has on record of the network.
    pub(crate) async fn record(&self) -> Result<v1::NetworkRecord> {
        let key = Some(Key::Name(LAB.to_owned()));
        let response = self.discovery.clone().get_network(v1::GetNetworkRequest { key }).await?.into_inner();
        response.record.context("the discovery service answered without a record")
    }

    /// The discovery service.
    pub(crate) fn nds_url(&self) -> String {
        url_of(&self.nds)
    }

    /// Where the data is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Processes in which nodes run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.nodes.iter().filter_map(Node::pid).collect();
        pids.dedup();
        pids
    }

    /// Waits until all nodes that run follow one leader, in a view of exactly them.
    pub(crate) async fn agree(&self, patience: Duration) -> Result<()> {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.runs.is_some()).collect();
        let mut leader = None;
        for node in &running {
            let state = node
                .until(patience, |state| {
                    state.phase() == v1::Phase::Joined && state.active as usize == running.len() && state.leader_alive
                })
                .await?;
            let first = leader.get_or_insert_with(|| state.leader_peer.clone());
            if *first != state.leader_peer {
                bail!("{} follows another leader than the others do", node.name);
            }
        }
        Ok(())
    }

    /// Waits until every node that runs has so many entries on its disk.
    pub(crate) async fn all_have(&self, entries: u64, patience: Duration) -> Result<()> {
        for node in self.nodes.iter().filter(|node| node.runs.is_some()) {
            node.until(patience, |state| state.entries >= entries).await?;
        }
        Ok(())
    }

    /// Ends all nodes and returns how many bytes their logs take, closed.
    pub(crate) async fn close(self) -> Result<u64> {
        let mut bytes = 0;
        for mut node in self.nodes {
            node.stop().await?;
            bytes += crate::usage::bytes_below(&node.dir)?;
        }
        self.nds.shutdown(Duration::ZERO).await?;
        Ok(bytes)
    }
}

impl Node {
    /// Starts it, again where it ran before. When this returns, its local API answers.
    pub(crate) async fn start(&mut self, nds: &str, process: bool) -> Result<()> {
        if process {
            self.start_process(nds)?;
        } else {
            let options = NodeOptions {
                data_dir: self.dir.clone(),
                mode: Mode::Serve,
                name: self.name.parse()?,
                name_is_given: true,
                nds: vec![nds.parse()?],
                embed_nds: false,
                listen: self.listen.parse()?,
                advertise: None,
                preset: Preset::Lan,
                metrics: None,
                otlp: None,
            };
            let node = ProcessHost.start(options).await?;
            self.listen = node.address().to_string();
            self.runs = Some(Runs::Here(node));
        }
        Ok(())
    }

    fn start_process(&mut self, nds: &str) -> Result<()> {
        let dir = self.dir.display().to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args([PROGRAM, "serve", "--data-dir", &dir, "--name", &self.name, "--nds", nds]);
        command.args(["--listen", &self.listen, "--log", "warn"]);
        // Its end of file tells the child that this process is gone.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Leashed(command.spawn().context("can't start a process for a node")?);
        let said = child.0.stdout.take().ok_or_else(|| anyhow!("bug: a child without output"))?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let listening = line.trim_end().strip_prefix("listening on ");
        self.listen =
            listening.with_context(|| format!("{} said {line:?} instead of where it listens", self.name))?.to_owned();
        self.runs = Some(Runs::Process(child));
        Ok(())
    }

    /// The process it runs in.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self.runs.as_ref()? {
            Runs::Here(_) => Some(std::process::id()),
            Runs::Process(child) => Some(child.0.id()),
        }
    }

    /// `kill -9`, if it runs in a process of its own.
    pub(crate) fn kill(&mut self) {
        // Dropping the process kills it.
        self.runs = None;
    }

    /// SIGSTOP: its process stands still, its connections stay open.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(Runs::Process(child)) = &self.runs else { bail!("bug: {} has no process of its own", self.name) };
        Ok(kill_process(Pid::from_child(&child.0), signal)?)
    }

    /// Joins the network.
    pub(crate) async fn join(&self) -> Result<()> {
        let request = v1::JoinNetworkRequest { network: LAB.to_owned() };
        let joined = self.client.clone().join(request).await;
        joined.with_context(|| format!("{} could not join", self.name)).map(|_| ())
    }

    /// Where it stands in the network.
    pub(crate) async fn state(&self) -> Result<v1::NetworkState> {
        let mut request = tonic::Request::new(v1::StatusRequest {});
        request.set_timeout(CALL);
        let status = self.client.clone().status(request).await?.into_inner();
        let state = status.networks.into_iter().find(|state| state.name == LAB);
        state.with_context(|| format!("{} is not in the network", self.name))
    }

    /// Waits until it stands as wanted.
    pub(crate) async fn until(
        &self,
        patience: Duration,
        wanted: impl Fn(&v1::NetworkState) -> bool,
    ) -> Result<v1::NetworkState> {
        let began = Instant::now();
        loop {
            let state = self.state().await?;
            if wanted(&state) {
                return Ok(state);
            }
            if began.elapsed() > patience {
                bail!("{} is not where it shall be after {patience:?}: {state:?}", self.name);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends it; what it has is on its disk.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        match self.runs.take() {
            Some(Runs::Here(node)) => drop(node.shutdown(Duration::ZERO).await?),
            Some(Runs::Process(mut child)) => {
                // It may be gone before its answer is here; that it ends is what counts.
                let _ = self.client.clone().shutdown(v1::ShutdownRequest { timeout_ms: 1 }).await;
                self.ended(&mut child.0).await?;
            }
            None => {}
        }
        Ok(())
    }

    async fn ended(&self, child: &mut Child) -> Result<()> {
        let began = Instant::now();
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} ended with {status}", self.name),
                None if began.elapsed() > CALL => bail!("{} does not end", self.name),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn url_of(nds: &NdsHere) -> String {
    format!("http://{}", nds.address())
}

/// Ends this process when the one that started it is gone: its end of our standard input closes.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        // Nothing is ever written there.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}
