//! The exhaustive search. Time only grows, so the worlds are taken in the order of their times: of one moment all that
//! can be reached by messages and faults, then those of the next moment. So each world is looked at when it is reached
//! first, with all the time that is left, and only the worlds of later moments have to wait in memory.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use p2p_chat_model::Epoch;

use crate::{
    bounds::Bounds,
    converge::{self, Slowest},
    fingerprint::BEGINNING,
    properties::Violation,
    sights::Sights,
    steps::Step,
    world::World,
};

/// Of how many states one is followed until everybody agrees.
const SAMPLE: u64 = 400;

/// No way within the bounds is that long, unless messages go to and fro without end and without time.
const MOST_STEPS: u32 = 1_000;

/// The steps that led to a world.
struct Path {
    step: Step,
    before: Trail,
}
type Trail = Option<Arc<Path>>;

/// A world that waits to be looked at.
struct Waiting {
    world: World,
    trail: Trail,
    depth: u32,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// What a search has found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) states: u64,
    pub(crate) transitions: u64,
    /// The most steps to any of them.
    pub(crate) depth: u32,
    /// States in which an epoch is beyond the bound.
    pub(crate) beyond: u64,
    /// States from which nothing can happen within the bounds.
    pub(crate) ends: u64,
    pub(crate) sights: Sights,
    /// From how many states, faults ended, everybody was followed until all agreed; and how long that took at most.
    pub(crate) settled: u64,
    pub(crate) slowest: Slowest,
    pub(crate) took: Duration,
    /// The search was ended before it was done.
    pub(crate) is_cut_short: bool,
}

/// A violation and how it came about.
#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) violation: Violation,
    pub(crate) story: Vec<String>,
    pub(crate) steps: usize,
}

/// A search under way.
pub(crate) struct Search<'a> {
    bounds: &'a Bounds,
    beginning: World,
    /// The last moment that is looked at.
    end: u64,
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
    now: Vec<Waiting>,
    later: BTreeMap<u64, Vec<Waiting>>,
    report: Report,
    most_states: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(bounds: &'a Bounds, most_states: u64) -> Self {
        let mut beginning = converge::rest(World::new(bounds)).expect("they agree when nothing goes wrong");
        beginning.left = bounds.faults;
        let end = beginning.now + bounds.horizon_ms;
        let report = Report::default();
        let (now, later) = (Vec::new(), BTreeMap::new());
        Self { bounds, beginning, end, seen: HashSet::default(), now, later, report, most_states }
    }

    /// Looks at every world within the bounds.
    pub(crate) fn run(mut self) -> Result<Report, Box<Counterexample>> {
        let began = Instant::now();
        let beginning = self.beginning.clone();
        self.reach(beginning, None, 0)?;
        while let Some((_, worlds)) = self.later.pop_first() {
            self.now = worlds;
            while let Some(waiting) = self.now.pop() {
                self.look_at(&waiting)?;
                if self.report.states >= self.most_states {
                    self.report.is_cut_short = true;
                    self.report.took = began.elapsed();
                    return Ok(self.report);
                }
            }
        }
        self.report.took = began.elapsed();
        Ok(self.report)
    }

    /// Takes note of a world, if it is new.
    fn reach(&mut self, world: World, trail: Trail, depth: u32) -> Result<(), Box<Counterexample>> {
        self.report.transitions += 1;
        self.report.sights.add(world.sights);
        if let Some(violation) = world.violation.clone() {
            return Err(self.counterexample(violation, &trail));
        }
        if depth > MOST_STEPS {
            let what = format!("{MOST_STEPS} steps in {} ms", world.now - self.beginning.now);
            return Err(self.counterexample(Violation { property: "messages_come_to_an_end", what }, &trail));
        }
        let fingerprint = world.fingerprint(self.end);
        if !self.seen.insert(fingerprint) {
            return Ok(());
        }
        self.report.states += 1;
        self.report.depth = self.report.depth.max(depth);
        if fingerprint.is_multiple_of(SAMPLE) {
            self.settle(&world, &trail)?;
        }
        if highest_epoch(&world) > Epoch(self.bounds.epochs) {
            self.report.beyond += 1;
            return Ok(());
        }
        self.later.entry(world.now).or_default().push(Waiting { world, trail, depth });
        Ok(())
    }

    fn look_at(&mut self, waiting: &Waiting) -> Result<(), Box<Counterexample>> {
        let actions = waiting.world.actions(self.bounds, self.end);
        if actions.is_empty() {
            self.report.ends += 1;
        }
        for action in actions {
            let step = Step { action, crash_after: None };
            let points = self.take(waiting, step)?;
            if waiting.world.left.crashes > 0 {
                for point in points {
                    self.take(waiting, Step { action, crash_after: Some(point) })?;
                }
            }
        }
        // What is reached at the same moment is looked at before time goes on.
        if let Some(mut same) = self.later.remove(&waiting.world.now) {
            self.now.append(&mut same);
        }
        Ok(())
    }

    fn take(&mut self, waiting: &Waiting, step: Step) -> Result<Vec<u8>, Box<Counterexample>> {
        let (world, points) = waiting.world.after(step);
        let trail = Some(Arc::new(Path { step, before: waiting.trail.clone() }));
        self.reach(world, trail, waiting.depth + 1)?;
        Ok(points)
    }

    /// Faults end: everybody has to agree in time.
    fn settle(&mut self, world: &World, trail: &Trail) -> Result<(), Box<Counterexample>> {
        self.report.settled += 1;
        match converge::rest(world.clone()) {
            Ok(rested) => self.report.slowest.note(rested.now - world.now),
            Err(what) => {
                let violation = Violation { property: "one_leader_at_rest", what };
                let mut found = self.counterexample(violation, trail);
                let last = self.replay(trail);
                found.story.extend(converge::tell(last));
                return Err(found);
            }
        }
        Ok(())
    }

    fn replay(&self, trail: &Trail) -> World {
        let mut steps = Vec::new();
        let mut at = trail.as_ref();
        while let Some(path) = at {
            steps.push(path.step);
            at = path.before.as_ref();
        }
        let beginning = self.beginning.clone().with_story();
        steps.into_iter().rev().fold(beginning, |world, step| world.after(step).0)
    }

    fn counterexample(&self, violation: Violation, trail: &Trail) -> Box<Counterexample> {
        let story = self.replay(trail).story.unwrap_or_default();
        let steps = std::iter::successors(trail.as_ref(), |path| path.before.as_ref()).count();
        Box::new(Counterexample { violation, story, steps })
    }
}

fn highest_epoch(world: &World) -> Epoch {
    let nodes = world.nodes.iter().flat_map(|node| [node.disk.epoch, node.disk.vote.map_or(Epoch(0), |vote| vote.0)]);
    nodes.chain([world.service.epoch()]).max().unwrap_or_default()
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "{} states, {} transitions, at most {} steps deep, {} beyond the epochs, {} ends, {} settled within {} ms, \
             {seconds:.1} s",
            self.states, self.transitions, self.depth, self.beyond, self.ends, self.settled, self.slowest.0
        )?;
        if self.is_cut_short { write!(f, ", NOT DONE") } else { Ok(()) }
    }
}

/// How long after the beginning of the world.
pub(crate) const fn since_beginning(now: u64) -> u64 {
    now - BEGINNING
}
