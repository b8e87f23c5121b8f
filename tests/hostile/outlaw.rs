//! A peer that this program plays itself: real keys, a real port, a real feed. As a member it behaves just well
//! enough to stay one.

use p2p_chat_model::{
    Address, Entry, EntryHash, EntryKind, Header, Identity, NetworkId, PeerId, Run, Seq, VectorClock, View,
};
use p2p_chat_proto::v1::{
    self,
    chat_client::ChatClient,
    chat_server::{Chat, ChatServer},
    election_client::ElectionClient,
    join_response::Outcome,
    liveness_client::LivenessClient,
    liveness_server::{Liveness, LivenessServer},
    membership_client::MembershipClient,
    membership_server::{Membership, MembershipServer},
};
use p2p_chat_transport::{Dialer, Limits, incoming, tls::server_config};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server},
};

use crate::{
    support::{
        Cluster, LAB, NodeProcess, eventually,
        lines::loopback,
        wait::{ensure, secs},
    },
    table::request,
};

/// The number that every outlaw gives its join.
pub(crate) const JOIN_REQUEST: u64 = 7;

/// A peer in the test's hand. Dropping it closes its port.
pub(crate) struct Outlaw {
    pub(crate) identity: Identity,
    pub(crate) address: Address,
    dialer: Dialer,
    serving: JoinHandle<()>,
    membership: Option<Standing>,
}

/// What a member knows of its network and of its own feed.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) network: NetworkId,
    pub(crate) genesis: bytes::Bytes,
    pub(crate) view: View,
    /// Who admitted it, and where that stands: the causal past of all it writes.
    pub(crate) past: VectorClock,
    pub(crate) lamport: u64,
    pub(crate) last: Seq,
    pub(crate) head: EntryHash,
}

/// The services of a node, spoken to over one channel.
pub(crate) struct Services {
    pub(crate) chat: ChatClient<Channel>,
    pub(crate) election: ElectionClient<Channel>,
    pub(crate) liveness: LivenessClient<Channel>,
    pub(crate) membership: MembershipClient<Channel>,
}

impl Services {
    /// Over `channel`.
    pub(crate) fn over(channel: &Channel) -> Self {
        let channel = || channel.clone();
        Self {
            // Oversized frames have to leave this side.
            chat: ChatClient::new(channel()).max_encoding_message_size(usize::MAX),
            election: ElectionClient::new(channel()),
            liveness: LivenessClient::new(channel()),
            membership: MembershipClient::new(channel()),
        }
    }
}

impl Outlaw {
    /// A peer of this seed, listening.
    pub(crate) async fn new(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let listener = TcpListener::bind((loopback(), 0)).await.expect("a loopback address can be bound");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let tls = server_config(&identity).expect("the key makes a certificate");
        let serving = Server::builder()
            .add_service(LivenessServer::new(Polite))
            .add_service(MembershipServer::new(Polite))
            .add_service(ChatServer::new(Polite))
            .serve_with_incoming(incoming(listener, tls, Limits::default()));
        let serving = tokio::spawn(async move { drop(serving.await) });
        let dialer = Dialer::new(&identity).expect("the key makes a certificate");
        Self { identity, address: address.parse().expect("an address"), dialer, serving, membership: None }
    }

    /// Its identity.
    pub(crate) fn peer(&self) -> PeerId {
        self.identity.peer()
    }

    /// A channel to a node, as this peer.
    pub(crate) fn channel(&self, node: &NodeProcess) -> Channel {
        let peer = node.peer.parse().expect("a peer id");
        self.dialer.channel(peer, &node.address.parse().expect("an address"))
    }

    /// The services of a node, as this peer.
    pub(crate) fn services(&self, node: &NodeProcess) -> Services {
        Services::over(&self.channel(node))
    }

    /// Joins the network of the tests like anybody else.
    pub(crate) async fn join(&mut self, cluster: &Cluster, leader: &NodeProcess, name: &str) {
        let record = cluster.nds.record(LAB).await.expect("the network is listed");
        let join = v1::JoinRequest {
            network: record.network.clone(),
            request_id: JOIN_REQUEST,
            name: name.to_owned(),
            address: self.address.to_string(),
        };
        let response = self.services(leader).membership.join(request(join)).await.expect("anybody may join");
        let Some(Outcome::Admitted(admitted)) = response.into_inner().outcome else { panic!("alice does not lead") };
        let admission = admitted.admission.expect("an admission");
        let author = PeerId::try_from(&admission.author[..]).expect("a peer id");
        self.membership = Some(Standing {
            network: NetworkId::try_from(&record.network[..]).expect("a network id"),
            genesis: admitted.genesis,
            view: View::try_from(&admitted.view.expect("a view")).expect("a sound view"),
            past: [(author, admission.seq)].into_iter().collect(),
            // No Lamport time is above the number of all entries.
            lamport: admitted.frontier.expect("a frontier").feeds.iter().map(|feed| feed.seq).sum(),
            last: 0,
            head: EntryHash::NONE,
        });
    }

