//! One network the node is in: a handle for everybody else, and behind it the task that owns the engine.

mod absence;
mod acks;
mod batching;
mod clock;
mod commits;
mod driver;
mod load;
mod observe;
mod outbox;
mod trail;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use p2p_chat_engine::{
    CallError, CallId, Command, CommandError, Config, Done, Refusal, Request, Response, Snapshot, Standing,
};
use p2p_chat_model::{MessageId, Name, NetworkId, PeerId, Run, limits::MAX_TEXT_BYTES};
use p2p_chat_traces::{Context, Traces};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

pub(crate) use self::{
    clock::wall_ms,
    driver::{Driver, Start},
    load::{dormant, stored_state, unreadable},
};
use crate::{bus::Happening, metrics::Counts};

/// Inputs that may wait for the task; when there are more, requests of peers are refused.
const INBOX: usize = 1_024;
/// Bytes of what peers hand over that may wait for the task (32 MiB); beyond that, they are refused.
const INBOX_BYTES: usize = 32 << 20;
/// Bytes of texts of the user that may wait to be written (8 MiB): while there are more, whoever says something waits for
/// its turn. They wait in the inbox, for others to be written with, or in the engine while it is not ready to write.
const TEXT_BYTES: usize = 8 << 20;
/// What a text takes of that at the least.
const TEXT_ROOM: usize = TEXT_BYTES / Config::LAN.max_waiting_texts;
// The engine refuses none of them, or others could go before it; and each gets room.
const _: () = assert!(TEXT_BYTES / TEXT_ROOM <= Config::LAN.max_waiting_texts && MAX_TEXT_BYTES <= TEXT_BYTES);

/// A run as it came, with its exact bytes.
pub(crate) type Incoming = (Run, Bytes);

/// What the task of a network is told.
pub(crate) enum Message {
    Command {
        command: Command,
        text: Option<Text>,
        cause: Option<Context>,
        reply: Answer,
    },
    Request {
        from: PeerId,
        request: Request,
        cause: Option<Context>,
        reply: oneshot::Sender<Reply>,
    },
    Deliver {
        from: PeerId,
        runs: Vec<Incoming>,
        /// Given back when the task has taken them.
        _room: Room,
        cause: Option<Context>,
        reply: oneshot::Sender<Reply>,
    },
    Response {
        generation: u64,
        call: CallId,
        result: Result<Response, CallError>,
    },
    Fetched {
        generation: u64,
        call: CallId,
        runs: Vec<Incoming>,
        stored: oneshot::Sender<()>,
    },
    Look(oneshot::Sender<Look>),
    /// Answered when everything that is known is on disk.
    WriteDown(oneshot::Sender<()>),
    Figures(oneshot::Sender<Figures>),
}

impl Message {
    /// About what it adds to a commit, in bytes: each entry that is delivered may get a row.
    fn weight(&self) -> usize {
        const ROW: usize = 128;
        match self {
            Self::Command { text: Some(text), .. } => ROW + text.said.len(),
            Self::Deliver { runs, .. } | Self::Fetched { runs, .. } => {
                runs.iter().map(|(run, bytes)| bytes.len() + ROW * (1 + run.entries.len())).sum()
            }
            _ => ROW,
        }
    }
}

/// Room for what a peer hands over, until this is dropped.
#[derive(Debug)]
pub(crate) struct Room(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

/// What is to be said, and its room until it is written or given up.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) said: String,
    _room: Room,
}

/// What became of a command.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) done: Done,
    /// The message that was written, if one was.
    pub(crate) message: Option<MessageId>,
}

/// A command that is being carried out.
pub(crate) struct Begun(oneshot::Receiver<Result<Outcome, CommandError>>);

/// Where the end of a command is awaited.
pub(crate) type Answer = oneshot::Sender<Result<Outcome, CommandError>>;

/// What a peer is answered.
pub(crate) type Reply = Result<Response, Refused>;

/// Why a peer is not answered.
#[derive(Debug, Clone)]
pub(crate) enum Refused {
    /// The engine refuses.
    Engine(Refusal),
    /// The node can't write its data, or has too much to do.
    Unable(String),
}

