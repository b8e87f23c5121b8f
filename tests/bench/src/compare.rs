//! `compare`: the product, measured in ceilings.

use anyhow::Result;
use serde::Serialize;

use crate::{
    ceiling::{self, Shape},
    group::{self, Plan},
    report::{Report, median, rounded},
};

/// Both, and how they compare.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    name: &'static str,
    /// Deliveries a second of the product, as a share of those of bare tonic.
    ratio: f64,
    /// Processor time of bare tonic for a delivery, as a share of what the product takes: hardly depends on what else
    /// runs on the machine. Of medians, as `ratio` is.
    cpu_ratio: f64,
    ceiling_per_s: f64,
    group_per_s: f64,
    /// How many were run; fewer than asked for if in one not everything arrived exactly once.
    rounds: usize,
    /// Of the last round.
    ceiling: Report,
    group: Report,
}

impl Comparison {
    /// Whether everything of the last round arrived exactly once.
    pub(crate) fn is_clean(&self) -> bool {
        self.ceiling.is_clean() && self.group.is_clean()
    }
}

/// Bare tonic with one stream a pair, no TLS and no disk, and then the product, in turns. What they do in a second, and
/// what processor time they take for it, is the median over the rounds.
pub(crate) async fn run(plan: &Plan, rounds: usize) -> Result<Comparison> {
    let mut figures: [Vec<f64>; 4] = Default::default();
    let mut round = 0;
    loop {
        round += 1;
        let ceiling = ceiling::run(plan, Shape::Stream, false).await?;
        let group = group::run(plan).await?;
        eprintln!("{} and {} deliveries/s", ceiling.deliveries_per_s, group.deliveries_per_s);
        let both = [&ceiling, &group];
        let speeds = both.map(|report| report.deliveries_per_s);
        let costs = both.map(|report| report.cpu_us_per_delivery);
        for (figures, new) in figures.iter_mut().zip(speeds.into_iter().chain(costs)) {
            figures.push(new);
        }
        let clean = ceiling.is_clean() && group.is_clean();
        if round >= rounds || !clean {
            let [ceiling_per_s, group_per_s, ceiling_cpu_us, group_cpu_us] = figures.map(median);
            return Ok(Comparison {
                name: "compare",
                ratio: rounded(group_per_s / ceiling_per_s),
                cpu_ratio: rounded(ceiling_cpu_us / group_cpu_us),
                ceiling_per_s,
                group_per_s,
                rounds: round,
                ceiling,
                group,
            });
        }
    }
}