    /// Where it stands as a member.
    pub(crate) fn standing(&self) -> &Standing {
        self.membership.as_ref().expect("the outlaw has joined")
    }

    /// A sound text that could come next in its feed.
    pub(crate) fn text(&self, body: impl Into<Vec<u8>>) -> Entry {
        self.entry(EntryKind::Text, body)
    }

    /// An entry of any kind that could come next in its feed.
    pub(crate) fn entry(&self, kind: EntryKind, body: impl Into<Vec<u8>>) -> Entry {
        let standing = self.standing();
        // Only the first entry says where the admission stands; later ones leave out what has not changed.
        let clock = if standing.last == 0 { standing.past.clone() } else { VectorClock::new() };
        let header = Header { lamport: standing.lamport + 1, wall_ms: 1_700_000_000_000, clock, kind };
        Entry { header, body: body.into().into() }
    }

    /// A run that continues its feed.
    pub(crate) fn run(&self, entries: Vec<Entry>) -> Run {
        let Standing { network, last, head, .. } = self.standing();
        Run::sign(&self.identity, *network, last + 1, *head, entries)
    }

    /// A request that delivers runs in the network.
    pub(crate) fn delivery(&self, runs: impl IntoIterator<Item = Vec<u8>>) -> v1::DeliverRequest {
        let runs = runs.into_iter().map(Into::into).collect();
        v1::DeliverRequest { network: self.standing().network.as_bytes().to_vec().into(), runs }
    }

    /// Says something, properly, to these nodes.
    pub(crate) async fn says(&mut self, to: &[&NodeProcess], text: &str) {
        let run = self.run(vec![self.text(text)]);
        let delivery = self.delivery([run.encode()]);
        for node in to {
            // A node that has not heard of the admission yet does not take it yet.
            eventually(secs(30), format!("an ack of {text:?} from {}", node.name), async || {
                let delivered = self.services(node).chat.deliver(request(delivery.clone())).await;
                let acked = delivered.map_err(|status| status.to_string())?.into_inner().acked.unwrap_or_default();
                let acked = VectorClock::try_from(&acked).map_err(|error| error.to_string())?.at(&self.peer());
                ensure(acked == run.last(), || format!("it has entry {acked}"))
            })
            .await;
        }
        let standing = self.membership.as_mut().expect("the outlaw has joined");
        (standing.last, standing.head, standing.lamport) = (run.last(), run.head(), standing.lamport + 1);
    }
}

impl Drop for Outlaw {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers so that everybody stays content.
#[derive(Clone, Copy)]
struct Polite;

#[tonic::async_trait]
impl Liveness for Polite {
    /// Stands exactly where the caller stands: so there is nothing to compare or fetch.
    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::PingResponse>, Status> {
        let mut standing = request.into_inner().standing;
        if let Some(standing) = &mut standing {
            (standing.frontier, standing.peer_active, standing.leaving) = (None, true, false);
        }
        Ok(Response::new(v1::PingResponse { leads_epoch: 0, standing }))
    }

    async fn ping_via(&self, _: Request<v1::PingViaRequest>) -> Result<Response<v1::PingViaResponse>, Status> {
        Ok(Response::new(v1::PingViaResponse { reached: true, leader: None }))
    }
}

#[tonic::async_trait]
impl Membership for Polite {
    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        Err(Status::aborted("no leader is known"))
    }

    async fn leave(&self, _: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        Err(Status::aborted("no leader is known"))
    }

    async fn update_view(
        &self,
        request: Request<v1::UpdateViewRequest>,
    ) -> Result<Response<v1::UpdateViewResponse>, Status> {
        let epoch = request.into_inner().view.map_or(0, |view| view.epoch);
        Ok(Response::new(v1::UpdateViewResponse { accepted: true, epoch, leader: None }))
    }
}

#[tonic::async_trait]
impl Chat for Polite {
    type FetchStream = tokio_stream::Empty<Result<v1::FetchResponse, Status>>;

    /// Claims to have stored everything.
    async fn deliver(&self, request: Request<v1::DeliverRequest>) -> Result<Response<v1::DeliverResponse>, Status> {
        let mut acked = VectorClock::new();
        for bytes in request.into_inner().runs {
            let run = Run::decode(&bytes).map_err(|error| Status::invalid_argument(error.to_string()))?;
            acked.raise(run.author, run.last());
        }
        Ok(Response::new(v1::DeliverResponse { acked: Some((&acked).into()) }))
    }

    async fn relay(&self, _: Request<v1::RelayRequest>) -> Result<Response<v1::RelayResponse>, Status> {
        Ok(Response::new(v1::RelayResponse { reached: false, acked_seq: 0 }))
    }

    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}
