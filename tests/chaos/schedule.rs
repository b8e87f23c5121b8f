//! What goes wrong, and when: drawn from a seed before anything is started, so that a seed means the same faults again.

use std::time::Duration;

use crate::rng::Rng;

/// The nodes.
pub(crate) const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// The discovery service.
pub(crate) const NDS: &str = "nds";

/// Between the beginnings of two faults, in milliseconds.
const GAP_MS: (u64, u64) = (1_000, 5_000);
/// How long a killed process stays away.
const AWAY_MS: (u64, u64) = (0, 8_000);
/// How long a stopped process stands still: both sides of what others take for death.
const STILL_MS: (u64, u64) = (200, 12_000);
/// How long a line is cut: both sides of what lets a member drop out.
const CUT_MS: (u64, u64) = (500, 15_000);

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Named(&'static str),
    /// Whoever leads when the time has come.
    Leader,
    /// All nodes and the discovery service: the power is gone.
    Everybody,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and a start on the same data when it is over.
    Kill(Victim),
    /// SIGSTOP, and SIGCONT when it is over.
    Stop(Victim),
    /// A dead line between two, or in one direction between them.
    Cut { from: &'static str, to: &'static str, both_ways: bool },
}

/// A fault and its time, counted from the beginning of the round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// The faults of one round. Those that are not over with the round end with it.
pub(crate) fn draw(rng: &mut Rng, round: Duration) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += between(rng, GAP_MS);
        if at >= round {
            return planned;
        }
        let (fault, span) = one(rng);
        planned.push(Planned { at, lasts: between(rng, span), fault });
    }
}

fn one(rng: &mut Rng) -> (Fault, (u64, u64)) {
    match rng.below(100) {
        0..38 => (Fault::Kill(victim(rng)), AWAY_MS),
        38..40 => (Fault::Kill(Victim::Everybody), AWAY_MS),
        40..65 => (Fault::Stop(victim(rng)), STILL_MS),
        _ => (cut(rng), CUT_MS),
    }
}

/// Leaders are hit more often than others: most of what can go wrong begins with them.
fn victim(rng: &mut Rng) -> Victim {
    if rng.chance(250) { Victim::Leader } else { Victim::Named(process(rng, "")) }
}

fn cut(rng: &mut Rng) -> Fault {
    let from = process(rng, "");
    Fault::Cut { from, to: process(rng, from), both_ways: rng.chance(600) }
}

/// Any process but one.
fn process(rng: &mut Rng, but: &str) -> &'static str {
    let others: Vec<&str> = NAMES.into_iter().chain([NDS]).filter(|name| *name != but).collect();
    rng.pick(&others).unwrap_or(NDS)
}

fn between(rng: &mut Rng, (low, high): (u64, u64)) -> Duration {
    Duration::from_millis(rng.between(low, high))
}

#[test]
fn a_seed_means_the_same_faults_again() {
    let minutes = |seed| draw(&mut Rng::new(seed), Duration::from_secs(600));
    assert_eq!(minutes(7), minutes(7));
    assert_ne!(minutes(7), minutes(8));
}

#[test]
fn every_kind_of_fault_is_drawn() {
    let planned = draw(&mut Rng::new(1), Duration::from_secs(3_600));
    let count = |wanted: fn(&Fault) -> bool| planned.iter().filter(|planned| wanted(&planned.fault)).count();
    assert!(count(|fault| matches!(fault, Fault::Kill(Victim::Everybody))) > 0);
    assert!(count(|fault| matches!(fault, Fault::Kill(Victim::Leader))) > 0);
    assert!(count(|fault| matches!(fault, Fault::Stop(Victim::Leader))) > 0);
    for name in NAMES.into_iter().chain([NDS]) {
        let hits = |fault: &Fault| match *fault {
            Fault::Kill(Victim::Named(hit)) => (hit == name, false, false),
            Fault::Stop(Victim::Named(hit)) => (false, hit == name, false),
            Fault::Cut { from, to, both_ways } => (false, false, from != to && from == name && !both_ways),
            Fault::Kill(_) | Fault::Stop(_) => (false, false, false),
        };
        let hits: Vec<_> = planned.iter().map(|planned| hits(&planned.fault)).collect();
        let all = hits.iter().any(|hit| hit.0) && hits.iter().any(|hit| hit.1) && hits.iter().any(|hit| hit.2);
        assert!(all, "{name} is spared");
    }
    let gap = |pair: &[Planned]| pair[1].at - pair[0].at;
    let ordered = planned.windows(2).all(|pair| (1..=5).contains(&gap(pair).as_secs()));
    assert!(ordered, "the faults come at other times than they should");
}
