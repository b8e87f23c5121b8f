//! What people do: create, join, say something, leave; and what they were told came of it.

use std::rc::Rc;

use p2p_chat_engine::{
    CallError, Command, CommandError, CommandId, DiscoveryAnswer, DiscoveryCall, Done, Input, Output, Phase, Response,
    RunToken, Start,
};
use p2p_chat_model::{Genesis, Run};

use crate::{
    calls::Waiting,
    discovery::trouble::LAB,
    disk::{Disk, Record, facts},
    edge::Tokens,
    gaps::Gap,
    net::Who,
    world::{Happening, World},
};

/// How long looking a network up may take.
const LOOKUP_TIMEOUT_MS: u64 = 3_000;
/// Within this time a join gets a definite answer, looking up excluded.
pub(crate) const JOIN_BOUND_MS: u64 = 15_000;

/// How long a leaver waits for somebody to have all that it wrote.
pub(crate) const LEAVE_WAIT_MS: u64 = 10_000;

/// How long people who talk pause.
const TALK_PAUSE_MS: (u64, u64) = (200, 500);
/// How often somebody says more than one thing at once.
const OUTBURST: u64 = 100;

/// Something a user does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Join(Who),
    Say(Who),
    Leave(Who),
    /// Says something, now and then up to so many things at once, and again after a while, until the time named.
    Chat {
        who: Who,
        at_once: u64,
        pause_ms: u64,
        until: u64,
    },
    /// Says something, and again after a moment, as long as people talk.
    Talk(Who),
    /// Joins whenever it is not in, until the time named.
    Insist {
        who: Who,
        until: u64,
    },
}

/// What a user waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Create,
    Join,
    Say,
    Leave,
    LeaveByForce,
}

/// What a discovery service said to who looks a network up.
pub(crate) type Found = Result<Response, CallError>;

/// A command and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) who: Who,
    pub(crate) wish: Wish,
    /// When the engine got it.
    pub(crate) since: u64,
    pub(crate) outcome: Option<Result<Done, String>>,
    /// The process crashed or was paused meanwhile: nothing is promised.
    pub(crate) is_void: bool,
    /// The disk is slow: it takes as long as it takes.
    may_be_late: bool,
}

impl World {
    fn promise(&mut self, who: Who, wish: Wish) -> CommandId {
        let command = CommandId(self.next_id());
        let (since, may_be_late) = (self.now, self.nodes[who].slow_sync_ms.is_some());
        let promise = Promise { who, wish, since, outcome: None, is_void: false, may_be_late };
        self.promises.insert(command, promise);
        self.trace.add(self.now, self.nodes[who].name, || format!("user wants: {wish:?}"));
        command
    }

    /// Whether the node takes part in the network, as far as its engine says.
    pub(crate) fn is_in(&self, who: Who) -> bool {
        self.nodes[who].engine.as_ref().is_some_and(|engine| crate::oracle::phase(engine) == Phase::Joined)
    }

