//! Faults end: cuts heal, whoever is down starts again, and what is under way arrives. Then everybody has to follow one
//! leader with the lowest active id, the discovery service knows it, and everybody is active.

use p2p_chat_engine::Phase;

use crate::{
    cast::NAMES,
    search::since_beginning,
    steps::{Action, Step},
    world::World,
};

/// How long that may take.
const REST_MS: u64 = 30_000;
/// How many steps it may take.
const MOST_STEPS: u32 = 20_000;

/// The longest that it took, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Slowest(pub(crate) u64);

impl Slowest {
    pub(crate) fn note(&mut self, ms: u64) {
        self.0 = self.0.max(ms);
    }
}

/// The world in which everybody agrees and nothing is under way.
pub(crate) fn rest(world: World) -> Result<World, String> {
    let mut world = without_faults(world);
    let end = world.now + REST_MS;
    let mut disagreement = String::new();
    for _ in 0..MOST_STEPS {
        if world.is_quiet() {
            match agree(&world) {
                Ok(()) => return Ok(world),
                Err(why) => disagreement = why,
            }
        }
        let Some(action) = next(&world).filter(|_| world.now <= end) else { break };
        world = world.after(Step { action, crash_after: None }).0;
        if let Some(violation) = &world.violation {
            return Err(format!("{}: {}", violation.property, violation.what));
        }
    }
    Err(format!("after {} ms: {disagreement}", world.now + REST_MS - end))
}

/// What happens after the faults have ended, in words.
pub(crate) fn tell(world: World) -> Vec<String> {
    let mut world = without_faults(world);
    let end = world.now + REST_MS;
    world.story = Some(vec![format!("{:>6} FAULTS END", since_beginning(world.now))]);
    while let Some(action) = next(&world).filter(|_| world.now <= end) {
        world = world.after(Step { action, crash_after: None }).0;
    }
    world.story.unwrap_or_default()
}

fn without_faults(mut world: World) -> World {
    world.left = Default::default();
    world.cut = None;
    for who in 0..world.nodes.len() {
        if world.nodes[who].engine.is_none() {
            world.start(who);
        }
    }
    world
}

/// What happens next where nothing is late: the oldest message arrives, or the next timer fires.
fn next(world: &World) -> Option<Action> {
    let timer = || world.dues().into_iter().min_by_key(|(due, _)| *due).map(|(_, action)| action);
    world.arrivals().first().copied().or_else(timer)
}

/// Whether everybody follows one leader, which has the lowest id of all and is on record.
fn agree(world: &World) -> Result<(), String> {
    let mut views = Vec::new();
    for (name, node) in NAMES.iter().zip(&world.nodes) {
        let snapshot = node.engine.as_ref().map(|engine| engine.snapshot()).ok_or("somebody is down")?;
        let view = snapshot.view.filter(|_| snapshot.leader_alive && snapshot.phase == Phase::Joined);
        views.push((name, view.ok_or_else(|| format!("{name} follows nobody"))?));
    }
    let Some((_, first)) = views.first() else { return Ok(()) };
    if let Some((name, other)) = views.iter().find(|(_, view)| view != first) {
        return Err(format!("{name} has {other:?}, alice has {first:?}"));
    }
    let leader = first.leader().map(|leader| leader.peer);
    if first.active.first().map(|lowest| lowest.peer) != leader || first.active.len() != world.nodes.len() {
        return Err(format!("not everybody is active, or not the lowest id leads: {first:?}"));
    }
    let (on_record, epoch) = world.service.leader();
    if Some(on_record) != leader || epoch != first.epoch {
        return Err(format!("{leader:?} leads epoch {}, {on_record:?} is on record with {epoch}", first.epoch));
    }
    Ok(())
}
