//! What the command line asks this process to run.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use p2p_chat_cli::{
    DEFAULT_NDS, Failure, Holder, Host, NdsOptions, NodeOptions, Preset, Running, SOCKET, StartFailure,
};
use p2p_chat_engine::Config;
use p2p_chat_traces::Traces;
use p2p_chat_transport::{descriptors, dial::DialSettings, exposition};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    lock::LockError,
    node::{Node, NodeError, Options},
};

/// How long a discovery service that does not answer may take to say why.
const START: Duration = Duration::from_secs(5);

/// Runs nodes and discovery services in this process.
#[derive(Debug, Default)]
pub struct ProcessHost;

/// A node started for the command line.
pub struct HostedNode {
    node: Node,
    data_dir: std::path::PathBuf,
}

impl std::fmt::Debug for HostedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostedNode").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// A discovery service started for the command line.
#[derive(Debug)]
pub struct HostedNds {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), p2p_chat_nds::NdsError>>,
    traces: Traces,
}

impl Host for ProcessHost {
    type Node = HostedNode;
    type Nds = HostedNds;

    async fn start(&self, options: NodeOptions) -> Result<HostedNode, StartFailure> {
        descriptors::raise_limit();
        let data_dir = options.data_dir.clone();
        let (config, dialling) = match options.preset {
            Preset::Lan => (Config::LAN, DialSettings::default()),
            Preset::Wan => (Config::WAN, DialSettings::WAN),
        };
        let node = Node::start(Options {
            socket: data_dir.join(SOCKET),
            data_dir: options.data_dir,
            mode: options.mode,
            name: options.name,
            name_is_given: options.name_is_given,
            services: options.nds.iter().map(ToString::to_string).collect(),
            embed: options.embed_nds.then(|| DEFAULT_NDS.to_owned()),
            listen: options.listen,
            advertise: options.advertise,
            config,
            dialling,
            metrics: options.metrics,
            otlp: options.otlp.as_ref().map(ToString::to_string),
        })
        .await
        .map_err(|error| match error {
            NodeError::Lock(LockError::Held(_)) => StartFailure::Held,
            error => StartFailure::Failed(Failure::Failed(error.to_string())),
        })?;
        Ok(HostedNode { node, data_dir })
    }

    async fn start_nds(&self, options: NdsOptions) -> Result<HostedNds, StartFailure> {
        descriptors::raise_limit();
        let at = options.listen;
        let refused = |reason: String| StartFailure::Failed(Failure::Failed(reason));
        let listener = TcpListener::bind(at).await.map_err(|error| {
            refused(format!("can't listen on {at} ({error}); choose another with --listen, or stop what uses it"))
        })?;
        let address = listener.local_addr().map_err(|error| refused(error.to_string()))?;
        let (stop, stopped) = watch::channel(false);
        let until = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let metrics = Arc::new(p2p_chat_nds::Metrics::default());
        let traces = match &options.otlp {
            Some(url) => {
                let who = [
                    ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
                    ("service.instance.id", address.to_string()),
                ];
                Traces::export(&url.to_string(), "p2p-chat-nds", who).map_err(|error| refused(error.to_string()))?
            }
            None => Traces::default(),
        };
        if let Some(at) = &options.metrics {
            let listener = exposition::bind(at).await.map_err(|error| refused(error.to_string()))?;
            let counts = Arc::clone(&metrics);
            let page = move || std::future::ready(counts.page().text());
            tokio::spawn(exposition::serve(listener, page, until(stopped.clone())));
        }
        let config = p2p_chat_nds::Config::new(options.data_dir);
        let config = match options.preset {
            Preset::Lan => config,
            Preset::Wan => config.wan(),
        };
        let monitor = p2p_chat_nds::Monitor { metrics, traces: traces.clone() };
        let task = tokio::spawn(p2p_chat_nds::serve(config, listener, until(stopped), monitor));
        let mut nds = HostedNds { address, stop, task, traces };
        // A record that can't be opened shows at once.
        tokio::select! {
            biased;
            ended = nds.stopped() => return ended.map(|()| nds).map_err(StartFailure::Failed),
            answers = answers(address) => if answers {
                return Ok(nds);
            },
        }
        match tokio::time::timeout(START, nds.stopped()).await {
            Ok(Err(failure)) => Err(StartFailure::Failed(failure)),
            _ => Err(refused(format!("the discovery service at {address} does not answer; see its log"))),
        }
    }
}

/// Waits until the service at `address` answers.
async fn answers(address: SocketAddr) -> bool {
    let Ok(channel) = p2p_chat_transport::dial::plaintext(&format!("http://{address}")) else { return false };
    let client = p2p_chat_proto::v1::discovery_client::DiscoveryClient::new(channel);
    let mut client = client.max_decoding_message_size(p2p_chat_transport::sizes::MAX_RECORD_BYTES);
    let request = p2p_chat_proto::v1::ListNetworksRequest { page_size: 1, page_token: String::new() };
    client.list_networks(request).await.is_ok()
}

impl Running for HostedNode {
    fn address(&self) -> SocketAddr {
        self.node.address()
    }

    async fn stopped(&mut self) -> Result<(), Failure> {
        self.node.stopped().await;
        Ok(())
    }

    async fn shutdown(self, patience: Duration) -> Result<u64, Failure> {
        // From now on others wait for the end of this node rather than use it.
        let _ = Holder::remove(&self.data_dir);
        Ok(self.node.shutdown(patience).await)
    }
}

impl Running for HostedNds {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn stopped(&mut self) -> Result<(), Failure> {
        match (&mut self.task).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
            Err(error) => Err(Failure::Failed(format!("bug: the discovery service broke: {error}"))),
        }
    }

    async fn shutdown(mut self, _patience: Duration) -> Result<u64, Failure> {
        self.stop.send_replace(true);
        let ended = self.stopped().await.map(|()| 0);
        self.traces.stop().await;
        ended
    }
}