    pub(crate) fn create(&mut self, who: Who) -> CommandId {
        let command = self.promise(who, Wish::Create);
        let mut salt = [0; 32];
        salt[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        let node = &self.nodes[who];
        let genesis = Genesis { salt, name: LAB.parse().expect("a name"), creator: node.member_name() };
        let (network, run) = Run::found(&node.identity, &genesis, 1_700_000_000_000);
        let run = Rc::new(run);
        let entry = facts(&run, RunToken(0)).entries.remove(0);
        let node = &mut self.nodes[who];
        node.disk = Disk::new(Some(network));
        let records = [Record::Own(run), Record::OwnDelivered { author: node.peer, seq: 1 }];
        (0..).zip(records).for_each(|(place, record)| node.disk.write(node.peer, place, record));
        let written = node.disk.sync().expect("an empty disk takes the genesis");
        self.network = Some(network);
        for record in &written {
            self.oracle.check_record(&self.nodes[who], record, None);
        }
        self.start_engine(who, network, Start::Found { command, genesis: entry });
        command
    }

    pub(crate) fn join(&mut self, who: Who) -> CommandId {
        let command = self.promise(who, Wish::Join);
        let services = self.nodes[who].services.len();
        self.lookups.insert(command, vec![None; services]);
        for place in 0..services {
            self.call_discovery(who, Waiting::Joiner(command, place), place, DiscoveryCall::Lookup, LOOKUP_TIMEOUT_MS);
        }
        command
    }

    /// A discovery service has told a joiner who leads, or has not.
    pub(crate) fn on_looked_up(&mut self, who: Who, command: CommandId, place: usize, found: Found) {
        let Some(lookup) = self.lookups.get_mut(&command) else { return };
        lookup[place] = Some(found);
        let Some(result) = first_listed(lookup) else { return };
        self.lookups.remove(&command);
        let node = &self.nodes[who];
        if node.engine.is_some() {
            return self.settle_promise(who, command, Err(CommandError::Busy));
        }
        let (record, network) = match (result, self.network) {
            (Ok(Response::Discovery(DiscoveryAnswer::Accepted(record))), Some(network)) => (record, network),
            (other, _) => {
                let why = format!("{other:?}");
                return self.settle_promise(who, command, Err(CommandError::NoDiscovery(why)));
            }
        };
        if node.disk.image().network.is_none() {
            self.nodes[who].disk = Disk::new(Some(network));
        }
        if let Some(promise) = self.promises.get_mut(&command) {
            promise.since = self.now;
        }
        let log = self.nodes[who].disk.image().log();
        let before = self.nodes[who].disk.image().resume().map(|(durable, _)| durable);
        self.oracle.rejoins(who);
        let start = Start::Join { command, leader: record.leader, contacts: record.contacts, before, log };
        self.start_engine(who, network, start);
    }

    pub(crate) fn say(&mut self, who: Who) -> CommandId {
        let command = self.promise(who, Wish::Say);
        let text = format!("{} #{}", self.nodes[who].name, command.0);
        self.nodes[who].texts.insert(command, text);
        self.handle(who, Input::Command(command, Command::Send), Tokens::new());
        command
    }

    /// Leaves; by force, if need be, with what nobody else has.
    pub(crate) fn leave(&mut self, who: Who, force: bool) -> CommandId {
        let command = self.promise(who, if force { Wish::LeaveByForce } else { Wish::Leave });
        let leave = Command::Leave { wait_ms: LEAVE_WAIT_MS, force };
        self.handle(who, Input::Command(command, leave), Tokens::new());
        command
    }

    /// A scripted act. What makes no sense at the moment is left.
    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Join(who) => {
                if self.is_idle(who) {
                    self.join(who);
                }
            }
            Act::Say(who) => {
                if self.is_in(who) && self.is_awake(who) {
                    self.say(who);
                }
            }
            Act::Leave(who) => {
                let members = (0..self.nodes.len()).filter(|who| self.is_in(*who)).count();
                if members > 2 && self.is_in(who) && self.is_awake(who) {
                    self.tally.count("fault: member leaves");
                    let force = Gap::Force.is_on() && self.rng.chance(500);
                    self.leave(who, force);
                }
            }
            Act::Chat { who, at_once, pause_ms, until } => {
                let count = if self.rng.chance(OUTBURST) { self.rng.between(1, at_once) } else { 1 };
                (0..count).for_each(|_| self.act(Act::Say(who)));
                let pause = self.rng.between(1, pause_ms.max(1) * 2);
                if self.now + pause < until {
                    self.after(pause, Happening::Act(act));
                }
            }
            Act::Talk(who) => {
                if self.people_talk {
                    self.act(Act::Say(who));
                    let pause = self.rng.between(TALK_PAUSE_MS.0, TALK_PAUSE_MS.1);
                    self.after(pause, Happening::Act(act));
                }
            }
            Act::Insist { who, until } => {
                self.act(Act::Join(who));
                let pause = self.rng.between(500, 4_000);
                if self.now + pause < until {
                    self.after(pause, Happening::Act(act));
                }
            }
        }
    }

    /// Everybody who is honest talks, if people do.
    pub(crate) fn begin_to_talk(&mut self) {
        if self.people_talk {
            self.tally.count("people talk while the group comes together");
        }
        for who in (0..self.nodes.len()).filter(|who| !self.was_bad(*who)).collect::<Vec<_>>() {
            self.act(Act::Talk(who));
        }
    }

    fn is_awake(&self, who: Who) -> bool {
        let node = &self.nodes[who];
        node.is_up && !node.is_paused && !node.is_broken
    }

    /// Up, and neither in the network nor on its way in.
    pub(crate) fn is_idle(&self, who: Who) -> bool {
        let is_asking = |promise: &Promise| {
            promise.who == who && promise.wish == Wish::Join && promise.outcome.is_none() && !promise.is_void
        };
        self.is_awake(who) && self.nodes[who].engine.is_none() && !self.promises.values().any(is_asking)
    }

    /// The engine says what came of a command.
    pub(crate) fn on_done(&mut self, who: Who, command: CommandId, result: Result<Done, CommandError>) {
        let wish = self.promises.get(&command).map(|promise| promise.wish);
        let has_failed = result.is_err() && matches!(wish, Some(Wish::Join | Wish::Create));
        if matches!(result, Err(CommandError::OnlyHere(_))) {
            self.tally.count("a leave would have lost something");
        }
        self.settle_promise(who, command, result);
        if has_failed {
            self.give_up(who, wish);
        }
    }

    /// What was wished that an output answers; nothing for all others.
    pub(crate) fn wish_behind(&self, output: &Output) -> Option<Wish> {
        let Output::Done(command, _) = output else { return None };
        self.promises.get(command).map(|promise| promise.wish)
    }

    fn settle_promise(&mut self, who: Who, command: CommandId, result: Result<Done, CommandError>) {
        let name = self.nodes[who].name;
        let result = result.map_err(|error| error.to_string());
        self.trace.add(self.now, name, || format!("user is told: {result:?}"));
        self.nodes[who].texts.remove(&command);
        let Some(promise) = self.promises.get_mut(&command) else {
            return self.violated("no_duplicate", format!("{name} answers unknown {command:?}"));
        };
        let (wish, took) = (promise.wish, self.now - promise.since);
        let (is_second, is_excused) = (promise.outcome.is_some(), promise.is_void || promise.may_be_late);
        promise.outcome = Some(result);
        if is_second {
            self.violated("no_duplicate", format!("{name} answers {command:?} twice"));
        } else if wish == Wish::Join && took > JOIN_BOUND_MS && !is_excused {
            self.violated("liveness", format!("{name} was told after {took} ms what came of its join"));
        }
    }

    /// A join or a founding has failed: a log of an earlier membership stays, anything else goes.
    fn give_up(&mut self, who: Who, wish: Option<Wish>) {
        self.tally.count("a join or a founding failed");
        if wish == Some(Wish::Create) { self.forget(who) } else { self.retire(who) }
    }

    /// The engine is done: nobody answers for the network any more. What it has said goes on, and the log stays, if
    /// there is any.
    pub(crate) fn retire(&mut self, who: Who) {
        if self.nodes[who].engine.take().is_some() {
            self.reset_connections(who);
            let incarnation = self.nodes[who].incarnation;
            self.after(0, Happening::Discard { who, incarnation });
        }
    }

    /// Where no entry is left behind, nothing else is.
    pub(crate) fn discard(&mut self, who: Who, incarnation: u64) {
        let node = &self.nodes[who];
        if node.incarnation == incarnation && node.engine.is_none() && node.disk.image().feeds.is_empty() {
            self.forget(who);
        }
    }

    /// The process that was to answer is gone.
    pub(crate) fn abandon_commands(&mut self, who: Who) {
        let open = self.promises.values_mut().filter(|promise| promise.who == who && promise.outcome.is_none());
        open.for_each(|promise| promise.is_void = true);
    }
}

impl World {
    /// The disk has become slow: nobody can say how long things take.
    pub(crate) fn excuse_delays(&mut self, who: Who) {
        let open = self.promises.values_mut().filter(|promise| promise.who == who && promise.outcome.is_none());
        open.for_each(|promise| promise.may_be_late = true);
    }
}

/// What looking a network up comes to, once that is known: the word of the first service that lists it, in the order in
/// which they are asked.
fn first_listed(lookup: &[Option<Found>]) -> Option<Found> {
    let is_listed =
        |found: &Option<Found>| matches!(found, Some(Ok(Response::Discovery(DiscoveryAnswer::Accepted(_)))));
    let decisive = lookup.iter().find(|found| found.is_none() || is_listed(found)).or(lookup.last());
    decisive.cloned().flatten()
}

impl Promise {
    /// Whether it was a leave, and was not refused: then nothing has changed.
    pub(crate) fn may_have_left(&self) -> bool {
        matches!(self.wish, Wish::Leave | Wish::LeaveByForce) && !matches!(self.outcome, Some(Err(_)))
    }

    /// Whether it was done as wished.
    pub(crate) fn has_succeeded(&self) -> bool {
        matches!(self.outcome, Some(Ok(_)))
    }
}
