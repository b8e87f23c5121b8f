//! A running node: what it is made of, how it starts, and how it stops.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use p2p_chat_cli::{Holder, Mode};
use p2p_chat_engine::Config;
use p2p_chat_model::{Address, Identity, Name};
use p2p_chat_proto::v1::{
    chat_server::{self, ChatServer},
    election_server::{self, ElectionServer},
    liveness_server::{self, LivenessServer},
    membership_server::{self, MembershipServer},
    node_server::{self, NodeServer},
};
use p2p_chat_store::{Store, StoreError};
use p2p_chat_traces::{ExportError, Traces};
use p2p_chat_transport::{
    Dialer, IdentityFileError, Limits, TlsError, UrlError,
    dial::DialSettings,
    exposition::{self, ExpositionError},
    identity_file, incoming,
    server::{DescriptorError, common_services},
    sizes::MAX_MESSAGE_BYTES,
    tls,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tracing::{error, info};

use crate::{
    directory::Directory,
    embedded,
    hub::{Hub, HubError},
    local::{Local, socket},
    lock::{DirLock, LockError, advice, is_full},
    metrics::{Exporter, Metrics},
    outbound::Outbound,
    services::{Chat, Election, Gate, Liveness, Membership},
};

/// The file that remembers how the node calls itself.
const NAME_FILE: &str = "name";
/// How long servers may take to end the calls in hand.
const DRAIN: Duration = Duration::from_millis(500);

/// What a node is started with.
pub(crate) struct Options {
    pub(crate) data_dir: PathBuf,
    /// What the process is for: others read it beside the lock.
    pub(crate) mode: Mode,
    /// The socket of the local API.
    pub(crate) socket: PathBuf,
    pub(crate) name: Name,
    pub(crate) name_is_given: bool,
    pub(crate) services: Vec<String>,
    /// Where to host a discovery service, if nobody else does.
    pub(crate) embed: Option<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<Address>,
    pub(crate) config: Config,
    /// How connections to other nodes and to the discovery services are made.
    pub(crate) dialling: DialSettings,
    /// Where to serve metrics, `HOST:PORT`, if anywhere.
    pub(crate) metrics: Option<String>,
    /// The collector to export traces to, if to any.
    pub(crate) otlp: Option<String>,
}

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory is in use, or can't be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key can't be read or made.
    #[error(transparent)]
    Identity(IdentityFileError),
    /// The log can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A discovery service's URL makes no sense.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The port or the socket can't be had.
    #[error("can't listen on {at} ({source}); choose another with --listen, or stop what uses it")]
    Listen {
        /// Where.
        at: String,
        /// What the system said.
        source: io::Error,
    },
    /// The port for metrics can't be had.
    #[error(transparent)]
    Exposition(#[from] ExpositionError),
    /// Traces can't be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The own address can't be told to others.
    #[error("others can't be told to reach this node at {0}; name an address with --advertise HOST:PORT")]
    Advertise(String),
    /// A file of the data directory can't be used.
    #[error("{} can't be used ({source}); {}", .file.display(), advice(.source, "make it readable and writable"))]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The contract that was compiled in is unusable.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// What is on disk of a network can't be used.
    #[error("the networks on disk can't be taken up: {0}")]
    Networks(String),
}

impl From<IdentityFileError> for NodeError {
    fn from(error: IdentityFileError) -> Self {
        match error {
            IdentityFileError::Write { path: file, source } if is_full(&source) => Self::File { file, source },
            error => Self::Identity(error),
        }
    }
}

/// A node that runs in this process.
pub struct Node {
    address: SocketAddr,
    local: Local,
    socket: PathBuf,
    servers: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    lock: DirLock,
}

impl Node {
    /// Starts a node. When this returns, its local API answers and every network it was in has been taken up.
    pub(crate) async fn start(options: Options) -> Result<Self, NodeError> {
        let lock = DirLock::take(&options.data_dir)?;
        let written = Holder::this_process(options.mode).write(&options.data_dir);
        written.map_err(|source| NodeError::File { file: Holder::file(&options.data_dir), source })?;
        identity_file::check_not_lost(&options.data_dir, &options.data_dir.join(p2p_chat_store::FILE_NAME))?;
        let identity = identity_file::load_or_create(&options.data_dir)?;
        let store = {
            let dir = options.data_dir.clone();
            let opened = tokio::task::spawn_blocking(move || Store::open(&dir)).await;
            opened.map_err(|error| NodeError::Networks(error.to_string()))??
        };
        let exposed = match &options.metrics {
            Some(at) => Some(exposition::bind(at).await?),
            None => None,
        };
        let name = remember_name(&options)?;
        let listener = listen(options.listen).await?;
        let address =
            listener.local_addr().map_err(|source| NodeError::Listen { at: options.listen.to_string(), source })?;
        let advertised = match options.advertise.clone() {
            Some(address) => address,
            None => advertise(address, &options.services)?,
        };
        let embedded = options.embed.as_ref().map(|_| Arc::default());
        let metrics = Arc::new(Metrics { embedded, ..Metrics::default() });
        let directory = Arc::new(Directory::new(&options.services, options.dialling, &metrics)?);
        let dialer = Dialer::new(&identity)?.with_settings(options.dialling).counting(&metrics.traffic);
        let traces = traces(options.otlp.as_deref(), &name, &identity)?;
        let outbound = Outbound::new(
            (identity.clone(), dialer),
            (name, advertised.clone()),
            store.clone(),
            Arc::clone(&directory),
            Arc::clone(&metrics.made),
        );
        let outbound = Arc::new(outbound);
        tokio::spawn(Outbound::sweep(Arc::downgrade(&outbound)));
        let hub = Arc::new(Hub::new(outbound, options.config, traces.clone()));
        let (stop, stopped) = watch::channel(false);
        let mut servers = Vec::new();
        if let (Some(at), Some(counts)) = (options.embed, &metrics.embedded) {
            let (ready, looked) = oneshot::channel();
            let dir = options.data_dir.join("nds");
            let directory = Arc::clone(&directory);
            let monitor = p2p_chat_nds::Monitor { metrics: Arc::clone(counts), traces };
            servers.push(tokio::spawn(embedded::host(at, dir, directory, monitor, stopped.clone(), ready)));
            let _ = looked.await;
        }
        servers.push(serve_peers(&hub, listener, &metrics, stopped.clone()).await?);
        hub.resume().await.map_err(networks)?;
        let local = Local { hub, data_dir: options.data_dir, stop: stop.clone() };
        servers.push(serve_local(&local, &options.socket, &metrics, stopped.clone()).await?);
        if let Some(listener) = exposed {
            servers.push(serve_metrics(listener, Exporter::new(metrics, &local.hub), stopped));
        }
        info!(peer = %identity.peer().short(), listen = %address, advertised = %advertised, "the node runs");
        Ok(Self { address, local, socket: options.socket, servers, stop, lock })
    }

    /// Where it accepts calls of other nodes.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the local API has told the node to stop. Cancelling is harmless.
    pub async fn stopped(&mut self) {
        let mut stopped = self.stop.subscribe();
        let _ = stopped.wait_for(|stop| *stop).await;
    }

    /// Waits up to `patience` for another member to hold all that this node wrote, and stops. Returns how many
    /// entries nobody else has.
    pub async fn shutdown(self, patience: Duration) -> u64 {
        let unreplicated = self.local.wait_replicated(patience).await;
        self.end().await;
        unreplicated
    }

    /// Stops: no new calls, the tasks end, the log is closed, the data directory is free.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        let until = tokio::time::Instant::now() + DRAIN;
        for mut server in self.servers {
            if tokio::time::timeout_at(until, &mut server).await.is_err() {
                server.abort();
            }
        }
        self.local.hub.stop().await;
        // A socket that stays behind does no harm: the next node replaces it.
        let _ = fs::remove_file(&self.socket);
        // Connections of peers may still hold the store.
        let store = self.local.hub.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        if let Err(error) = closed {
            error!(%error, "bug: closing the log failed");
        }
        drop(self.lock);
        self.local.hub.traces.stop().await;
        info!("the node has stopped");
    }
}

