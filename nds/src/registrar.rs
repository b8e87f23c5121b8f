//! The one writer: decides, makes durable, applies, answers, in this order. Whatever piled up while the disk was
//! busy goes into the next commit together.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use p2p_chat_model::{NetworkId, Registration, Vote};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    clock::Clock,
    error::CallError,
    metrics::Metrics,
    registry::{Answers, Change, Founding, Refusal, Registry, Verdict},
    store::{Store, StoreError},
};

/// Most commands that wait for the writer.
const MAX_WAITING: usize = 1_024;
/// Most commands in one commit.
const MAX_BATCH: usize = 256;
/// Most changes that a watcher may be behind.
const MAX_LAG: usize = 1_024;

/// A leader's statement and what it is for, with every signature checked.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) claim: Registration,
    pub(crate) purpose: Purpose,
}

/// What a statement is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    Create(Founding),
    Update(Vec<Vote>),
    Renew,
    Close,
}

/// What the writer does.
#[derive(Debug)]
pub(crate) enum Command {
    Follow(Box<Statement>),
    Upkeep,
}

impl Command {
    /// The network that it is about; of [`Command::Upkeep`], which is about all, none.
    fn network(&self) -> Option<NetworkId> {
        match self {
            Self::Follow(statement) => Some(statement.claim.network),
            Self::Upkeep => None,
        }
    }

    /// Whether it adds or removes networks or tombstones, which are counted over all networks.
    fn is_structural(&self) -> bool {
        match self {
            Self::Follow(statement) => matches!(statement.purpose, Purpose::Create(_) | Purpose::Close),
            Self::Upkeep => true,
        }
    }

    pub(crate) fn decide(&self, registry: &Registry, now: Duration, answers: &Answers) -> Result<Verdict, Refusal> {
        let Self::Follow(statement) = self else {
            return Ok(Verdict::Accept(registry.upkeep(now)));
        };
        let Statement { claim, purpose } = statement.as_ref();
        match purpose {
            Purpose::Create(founding) => registry.decide_create(now, claim, founding, answers),
            Purpose::Update(votes) => registry.decide_update(now, claim, votes, answers),
            Purpose::Renew => registry.decide_renew(now, claim, answers),
            Purpose::Close => registry.decide_close(now, claim),
        }
    }
}

/// What came of a command: nothing is left to be made durable.
type Outcome = Result<Verdict, CallError>;

struct Job {
    command: Arc<Command>,
    answers: Answers,
    reply: oneshot::Sender<Outcome>,
}

enum Message {
    Do(Job),
    Stop,
}

/// The way to the writer, and to what it has applied. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registrar {
    registry: Arc<RwLock<Registry>>,
    jobs: mpsc::Sender<Message>,
    changed: broadcast::Sender<NetworkId>,
    clock: Clock,
}

impl Registrar {
    /// Starts the writer's thread, which runs for as long as what comes back lives.
    pub(crate) fn start(store: Store, registry: Registry, clock: Clock, metrics: Arc<Metrics>) -> (Self, Running) {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let (changed, _) = broadcast::channel(MAX_LAG);
        let registry = Arc::new(RwLock::new(registry));
        let writer = Writer { store, registry: registry.clone(), changed: changed.clone(), clock, metrics };
        let (running, ended) = oneshot::channel();
        thread::spawn(move || {
            let _running = running;
            writer.run(waiting);
        });
        (Self { registry, jobs: jobs.clone(), changed, clock }, Running { jobs, ended })
    }

    /// Reads what is applied, at the present time.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Registry, Duration) -> T) -> T {
        read(&self.registry.read().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }

    /// How many commands wait for the writer.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    /// Decides without doing anything.
    pub(crate) fn consider(&self, command: &Command, answers: &Answers) -> Result<Verdict, Refusal> {
        self.read(|registry, now| command.decide(registry, now, answers))
    }

    /// Decides again and does it. [`Verdict::Accept`] means done: durable and applied.
    pub(crate) async fn submit(&self, command: Arc<Command>, answers: Answers) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.jobs.try_send(Message::Do(Job { command, answers, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CallError::Busy("too many changes wait for the disk"),
            mpsc::error::TrySendError::Closed(_) => CallError::Stopping,
        })?;
        outcome.await.unwrap_or(Err(CallError::Stopping))
    }

    /// The networks that change from now on. What changed is to be looked up.
    pub(crate) fn changes(&self) -> broadcast::Receiver<NetworkId> {
        self.changed.subscribe()
    }

