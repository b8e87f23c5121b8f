//! The task that owns a network's engine. It executes what the engine says and decides nothing: outputs take effect
//! in their order, and not before everything written before them is on disk.
//!
//! It lives until the membership is over, or until it is told to stop. In between it may begin anew: where the disk
//! fails the engine goes, and once the disk works again the next one starts from what is stored.

mod broken;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use p2p_chat_engine::{Command, CommandId, Engine, Event, Input, Output, Request, RequestId, RunToken, Setup, Write};
use p2p_chat_model::{MessageId, PeerId};
use p2p_chat_store::{MAX_QUEUED_BYTES, Pending, Store, StoreError};
use p2p_chat_traces::Context;
use tokio::sync::{mpsc, oneshot};

use super::{
    Answer, Figures, Incoming, Look, Message, Network, Outcome, Refused, Reply, Shared, Text,
    absence::Absence,
    acks::Acks,
    batching::{Batching, Busy},
    clock::{moment, sleep_until, wall_ms},
    commits::{Commits, Effect},
    load::{load, stored_state},
    observe::{Batch, Brought, Observer},
    outbox::{Head, Outbox},
    trail::FIRST,
};
use crate::{bus::Happening, outbound::Outbound, wire};

/// Inputs that are handled before their outputs are: what piles up is written in one commit.
const BATCH: usize = 64;
/// Bytes that are taken in before they are written, but for the last input. What else may follow from them stays far
/// below what the store refuses.
const BATCH_BYTES: usize = 4 << 20;
/// Commits that may be under way; while there are more, nothing new is taken in.
const MAX_COMMITS: usize = 64;
/// Bytes that may wait for the disk, of all networks; while there are more, nothing new is taken in. Well below what the
/// store refuses, which counts as a failure of the disk.
const MAX_WAITING_BYTES: usize = MAX_QUEUED_BYTES / 4;

/// How the engine starts; the first command is answered through the sender.
pub(crate) enum Start {
    /// The network is new: its genesis run is on disk.
    Found { genesis: p2p_chat_engine::EntryFacts, cause: Option<Context>, reply: Answer },
    /// The node joins.
    Join { record: p2p_chat_engine::Record, cause: Option<Context>, reply: Answer },
    /// The node goes on.
    Resume,
}

/// The owner of an engine.
pub(crate) struct Driver {
    setup: Setup,
    store: Store,
    outbound: Arc<Outbound>,
    /// For the calls that are made: their ends come through the inbox, which so is never closed.
    network: Network,
    messages: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    acks: Acks,
}

/// The engine at work, and what it waits for.
struct Work<'a> {
    driver: &'a mut Driver,
    engine: Engine,
    generation: u64,
    started: Instant,
    head: Head,
    texts: BTreeMap<CommandId, Text>,
    written: BTreeMap<CommandId, MessageId>,
    commands: BTreeMap<CommandId, Answer>,
    requests: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_id: u64,
    incoming: Vec<Option<Incoming>>,
    brought: Vec<Brought>,
    observer: Observer,
    commits: Commits,
    absence: Absence,
    /// Texts that wait to be written together.
    batching: Batching<Message>,
    stopped: bool,
    members_changed: bool,
}

impl Driver {
    pub(crate) fn new(
        setup: Setup,
        store: Store,
        outbound: Arc<Outbound>,
        (network, messages, shared): (Network, mpsc::Receiver<Message>, Arc<Shared>),
    ) -> Self {
        Self { setup, store, outbound, network, messages, shared, acks: Acks::default() }
    }

    /// Runs the network until the membership is over, or `stop` is dropped. Returns whether the membership is over.
    pub(crate) async fn run(mut self, start: Start, stop: oneshot::Receiver<()>) -> bool {
        let is_over = tokio::select! {
            biased;
            _ = stop => false,
            () = self.live(start) => true,
        };
        // It has its place before whatever is written next, and is on disk when the store is closed.
        drop(self.commit_acks());
        is_over
    }

    /// Runs one engine after the other, until the membership is over. May be dropped at any time: then what was handed
    /// in is still written, and nothing follows from it.
    async fn live(&mut self, start: Start) {
        let (mut start, mut generation, mut broken) = (Some(start), 0, false);
        loop {
            generation += 1;
            let ended = match Work::begin(self, start.take().unwrap_or(Start::Resume), generation).await {
                Ok(mut work) => {
                    if std::mem::take(&mut broken) {
                        work.driver.tell_mended();
                    }
                    work.run().await
                }
                Err(error) => Err(error),
            };
            let Err(problem) = ended else { return };
            // Others say them again.
            self.acks.take();
            if !std::mem::replace(&mut broken, true) {
                self.tell_broken(&problem);
            }
            self.wait_until_writable(&problem).await;
        }
    }