fn networks(error: HubError) -> NodeError {
    match error {
        HubError::Store(error) => NodeError::Store(error),
        error => NodeError::Networks(error.to_string()),
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(at).await.map_err(|source| NodeError::Listen { at: at.to_string(), source })
}

/// The name on the command line, else the one of last time.
fn remember_name(options: &Options) -> Result<Name, NodeError> {
    let file = options.data_dir.join(NAME_FILE);
    let remembered = fs::read_to_string(&file).ok().and_then(|text| text.trim_end().parse().ok());
    let name = match remembered {
        Some(name) if !options.name_is_given => name,
        _ => options.name.clone(),
    };
    fs::write(&file, format!("{name}\n")).map_err(|source| NodeError::File { file, source })?;
    Ok(name)
}

/// Where the spans of this node go.
fn traces(collector: Option<&str>, name: &Name, identity: &Identity) -> Result<Traces, ExportError> {
    let Some(url) = collector else { return Ok(Traces::default()) };
    let who = [
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", identity.peer().to_string()),
        ("p2p_chat.name", name.to_string()),
    ];
    Traces::export(url, "p2p-chat", who)
}

/// Where others reach a node that was not told: its own address, or, where it listens on all, the one that leads to
/// the first discovery service.
fn advertise(bound: SocketAddr, services: &[String]) -> Result<Address, NodeError> {
    let found = if bound.ip().is_unspecified() { route_to(services) } else { Some(bound.ip()) };
    let text = SocketAddr::new(found.unwrap_or(Ipv4Addr::LOCALHOST.into()), bound.port()).to_string();
    text.parse().map_err(|_| NodeError::Advertise(text))
}

fn route_to(services: &[String]) -> Option<IpAddr> {
    let host = services.first()?.strip_prefix("http://")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Sends nothing: it only asks the system which way it would go.
    socket.connect(host).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

async fn serve_peers(
    hub: &Arc<Hub>,
    listener: TcpListener,
    metrics: &Metrics,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, NodeError> {
    let names = [
        membership_server::SERVICE_NAME,
        election_server::SERVICE_NAME,
        liveness_server::SERVICE_NAME,
        chat_server::SERVICE_NAME,
    ];
    let (router, _health) = common_services(&names, &metrics.answered).await?;
    let gate = Gate::new(Arc::clone(hub));
    let store = hub.store.clone();
    let chat = ChatServer::new(Chat::new(gate.clone(), store.clone()));
    let router = router
        .add_service(MembershipServer::new(Membership::new(gate.clone(), store)))
        .add_service(ElectionServer::new(Election::new(gate.clone())))
        .add_service(LivenessServer::new(Liveness::new(gate)))
        .add_service(chat);
    let connections = incoming(listener, tls::server_config(&hub.identity)?, Limits::default());
    let connections = connections.counting(&metrics.traffic);
    Ok(tokio::spawn(async move {
        let until = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        if let Err(error) = router.serve_with_incoming_shutdown(connections, until).await {
            error!(%error, "the server for peers ended");
        }
    }))
}

/// Serves the page for a monitor.
fn serve_metrics(listener: TcpListener, exporter: Exporter, mut stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let exporter = Arc::new(exporter);
    let page = move || {
        let exporter = Arc::clone(&exporter);
        async move { exporter.page().await }
    };
    tokio::spawn(exposition::serve(listener, page, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }))
}

async fn serve_local(
    local: &Local,
    socket: &Path,
    metrics: &Metrics,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, NodeError> {
    let failed = |source| NodeError::Listen { at: socket.display().to_string(), source };
    // The lock is ours, so a socket that is there is of a node that died.
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    let (router, _health) = common_services(&[node_server::SERVICE_NAME], &metrics.answered).await?;
    let router = router.add_service(NodeServer::new(local.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    Ok(tokio::spawn(async move {
        let until = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let connections = socket::incoming(listener);
        if let Err(error) = router.serve_with_incoming_shutdown(connections, until).await {
            error!(%error, "the server of the local API ended");
        }
    }))
}
