//! Which faults a seed has, swarm style (Groce et al. 2012): each kind of fault is on in about half of the seeds, in
//! some seeds fewer and in some more, so that rare combinations of few kinds get their turn.

use super::{Fault, When, Whom, steps::Step};
use crate::{
    bad::{Bad, Trick},
    gaps::Gap,
    net::{Link, NDS, Weather, Who, both_ways, ring},
    rng::Rng,
    world::{Happening, World},
};

/// The most that a clock gains or loses, in thousandths.
const MAX_DRIFT: u64 = 30;
const HOUR_MS: u64 = 3_600_000;

/// A kind of fault: its weight among those that are on (0: never), and how one is drawn for a group of so many.
struct Kind(u64, fn(&mut Rng, usize) -> Fault);

const KINDS: [Kind; 20] = [
    Kind(10, crash_of),
    Kind(10, |rng, _| crash(rng, Whom::Leader)),
    Kind(20, |rng, _| Fault::CrashAt { step: Step::any(rng), down_ms: down_ms(rng), provoke: rng.chance(700) }),
    Kind(10, |rng, count| Fault::Pause { whom: Whom::Node(somebody(rng, count)), for_ms: rng.between(200, 30_000) }),
    Kind(10, |rng, _| Fault::Pause { whom: Whom::Leader, for_ms: rng.between(200, 30_000) }),
    Kind(10, cut_pair),
    Kind(10, cut_one_way),
    Kind(10, cut_halves),
    Kind(10, cut_ring),
    Kind(10, cut_nds),
    Kind(10, |rng, _| Fault::NdsDown { for_ms: for_ms(rng), clock_error_ms: nds_clock_error(rng) }),
    Kind(4, |_, _| Fault::NdsWipe),
    Kind(8, |rng, _| if rng.chance(500) { Fault::NdsCopy } else { Fault::NdsRestore }),
    Kind(8, |rng, count| Fault::SetWall { who: somebody(rng, count), error_ms: hours(rng) }),
    Kind(8, |rng, count| Fault::Leap { whom: anybody(rng, count), ms: rng.between(200, 60_000) }),
    Kind(8, slow_disk),
    Kind(8, |rng, count| Fault::FullDisk { who: somebody(rng, count), for_ms: for_ms(rng) }),
    Kind(8, leave),
    Kind(8, |rng, count| Fault::Outsider(somebody(rng, count))),
    Kind(BAD_MEMBER, |rng, _| Fault::Bad(Trick::any(rng))),
];

/// How much of what goes wrong is a bad member's doing, in seeds that have one.
const BAD_MEMBER: u64 = 40;

/// Plans the faults of a seed between two moments.
pub(crate) fn plan(world: &mut World, from: u64, until: u64) {
    let seed = world.rng.next();
    let mut rng = Rng::new(seed);
    let count = world.nodes.len();
    let share = rng.pick(&[150, 400, 500, 600, 850]).unwrap_or(500);
    world.net.weather = weather(&mut rng, share);
    if rng.chance(share) {
        world.tally.count("fault: clocks drift");
        for node in &mut world.nodes {
            node.clock.drift(world.now, rng.between(0, 2 * MAX_DRIFT).cast_signed() - MAX_DRIFT.cast_signed());
        }
    }
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| rng.chance(share) && kind.0 > 0).collect();
    if rng.chance(share) && count > 2 {
        let bad = Bad::new(somebody(&mut rng, count), rng.chance(500) && Gap::Lost.is_on());
        world.oracle.distrust(&world.nodes[bad.who]);
        world.bad = Some(bad);
        // Drawn from a stream of their own, or what else a seed plays would be another thing with each of them.
        plan_habits(world, &mut Rng::new(!seed), share, (from, until));
    }
    let pause = rng.between(300, 6_000);
    let mut at = from + rng.below(pause);
    while at < until {
        if let Some(kind) = choose(&mut rng, &kinds) {
            let fault = (kind.1)(&mut rng, count);
            world.after(at - world.now, Happening::Fault(fault));
        }
        at += rng.between(1, 2 * pause);
    }
    world.after(until - world.now, Happening::Fault(Fault::Calm));
}

/// What the bad member takes up between two moments.
fn plan_habits(world: &mut World, rng: &mut Rng, share: u64, (from, until): (u64, u64)) {
    for habit in Trick::habits() {
        let at = from + rng.below(until - from);
        if rng.chance(share) {
            world.after(at - world.now, Happening::Fault(Fault::Bad(habit)));
        }
    }
}

