//! What is printed.

use std::{io::Write, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    board::{Board, Tally},
    group::Plan,
    histogram::Histogram,
    network,
    usage::Usage,
};

/// Quantiles of durations, in microseconds; null where nothing was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spread {
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
    samples: u64,
}

impl From<&Histogram> for Spread {
    fn from(histogram: &Histogram) -> Self {
        let [p50, p99] = [0.5, 0.99].map(|share| histogram.quantile_us(share));
        Self { p50, p99, max: histogram.max_us(), samples: histogram.total() }
    }
}

/// The result of a group, or of what it is compared with. What does not apply is null.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) nodes: usize,
    pub(crate) senders: usize,
    pub(crate) messages: usize,
    pub(crate) size: usize,
    pub(crate) rate: u32,
    pub(crate) in_flight: usize,
    pub(crate) processes: bool,
    pub(crate) history: usize,
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) seconds: f64,
    pub(crate) accepted_s: f64,
    pub(crate) deliveries_per_s: f64,
    pub(crate) latency_us: Option<Spread>,
    pub(crate) acked_all_us: Option<Spread>,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) rss_mb: f64,
    pub(crate) formation_s: Option<f64>,
    pub(crate) disk_bytes_per_message: Option<f64>,
    pub(crate) written_bytes_per_message: Option<f64>,
    pub(crate) wire_bytes_per_delivery: f64,
    pub(crate) own_network: bool,
    pub(crate) fdatasync_us: u64,
}

/// What was measured of any load.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    /// Until everything was accepted.
    pub(crate) accepted: Duration,
    /// From the first sending to the last arrival.
    pub(crate) used: Usage,
    pub(crate) rss_mb: f64,
    pub(crate) fdatasync: Duration,
}

impl Report {
    /// What groups and ceilings have in common.
    pub(crate) fn new(name: String, plan: &Plan, board: &Board, measured: &Measured) -> Self {
        let Measured { tally, accepted, used, rss_mb, fdatasync } = measured;
        let load = plan.load;
        let expected = (load.total() * (plan.nodes - 1)) as u64;
        let took = tally.last.zip(board.began()).map_or(Duration::ZERO, |(last, began)| last.duration_since(began));
        let each = tally.received.max(1) as f64;
        Self {
            name,
            nodes: plan.nodes,
            senders: load.senders,
            messages: load.messages,
            size: load.size,
            rate: load.rate,
            in_flight: load.in_flight,
            expected,
            received: tally.received,
            lost: expected - tally.received,
            duplicates: tally.duplicates,
            seconds: seconds(took),
            accepted_s: seconds(*accepted),
            deliveries_per_s: rounded(tally.received as f64 / took.as_secs_f64()).round(),
            latency_us: Some(Spread::from(&tally.latency)),
            cpu_s: rounded(used.cpu_s),
            cpu_us_per_delivery: rounded(used.cpu_s * 1e6 / each),
            rss_mb: rounded(*rss_mb),
            wire_bytes_per_delivery: (used.wire_bytes as f64 / each).round(),
            own_network: network::is_own(),
            fdatasync_us: fdatasync.as_micros() as u64,
            ..Self::default()
        }
    }

    /// Whether everything arrived exactly once.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0
    }
}

/// Prints one line.
pub(crate) fn print(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(std::io::stdout().write_all(line.as_bytes())?)
}

/// A number without more digits than it is worth.
pub(crate) fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1_000.0).round() / 1_000.0 } else { 0.0 }
}

/// Seconds, to the millisecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// The median and the worst of durations, in milliseconds; null where there are none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Typical {
    median: Option<f64>,
    worst: Option<f64>,
}

impl From<&[Duration]> for Typical {
    fn from(durations: &[Duration]) -> Self {
        let ms: Vec<f64> = durations.iter().map(|duration| rounded(duration.as_secs_f64() * 1e3)).collect();
        let worst = ms.iter().copied().max_by(f64::total_cmp);
        Self { median: worst.is_some().then(|| median(ms)), worst }
    }
}

/// The middle one, or the upper of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
