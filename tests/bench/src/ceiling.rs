//! `ceiling`: what the product is compared with. The same messages to the same receivers over bare tonic: no log, no
//! disk, no signatures, no order.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use p2p_chat_model::{Address, Identity};
use p2p_chat_transport::{Dialer, Limits, dial, incoming, tls};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::{Channel, Server},
};

use crate::{
    bare::{
        Packet, Taken,
        bare_client::BareClient,
        bare_server::{self, BareServer},
    },
    board::{Board, Inbox, Tally},
    group::Plan,
    load::{arrivals, send_all},
    report::{Measured, Report},
    usage::{Usage, fdatasync, memory_mb},
};

/// After so long without an arrival the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// The header in which the caller of a stream says which node it is.
const FROM: &str = "from";

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One call a message and receiver; as many messages of a sender in flight as in a group.
    Unary,
    /// One stream a pair of nodes, with messages both ways.
    Stream,
}

/// Messages on their way to one receiver.
type Lane = mpsc::Sender<Packet>;

/// A node without logic: it counts.
#[derive(Clone)]
struct Bare {
    board: Arc<Board>,
    inbox: Arc<Mutex<Inbox>>,
    /// By number of the node that will open a stream: what this one has to say to it.
    answers: Arc<Mutex<Vec<Option<mpsc::Receiver<Packet>>>>>,
}

impl Bare {
    fn take(&self, packet: &Packet) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take(&self.board, &packet.text);
    }

    async fn read(self, mut packets: Streaming<Packet>) {
        // An end before all has arrived shows in what is lost.
        while let Ok(Some(packet)) = packets.message().await {
            self.take(&packet);
        }
    }
}

#[async_trait]
impl bare_server::Bare for Bare {
    async fn one(&self, request: Request<Packet>) -> Result<Response<Taken>, Status> {
        self.take(request.get_ref());
        Ok(Response::new(Taken {}))
    }

    type ManyStream = std::pin::Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

    async fn many(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::ManyStream>, Status> {
        let from = request.metadata().get(FROM).and_then(|from| from.to_str().ok()?.parse::<usize>().ok());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = from.and_then(|from| answers.get_mut(from)?.take());
        let answer = answer.ok_or_else(|| Status::invalid_argument("nobody opens two streams"))?;
        drop(answers);
        tokio::spawn(self.clone().read(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(answer).map(Ok))))
    }
}

/// Nodes without logic, each with a port, and whom they reach.
struct Mesh {
    nodes: Vec<Bare>,
    identities: Vec<Identity>,
    addresses: Vec<Address>,
    tls: bool,
    servers: JoinSet<()>,
}

impl Mesh {
    async fn new(nodes: usize, board: &Arc<Board>, tls: bool) -> Result<Self> {
        let mut mesh = Self { nodes: vec![], identities: vec![], addresses: vec![], tls, servers: JoinSet::new() };
        for number in 0..nodes {
            let mut seed = [0x42; 32];
            seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let identity = Identity::from_seed(seed);
            let bare = Bare {
                board: Arc::clone(board),
                inbox: Arc::new(Mutex::new(Inbox::new(number, &board.load))),
                answers: Arc::new(Mutex::new((0..nodes).map(|_| None).collect())),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            mesh.addresses.push(listener.local_addr()?.to_string().parse()?);
            let connections = incoming(listener, tls::server_config(&identity)?, Limits::default());
            let serving = Server::builder().add_service(BareServer::new(bare.clone())).serve_with_incoming(connections);
            mesh.servers.spawn(async move {
                if let Err(error) = serving.await {
                    eprintln!("a server ended: {error}");
                }
            });
            mesh.identities.push(identity);
            mesh.nodes.push(bare);
        }
        Ok(mesh)
    }

    fn channel(&self, from: usize, to: usize) -> Result<Channel> {
        let address = &self.addresses[to];
        Ok(match self.tls {
            true => Dialer::new(&self.identities[from])?.channel(self.identities[to].peer(), address),
            false => dial::plaintext(&format!("http://{address}"))?,
        })
    }

    /// One stream a pair, opened by the lower number. Returns the lanes by sender, then receiver.
    async fn open_streams(&self, capacity: usize) -> Result<Vec<Vec<Option<Lane>>>> {
        let count = self.nodes.len();
        let mut lanes: Vec<Vec<Option<Lane>>> = (0..count).map(|_| vec![None; count]).collect();
        let pairs = (0..count).flat_map(|from| (from + 1..count).map(move |to| (from, to)));
        for (from, to) in pairs {
            let (there, out) = mpsc::channel(capacity);
            let (back, answer) = mpsc::channel(capacity);
            self.nodes[to].answers.lock().unwrap_or_else(PoisonError::into_inner)[from] = Some(answer);
            let mut request = Request::new(ReceiverStream::new(out));
            request.metadata_mut().insert(FROM, from.to_string().parse()?);
            let stream = BareClient::new(self.channel(from, to)?).many(request).await?.into_inner();
            tokio::spawn(self.nodes[from].clone().read(stream));
            lanes[from][to] = Some(there);
            lanes[to][from] = Some(back);
        }
        Ok(lanes)
    }

    /// One channel from each sender to each other node, connected.
    async fn dial(&self, senders: usize) -> Result<Vec<Vec<BareClient<Channel>>>> {
        let mut clients = Vec::new();
        for from in 0..senders {
            let mut row = Vec::new();
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                let mut client = BareClient::new(self.channel(from, to)?);
                client.one(Packet::default()).await?;
                row.push(client);
            }
            clients.push(row);
        }
        Ok(clients)
    }
}

