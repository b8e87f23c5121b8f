//! The model check of election and views: the real engine and the discovery service's real registry under a search of
//! everything that can happen within bounds. No texts are written; everybody starts in one view that alice leads.
//!
//! What can happen: a message arrives, in any order or with so many overtaking others; a timer fires; a message is under
//! way while timers fire, and from then on for as long as it likes, for ever included; a node crashes, between any two
//! outputs of its engine too, and starts again; links are cut and heal. Each bound on these is in `explorations`.
//! Within them the search is exhaustive, as far as the fingerprints (64 bits) tell worlds apart that go on differently.
//!
//! What these bounds can't show: that one vote is no majority, how leaders of one epoch are ranked, and that votes of who
//! has left do not count. Broken on purpose, these rules go unseen with three nodes; the simulator watches over them.
//!
//! An own search rather than a model checker's: the order of times keeps only the worlds of later moments in memory, and
//! fingerprints have to see through absolute times and numbers of calls.
//!
//! | module | what it holds |
//! |---|---|
//! | `world`, `steps`, `discovery` | the world as a value, and what becomes of it by a step |
//! | `bounds`, `cast` | what is explored, and who takes part |
//! | `fingerprint` | which worlds go on alike |
//! | `search` | the exploration, and the way to a violation |
//! | `properties`, `converge`, `sights` | what must hold always, after faults, and sometimes |
//! | `words` | a way told by names |
//!
//! A longer exploration, with a report of each: `MODEL=full cargo test --release -p p2p-chat --test model -- --nocapture`.
//! `STATES=N` sets how many states each may look at (30,000,000, which take 3 GB); one that would look at more says so.

mod bounds;
mod cast;
mod converge;
mod discovery;
mod fingerprint;
mod properties;
mod search;
mod sights;
mod steps;
mod words;
mod world;

use std::env;

use bounds::{ANY, Bounds, Cut, Left};
use search::Search;
use sights::{SIGHTS, Sights};

#[test]
fn everything_within_the_bounds_keeps_the_invariants() {
    let is_full = env::var("MODEL").is_ok_and(|model| model == "full");
    let most_states = env::var("STATES").map_or(30_000_000, |states| states.parse().expect("STATES is a number"));
    let mut sights = Sights::default();
    for bounds in explorations().into_iter().filter(|bounds| is_full || !bounds.is_long) {
        match Search::new(&bounds, most_states).run() {
            Ok(report) => {
                eprintln!("{}: {report}", bounds.name);
                assert!(is_full || !report.is_cut_short, "{}: there is more than could be looked at", bounds.name);
                sights.add(report.sights);
            }
            Err(found) => panic!(
                "{} does not hold ({}): {}\nafter {} steps:\n{}",
                found.violation.property,
                bounds.name,
                found.violation.what,
                found.steps,
                found.story.join("\n")
            ),
        }
    }
    let unseen: Vec<_> = SIGHTS.into_iter().filter(|sight| !sights.has(*sight)).collect();
    assert!(unseen.is_empty(), "these never happened: {unseen:?}");
}

/// What is explored: short ones first, which take less than a minute together without optimisation.
fn explorations() -> Vec<Bounds> {
    let short = |name, horizon_ms, faults| Bounds {
        name,
        nodes: 3,
        horizon_ms,
        drift_ms: 0,
        epochs: 3,
        faults,
        cuts: Cut::usual(3),
        is_long: false,
    };
    let long = |name, horizon_ms, faults| Bounds { is_long: true, ..short(name, horizon_ms, faults) };
    let faults = |late, crashes, cuts, overtakes| Left { late, crashes, cuts, overtakes };
    let two = |bounds| Bounds { nodes: 2, cuts: Cut::usual(2), ..bounds };
    let four = |bounds| Bounds { nodes: 4, cuts: Cut::usual(4), ..bounds };
    vec![
        two(short("two nodes, a crash, any order", 8_000, faults(0, 1, 0, ANY))),
        short("two late messages, any order", 8_000, faults(2, 0, 0, ANY)),
        short("a crash, any order", 3_000, faults(0, 1, 0, ANY)),
        short("a crash and a late message", 6_000, faults(1, 1, 0, 0)),
        short("a cut, one overtakes", 6_000, faults(0, 0, 1, 1)),
        short("three crashes", 2_500, faults(0, 3, 0, 0)),
        short("a crash and a cut", 5_000, faults(0, 1, 1, 0)),
        Bounds { drift_ms: 900, ..long("a crash, timers up to 900 ms late", 6_000, faults(0, 1, 0, 0)) },
        two(long("two nodes, all faults, one overtakes", 6_000, faults(1, 1, 1, 1))),
        four(long("four nodes, a cut", 8_000, faults(0, 0, 1, 0))),
        long("two crashes, two overtake", 8_000, faults(0, 2, 0, 2)),
        long("a late message and a cut, two overtake", 7_000, faults(1, 0, 1, 2)),
        long("three late messages, any order", 8_000, faults(3, 0, 0, ANY)),
        long("a crash, any order", 6_000, faults(0, 1, 0, ANY)),
        long("a cut, any order", 6_000, faults(0, 0, 1, ANY)),
        long("two crashes and a cut", 7_000, faults(0, 2, 1, 0)),
        long("a crash, a cut and a late message", 6_000, faults(1, 1, 1, 0)),
    ]
}
