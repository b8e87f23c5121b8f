//! Members, and the discovery service, that say whatever is well-formed: a real engine answers everybody once, keeps
//! its own rules, and says nothing that the wire can't carry.

mod nonsense;
mod watch;

use p2p_chat_engine::{
    Command, CommandId, Config, Durable, Engine, FeedLog, Input, Moment, Output, Phase, Setup, Start,
};
use p2p_chat_model::{EntryHash, PeerId};

use self::{nonsense::Nonsense, watch::Watch};
use super::{choices::Choices, valid};

/// Most steps of one story.
const MAX_STEPS: usize = 400;
/// Most calls that end in vain at the end of a story.
const MAX_LAST_STEPS: usize = 6_000;
/// Most deadlines that are met while time passes.
const MAX_TICKS: usize = 60;

pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices(input);
    let mut node = Node::start(&mut choices);
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        node.step(&mut choices);
    }
    node.end();
}

/// One engine, and what is known of it.
struct Node {
    engine: Engine,
    watch: Watch,
    now: u64,
    numbers: u64,
}

impl Node {
    /// A member of a network of four; the leader or not, with the network's log on disk or without.
    fn start(choices: &mut Choices<'_>) -> Self {
        let me = choices.below(4);
        let view = valid::view(3, 9, choices.below(4), &[0, 1, 2, 3]);
        let mut durable = Durable::new(Phase::Joined, 99);
        durable.epoch = view.epoch;
        durable.addresses = view.active.iter().map(|it| (it.peer, it.address.clone())).collect();
        durable.view = Some(view);
        durable.certificate = valid::certificate(3, 0);
        let log = if choices.flag() { Vec::new() } else { vec![founding_log()] };
        let setup = Setup {
            identity: valid::identity(me).clone(),
            network: valid::network(),
            name: valid::name(valid::NAMES[me]),
            address: valid::address(me),
            services: choices.below(3),
            config: Config::LAN,
        };
        let watch = Watch::new(valid::peer(me), durable.clone());
        let moment = Moment { now: 1_000, wall_ms: 1_700_000_000_000, random: 0 };
        let engine = Engine::new(setup, Start::Resume { durable, log }, moment);
        let mut node = Self { engine, watch, now: 1_000, numbers: 0 };
        node.drain(0);
        node
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let kind = choices.byte();
        let random = choices.number();
        match kind % 8 {
            0 => {
                let most = [100, 700, 2_500, 40_000][choices.below(4)];
                self.pass(choices.number() % most);
            }
            1 => {
                self.numbers += 1;
                let command = match choices.below(12) {
                    11 => Command::Leave { wait_ms: choices.number() % (1 << 32), force: choices.below(2) == 1 },
                    _ => Command::Send,
                };
                self.handle(random, 0, Input::Command(CommandId(self.numbers), command));
            }
            2..5 => {
                let from = valid::peer(choices.below(5));
                let request = Nonsense::about(&self.engine, choices).request(from);
                super::limits::request(&request);
                let id = self.watch.asked(from);
                let size = nonsense::size(&request);
                self.handle(random, size, Input::Request(id, from, request));
            }
            _ => {
                let Some((id, is_discovery)) = self.watch.open_call(choices.below(64)) else { return };
                let mut nonsense = Nonsense::about(&self.engine, choices);
                if kind % 8 == 7 && !is_discovery {
                    let runs = nonsense.runs();
                    let size = runs.iter().map(|run| run.entries.len()).sum();
                    return self.handle(random, size, Input::Fetched(id, runs));
                }
                let answer = if is_discovery { nonsense.discovery_answer() } else { nonsense.answer() };
                self.watch.answered(id);
                self.handle(random, 0, Input::Response(id, answer));
            }
        }
    }

    fn handle(&mut self, random: u64, size: usize, input: Input) {
        let moment = Moment { now: self.now, wall_ms: 1_700_000_000_000, random };
        self.engine.handle(moment, input);
        self.drain(size);
    }

    fn drain(&mut self, size: usize) {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.engine.poll()).collect();
        self.watch.see(&self.engine, outputs, size);
    }

    fn pass(&mut self, after_ms: u64) {
        let end = self.now + after_ms;
        let mut at_once = 0;
        for _ in 0..MAX_TICKS {
            let Some(due) = self.engine.deadline().filter(|due| *due <= end) else { break };
            at_once = if due > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 20, "a timer stays due");
            self.now = due.max(self.now);
            self.handle(due, 0, Input::Tick);
        }
        self.now = end;
        self.handle(end, 0, Input::Tick);
    }

    /// Nobody answers any more: whoever has asked something gets an answer all the same.
    fn end(&mut self) {
        let mut left = MAX_LAST_STEPS;
        let is_large = self.engine.snapshot().view.is_some_and(|view| view.active.len() > 20);
        for _ in 0..40 {
            while let Some((id, _)) = self.watch.open_call(0) {
                self.watch.answered(id);
                let silence = p2p_chat_engine::CallError::Unreachable("no route".to_owned());
                self.handle(0, 0, Input::Response(id, Err(silence)));
                left -= 1;
                if left == 0 {
                    // In a large group that never ends: elections go on, and each of them asks everybody.
                    assert!(is_large, "it calls and calls");
                    return;
                }
            }
            if self.watch.everybody_is_answered() {
                return;
            }
            self.pass(1_000);
        }
        panic!("somebody waits for ever: {:?}", self.watch.waiting());
    }
}

/// alice's feed, as a disk holds it.
fn founding_log() -> FeedLog {
    let entries: Vec<_> = valid::alices_feed().into_iter().flat_map(|run| run.entries).collect();
    let fact = |(hash, entry): &(EntryHash, p2p_chat_model::Entry)| nonsense::facts_of(*hash, entry);
    let roster = (1..).zip(entries.iter().map(fact)).filter(|(_, facts)| facts.op.is_some()).collect();
    let (head, lamport) = entries.last().map_or((EntryHash::NONE, 0), |(hash, it)| (*hash, it.header.lamport));
    let author: PeerId = valid::peer(0);
    FeedLog { author, last: entries.len() as u64, head, lamport, held: Vec::new(), roster }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Stories of different lengths; what happens in them is as good as any other.
    let story = |number: u64| {
        let mut state = number;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..60 * (1 + number % 8)).map(|_| byte()).collect()
    };
    (0..32).map(story).collect()
}
