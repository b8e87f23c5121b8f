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
    /// runs on the machine.
    cpu_ratio: f64,
    ceiling_per_s: f64,
    group_per_s: f64,
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

/// Bare tonic with one stream a pair, no TLS and no disk, and then the product, in turns. What they do in a second is
/// the median over the rounds.
pub(crate) async fn run(plan: &Plan, rounds: usize) -> Result<Comparison> {
    let (mut ceilings, mut groups) = (Vec::new(), Vec::new());
    loop {
        let ceiling = ceiling::run(plan, Shape::Stream, false).await?;
        let group = group::run(plan).await?;
        ceilings.push(ceiling.deliveries_per_s);
        groups.push(group.deliveries_per_s);
        eprintln!("{} and {} deliveries/s", ceiling.deliveries_per_s, group.deliveries_per_s);
        let clean = ceiling.is_clean() && group.is_clean();
        if ceilings.len() >= rounds || !clean {
            let (ceiling_per_s, group_per_s) = (median(ceilings), median(groups));
            let ratio = rounded(group_per_s / ceiling_per_s);
            let cpu_ratio = rounded(ceiling.cpu_us_per_delivery / group.cpu_us_per_delivery);
            return Ok(Comparison {
                name: "compare",
                ratio,
                cpu_ratio,
                ceiling_per_s,
                group_per_s,
                rounds,
                ceiling,
                group,
            });
        }
    }
}
