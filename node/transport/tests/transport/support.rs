//! A server that tells its callers who they are.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use p2p_chat_model::{Address, Identity, PeerId};
use p2p_chat_proto::v1::{
    PingRequest, PingResponse, PingViaRequest, PingViaResponse,
    liveness_client::LivenessClient,
    liveness_server::{Liveness, LivenessServer, SERVICE_NAME},
};
use p2p_chat_transport::{DialSettings, Dialer, Limits, caller, incoming, server, tls};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Request, Response, Status, transport::Channel};

/// How long anything in these tests may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

pub(crate) fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

pub(crate) fn carol() -> Identity {
    Identity::from_seed([3; 32])
}

/// Settings for a busy machine.
pub(crate) fn patient() -> DialSettings {
    DialSettings { connect_timeout: PATIENCE / 2, ..DialSettings::default() }
}

/// A dialler with these settings.
pub(crate) fn dialer(identity: &Identity) -> Dialer {
    Dialer::new(identity).unwrap().with_settings(patient())
}

/// An address that no other process uses, with a free port: outgoing connections come from 127.0.0.1, so nobody takes the
/// port when it is let go. Elsewhere a machine has but one loopback address.
pub(crate) fn loopback() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = [127, 16 + high % 224, low, NEXT.fetch_add(1, Ordering::Relaxed)];
    (if cfg!(target_os = "linux") { own } else { [127, 0, 0, 1] }, 0).into()
}

/// A running server. Dropping it leaves it running; `stop` ends it.
pub(crate) struct Host {
    pub(crate) socket: SocketAddr,
    serving: JoinHandle<()>,
    callers: Callers,
    shutdown: oneshot::Sender<()>,
}

impl Host {
    /// Serves `Liveness` and the common services under `identity` at a free port.
    pub(crate) async fn start(identity: &Identity, limits: Limits) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), identity, limits).await
    }

    /// As `start`, at this port.
    pub(crate) async fn start_at(listener: TcpListener, identity: &Identity, limits: Limits) -> Self {
        let socket = listener.local_addr().unwrap();
        let (witness, callers) = witness();
        let (shutdown, signal) = oneshot::channel();
        let (router, _health) = server::common_services(&[SERVICE_NAME], &Arc::default()).await.unwrap();
        let router = router.add_service(witness);
        let connections = incoming(listener, tls::server_config(identity).unwrap(), limits);
        let serving = tokio::spawn(async move {
            let ended = router.serve_with_incoming_shutdown(connections, async { signal.await.unwrap_or(()) }).await;
            ended.unwrap();
        });
        Self { socket, serving, callers, shutdown }
    }

    pub(crate) fn address(&self) -> Address {
        self.socket.to_string().parse().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.socket)
    }

    /// Who made the next call that arrives.
    pub(crate) async fn next_caller(&mut self) -> Option<PeerId> {
        timeout(PATIENCE, self.callers.recv()).await.expect("a call").expect("a running server")
    }

    /// Tells the server to take no more connections, and to end with the last one.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.shutdown.send(()).unwrap();
        self.serving
    }
}

/// Who called, in order.
pub(crate) type Callers = mpsc::UnboundedReceiver<Option<PeerId>>;

/// A `Liveness` service that reports every caller of `Ping`, and answers `PingVia` only with a refusal, and without a
/// target never.
pub(crate) fn witness() -> (LivenessServer<impl Liveness>, Callers) {
    let (tell, callers) = mpsc::unbounded_channel();
    (LivenessServer::new(Witness(tell)), callers)
}

struct Witness(mpsc::UnboundedSender<Option<PeerId>>);

#[tonic::async_trait]
impl Liveness for Witness {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.0.send(caller(&request)).unwrap();
        Ok(Response::new(PingResponse::default()))
    }

    async fn ping_via(&self, request: Request<PingViaRequest>) -> Result<Response<PingViaResponse>, Status> {
        if request.get_ref().target.is_empty() {
            std::future::pending::<()>().await;
        }
        Err(Status::invalid_argument("no such target"))
    }
}

/// One call over `channel`.
pub(crate) async fn ping(channel: &Channel) -> Result<(), Status> {
    let mut client = LivenessClient::new(channel.clone());
    let call = client.ping(PingRequest::default());
    timeout(PATIENCE, call).await.expect("an answer or an error").map(|_| ())
}

/// Limits that make a test short.
pub(crate) fn limits(handshake_timeout_ms: u64) -> Limits {
    Limits { handshake_timeout: Duration::from_millis(handshake_timeout_ms), ..Limits::default() }
}

/// A TLS client's settings as other languages have them: no certificate of its own, any certificate taken.
pub(crate) fn stranger_tls(schemes: &[tokio_rustls::rustls::SignatureScheme]) -> tokio_rustls::rustls::ClientConfig {
    use tokio_rustls::rustls::{ClientConfig, crypto::ring, version::TLS13};

    let provider = Arc::new(ring::default_provider());
    let verifier = crate::identities::AnyServer { schemes: schemes.to_vec(), provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