fn choose<'a>(rng: &mut Rng, kinds: &[&'a Kind]) -> Option<&'a Kind> {
    let mut at = rng.below(kinds.iter().map(|kind| kind.0).sum());
    kinds.iter().copied().find(|kind| {
        let is_it = at < kind.0;
        at = at.saturating_sub(kind.0);
        is_it
    })
}

fn weather(rng: &mut Rng, share: u64) -> Weather {
    let mut some = |most: u64| if rng.chance(share) { rng.below(most) } else { 0 };
    Weather {
        request_loss: some(200),
        reply_loss: some(200),
        duplicate: some(100),
        slow: some(100),
        slow_ms: 1 + some(5_000),
    }
}

fn somebody(rng: &mut Rng, count: usize) -> Who {
    rng.below(count as u64) as Who
}

fn anybody(rng: &mut Rng, count: usize) -> Whom {
    if rng.chance(400) { Whom::Leader } else { Whom::Node(somebody(rng, count)) }
}

/// Two who are not the same.
fn two(rng: &mut Rng, count: usize) -> (Who, Who) {
    let one = somebody(rng, count);
    (one, (one + 1 + rng.below(count as u64 - 1) as Who) % count)
}

fn down_ms(rng: &mut Rng) -> u64 {
    rng.between(50, 15_000)
}

fn for_ms(rng: &mut Rng) -> u64 {
    rng.between(200, 15_000)
}

fn hours(rng: &mut Rng) -> i64 {
    rng.below(24 * HOUR_MS).cast_signed() - (12 * HOUR_MS).cast_signed()
}

fn nds_clock_error(rng: &mut Rng) -> i64 {
    if rng.chance(300) { hours(rng) } else { 0 }
}

fn crash(rng: &mut Rng, whom: Whom) -> Fault {
    let when = match rng.below(4) {
        0 | 1 => When::Now,
        2 => When::After(rng.below(40)),
        _ => When::Writing,
    };
    Fault::Crash { whom, when, down_ms: down_ms(rng), moves: rng.chance(200) }
}

fn crash_of(rng: &mut Rng, count: usize) -> Fault {
    let who = somebody(rng, count);
    crash(rng, Whom::Node(who))
}

fn cut_pair(rng: &mut Rng, count: usize) -> Fault {
    let (one, other) = two(rng, count);
    Fault::Cut { what: "fault: two cut from each other", links: both_ways(&[one], &[other]), for_ms: for_ms(rng) }
}

fn cut_one_way(rng: &mut Rng, count: usize) -> Fault {
    let link = two(rng, count);
    Fault::Cut { what: "fault: one way cut", links: vec![link], for_ms: for_ms(rng) }
}

fn cut_halves(rng: &mut Rng, count: usize) -> Fault {
    let (left, mut right): (Vec<Who>, Vec<Who>) = (0..count).partition(|_| rng.chance(500));
    right.extend(rng.chance(500).then_some(NDS));
    Fault::Cut { what: "fault: group cut in two", links: both_ways(&left, &right), for_ms: for_ms(rng) }
}

/// Everybody reaches its neighbours in a ring only.
fn cut_ring(rng: &mut Rng, count: usize) -> Fault {
    let mut order: Vec<Who> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let mut links: Vec<Link> = ring(&order);
    if rng.chance(300) {
        links.extend(both_ways(&order[..count / 2], &[NDS]));
    }
    Fault::Cut { what: "fault: ring", links, for_ms: for_ms(rng) }
}

/// The service is out of reach for some, or for all.
fn cut_nds(rng: &mut Rng, count: usize) -> Fault {
    let share = rng.pick(&[200, 500, 1_000]).unwrap_or(500);
    let some: Vec<Who> = (0..count).filter(|_| rng.chance(share)).collect();
    let what = if some.len() == count { "fault: NDS cut from all" } else { "fault: NDS cut from some" };
    Fault::Cut { what, links: both_ways(&some, &[NDS]), for_ms: for_ms(rng) }
}

/// Anybody leaves at any moment, the leader too.
fn leave(rng: &mut Rng, count: usize) -> Fault {
    Fault::Leave(anybody(rng, count))
}

fn slow_disk(rng: &mut Rng, count: usize) -> Fault {
    Fault::SlowDisk { who: somebody(rng, count), sync_ms: rng.between(100, 4_000), for_ms: for_ms(rng) }
}
