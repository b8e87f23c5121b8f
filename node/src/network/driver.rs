//! The task that owns a network's engine. It executes what the engine says and decides nothing: outputs take effect
//! in their order, and not before everything written before them is on disk.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use p2p_chat_engine::{Command, CommandId, Engine, Event, Input, Output, Request, RequestId, RunToken, Setup, Write};
use p2p_chat_model::{MessageId, PeerId};
use p2p_chat_store::{Store, StoreError};
use p2p_chat_traces::Context;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::{
    Answer, Figures, Incoming, Look, Message, Network, Outcome, Refused, Reply, Shared,
    absence::Absence,
    acks::Acks,
    batching::{Batching, Busy},
    clock::{moment, sleep_until, wall_ms},
    commits::{Commits, Effect},
    load::{dormant, load, stored_state},
    observe::{Batch, Brought, Observer},
    outbox::{Head, Outbox},
    trail::FIRST,
};
use crate::{bus::Happening, outbound::Outbound, wire};

/// Inputs that are handled before their outputs are: what piles up is written in one commit.
const BATCH: usize = 64;
/// Commits that may be under way; while there are more, nothing new is taken in.
const MAX_COMMITS: usize = 64;
/// How often a disk that failed is tried again.
const MEND_INTERVAL: Duration = Duration::from_secs(5);

/// How the engine starts; the first command is answered through the sender.
pub(crate) enum Start {
    /// The network is new: its genesis run is on disk.
    Found { genesis: p2p_chat_engine::EntryFacts, cause: Option<Context>, reply: Answer },
    /// The node joins.
    Join { record: p2p_chat_engine::Record, cause: Option<Context>, reply: Answer },
    /// The node goes on.
    Resume,
}

/// What the task ends with.
enum End {
    Stopped,
    Closed,
    Failed(StoreError),
}

/// The owner of an engine.
pub(crate) struct Driver {
    pub(crate) setup: Setup,
    pub(crate) store: Store,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) network: Network,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) shared: Arc<Shared>,
}

/// The engine at work, and what it waits for.
struct Work<'a> {
    driver: &'a mut Driver,
    engine: Engine,
    generation: u64,
    started: Instant,
    head: Head,
    texts: BTreeMap<CommandId, String>,
    written: BTreeMap<CommandId, MessageId>,
    commands: BTreeMap<CommandId, Answer>,
    requests: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_id: u64,
    incoming: Vec<Option<Incoming>>,
    brought: Vec<Brought>,
    observer: Observer,
    commits: Commits,
    acks: Acks,
    absence: Absence,
    /// Texts that wait to be written together.
    batching: Batching<Message>,
    stopped: bool,
    members_changed: bool,
}

impl Driver {
    /// Runs the network until the node leaves it or stops. Ends with whether the membership is over.
    pub(crate) async fn run(mut self, start: Start) -> bool {
        let mut start = Some(start);
        let mut generation = 0;
        loop {
            generation += 1;
            let end = match Work::begin(&mut self, start.take().unwrap_or(Start::Resume), generation).await {
                Ok(mut work) => work.run().await,
                Err(error) => End::Failed(error),
            };
            match end {
                End::Stopped => return true,
                End::Closed => return false,
                End::Failed(error) => {
                    if !self.wait_until_mended(&error).await {
                        return false;
                    }
                }
            }
        }
    }

