//! Random seeds: each draws a group, what its people do, and what goes wrong; then everything is mended and the
//! group has to come together again.
//!
//! `SEEDS=1..5000` or `SEEDS=300` sets the range, `SEED=7` plays one with its trace (`TRACE=all` for all of it). A
//! sweep ends with the first seed that fails, or with `KEEP_GOING=1` after all of them.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use p2p_chat_model::{Address, Epoch, PeerId};
use p2p_chat_nds::registry;

use crate::{
    bad,
    faults::{self, plan},
    net::{Service, Who},
    rng::Rng,
    tally::Tally,
    users::{Act, Promise, Wish},
    world::{Happening, Violation, World},
};

/// After that time without faults everybody has to follow one leader.
const LEADER_BOUND_MS: u64 = 12_000;
/// After that time without faults everybody has to have everything.
const REST_BOUND_MS: u64 = 30_000;
/// How long people talk after that time, if they do: what they said is everywhere at rest, too.
const TALK_MS: u64 = 20_000;
/// How often they do, in thousandths of the seeds.
const TALKING: u64 = 250;
/// How long a fetch may take before others that have something are asked.
const FETCH_TURN_MS: u64 = 30_000;
/// How long claims to have more of a feed may hold its author up: 10 s in all, and nobody may listen to them at first.
const CLAIMS_MS: u64 = 30_000;
/// How long the discovery service takes a silent leader for one that lives.
const LEASE_MS: u64 = 30_000;
/// Seeds played by `cargo test`: about two minutes on two cores, in a debug build.
const DEFAULT_SEEDS: Range<u64> = 1..1501;
/// How often a long sweep says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);
/// How many discovery services a seed has: one of these.
const SERVICES: [usize; 10] = [1, 1, 1, 1, 1, 1, 1, 2, 2, 3];
/// How many things people say at once, at most: in a seed it is one of these. More than a run may hold, too.
const AT_ONCE: [u64; 10] = [1, 1, 4, 4, 4, 20, 20, 20, 100, 400];
/// What has to have happened in a sweep of at least so many seeds.
const ENOUGH_SEEDS: u64 = 200;
const SOMETIMES: [&str; 58] = [
    "a feed was frozen",
    "a fetch",
    "a fetch was given up",
    "a full run",
    "a founding although an NDS stood in the way",
    "a founding came to nothing",
    "a half-done join was retried",
    "a leader changed",
    "a leader handed over",
    "a lower id took over",
    "a leave would have lost something",
    "a member dropped out",
    "a member returned",
    "a node found itself outside",
    "a node was leaderless",
    "a relay worked",
    "a run of several entries",
    "a veto of the NDS was overruled by a majority",
    "a view was lost and regained",
    "a vote was refused",
    "a voter reached the leader",
    "an author died after a partial fan-out",
    "an entry was fetched",
    "an entry was held back",
    "an entry was late",
    "an entry went by a relay",
    "and all got it without its author",
    "COORDINATOR by a majority",
    "fault: address changed",
    "fault: clock leaps",
    "fault: clocks drift",
    "fault: crash",
    "fault: disk full",
    "fault: group cut in two",
    "fault: member leaves",
    "fault: NDS cut from all",
    "fault: NDS cut from some",
    "fault: NDS down",
    "fault: NDS knows another network of the name",
    "fault: NDS restored from an old copy",
    "fault: NDS wiped",
    "fault: NDS with another time",
    "fault: NDSs on both sides of a cut",
    "fault: one way cut",
    "fault: outsider calls",
    "fault: pause",
    "fault: reply lost",
    "fault: request duplicated",
    "fault: request lost",
    "fault: ring",
    "fault: slow disk",
    "fault: slow leg",
    "fault: some NDSs cut from some",
    "fault: torn write",
    "fault: two cut from each other",
    "fault: wall clock set",
    "people talk while the group comes together",
    "the NDS vetoed an election",
];

