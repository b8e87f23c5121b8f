//! Which faults a seed has, swarm style (Groce et al. 2012): each kind of fault is on in about half of the seeds, in
//! some seeds fewer and in some more, so that rare combinations of few kinds get their turn.

use super::{Fault, When, Whom, steps::Step};
use crate::{
    bad::{Bad, Trick},
    gaps::Gap,
    net::{Link, Service, Weather, Who, both_ways, nds, ring},
    rng::Rng,
    world::{Happening, World},
};

/// The most that a clock gains or loses, in thousandths.
const MAX_DRIFT: u64 = 30;
const HOUR_MS: u64 = 3_600_000;

/// Whom there is to hit: how many nodes and how many discovery services.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    services: usize,
}

/// A kind of fault: its weight among those that are on (0: never), and how one is drawn.
struct Kind(u64, fn(&mut Rng, Size) -> Fault);

const KINDS: [Kind; 20] = [
    Kind(10, crash_of),
    Kind(10, |rng, _| crash(rng, Whom::Leader)),
    Kind(20, |rng, _| Fault::CrashAt { step: Step::any(rng), down_ms: down_ms(rng), provoke: rng.chance(700) }),
    Kind(10, |rng, size| Fault::Pause { whom: Whom::Node(somebody(rng, size)), for_ms: rng.between(200, 30_000) }),
    Kind(10, |rng, _| Fault::Pause { whom: Whom::Leader, for_ms: rng.between(200, 30_000) }),
    Kind(10, cut_pair),
    Kind(10, cut_one_way),
    Kind(10, cut_halves),
    Kind(10, cut_ring),
    Kind(10, cut_nds),
    Kind(10, nds_down),
    Kind(4, |rng, size| Fault::NdsWipe(some_service(rng, size))),
    Kind(8, nds_set_back),
    Kind(8, |rng, size| Fault::SetWall { who: somebody(rng, size), error_ms: hours(rng) }),
    Kind(8, |rng, size| Fault::Leap { whom: anybody(rng, size), ms: rng.between(200, 60_000) }),
    Kind(8, slow_disk),
    Kind(8, |rng, size| Fault::FullDisk { who: somebody(rng, size), for_ms: for_ms(rng) }),
    Kind(8, leave),
    Kind(8, |rng, size| Fault::Outsider(somebody(rng, size))),
    Kind(BAD_MEMBER, |rng, _| Fault::Bad(Trick::any(rng))),
];

/// What can go wrong only where there are several discovery services.
const AMONG_SEVERAL: [Kind; 3] = [Kind(15, cut_sides), Kind(15, cut_some_from_some), Kind(8, nds_taken)];

/// How much of what goes wrong is a bad member's doing, in seeds that have one.
const BAD_MEMBER: u64 = 40;

