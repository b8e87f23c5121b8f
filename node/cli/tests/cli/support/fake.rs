//! A node in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use p2p_chat_proto::v1::{self, event::Event, node_server::Node};
use tokio::sync::{broadcast, watch};
use tokio_stream::{Stream, StreamExt, wrappers::BroadcastStream};
use tonic::{Request, Response, Status, Streaming};

/// The node itself.
pub(crate) const ALICE: &str = "a11ce000a11ce000a11ce000a11ce000a11ce000a11ce000a11ce000a11ce000";
/// Somebody else.
pub(crate) const BOB: &str = "b0b00000b0b00000b0b00000b0b00000b0b00000b0b00000b0b00000b0b00000";
/// The network `lab`.
const LAB: &str = "1ab000001ab000001ab000001ab000001ab000001ab000001ab000001ab00000";
/// 2025-11-20 09:30:00 UTC.
const MORNING_MS: u64 = 1_763_631_000_000;

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node knows, and what it was told.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) status: v1::StatusResponse,
    pub(crate) networks: v1::NetworksResponse,
    pub(crate) members: Vec<v1::Member>,
    pub(crate) messages: Vec<v1::Message>,
    pub(crate) inspection: v1::InspectResponse,
    pub(crate) left: v1::LeaveNetworkResponse,
    /// Networks that can be joined.
    pub(crate) listed: Vec<String>,
    /// What a call, by its name, answers instead, once each.
    pub(crate) refusals: BTreeMap<&'static str, VecDeque<Status>>,
    pub(crate) sent: Vec<v1::SendRequest>,
}

/// A node in memory. Clones are the same node.
#[derive(Debug, Clone)]
pub(crate) struct FakeNode {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<v1::Event>,
    calls: watch::Sender<Vec<String>>,
    connected: watch::Sender<u32>,
    at_work: watch::Sender<bool>,
}

impl Default for FakeNode {
    fn default() -> Self {
        let status = v1::StatusResponse {
            peer: ALICE.to_owned(),
            name: "alice".to_owned(),
            address: "10.0.0.1:7500".to_owned(),
            data_dir: "/data".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 42,
            ..Default::default()
        };
        Self {
            state: Arc::new(Mutex::new(State { status, ..State::default() })),
            events: broadcast::channel(256).0,
            calls: watch::channel(Vec::new()).0,
            connected: watch::channel(0).0,
            at_work: watch::channel(false).0,
        }
    }
}

impl FakeNode {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Puts the node into `lab`.
    pub(crate) fn enter(&self, network: &str) {
        let mut state = self.state();
        state.status.networks.push(network_state(network));
    }

    /// A message arrives.
    pub(crate) fn arrives(&self, message: v1::Message) {
        self.state().messages.push(message.clone());
        let _ = self.events.send(v1::Event { event: Some(Event::Message(message)) });
    }

    /// Something happens to the group.
    pub(crate) fn happens(&self, notice: v1::Notice) {
        let _ = self.events.send(v1::Event { event: Some(Event::Notice(notice)) });
    }

    /// Lets the next calls of `method` fail.
    pub(crate) fn refuses(&self, method: &'static str, status: Status) {
        self.state().refusals.entry(method).or_default().push_back(status);
    }

    /// Lets what takes long take until it is told otherwise.
    pub(crate) fn is_at_work(&self, at_work: bool) {
        self.at_work.send_replace(at_work);
    }

    /// Ends all subscriptions.
    pub(crate) fn hang_up(&self) {
        self.connected.send_modify(|count| *count += 1);
    }