impl World {
    /// Ends all faults and demands what the design promises for that case.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        self.calm();
        self.begin_to_talk();
        if self.is_record_lost() {
            self.run(LEASE_MS)?;
        }
        let calm = self.now;
        // What a bad member has begun to serve never ends, whatever it does from now on.
        let turn = if self.is_stalled() { FETCH_TURN_MS } else { 0 };
        self.run_until(calm + LEADER_BOUND_MS)?;
        self.demand_leader()?;
        self.run_until(calm + turn + TALK_MS)?;
        self.people_talk = false;
        self.run_until(calm + turn + REST_BOUND_MS)?;
        self.demand_rest()?;
        if self.claims_for_ever() {
            self.run(CLAIMS_MS)?;
            self.demand_rest()?;
        }
        Ok(())
    }

    fn demand_rest(&mut self) -> Result<(), Violation> {
        self.demand_leader()?;
        self.demand_members()?;
        self.oracle.check_rest(&self.nodes);
        self.report()
    }

    /// Whether a leader on record is not where the record says: it counts as one until its lease has run out.
    fn is_record_lost(&self) -> bool {
        let records = self.services.iter().filter_map(|nds| nds.registry.record(&self.network?));
        let is_there = |peer: PeerId, address: &Address| {
            let node = self.nodes.iter().find(|node| node.peer == peer);
            node.is_some_and(|node| node.is_up && node.address == *address)
        };
        records.map(registry::Record::leader).any(|leader| !is_there(leader.peer, &leader.address))
    }

    fn demand_leader(&mut self) -> Result<(), Violation> {
        // One that knows another network of the name can't list this one.
        let able = (0..self.services.len()).filter(|service| self.other_network(*service).is_none());
        let leader = |service: Service| self.network.and_then(|network| self.services[service].leader(&network));
        let registered: Vec<Option<(PeerId, Epoch)>> = able.map(leader).collect();
        self.oracle.check_leader(&self.nodes, &registered);
        self.report()
    }

    /// Whoever was told that it is in, and did not leave, is in; nobody is in between, and no join unanswered.
    fn demand_members(&mut self) -> Result<(), Violation> {
        let is_bad = |who: Who| self.bad.as_ref().is_some_and(|bad| bad.who == who);
        let is_open = |promise: &&Promise| {
            promise.outcome.is_none() && !promise.is_void && promise.wish == Wish::Join && !is_bad(promise.who)
        };
        if let Some(promise) = self.promises.values().find(is_open) {
            let what = format!("{} was never told what came of its join", self.nodes[promise.who].name);
            self.violated("liveness", what);
        }
        for who in 0..self.nodes.len() {
            let name = self.nodes[who].name;
            if self.bad.as_ref().is_some_and(|bad| bad.who == who) {
                continue;
            }
            if self.is_meant_to_be_in(who) && !self.is_in(who) {
                self.violated("liveness", format!("{name} is not in any more, and never left"));
            } else if !self.is_in(who) && self.nodes[who].engine.is_some() {
                self.violated("liveness", format!("{name} is neither in nor out"));
            }
        }
        self.report()
    }

    fn is_meant_to_be_in(&self, who: Who) -> bool {
        let mut latest_first = self.promises.values().rev().filter(|promise| promise.who == who);
        let way = |promise: &&Promise| match promise.wish {
            Wish::Create | Wish::Join => promise.has_succeeded(),
            Wish::Leave | Wish::LeaveByForce => promise.may_have_left(),
            Wish::Say => false,
        };
        latest_first.find(way).is_some_and(|promise| matches!(promise.wish, Wish::Create | Wish::Join))
    }

    pub(crate) fn report(&mut self) -> Result<(), Violation> {
        if let Some((invariant, what)) = self.oracle.take_finding() {
            self.violated(invariant, what);
        }
        self.violation().map_or(Ok(()), |violation| Err(violation.clone()))
    }
}

/// A world as a seed draws it.
fn draw(seed: u64, is_traced: bool) -> World {
    let mut world = World::new(seed, 2, is_traced);
    let count = world.rng.between(2, 6) as usize;
    let seed_of_the_rest = world.rng.next();
    world = World::new(seed_of_the_rest, count, is_traced);
    // Drawn from a stream of their own: with one service all else stays as it was without them.
    let mut rng = Rng::new(!seed);
    if let Some(services) = rng.pick(&SERVICES).filter(|services| *services > 1) {
        world = world.with_services(services);
        let in_their_own_order = rng.chance(300);
        for node in world.nodes.iter_mut().filter(|_| in_their_own_order) {
            node.services.rotate_left(rng.below(services as u64) as usize);
        }
    }
    world.net.latency_ms = world.rng.between(1, 25);
    for who in 0..count {
        let slow_disk = world.rng.chance(50);
        world.nodes[who].sync_ms = world.rng.below(if slow_disk { 300 } else { 20 });
        let wall_error_ms = world.rng.below(100_000).cast_signed();
        world.nodes[who].clock.set_wall(wall_error_ms);
    }
    world
}