/// Plans the faults of a seed between two moments.
pub(crate) fn plan(world: &mut World, from: u64, until: u64) {
    let seed = world.rng.next();
    let mut rng = Rng::new(seed);
    let size = Size { nodes: world.nodes.len(), services: world.services.len() };
    let share = rng.pick(&[150, 400, 500, 600, 850]).unwrap_or(500);
    world.net.weather = weather(&mut rng, share);
    if rng.chance(share) {
        world.tally.count("fault: clocks drift");
        for node in &mut world.nodes {
            node.clock.drift(world.now, rng.between(0, 2 * MAX_DRIFT).cast_signed() - MAX_DRIFT.cast_signed());
        }
    }
    let of_several = AMONG_SEVERAL.iter().filter(|_| size.services > 1);
    let kinds: Vec<&Kind> = KINDS.iter().chain(of_several).filter(|kind| rng.chance(share) && kind.0 > 0).collect();
    if rng.chance(share) && size.nodes > 2 {
        let bad = Bad::new(somebody(&mut rng, size), rng.chance(500) && Gap::Lost.is_on());
        world.oracle.distrust(&world.nodes[bad.who]);
        world.bad = Some(bad);
        // Drawn from a stream of their own, or what else a seed plays would be another thing with each of them.
        plan_habits(world, &mut Rng::new(!seed), share, (from, until));
    }
    let pause = rng.between(300, 6_000);
    let mut at = from + rng.below(pause);
    while at < until {
        if let Some(kind) = choose(&mut rng, &kinds) {
            let fault = (kind.1)(&mut rng, size);
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

fn somebody(rng: &mut Rng, size: Size) -> Who {
    rng.below(size.nodes as u64) as Who
}

fn anybody(rng: &mut Rng, size: Size) -> Whom {
    if rng.chance(400) { Whom::Leader } else { Whom::Node(somebody(rng, size)) }
}

/// Two who are not the same.
fn two(rng: &mut Rng, size: Size) -> (Who, Who) {
    let one = somebody(rng, size);
    (one, (one + 1 + rng.below(size.nodes as u64 - 1) as Who) % size.nodes)
}

/// One of the services. Where there is only one, nothing is drawn.
fn some_service(rng: &mut Rng, size: Size) -> Service {
    if size.services > 1 { rng.below(size.services as u64) as Service } else { 0 }
}

/// One of the services, or all, as parties.
fn some_services(rng: &mut Rng, size: Size) -> Vec<Who> {
    if size.services > 1 && rng.chance(400) {
        return (0..size.services).map(nds).collect();
    }
    vec![nds(some_service(rng, size))]
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

fn nds_down(rng: &mut Rng, size: Size) -> Fault {
    let for_ms = for_ms(rng);
    let clock_error_ms = if rng.chance(300) { hours(rng) } else { 0 };
    Fault::NdsDown { service: some_service(rng, size), for_ms, clock_error_ms }
}

fn nds_set_back(rng: &mut Rng, size: Size) -> Fault {
    let is_copied = rng.chance(500);
    let service = some_service(rng, size);
    if is_copied { Fault::NdsCopy(service) } else { Fault::NdsRestore(service) }
}

fn nds_taken(rng: &mut Rng, size: Size) -> Fault {
    let for_ms = rng.chance(600).then(|| for_ms(rng));
    Fault::NdsTaken { service: some_service(rng, size), for_ms }
}

fn crash(rng: &mut Rng, whom: Whom) -> Fault {
    let when = match rng.below(4) {
        0 | 1 => When::Now,
        2 => When::After(rng.below(40)),
        _ => When::Writing,
    };
    Fault::Crash { whom, when, down_ms: down_ms(rng), moves: rng.chance(200) }
}

fn crash_of(rng: &mut Rng, size: Size) -> Fault {
    let who = somebody(rng, size);
    crash(rng, Whom::Node(who))
}

fn cut_pair(rng: &mut Rng, size: Size) -> Fault {
    let (one, other) = two(rng, size);
    Fault::Cut { what: "fault: two cut from each other", links: both_ways(&[one], &[other]), for_ms: for_ms(rng) }
}

fn cut_one_way(rng: &mut Rng, size: Size) -> Fault {
    let link = two(rng, size);
    Fault::Cut { what: "fault: one way cut", links: vec![link], for_ms: for_ms(rng) }
}

/// One of the services may be on one side; whatever else there is, both sides reach.
fn cut_halves(rng: &mut Rng, size: Size) -> Fault {
    let (left, mut right): (Vec<Who>, Vec<Who>) = (0..size.nodes).partition(|_| rng.chance(500));
    if rng.chance(500) {
        right.push(nds(some_service(rng, size)));
    }
    Fault::Cut { what: "fault: group cut in two", links: both_ways(&left, &right), for_ms: for_ms(rng) }
}

/// The group is cut in two, and each side has a service of its own; somebody may be on neither side.
fn cut_sides(rng: &mut Rng, size: Size) -> Fault {
    let alone = somebody(rng, size);
    let alone: Vec<Who> = if rng.chance(600) { vec![alone] } else { Vec::new() };
    let others = (0..size.nodes).filter(|who| !alone.contains(who));
    let (mut left, mut right): (Vec<Who>, Vec<Who>) = others.partition(|_| rng.chance(500));
    let first = some_service(rng, size);
    for service in 0..size.services {
        if service == first { left.push(nds(service)) } else { right.push(nds(service)) }
    }
    let mut links = both_ways(&left, &right);
    links.extend(both_ways(&alone, &left));
    links.extend(both_ways(&alone, &right));
    Fault::Cut { what: "fault: NDSs on both sides of a cut", links, for_ms: for_ms(rng) }
}

/// Everybody reaches its neighbours in a ring only.
fn cut_ring(rng: &mut Rng, size: Size) -> Fault {
    let mut order: Vec<Who> = (0..size.nodes).collect();
    for at in (1..size.nodes).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let mut links: Vec<Link> = ring(&order);
    if rng.chance(300) {
        links.extend(both_ways(&order[..size.nodes / 2], &some_services(rng, size)));
    }
    Fault::Cut { what: "fault: ring", links, for_ms: for_ms(rng) }
}

/// A service, or all of them, are out of reach for some, or for all.
fn cut_nds(rng: &mut Rng, size: Size) -> Fault {
    let share = rng.pick(&[200, 500, 1_000]).unwrap_or(500);
    let some: Vec<Who> = (0..size.nodes).filter(|_| rng.chance(share)).collect();
    let what = if some.len() == size.nodes { "fault: NDS cut from all" } else { "fault: NDS cut from some" };
    Fault::Cut { what, links: both_ways(&some, &some_services(rng, size)), for_ms: for_ms(rng) }
}

/// Each node reaches some of the services, and others not.
fn cut_some_from_some(rng: &mut Rng, size: Size) -> Fault {
    let pairs = (0..size.nodes).flat_map(|who| (0..size.services).map(move |service| (who, nds(service))));
    let cut: Vec<Link> = pairs.filter(|_| rng.chance(500)).collect();
    let links = cut.iter().flat_map(|(who, nds)| [(*who, *nds), (*nds, *who)]).collect();
    Fault::Cut { what: "fault: some NDSs cut from some", links, for_ms: for_ms(rng) }
}

/// Anybody leaves at any moment, the leader too.
fn leave(rng: &mut Rng, size: Size) -> Fault {
    Fault::Leave(anybody(rng, size))
}

fn slow_disk(rng: &mut Rng, size: Size) -> Fault {
    Fault::SlowDisk { who: somebody(rng, size), sync_ms: rng.between(100, 4_000), for_ms: for_ms(rng) }
}