    /// Waits until a call was made as often as that; a call is its name and its most telling argument.
    pub(crate) async fn was_called(&self, call: &str, times: usize) {
        let mut calls = self.calls.subscribe();
        let many = calls.wait_for(|calls| calls.iter().filter(|made| *made == call).count() >= times);
        super::streams::soon(call, many).await.expect("the node is there");
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    /// Waits until nothing takes long any more.
    async fn is_done(&self) {
        let done = self.at_work.subscribe().wait_for(|at_work| !at_work).await.is_ok();
        assert!(done, "the node is there");
    }

    fn called(&self, method: &'static str, argument: impl std::fmt::Display) -> Result<(), Status> {
        let call = format!("{method} {argument}").trim_end().to_owned();
        self.calls.send_modify(|calls| calls.push(call));
        match self.state().refusals.get_mut(method).and_then(VecDeque::pop_front) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Node for FakeNode {
    type SubscribeStream = Items<v1::Event>;
    type HistoryStream = Items<v1::Message>;
    type SendStreamStream = Items<v1::SendOutcome>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        self.called("status", "")?;
        Ok(Response::new(self.state().status.clone()))
    }

    async fn create(&self, request: Request<v1::CreateRequest>) -> Answer<v1::CreateResponse> {
        let network = request.into_inner().network;
        self.called("create", &network)?;
        self.enter(&network);
        Ok(Response::new(v1::CreateResponse { network: Some(info(&network)) }))
    }

    async fn join(&self, request: Request<v1::JoinNetworkRequest>) -> Answer<v1::JoinNetworkResponse> {
        let network = request.into_inner().network;
        self.called("join", &network)?;
        if !self.state().listed.contains(&network) {
            return Err(Status::not_found(format!("there is no network {network}; found it first")));
        }
        self.enter(&network);
        Ok(Response::new(v1::JoinNetworkResponse { network: Some(info(&network)), node_id: 3 }))
    }

    async fn leave(&self, request: Request<v1::LeaveNetworkRequest>) -> Answer<v1::LeaveNetworkResponse> {
        let request = request.into_inner();
        self.called(
            "leave",
            format!("{} {}{}", request.network, request.timeout_ms, if request.force { " by force" } else { "" }),
        )?;
        self.is_done().await;
        Ok(Response::new(self.state().left))
    }

    async fn forget(&self, request: Request<v1::ForgetRequest>) -> Answer<v1::ForgetResponse> {
        self.called("forget", request.into_inner().network)?;
        self.is_done().await;
        Ok(Response::new(v1::ForgetResponse { entries: 2 }))
    }

    async fn networks(&self, _: Request<v1::NetworksRequest>) -> Answer<v1::NetworksResponse> {
        self.called("networks", "")?;
        Ok(Response::new(self.state().networks.clone()))
    }

    async fn members(&self, request: Request<v1::MembersRequest>) -> Answer<v1::MembersResponse> {
        self.called("members", request.into_inner().network)?;
        Ok(Response::new(v1::MembersResponse { members: self.state().members.clone() }))
    }

    async fn send(&self, request: Request<v1::SendRequest>) -> Answer<v1::SendResponse> {
        let request = request.into_inner();
        self.called("send", &request.text)?;
        let number = self.state().messages.len() as u64 + 1;
        let message =
            v1::Message { author: ALICE.to_owned(), author_name: "alice".to_owned(), ..message(number, &request.text) };
        let response =
            v1::SendResponse { id: message.id.clone(), seq: number, lamport: number, stored_by: 1, members: 2 };
        self.state().sent.push(request);
        self.arrives(message);
        self.is_done().await;
        Ok(Response::new(response))
    }

    async fn send_stream(&self, _: Request<Streaming<v1::SendRequest>>) -> Answer<Items<v1::SendOutcome>> {
        Err(Status::unimplemented("the command line sends one by one"))
    }

    async fn subscribe(&self, request: Request<v1::SubscribeRequest>) -> Answer<Items<v1::Event>> {
        let request = request.into_inner();
        let live = BroadcastStream::new(self.events.subscribe()).map(|event| event.map_err(|_| Status::aborted("lag")));
        let stored: Vec<v1::Message> = self.state().messages.clone();
        let after = match request.start() {
            v1::Start::Unspecified | v1::Start::Now => stored.iter().map(|message| message.position).max().unwrap_or(0),
            v1::Start::Beginning | v1::Start::Unread => 0,
            v1::Start::Position => request.after,
        };
        let stored = stored.into_iter().filter(move |message| message.position > after);
        let stored = stored.map(Event::Message);
        let stored = std::iter::once(Event::BeginsAfter(after)).chain(stored);
        let stored = stored.chain([Event::CaughtUp(true)]).map(|event| Ok(v1::Event { event: Some(event) }));
        let mut connected = self.connected.subscribe();
        // Told only now: whatever a test does next reaches the stream.
        self.called("subscribe", format!("{} {} {}", request.network, request.start().as_str_name(), request.after))?;
        self.is_done().await;
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let mut items = tokio_stream::iter(stored).chain(live);
            loop {
                tokio::select! {
                    item = items.next() => match item {
                        Some(item) => if sender.send(item).await.is_err() { return },
                        None => return,
                    },
                    _ = connected.changed() => {
                        let _ = sender.send(Err(Status::unavailable("the node ends"))).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Answer<Items<v1::Message>> {
        let request = request.into_inner();
        self.called("history", format!("{} {}", request.network, request.limit))?;
        let mut messages = self.state().messages.clone();
        messages.sort_by_key(place);
        let behind = |cursor: &v1::Cursor| (cursor.lamport, cursor.author.clone(), cursor.seq);
        messages.retain(|message| {
            let text = message.text.to_lowercase();
            request.before.as_ref().is_none_or(|before| place(message) < behind(before))
                && request.after.as_ref().is_none_or(|after| place(message) > behind(after))
                && text.contains(&request.contains.to_lowercase())
        });
        match usize::try_from(request.limit).expect("small") {
            0 => {}
            limit if request.after.is_some() => messages.truncate(limit),
            limit => drop(messages.drain(..messages.len().saturating_sub(limit))),
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(messages.into_iter().map(Ok)))))
    }

    async fn inspect(&self, request: Request<v1::InspectRequest>) -> Answer<v1::InspectResponse> {
        let request = request.into_inner();
        self.called("inspect", format!("{} {}", request.network, request.message))?;
        Ok(Response::new(self.state().inspection.clone()))
    }

    async fn mark_read(&self, request: Request<v1::MarkReadRequest>) -> Answer<v1::MarkReadResponse> {
        let request = request.into_inner();
        self.called("mark_read", format!("{} {}", request.network, request.position))?;
        Ok(Response::new(v1::MarkReadResponse {}))
    }

    async fn shutdown(&self, _: Request<v1::ShutdownRequest>) -> Answer<v1::ShutdownResponse> {
        Err(Status::unimplemented("the host does that"))
    }
}

/// Where a message stands in everybody's order.
fn place(message: &v1::Message) -> (u64, String, u64) {
    (message.lamport, message.author.clone(), message.seq)
}

/// A message of Bob's in `lab`: the `number`th, sent `number` seconds after half past nine.
pub(crate) fn message(number: u64, text: &str) -> v1::Message {
    v1::Message {
        network: "lab".to_owned(),
        id: format!("{number:08}-0000-8000-8000-000000000000"),
        author: BOB.to_owned(),
        author_name: "bob".to_owned(),
        seq: number,
        lamport: number,
        time_ms: MORNING_MS + number * 1_000,
        kind: "text".to_owned(),
        text: text.to_owned(),
        position: number,
        late: false,
    }
}

/// Something that happened to Bob.
pub(crate) fn notice(text: &str) -> v1::Notice {
    v1::Notice { network: "lab".to_owned(), text: text.to_owned(), time_ms: MORNING_MS, ..Default::default() }
}

pub(crate) fn info(name: &str) -> v1::NetworkInfo {
    v1::NetworkInfo {
        name: name.to_owned(),
        id: LAB.to_owned(),
        leader: "bob".to_owned(),
        leader_address: "10.0.0.2:7500".to_owned(),
        epoch: 4,
        members: 2,
        joined: true,
        stale: false,
    }
}

pub(crate) fn member(name: &str, peer: &str, node_id: u64) -> v1::Member {
    v1::Member {
        name: name.to_owned(),
        peer: peer.to_owned(),
        node_id,
        role: "member".to_owned(),
        state: if node_id == 0 { "away" } else { "active" }.to_owned(),
        address: "10.0.0.1:7500".to_owned(),
        leader: node_id == 1,
        me: peer == ALICE,
        stored: 0,
    }
}

pub(crate) fn network_state(name: &str) -> v1::NetworkState {
    v1::NetworkState {
        name: name.to_owned(),
        id: LAB.to_owned(),
        phase: v1::Phase::Joined.into(),
        node_id: 3,
        epoch: 4,
        view_version: 9,
        leader_name: "bob".to_owned(),
        leader_peer: BOB.to_owned(),
        leader_address: "10.0.0.2:7500".to_owned(),
        leader_alive: true,
        members: 3,
        active: 2,
        entries: 5,
        ..Default::default()
    }
}
