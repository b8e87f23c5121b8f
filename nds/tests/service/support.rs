//! A service on a loopback port, the people who talk to it, and a pinger whose answers the test decides.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use p2p_chat_model::{
    ActiveMember, Address, Epoch, Genesis, Identity, NetworkId, NodeId, Registration, Run, View, Vote,
    registration::Action,
};
use p2p_chat_nds::{
    Config, NdsError,
    probe::Pinger,
    registry::{Answer, Probe},
    serve_with,
};
use p2p_chat_proto::v1::{self, discovery_client::DiscoveryClient};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::Channel;

/// Answers for every address; those not set are reached and lead nothing.
#[derive(Clone, Default)]
pub(crate) struct Pings(Arc<Mutex<BTreeMap<Address, Answer>>>);

impl Pings {
    pub(crate) fn set(&self, who: u8, answer: Answer) {
        self.0.lock().unwrap().insert(address(who), answer);
    }
}

impl Pinger for Pings {
    async fn ping(&self, probe: &Probe) -> Option<Answer> {
        let reached = Answer::Reached { leads_epoch: Epoch(0) };
        Some(self.0.lock().unwrap().get(&probe.address).copied().unwrap_or(reached))
    }
}

pub(crate) struct Service {
    pub(crate) client: DiscoveryClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) url: String,
    pub(crate) pings: Pings,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), NdsError>>,
}

impl Service {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(Config::new(dir)).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let pings = Pings::default();
        let serving = serve_with(config, listener, async { drop(stopped.await) }, pings.clone(), Default::default());
        let served = tokio::spawn(serving);
        let channel = p2p_chat_transport::dial::plaintext(&url).unwrap();
        Self { client: DiscoveryClient::new(channel.clone()), channel, url, pings, stop, served }
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        drop(self.channel);
        self.stop.send(()).unwrap();
        let served = tokio::time::timeout(Duration::from_secs(20), self.served).await;
        served.expect("it stops in time").unwrap().unwrap();
    }

    /// Everything listed.
    pub(crate) async fn list(&mut self) -> Vec<v1::NetworkRecord> {
        self.client.list_networks(v1::ListNetworksRequest::default()).await.unwrap().into_inner().records
    }

    pub(crate) async fn create(&mut self, network: &Network) -> v1::NetworkRecord {
        let request = network.create(1, &network.view(1, 1, &[network.creator]));
        self.client.create_network(request).await.unwrap().into_inner().record.unwrap()
    }
}

pub(crate) fn person(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

pub(crate) fn address(who: u8) -> Address {
    format!("10.0.0.{who}:7500").parse().unwrap()
}

/// A network with its founding run.
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    pub(crate) genesis: Run,
    pub(crate) creator: u8,
}

impl Network {
    pub(crate) fn found(creator: u8, name: &str) -> Self {
        let genesis = Genesis { salt: [creator; 32], name: name.parse().unwrap(), creator: "alice".parse().unwrap() };
        let (id, genesis) = Run::found(&person(creator), &genesis, 0);
        Self { id, genesis, creator }
    }

    /// A view of people whose node ids are their numbers; the first named leads.
    pub(crate) fn view(&self, epoch: u64, version: u64, active: &[u8]) -> View {
        let mut sorted = active.to_vec();
        sorted.sort_unstable();
        let line = |who: &u8| ActiveMember {
            node: NodeId(u64::from(*who)),
            peer: person(*who).peer(),
            address: address(*who),
            join_request: 0,
        };
        View {
            epoch: Epoch(epoch),
            version,
            leader: NodeId(u64::from(active[0])),
            next_id: NodeId(100),
            active: sorted.iter().map(line).collect(),
        }
    }

    /// A statement signed by the leader of its view.
    pub(crate) fn statement(&self, action: Action, serial: u64, expected: u64, view: &View) -> v1::Registration {
        let signer = person(view.leader.0 as u8);
        let statement = Registration { network: self.id, view: view.clone(), expected_epoch: Epoch(expected), serial };
        v1::Registration::signed(&statement, action, &signer)
    }

    pub(crate) fn create(&self, serial: u64, view: &View) -> v1::CreateNetworkRequest {
        v1::CreateNetworkRequest {
            registration: Some(self.statement(Action::Create, serial, view.epoch.0, view)),
            genesis: self.genesis.encode().into(),
            admission: Vec::new(),
        }
    }

    pub(crate) fn renew(&self, serial: u64, view: &View) -> v1::RenewLeaseRequest {
        v1::RenewLeaseRequest { registration: Some(self.statement(Action::Renew, serial, view.epoch.0, view)) }
    }

    pub(crate) fn close(&self, serial: u64, view: &View) -> v1::CloseNetworkRequest {
        v1::CloseNetworkRequest { registration: Some(self.statement(Action::Close, serial, view.epoch.0, view)) }
    }

    pub(crate) fn update(&self, expected: u64, view: &View, voters: &[u8]) -> v1::UpdateLeaderRequest {
        let candidate = person(view.leader.0 as u8).peer();
        let vote = |who: &u8| (&Vote::cast(&person(*who), self.id, view.epoch, candidate)).into();
        v1::UpdateLeaderRequest {
            registration: Some(self.statement(Action::Update, 1, expected, view)),
            votes: voters.iter().map(vote).collect(),
        }
    }
}

pub(crate) fn by_name(name: &str) -> v1::GetNetworkRequest {
    v1::GetNetworkRequest { key: Some(v1::get_network_request::Key::Name(name.to_owned())) }
}