/// Plays a seed to its end.
fn play(world: &mut World) -> Result<(), Violation> {
    let length = world.rng.between(5_000, 45_000);
    let pause_ms = world.rng.between(50, 2_500);
    let at_once = world.rng.pick(&AT_ONCE).unwrap_or(1);
    world.found(0)?;
    let until = world.now + length;
    let begin = world.now + world.rng.between(300, 2_000);
    world.run_until(begin)?;
    for who in 0..world.nodes.len() {
        if world.rng.chance(900) {
            world.after(0, Happening::Act(Act::Chat { who, at_once, pause_ms, until }));
        }
        let start = world.rng.below(3_000);
        if who > 0 {
            world.after(start, Happening::Act(Act::Insist { who, until }));
        }
        if world.rng.chance(150) {
            let at = world.rng.below(until - begin);
            world.after(at, Happening::Act(Act::Leave(who)));
        }
    }
    let quiet = if world.rng.chance(500) { 0 } else { 4_000 };
    world.people_talk = world.rng.chance(TALKING);
    plan::plan(world, world.now + quiet, until.max(world.now + quiet + 1));
    world.run_until(until)?;
    world.settle()
}

/// How a seed failed.
struct Failure {
    seed: u64,
    what: String,
}

fn attempt(seed: u64, is_traced: bool) -> (World, Result<(), String>) {
    let mut world = draw(seed, is_traced);
    let result = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
    let result = match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Violation { invariant, what })) => Err(format!("{invariant}: {what}")),
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    (world, result)
}

/// Plays a failed seed again, for people.
fn explain(failure: &Failure) -> String {
    let (world, again) = attempt(failure.seed, true);
    let same = again.as_ref().err() == Some(&failure.what);
    let note = if same { "" } else { "\n(bug: the second run of the seed went differently)" };
    format!(
        "{}\n\nseed {} violates {}{note}\nreplay: SEED={} cargo test -p p2p-chat --test sim sweep -- --nocapture",
        world.trace.tail(),
        failure.seed,
        failure.what,
        failure.seed
    )
}

fn seeds() -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("SEED and SEEDS take numbers: 7, 300, or 1..5000");
    if let Ok(seed) = std::env::var("SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match std::env::var("SEEDS") {
        Err(_) => DEFAULT_SEEDS,
        Ok(range) => match range.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 1..number(&range) + 1,
        },
    }
}

/// What all seeds came to.
#[derive(Default)]
struct Outcome {
    tally: Tally,
    failures: Vec<Failure>,
    played: u64,
    simulated_ms: u64,
}

/// Plays all seeds, on all cores.
fn play_all(seeds: &Range<u64>) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let outcome = Mutex::new((Outcome::default(), Instant::now()));
    let most = std::env::var("KEEP_GOING").map_or(1, |_| usize::MAX);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || lock(&outcome).0.failures.len() >= most {
                return;
            }
            let (world, result) = attempt(seed, false);
            let (outcome, told) = &mut *lock(&outcome);
            outcome.tally.merge(&world.tally);
            outcome.simulated_ms += world.now;
            outcome.played += 1;
            if let Err(what) = result {
                eprintln!("seed {seed} violates {what}");
                outcome.failures.push(Failure { seed, what });
            }
            if told.elapsed() >= PROGRESS {
                *told = Instant::now();
                let count = seeds.end - seeds.start;
                eprintln!("{} of {count} seeds played, {} failed", outcome.played, outcome.failures.len());
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that this process has had on all cores, in seconds.
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[test]
fn sweep() {
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    let Outcome { tally, mut failures, played, simulated_ms } = play_all(&seeds);
    let (hours, cpu) = (simulated_ms as f64 / 3_600_000.0, cpu_seconds() - cpu_before);
    eprintln!(
        "{played} seeds, {hours:.1} simulated hours in {:.1} s and {cpu:.1} CPU seconds: {:.0} simulated hours in a CPU hour\n{}",
        start.elapsed().as_secs_f64(),
        hours * 3_600.0 / cpu.max(0.001),
        tally.lines()
    );
    failures.sort_by_key(|failure| failure.seed);
    if count == 1 {
        let (world, _) = attempt(seeds.start, true);
        eprintln!("{}", world.trace.tail());
    }
    if let Some(first) = failures.first() {
        panic!("{} of {played} seeds failed; the first:\n{}", failures.len(), explain(first));
    }
    if count >= ENOUGH_SEEDS {
        let wanted: Vec<&'static str> =
            SOMETIMES.into_iter().chain(faults::steps::names()).chain(bad::names()).collect();
        let missing = tally.missing(&wanted);
        assert!(missing.is_empty(), "a sweep of {count} seeds never saw: {missing:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 14, 159] {
        let (first, one) = attempt(seed, true);
        let (second, two) = attempt(seed, true);
        assert_eq!(one, two);
        assert!(first.trace.lines() == second.trace.lines(), "seed {seed} gives two traces");
        assert!(first.trace.lines().len() > 100, "seed {seed} plays nothing");
    }
}
