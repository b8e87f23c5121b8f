//! Chaos on real processes: five nodes and a discovery service over real TCP, somebody talking at each, while
//! processes are killed and stopped and lines are cut, as a seed wants it. Then everything is healed, and everybody
//! has to show every acknowledged message, once, in the same order.
//!
//! A minute of it is part of `cargo test`. For more:
//! `CHAOS_SECONDS=1800 cargo test --release -p p2p-chat --test chaos -- --nocapture`.
//! It goes in rounds of a minute, each with its judgement, and founds a new group after every few rounds. The n-th
//! group has the seed `CHAOS_SEED` + n, and can be run alone. Groups with an even seed live in network namespaces,
//! where that is possible; the others behind proxies. A failure keeps all data and logs; `P2P_CHAT_TEST_LOG` is the
//! log filter of the processes.

mod havoc;
mod rng;
mod round;
mod schedule;
mod verdict;

// Shared with the other test programs, each of which uses its part.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod checks;
mod totals;

use std::{
    env,
    time::{Duration, SystemTime},
};

use rng::Rng;
use round::Group;
use support::{Lines, figure};
use totals::Totals;

/// How long the faults of a round go on.
const ROUND: Duration = Duration::from_secs(60);
/// After so many rounds a group's history is long enough.
const ROUNDS_OF_A_GROUP: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whatever_dies() {
    let seed = setting("CHAOS_SEED").unwrap_or_else(seed_of_the_moment);
    let mut left = Duration::from_secs(setting("CHAOS_SECONDS").unwrap_or(ROUND.as_secs()));
    let mut totals = Totals::default();
    for seed in seed.. {
        let mut rng = Rng::new(seed);
        let lines = if seed % 2 == 0 { Lines::that_can_be_cut() } else { Lines::proxied() };
        let mut replay = Replay { seed, seconds: 0, lines: lines.name() };
        let mut group = Group::found(lines).await;
        for round in 1..=ROUNDS_OF_A_GROUP {
            let lasts = left.min(ROUND);
            left -= lasts;
            replay.seconds += lasts.as_secs();
            // Draws the whole round always, so that a shorter one is the beginning of it.
            let planned = schedule::draw(&mut rng, ROUND);
            let outcome = group.live_through(&planned, lasts).await;
            figure(format!("chaos: seed {seed} {}, round {round}: {outcome}", replay.lines));
            totals.add(&outcome);
            if left.is_zero() {
                return figure(format!("chaos: in all: {totals}"));
            }
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} has to be a number, not {value:?}")))
}

fn seed_of_the_moment() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() % 1_000_000)
}

/// Says how to run the same faults again, if the test fails.
struct Replay {
    seed: u64,
    seconds: u64,
    lines: &'static str,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, seconds, lines } = self;
            eprintln!("--- failed with seed {seed}, {lines}. The same faults again:");
            let test = "cargo test -p p2p-chat --test chaos nothing_acknowledged -- --nocapture";
            eprintln!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds} {test}");
        }
    }
}