    /// The disk fails: refuses everything until it works again. Returns whether it does.
    async fn wait_until_mended(&mut self, problem: &StoreError) -> bool {
        error!(network = %self.network.name, %problem, "can't store; taking no part until the disk works again");
        self.shared.update(0, None);
        self.network.counts.broken.set(1);
        let _ = self.network.bus().send(Happening::Broken(problem.to_string()));
        let mut tick = tokio::time::interval(MEND_INTERVAL);
        tick.tick().await;
        loop {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.refuse(message, problem).await,
                    None => return false,
                },
                _ = tick.tick() => {
                    if self.store.check_writable(self.network.id).await.is_ok() {
                        info!(network = %self.network.name, "the disk works again");
                        self.network.counts.broken.set(0);
                        let _ = self.network.bus().send(Happening::Mended);
                        return true;
                    }
                }
            }
        }
    }

    async fn refuse(&self, message: Message, problem: &StoreError) {
        match message {
            Message::Request { reply, .. } | Message::Deliver { reply, .. } => {
                let _ = reply.send(Err(Refused::Unable(problem.to_string())));
            }
            Message::Look(reply) => {
                if let Some(snapshot) = dormant(&self.setup, &self.store).await {
                    let _ = reply.send(Look { snapshot, problem: Some(problem.to_string()) });
                }
            }
            Message::Figures(reply) => {
                let _ = reply.send(Figures::default());
            }
            // Dropping the sender tells the caller to look for the reason.
            Message::Command { .. } | Message::Response { .. } | Message::Fetched { .. } | Message::WriteDown(_) => {}
        }
    }
}

impl<'a> Work<'a> {
    async fn begin(driver: &'a mut Driver, start: Start, generation: u64) -> Result<Self, StoreError> {
        let me = driver.setup.identity.peer();
        let loaded = load(&driver.store, driver.network.id, me).await?;
        let mut observer = Observer::new(&driver.network, me, driver.store.acked(driver.network.id).await?);
        let (seq, hash) = loaded.own;
        let absence = Absence::at_start(!loaded.log.is_empty());
        let mut commands = BTreeMap::new();
        let start = match start {
            Start::Found { genesis, cause, reply } => {
                commands.insert(FIRST, reply);
                observer.trail.on_command(FIRST, cause);
                p2p_chat_engine::Start::Found { command: FIRST, genesis }
            }
            Start::Join { record, cause, reply } => {
                commands.insert(FIRST, reply);
                observer.trail.on_command(FIRST, cause);
                let (leader, contacts) = (record.leader, record.contacts);
                let before = stored_state(&driver.store, driver.network.id).await?;
                p2p_chat_engine::Start::Join { command: FIRST, leader, contacts, before, log: loaded.log }
            }
            Start::Resume => match stored_state(&driver.store, driver.network.id).await? {
                Some(durable) => p2p_chat_engine::Start::Resume { durable, log: loaded.log },
                None => {
                    // The node ended before the first state was written: it never was in.
                    let durable = p2p_chat_engine::Durable::new(p2p_chat_engine::Phase::Left, 0);
                    p2p_chat_engine::Start::Resume { durable, log: loaded.log }
                }
            },
        };
        let started = Instant::now();
        let moment = moment(started);
        let engine = Engine::new(driver.setup.clone(), start, moment);
        let mut work = Self {
            driver,
            engine,
            generation,
            started,
            head: Head { seq, hash },
            texts: BTreeMap::new(),
            written: BTreeMap::new(),
            commands,
            requests: BTreeMap::new(),
            next_id: 1,
            incoming: Vec::new(),
            brought: Vec::new(),
            observer,
            commits: Commits::default(),
            acks: Acks::default(),
            absence,
            batching: Batching::default(),
            stopped: false,
            members_changed: true,
        };
        work.flush();
        Ok(work)
    }

    async fn run(&mut self) -> End {
        loop {
            if self.stopped {
                self.commit_acks();
                if self.commits.is_empty() {
                    return End::Stopped;
                }
            }
            let deadline = self.engine.deadline().map(|at| self.started + Duration::from_millis(at));
            tokio::select! {
                biased;
                result = self.commits.next(), if !self.commits.is_empty() => {
                    match result {
                        Ok(effects) => self.execute(effects),
                        Err(error) => {
                            self.commits.settle().await;
                            return End::Failed(error);
                        }
                    }
                    self.write_waiting();
                }
                message = self.driver.messages.recv(), if self.commits.len() < MAX_COMMITS => {
                    let Some(message) = message else {
                        self.commit_acks();
                        return End::Closed;
                    };
                    self.take(message);
                    for _ in 1..BATCH {
                        match self.driver.messages.try_recv() {
                            Ok(message) => self.take(message),
                            Err(_) => break,
                        }
                    }
                    self.flush();
                    self.write_waiting();
                }
                () = sleep_until(deadline) => {
                    self.engine.handle(moment(self.started), Input::Tick);
                    self.flush();
                }
                () = sleep_until(self.acks.due()) => self.commit_acks(),
                () = sleep_until(self.batching.due()), if !self.commits.has_own() => self.write_waiting(),
            }
        }
    }