    /// Tells the watchers of networks that changed by the passing of time.
    pub(crate) fn announce(&self, networks: Vec<NetworkId>) {
        for network in networks {
            // Nobody watching is fine.
            let _ = self.changed.send(network);
        }
    }
}

/// The running writer. Dropped, it lets the writer finish what waits, and end.
pub(crate) struct Running {
    jobs: mpsc::Sender<Message>,
    ended: oneshot::Receiver<()>,
}

impl Running {
    /// Completes when the writer has ended and closed the store.
    pub(crate) async fn ended(&mut self) {
        if !self.ended.is_terminated() {
            // Nothing is ever sent: the writer drops the sender when it ends.
            let _ = (&mut self.ended).await;
        }
    }

    /// Lets the writer finish what waits, and waits for its end. Later commands fail with [`CallError::Stopping`].
    pub(crate) async fn stop(mut self) {
        // An error means that it has ended.
        let _ = self.jobs.send(Message::Stop).await;
        self.ended().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where there is no room, the writer ends with the last Registrar.
        let _ = self.jobs.try_send(Message::Stop);
    }
}

struct Writer {
    store: Store,
    registry: Arc<RwLock<Registry>>,
    changed: broadcast::Sender<NetworkId>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let (mut waiting, mut is_stopping) = (VecDeque::new(), false);
        while !(waiting.is_empty() && is_stopping) {
            if waiting.is_empty() {
                match messages.blocking_recv() {
                    Some(Message::Do(job)) => waiting.push_back(job),
                    Some(Message::Stop) | None => return,
                }
            }
            while waiting.len() < MAX_BATCH && !is_stopping {
                match messages.try_recv() {
                    Ok(Message::Do(job)) => waiting.push_back(job),
                    Ok(Message::Stop) => is_stopping = true,
                    Err(_) => break,
                }
            }
            let batch = take_batch(&mut waiting);
            self.settle(batch);
        }
    }

    fn settle(&mut self, batch: Vec<Job>) {
        let now = self.clock.now();
        let mut accepted = Vec::new();
        for job in batch {
            match job.command.decide(&self.read(), now, &job.answers) {
                Ok(Verdict::Accept(changes)) => accepted.push((job, changes)),
                // A caller that hung up does not want the reply.
                other => drop(job.reply.send(other.map_err(Into::into))),
            }
        }
        let written = match accepted.iter().all(|(_, changes)| changes.is_empty()) {
            true => Ok(()),
            false => self.write(accepted.iter().flat_map(|(_, changes)| changes)),
        };
        if let Err(error) = &written {
            tracing::error!(%error, calls = accepted.len(), "the record could not be written");
        }
        for (job, changes) in accepted {
            let outcome = match &written {
                Ok(()) => {
                    self.metrics.on_accepted(&job.command);
                    self.apply(now, &changes);
                    Ok(Verdict::Accept(changes))
                }
                Err(error) => Err(CallError::Disk(error.clone())),
            };
            drop(job.reply.send(outcome));
        }
    }

    fn write<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<(), Arc<StoreError>> {
        let begun = Instant::now();
        let written = self.store.write(changes);
        self.metrics.write_time.observe(begun.elapsed());
        if written.is_err() {
            self.metrics.write_failures.increment();
        }
        written.map_err(Arc::new)
    }

    fn apply(&self, now: Duration, changes: &[Change]) {
        for change in changes {
            let is_visible = self.registry.write().unwrap_or_else(PoisonError::into_inner).apply(now, change.clone());
            if is_visible {
                let _ = self.changed.send(change.network());
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what can be decided upon the same record. The first that waits is always taken; what is left keeps its order.
fn take_batch(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let (mut batch, mut left) = (Batch::default(), Vec::new());
    for job in waiting.drain(..) {
        let into = if batch.accepts(&job.command) { &mut batch.jobs } else { &mut left };
        // What waits for the same network must not overtake what is left either.
        batch.networks.extend(job.command.network());
        into.push(job);
    }
    *waiting = left.into();
    batch.jobs
}

/// Commands that can be decided upon the same record: one a network, and one in all of those that count networks. What
/// is about all networks goes alone.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    /// The networks of these, and of what came by and was not accepted.
    networks: BTreeSet<NetworkId>,
}

impl Batch {
    fn accepts(&self, command: &Command) -> bool {
        let Some(network) = command.network() else { return self.jobs.is_empty() };
        let has = |is_in_the_way: fn(&Command) -> bool| self.jobs.iter().any(|job| is_in_the_way(&job.command));
        let is_second = command.is_structural() && has(Command::is_structural);
        !is_second && !self.networks.contains(&network) && !has(|command| command.network().is_none())
    }
}

#[cfg(test)]
mod tests;