/// Sends the load of `plan` over bare tonic.
pub(crate) async fn run(plan: &Plan, shape: Shape, tls: bool) -> Result<Report> {
    let load = plan.load;
    if load.senders == 0 || load.senders > plan.nodes || plan.nodes < 2 {
        bail!("2 nodes are needed, and at least one and not more senders than nodes");
    }
    let fdatasync = fdatasync(&plan.dir)?;
    let board = Arc::new(Board::new(load, 'm'));
    let mesh = Mesh::new(plan.nodes, &board, tls).await?;
    let me = [std::process::id()];
    let (before, accepted) = match shape {
        Shape::Unary => {
            let clients = Arc::new(mesh.dial(load.senders).await?);
            (Usage::of(&me)?, send_unary(&board, clients).await?)
        }
        Shape::Stream => {
            let lanes = Arc::new(mesh.open_streams(load.in_flight).await?);
            (Usage::of(&me)?, send_streams(&board, lanes).await?)
        }
    };
    arrivals(&board, (load.total() * (plan.nodes - 1)) as u64, PATIENCE).await;
    let used = Usage::of(&me)?.since(before);
    let mut tally = Tally::default();
    for node in &mesh.nodes {
        tally.merge(&node.inbox.lock().unwrap_or_else(PoisonError::into_inner).tally);
    }
    let name = match shape {
        Shape::Unary => "ceiling-unary",
        Shape::Stream => "ceiling-stream",
    };
    let name = format!("{name}{}", if tls { "-tls" } else { "" });
    let measured = Measured { tally, accepted, used, rss_mb: memory_mb(me[0])?.0, fdatasync };
    Ok(Report::new(name, plan, &board, &measured))
}

/// Each message in one call to each receiver, all at once; accepted when all have answered.
async fn send_unary(board: &Arc<Board>, clients: Arc<Vec<Vec<BareClient<Channel>>>>) -> Result<Duration> {
    send_all(board, board.load.in_flight, move |sender, text| {
        let row = clients[sender].clone();
        async move {
            let mut calls = JoinSet::new();
            for mut client in row {
                let packet = Packet { text: text.clone() };
                calls.spawn(async move { client.one(packet).await });
            }
            while let Some(ended) = calls.join_next().await {
                ended.map_err(|error| anyhow!("bug: a call broke: {error}"))?.context("a call failed")?;
            }
            Ok(())
        }
    })
    .await
}

/// Each message into the streams to all receivers, one message of a sender after the other.
async fn send_streams(board: &Arc<Board>, lanes: Arc<Vec<Vec<Option<Lane>>>>) -> Result<Duration> {
    send_all(board, 1, move |sender, text| {
        let lanes = Arc::clone(&lanes);
        async move {
            for lane in lanes[sender].iter().flatten() {
                lane.send(Packet { text: text.clone() }).await.map_err(|_| anyhow!("a stream has ended"))?;
            }
            Ok(())
        }
    })
    .await
}