    /// Writes the texts that wait, if it is their turn.
    fn write_waiting(&mut self) {
        let texts = self.batching.ready(self.busy(), Instant::now());
        if !texts.is_empty() {
            texts.into_iter().for_each(|text| self.begin_command(text));
            self.flush();
        }
    }

    fn busy(&self) -> Busy {
        Busy { with_own: self.commits.has_own(), with_all: self.engine.hands_over_to_all() }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Command { command: Command::Send, .. } if self.batching.wants(self.busy()) => {
                self.batching.hold(message, Instant::now());
            }
            message @ Message::Command { .. } => {
                // Whoever leaves has said before what it wanted to say.
                self.batching.take().into_iter().for_each(|earlier| self.begin_command(earlier));
                self.begin_command(message);
            }
            Message::Request { from, request, cause, reply } => self.take_request((from, request), cause, reply),
            Message::Deliver { from, runs, cause, reply } => {
                let facts = self.hold(runs, Brought::HandedOver(cause));
                self.take_request((from, Request::Deliver(facts)), None, reply);
            }
            Message::Response { generation, call, result } if generation == self.generation => {
                self.handle(Input::Response(call, result));
            }
            Message::Fetched { generation, call, runs, stored } if generation == self.generation => {
                let facts = self.hold(runs, Brought::Fetched);
                self.handle(Input::Fetched(call, facts));
                self.flush();
                self.after_commits(vec![Effect::Stored(stored)]);
            }
            Message::Look(reply) => {
                let _ = reply.send(Look { snapshot: self.engine.snapshot(), problem: None });
            }
            Message::WriteDown(reply) => {
                self.flush();
                self.commit_acks();
                self.after_commits(vec![Effect::Stored(reply)]);
            }
            Message::Figures(reply) => {
                let _ = reply.send(Figures { engine: self.engine.figures(), commits: self.commits.len() });
            }
            // Of an engine before a failure of the disk.
            Message::Response { .. } | Message::Fetched { .. } => {}
        }
    }

    fn begin_command(&mut self, message: Message) {
        let Message::Command { command, text, cause, reply } = message else { return };
        let id = CommandId(self.next_number());
        if let (Command::Send, Some(text)) = (&command, text) {
            self.texts.insert(id, text);
        }
        self.commands.insert(id, reply);
        self.observer.trail.on_command(id, cause);
        self.handle(Input::Command(id, command));
    }

    fn take_request(&mut self, asked: (PeerId, Request), cause: Option<Context>, reply: oneshot::Sender<Reply>) {
        let (id, (from, request)) = (RequestId(self.next_number()), asked);
        self.observer.trail.on_request(id, from, &request, cause);
        self.requests.insert(id, reply);
        self.handle(Input::Request(id, from, request));
    }

    /// Holds the runs of a step and names them for the engine.
    fn hold(&mut self, runs: Vec<Incoming>, brought: Brought) -> Vec<p2p_chat_engine::RunFacts> {
        let first = self.incoming.len() as u64;
        let facts = (first..).zip(&runs).map(|(index, (run, _))| wire::facts(run, RunToken(index))).collect();
        self.brought.extend(runs.iter().map(|_| brought.clone()));
        self.incoming.extend(runs.into_iter().map(Some));
        facts
    }

    fn next_number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(moment(self.started), input);
    }

    /// Turns the outputs that wait into one commit and what follows from it.
    fn flush(&mut self) {
        let (mut effects, mut batch) = (Vec::new(), Batch::default());
        let (wall_ms, before) = (wall_ms(), self.head.seq);
        let driver = &*self.driver;
        let mut outbox = Outbox::new(&driver.setup.identity, driver.network.id, &mut self.head, wall_ms);
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Write(write) => {
                    let write = self.absence.mark(write);
                    self.members_changed |= matches!(&write, Write::State(_) | Write::Own { op: Some(_), .. })
                        || matches!(&write, Write::Deliver { entry, .. } if entry.op.is_some());
                    self.observer.on_write(&mut batch, &write, &self.incoming, &self.brought);
                    if let Write::Ack { peer, upto, way } = &write {
                        self.observer.on_ack(*peer, *upto, *way);
                    }
                    let texts = &mut self.texts;
                    if let Some(written) = outbox.add(write, &mut self.incoming, |id| texts.remove(&id)) {
                        self.written.extend(written.command.map(|command| (command, written.message)));
                        self.observer.on_written(&mut batch, written);
                    }
                }
                // One says as much as many: whoever hears it looks at the log.
                Output::Event(Event::Delivered { .. }) if effects.last().is_some_and(Effect::tells_of_deliveries) => {}
                output => {
                    self.absence.on_output(&output);
                    effects.push(Effect::Output(Box::new(output)));
                }
            }
        }
        self.absence.after_step(|| self.engine.has_everything());
        let writes = self.acks.join(outbox.finish());
        self.observer.on_left_over(&self.engine, &self.incoming);
        self.incoming.clear();
        self.brought.clear();
        if !batch.is_empty() {
            effects.insert(0, Effect::Observed(Box::new(self.observer.begin_commit(batch))));
        }
        if !writes.is_empty() {
            let pending = driver.store.commit(driver.network.id, writes);
            let is_own = self.head.seq > before;
            self.commits.push(pending, effects, is_own);
        } else {
            self.after_commits(effects);
        }
        self.share();
    }

    fn commit_acks(&mut self) {
        let writes = self.acks.take();
        if !writes.is_empty() {
            let pending = self.driver.store.commit(self.driver.network.id, writes);
            self.commits.push(pending, Vec::new(), false);
        }
    }

    fn share(&mut self) {
        let leads = self.engine.leads().map_or(0, |epoch| epoch.0);
        let admitted = std::mem::take(&mut self.members_changed).then(|| self.engine.admitted());
        self.driver.shared.update(leads, admitted);
    }

    fn after_commits(&mut self, effects: Vec<Effect>) {
        let effects = self.commits.append(effects);
        self.execute(effects);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Observed(batch) => self.observer.on_committed(*batch),
                Effect::Output(output) => self.carry_out(*output),
                Effect::Stored(stored) => {
                    let _ = stored.send(());
                }
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        let span = self.observer.on_output(&output);
        let driver = &*self.driver;
        match output {
            // Written before: see `flush`.
            Output::Write(_) => {}
            Output::Reply(id, result) => {
                if let Some(reply) = self.requests.remove(&id) {
                    let _ = reply.send(result.map_err(Refused::Engine));
                }
            }
            Output::Done(id, result) => {
                self.texts.remove(&id);
                let message = self.written.remove(&id);
                if let Some(reply) = self.commands.remove(&id) {
                    let _ = reply.send(result.map(|done| Outcome { done, message }));
                }
            }
            Output::Call { id, peer, address, call, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                driver.outbound.call(&driver.network, (self.generation, id), span, (peer, address), call, timeout);
            }
            Output::Discover { id, service, call, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                driver.outbound.discover(&driver.network, (self.generation, id), span, service, call, timeout);
            }
            Output::Event(event) => self.tell(event),
        }
    }

    fn tell(&mut self, event: Event) {
        self.stopped |= event == Event::Stopped;
        let _ = self.driver.network.bus().send(Happening::Event(event));
    }
}