/// How things stand in a network.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    /// Why the node takes no part at present.
    pub(crate) problem: Option<String>,
}

/// How things stand, in numbers; all 0 while the node takes no part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) engine: p2p_chat_engine::Figures,
    /// Commits on their way to the disk.
    pub(crate) commits: usize,
}

/// Why a command of the user failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unmet {
    /// The engine says so.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The node can't write its data.
    #[error("{0}")]
    Unable(String),
    /// The node ends. What was begun may be on its disk.
    #[error("the node is stopping; what it was told last may be done all the same, now or when it runs again")]
    Stopping,
}

/// A handle to a network's task. Clones are cheap.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    pub(crate) name: Name,
    pub(crate) counts: Arc<Counts>,
    pub(crate) traces: Traces,
    inbox: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    room_for_texts: Arc<Semaphore>,
    bus: broadcast::Sender<Happening>,
    shared: Arc<Shared>,
}

/// What can be known of a network without asking its task.
#[derive(Default)]
pub(crate) struct Shared {
    leads: AtomicU64,
    admitted: RwLock<BTreeSet<PeerId>>,
    is_over: AtomicBool,
}

impl Shared {
    /// The membership is over.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn update(&self, leads: u64, admitted: Option<BTreeSet<PeerId>>) {
        self.leads.store(leads, Ordering::Relaxed);
        if let Some(admitted) = admitted {
            *self.admitted.write().unwrap_or_else(PoisonError::into_inner) = admitted;
        }
    }
}

impl Network {
    pub(crate) fn new(id: NetworkId, name: Name, traces: Traces) -> (Self, mpsc::Receiver<Message>, Arc<Shared>) {
        let (inbox, messages) = mpsc::channel(INBOX);
        let shared = Arc::new(Shared::default());
        let (counts, room) = (Arc::default(), Arc::new(Semaphore::new(INBOX_BYTES)));
        let room_for_texts = Arc::new(Semaphore::new(TEXT_BYTES));
        let (bus, handle) = (crate::bus::bus(), Arc::clone(&shared));
        let network = Self { id, name, counts, traces, inbox, room, room_for_texts, bus, shared: handle };
        (network, messages, shared)
    }

    /// Whether both are handles to one task.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The reign this node leads here; 0 if it leads none.
    pub(crate) fn leads(&self) -> u64 {
        self.shared.leads.load(Ordering::Relaxed)
    }

    /// Whether requests of `peer` are listened to.
    pub(crate) fn admits(&self, peer: &PeerId) -> bool {
        self.shared.admitted.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }

    /// How many members there are besides `me`.
    pub(crate) fn others(&self, me: &PeerId) -> usize {
        let admitted = self.shared.admitted.read().unwrap_or_else(PoisonError::into_inner);
        admitted.len() - usize::from(admitted.contains(me))
    }

    fn bus(&self) -> &broadcast::Sender<Happening> {
        &self.bus
    }

