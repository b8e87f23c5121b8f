//! What is counted of one network, and what its engine says of itself.

use std::time::Duration;

use p2p_chat_engine::{Event, Way};
use p2p_chat_metrics::{Counter, Gauge, Histogram, Labels, Page};

use super::names;
use crate::network::Figures;

/// Bounds for the time of an ack, microseconds: half a millisecond beside each other, a second and more with failures.
const ACK_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
    60_000_000,
];
/// Bounds for the time of a delivery, microseconds; up to a day, since what was missed while away counts too.
const DELIVERY_US: [u64; 14] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    60_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// Longest time that is counted for a delivery: an author's clock may say anything, and no clock must spoil the sum.
const LONGEST_LATENCY: Duration = Duration::from_secs(86_400);

/// How a ping ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pinged {
    Answered,
    Unanswered,
}

/// What has happened in a network since the node is in.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) sent: Counter,
    pub(crate) delivered: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) fetched: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) not_taken: Counter,
    acknowledged: [Counter; 3],
    pub(crate) ack_latency: Histogram,
    pub(crate) delivery_latency: Histogram,
    pub(crate) elections: Counter,
    leader_changes: Counter,
    leader_losses: Counter,
    joins: Counter,
    leaves: Counter,
    drop_outs: Counter,
    returns: Counter,
    pings: [Counter; 2],
    equivocations: Counter,
    pub(crate) broken: Gauge,
    pub(crate) inbox_refusals: Counter,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            sent: Counter::default(),
            delivered: Counter::default(),
            handed_over: Counter::default(),
            fetched: Counter::default(),
            duplicates: Counter::default(),
            not_taken: Counter::default(),
            acknowledged: Default::default(),
            ack_latency: Histogram::of_durations(&ACK_US),
            delivery_latency: Histogram::of_durations(&DELIVERY_US),
            elections: Counter::default(),
            leader_changes: Counter::default(),
            leader_losses: Counter::default(),
            joins: Counter::default(),
            leaves: Counter::default(),
            drop_outs: Counter::default(),
            returns: Counter::default(),
            pings: Default::default(),
            equivocations: Counter::default(),
            broken: Gauge::default(),
            inbox_refusals: Counter::default(),
        }
    }
}

impl Counts {
    /// A member has acknowledged so many more own entries.
    pub(crate) fn on_acknowledged(&self, way: Way, entries: u64) {
        let index = match way {
            Way::Direct => 0,
            Way::Relayed(_) => 1,
            Way::Fetched => 2,
        };
        self.acknowledged[index].add(entries);
    }

    pub(crate) fn on_pinged(&self, outcome: Pinged) {
        self.pings[outcome as usize].increment();
    }

    /// A text of another author has been delivered; `wall_ms` is the author's clock, `now_ms` this node's.
    pub(crate) fn on_delivered(&self, wall_ms: u64, now_ms: u64) {
        self.delivered.increment();
        let latency = Duration::from_millis(now_ms.saturating_sub(wall_ms));
        self.delivery_latency.observe(latency.min(LONGEST_LATENCY));
    }

    pub(crate) fn on_event(&self, event: &Event) {
        match event {
            Event::Joined(..) => self.joins.increment(),
            Event::Left(_) => self.leaves.increment(),
            Event::DroppedOut(..) => self.drop_outs.increment(),
            Event::Returned(..) => self.returns.increment(),
            Event::LeaderChanged { .. } => self.leader_changes.increment(),
            Event::Leaderless(_) => self.leader_losses.increment(),
            Event::Equivocation { .. } => self.equivocations.increment(),
            _ => {}
        }
    }

    pub(super) fn fill(&self, page: &mut Page, labels: &Labels) {
        let counters = [
            (names::MESSAGES_SENT, &self.sent),
            (names::MESSAGES_DELIVERED, &self.delivered),
            (names::ENTRIES_DUPLICATE, &self.duplicates),
            (names::ENTRIES_NOT_TAKEN, &self.not_taken),
            (names::ELECTIONS, &self.elections),
            (names::LEADER_CHANGES, &self.leader_changes),
            (names::LEADER_LOSSES, &self.leader_losses),
            (names::JOINS, &self.joins),
            (names::LEAVES, &self.leaves),
            (names::DROP_OUTS, &self.drop_outs),
            (names::RETURNS, &self.returns),
            (names::EQUIVOCATIONS, &self.equivocations),
            (names::INBOX_REFUSALS, &self.inbox_refusals),
        ];
        for (metric, counter) in counters {
            page.counter(metric, labels, counter.value());
        }
        page.counter(names::ENTRIES_RECEIVED, &labels.with("way", "handed_over"), self.handed_over.value());
        page.counter(names::ENTRIES_RECEIVED, &labels.with("way", "fetched"), self.fetched.value());
        for (way, counter) in ["direct", "relayed", "fetched"].iter().zip(&self.acknowledged) {
            page.counter(names::ENTRIES_ACKNOWLEDGED, &labels.with("way", way), counter.value());
        }
        for (outcome, counter) in ["answered", "unanswered"].iter().zip(&self.pings) {
            page.counter(names::PINGS, &labels.with("outcome", outcome), counter.value());
        }
        page.histogram(names::ACK_LATENCY, labels, &self.ack_latency);
        page.histogram(names::DELIVERY_LATENCY, labels, &self.delivery_latency);
        page.gauge(names::BROKEN, labels, self.broken.value() as f64);
    }
}

/// What the engine says. While the network stands still for its disk, all of it is 0.
pub(super) fn standing(page: &mut Page, labels: &Labels, figures: &Figures) {
    let engine = &figures.engine;
    let is = |fact: bool| f64::from(u8::from(fact));
    let gauges = [
        (names::EPOCH, engine.epoch as f64),
        (names::VIEW_VERSION, engine.view_version as f64),
        (names::VIEW_MEMBERS, engine.active as f64),
        (names::MEMBERS, engine.members as f64),
        (names::LEADING, is(engine.leading)),
        (names::LEADER_ALIVE, is(engine.leader_alive)),
        (names::IN_VIEW, is(engine.in_view)),
        (names::ENTRIES, engine.entries as f64),
        (names::ENTRIES_HELD_BACK, engine.held as f64),
        (names::ENTRIES_MISSING, engine.missing as f64),
        (names::FROZEN_FEEDS, engine.frozen as f64),
        (names::COMMITS_IN_FLIGHT, figures.commits as f64),
    ];
    for (metric, value) in gauges {
        page.gauge(metric, labels, value);
    }
    let away = engine.owed.saturating_sub(engine.owed_active);
    page.gauge(names::ACKS_OUTSTANDING, &labels.with("members", "active"), engine.owed_active as f64);
    page.gauge(names::ACKS_OUTSTANDING, &labels.with("members", "away"), away as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authors_clock_can_not_spoil_the_sum_of_latencies() {
        let (counts, labels) = (Counts::default(), Labels::default());
        counts.on_delivered(0, 1_800_000_000_000);
        let mut page = Page::default();
        page.histogram(names::DELIVERY_LATENCY, &labels, &counts.delivery_latency);
        let text = page.text();
        let sum = text.lines().find(|line| line.contains("_sum")).expect("a sum");
        assert!(sum.ends_with(" 86400") || sum.ends_with(" 86400.0"), "{sum}");
    }
}
