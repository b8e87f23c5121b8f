//! What the run came to, in figures.

use std::{fmt, time::Duration};

use crate::{havoc::Tally, round::Outcome};

/// Sums over rounds.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    rounds: usize,
    tally: Tally,
    tried: usize,
    acknowledged: usize,
    stored_unanswered: usize,
    deliveries: usize,
    convergences: Vec<Duration>,
}

impl Totals {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.rounds += 1;
        self.tally.add(outcome.tally);
        self.tried += outcome.tried;
        self.acknowledged += outcome.acknowledged;
        self.stored_unanswered += outcome.compared.stored_unanswered;
        self.deliveries += outcome.compared.deliveries;
        self.convergences.push(outcome.converged_after);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, tally, tried, acknowledged, stored_unanswered, deliveries, convergences } = self;
        let unknown = tried - acknowledged;
        let slowest = convergences.iter().max().copied().unwrap_or_default();
        let mean = convergences.iter().sum::<Duration>() / convergences.len().max(1) as u32;
        write!(
            f,
            "{rounds} rounds; {tally}; {tried} sends, {acknowledged} acknowledged, {unknown} without an answer; \
             {deliveries} deliveries compared ({stored_unanswered} of sends without an answer); \
             converged {slowest:.1?} after the heal at the latest, {mean:.1?} on average"
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, tried, acknowledged, compared, converged_after } = self;
        write!(
            f,
            "{tally}; {tried} sends, {acknowledged} acknowledged, {} without an answer; {} deliveries compared; \
             converged {converged_after:.1?} after the heal",
            tried - acknowledged,
            compared.deliveries,
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, of_the_service, of_leaders, power_cuts, stops, cuts, one_way, skipped } = self;
        write!(
            f,
            "{kills} kills ({of_the_service} of the discovery service, {power_cuts} times everybody), {stops} stops, \
             {of_leaders} kills and stops of whoever led, {cuts} cuts ({one_way} one way), {skipped} faults skipped"
        )
    }
}
