//! Random seeds: each draws a group, what its people do, and what goes wrong; then everything is mended and the
//! group has to come together again.
//!
//! `SEEDS=1..5000` or `SEEDS=300` sets the range, `SEED=7` plays one with its trace (`TRACE=all` for all of it).

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use crate::{
    faults,
    net::Who,
    tally::Tally,
    users::{Act, Promise, Wish},
    world::{Happening, Violation, World},
};

/// After that time without faults everybody has to follow one leader.
const LEADER_BOUND_MS: u64 = 12_000;
/// After that time without faults everybody has to have everything.
const REST_BOUND_MS: u64 = 30_000;
/// Seeds played by `cargo test`: about 20 s in a debug build.
const DEFAULT_SEEDS: Range<u64> = 1..501;
/// What has to have happened in a sweep of at least so many seeds.
const ENOUGH_SEEDS: u64 = 200;
const SOMETIMES: [&str; 16] = [
    "a fetch",
    "a leader changed",
    "a leader handed over",
    "a lower id took over",
    "a member dropped out",
    "a member returned",
    "a node found itself outside",
    "a node was leaderless",
    "a relay worked",
    "a vote was refused",
    "a voter reached the leader",
    "an entry was fetched",
    "an entry was late",
    "an entry went by a relay",
    "COORDINATOR by a majority",
    "the NDS vetoed an election",
];

impl World {
    /// Ends all faults and demands what the design promises for that case.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        self.calm();
        let calm = self.now;
        self.run_until(calm + LEADER_BOUND_MS)?;
        self.demand_leader()?;
        self.run_until(calm + REST_BOUND_MS)?;
        self.demand_leader()?;
        self.demand_members()?;
        self.oracle.check_rest(&self.nodes);
        self.report()
    }

    fn demand_leader(&mut self) -> Result<(), Violation> {
        let registered = self.network.and_then(|network| self.nds.leader(&network));
        self.oracle.check_leader(&self.nodes, registered);
        self.report()
    }

    /// Whoever was told that it is in, and did not leave, is in; nobody is in between, and no join unanswered.
    fn demand_members(&mut self) -> Result<(), Violation> {
        let is_open = |promise: &&Promise| promise.outcome.is_none() && !promise.is_void && promise.wish == Wish::Join;
        if let Some(promise) = self.promises.values().find(is_open) {
            let what = format!("{} was never told what came of its join", self.nodes[promise.who].name);
            self.violated("liveness", what);
        }
        for who in 0..self.nodes.len() {
            let name = self.nodes[who].name;
            if self.is_meant_to_be_in(who) && !self.is_in(who) {
                self.violated("liveness", format!("{name} is not in any more, and never left"));
            } else if !self.is_in(who) && self.nodes[who].engine.is_some() {
                self.violated("liveness", format!("{name} is neither in nor out"));
            }
        }
        self.report()
    }

    fn is_meant_to_be_in(&self, who: Who) -> bool {
        let settled = |promise: &&Promise| promise.who == who && promise.wish != Wish::Say && promise.has_succeeded();
        let asked_to_leave = |promise: &Promise| promise.who == who && promise.wish == Wish::Leave;
        let last = self.promises.values().rfind(settled);
        last.is_some_and(|promise| promise.wish != Wish::Leave) && !self.promises.values().any(asked_to_leave)
    }

    fn report(&mut self) -> Result<(), Violation> {
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
    world.net.latency_ms = world.rng.between(1, 25);
    for who in 0..count {
        let slow_disk = world.rng.chance(50);
        world.nodes[who].sync_ms = world.rng.below(if slow_disk { 300 } else { 20 });
        world.nodes[who].wall_error = world.rng.below(100_000);
    }
    world
}

/// Plays a seed to its end.
fn play(world: &mut World) -> Result<(), Violation> {
    let until = world.rng.between(5_000, 45_000);
    let pause_ms = world.rng.between(50, 2_500);
    world.create(0);
    let begin = world.rng.between(300, 2_000);
    world.run_until(begin)?;
    for who in 0..world.nodes.len() {
        if world.rng.chance(900) {
            world.after(0, Happening::Act(Act::Chat { who, pause_ms, until }));
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
    faults::plan(world, world.now + quiet, until.max(world.now + quiet + 1));
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

/// Plays all seeds, on all cores; gives what was seen, the failures, and the simulated time.
fn play_all(seeds: &Range<u64>) -> (Tally, Vec<Failure>, u64) {
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new((Tally::default(), Vec::new(), 0));
    let most = std::env::var("KEEP_GOING").map_or(1, |_| usize::MAX);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || results.lock().unwrap_or_else(PoisonError::into_inner).1.len() >= most {
                return;
            }
            let (world, result) = attempt(seed, false);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.0.merge(&world.tally);
            results.2 += world.now;
            if let Err(what) = result {
                results.1.push(Failure { seed, what });
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn sweep() {
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let start = Instant::now();
    let (tally, mut failures, simulated_ms) = play_all(&seeds);
    let hours = simulated_ms as f64 / 3_600_000.0;
    eprintln!("{count} seeds, {hours:.1} simulated hours in {:.1} s\n{}", start.elapsed().as_secs_f64(), tally.lines());
    failures.sort_by_key(|failure| failure.seed);
    if count == 1 {
        let (world, _) = attempt(seeds.start, true);
        eprintln!("{}", world.trace.tail());
    }
    if failures.len() > 1 {
        for failure in &failures {
            eprintln!("seed {} violates {}", failure.seed, failure.what);
        }
    }
    if let Some(first) = failures.first() {
        panic!("{} of {count} seeds failed; the first:\n{}", failures.len(), explain(first));
    }
    if count >= ENOUGH_SEEDS {
        let missing = tally.missing(&SOMETIMES);
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