    /// What happens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Happening> {
        self.bus.subscribe()
    }

    /// Passes a peer's request on and waits for the answer. `cause` is the span of the call, here and below.
    pub(crate) async fn request(&self, from: PeerId, request: Request, cause: Option<Context>) -> Reply {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Request { from, request, cause, reply }, answer).await
    }

    async fn ask(&self, message: Message, answer: oneshot::Receiver<Reply>) -> Reply {
        self.inbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.too_busy(),
            mpsc::error::TrySendError::Closed(_) => Refused::Engine(Refusal::NotHere),
        })?;
        self.answered(answer).await
    }

    fn too_busy(&self) -> Refused {
        self.counts.inbox_refusals.increment();
        Refused::Engine(Refusal::Busy("this node has too much to do"))
    }

    async fn answered(&self, answer: oneshot::Receiver<Reply>) -> Reply {
        match answer.await {
            Ok(reply) => reply,
            Err(_) => {
                let problem = self.look().await.and_then(|look| look.problem);
                Err(problem.map_or(Refused::Engine(Refusal::NotHere), Refused::Unable))
            }
        }
    }

    /// Passes a ping on. Where the task has much to do it waits for its place and is not refused: whoever is not answered
    /// in time takes the node for dead.
    pub(crate) async fn ping(&self, from: PeerId, standing: Standing) -> Reply {
        let (reply, answer) = oneshot::channel();
        let ping = Message::Request { from, request: Request::Ping(standing), cause: None, reply };
        self.inbox.send(ping).await.map_err(|_| Refused::Engine(Refusal::NotHere))?;
        self.answered(answer).await
    }

    /// Room for `bytes` that a peer hands over: to be had before they cost anything.
    pub(crate) fn room(&self, bytes: usize) -> Result<Room, Refused> {
        let wanted = u32::try_from(bytes).map_err(|_| self.too_busy())?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(wanted);
        room.map(Room).map_err(|_| self.too_busy())
    }

    /// Hands runs of a peer over; they are decoded and verified already.
    pub(crate) async fn deliver(
        &self,
        from: PeerId,
        (runs, room): (Vec<Incoming>, Room),
        cause: Option<Context>,
    ) -> Reply {
        let (reply, answer) = oneshot::channel();
        self.ask(Message::Deliver { from, runs, _room: room, cause, reply }, answer).await
    }

    /// Carries out a command of the user.
    pub(crate) async fn command(
        &self,
        command: Command,
        text: Option<String>,
        cause: Option<Context>,
    ) -> Result<Outcome, Unmet> {
        self.outcome(self.begin(command, text, cause).await).await
    }

    /// Begins to carry out a command of the user: commands take effect in the order in which they are begun. A text waits
    /// for its turn while too many wait to be written.
    pub(crate) async fn begin(&self, command: Command, text: Option<String>, cause: Option<Context>) -> Begun {
        let (reply, answer) = oneshot::channel();
        let text = match text {
            Some(said) => self.with_room(said).await,
            None => None,
        };
        // Once the task has ended the sender is dropped, which the outcome tells.
        let _ = self.inbox.send(Message::Command { command, text, cause, reply }).await;
        Begun(answer)
    }

    async fn with_room(&self, said: String) -> Option<Text> {
        let wanted = u32::try_from(said.len().max(TEXT_ROOM)).unwrap_or(u32::MAX);
        // Nobody closes the semaphore.
        let room = Arc::clone(&self.room_for_texts).acquire_many_owned(wanted).await.ok()?;
        Some(Text { said, _room: Room(room) })
    }

    /// What became of a command that was begun.
    pub(crate) async fn outcome(&self, begun: Begun) -> Result<Outcome, Unmet> {
        match begun.0.await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let problem = self.look().await.and_then(|look| look.problem);
                let is_over = self.shared.is_over.load(Ordering::Relaxed);
                let why = if is_over { CommandError::Left.into() } else { Unmet::Stopping };
                Err(problem.map_or(why, Unmet::Unable))
            }
        }
    }

    /// How things stand; `None` once the node has left, or stops.
    pub(crate) async fn look(&self) -> Option<Look> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Look(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Has everything written down that is known, and waits for it.
    pub(crate) async fn write_down(&self) {
        let (reply, done) = oneshot::channel();
        if self.inbox.send(Message::WriteDown(reply)).await.is_ok() {
            // Where the disk fails, or the membership has ended, what is there has to do.
            let _ = done.await;
        }
    }

    /// How things stand, in numbers; `None` once the node has left.
    pub(crate) async fn figures(&self) -> Option<Figures> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Figures(reply)).await.ok()?;
        answer.await.ok()
    }

    /// How many inputs wait for the task.
    pub(crate) fn waiting(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }

    /// Reports the end of a call.
    pub(crate) async fn respond(&self, generation: u64, call: CallId, result: Result<Response, CallError>) {
        // Once the task has ended nobody waits for it.
        let _ = self.inbox.send(Message::Response { generation, call, result }).await;
    }

    /// Hands over a chunk of a fetch. Returns when it is on disk, or `false` if nobody wants more.
    pub(crate) async fn fetched(&self, generation: u64, call: CallId, runs: Vec<Incoming>) -> bool {
        let (stored, done) = oneshot::channel();
        let sent = self.inbox.send(Message::Fetched { generation, call, runs, stored }).await;
        sent.is_ok() && done.await.is_ok()
    }
}

#[cfg(test)]
mod tests;