    /// Hands the acknowledgements that wait to the store.
    fn commit_acks(&mut self) -> Option<Pending> {
        let writes = self.acks.take();
        (!writes.is_empty()).then(|| self.store.commit(self.network.id, writes))
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
            absence,
            batching: Batching::default(),
            stopped: false,
            members_changed: true,
        };
        work.flush();
        Ok(work)
    }

    /// Until the membership is over and all that follows from it is on disk, or until the disk fails.
    async fn run(&mut self) -> Result<(), StoreError> {
        loop {
            if self.stopped {
                self.commit_acks();
                if self.commits.is_empty() {
                    return Ok(());
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
                            return Err(error);
                        }
                    }
                    self.write_waiting();
                }
                Some(message) = self.driver.messages.recv(), if self.has_room() => {
                    self.take_batch(message);
                    self.flush();
                    self.write_waiting();
                }
                () = sleep_until(deadline) => {
                    self.engine.handle(moment(self.started), Input::Tick);
                    self.flush();
                }
                () = sleep_until(self.driver.acks.due()) => self.commit_acks(),
                () = sleep_until(self.batching.due()), if !self.commits.has_own() => self.write_waiting(),
            }
        }
    }

    /// Whether more can be taken in. Where nothing of this network is on its way to the disk, one input can: so it goes on,
    /// however much there is of others.
    fn has_room(&self) -> bool {
        self.commits.is_empty() || self.commits.len() < MAX_COMMITS && self.store_has_room()
    }

    fn store_has_room(&self) -> bool {
        self.driver.store.waiting().bytes < MAX_WAITING_BYTES
    }

    /// Takes an input, and of those behind it as many as may go into one commit.
    fn take_batch(&mut self, first: Message) {
        let (mut inputs, mut bytes) = (1, first.weight());
        self.take(first);
        let most = if self.store_has_room() { BATCH } else { 1 };
        while inputs < most
            && bytes < BATCH_BYTES
            && let Ok(next) = self.driver.messages.try_recv()
        {
            (inputs, bytes) = (inputs + 1, bytes + next.weight());
            self.take(next);
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
                let bytes = message.weight();
                self.batching.hold(message, bytes, Instant::now());
            }
            message @ Message::Command { .. } => {
                // Whoever leaves has said before what it wanted to say.
                self.batching.take().into_iter().for_each(|earlier| self.begin_command(earlier));
                self.begin_command(message);
            }
            Message::Request { from, request, cause, reply } => self.take_request((from, request), cause, reply),
            Message::Deliver { from, runs, cause, reply, .. } => {
                let facts = self.hold(runs, Brought::HandedOver(cause));
                self.take_request((from, Request::Deliver(facts)), None, reply);
            }
            Message::Response { generation, call, result } if generation == self.generation => {
                self.handle(Input::Response(call, result));
            }
            Message::Fetched { generation, call, runs, stored }
                if generation == self.generation && self.engine.expects(call) =>
            {
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
            // Of an engine before a failure of the disk, or a fetch that was given up.
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
                    if let Some(written) =
                        outbox.add(write, &mut self.incoming, |id| texts.remove(&id).map(|text| text.said))
                    {
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
        let writes = outbox.finish();
        let writes = self.driver.acks.join(writes);
        self.observer.on_left_over(&self.engine, &self.incoming);
        self.incoming.clear();
        self.brought.clear();
        if !batch.is_empty() {
            effects.insert(0, Effect::Observed(Box::new(self.observer.begin_commit(batch))));
        }
        if !writes.is_empty() {
            let pending = self.driver.store.commit(self.driver.network.id, writes);
            let is_own = self.head.seq > before;
            self.commits.push(pending, effects, is_own);
        } else {
            self.after_commits(effects);
        }
        self.share();
    }

    fn commit_acks(&mut self) {
        if let Some(pending) = self.driver.commit_acks() {
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
        if event == Event::Stopped {
            self.stopped = true;
            self.driver.shared.end();
        }
        let _ = self.driver.network.bus().send(Happening::Event(event));
    }
}

#[cfg(test)]
mod tests;
