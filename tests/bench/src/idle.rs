//! `idle`: what a group costs in which nobody says anything.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    network,
    report::{median, rounded},
    stage::Stage,
    usage::{Usage, memory_mb, private_mb},
};

/// How long the group may come to rest before it is watched.
const SETTLE: Duration = Duration::from_secs(3);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    name: &'static str,
    nodes: usize,
    seconds: f64,
    /// Processor time of a node, in hundredths of one processor.
    cpu_percent_per_node: f64,
    /// On the loopback device, over all nodes and the discovery service.
    wire_bytes_per_s: f64,
    wire_bytes_per_s_per_node: f64,
    written_bytes_per_s_per_node: f64,
    rss_mb_per_node: f64,
    rss_mb_worst: f64,
    /// Without what nodes on one machine share: the program.
    private_mb_per_node: f64,
    own_network: bool,
}

/// Watches a group of processes.
pub(crate) async fn run(dir: &Path, nodes: usize, span: Duration) -> Result<Idle> {
    let (stage, _) = Stage::of(dir, nodes, true).await?;
    tokio::time::sleep(SETTLE).await;
    let pids = stage.pids();
    let before = Usage::of(&pids)?;
    tokio::time::sleep(span).await;
    let used = Usage::of(&pids)?.since(before);
    let memory = pids.iter().map(|pid| Ok(memory_mb(*pid)?.0)).collect::<Result<Vec<f64>>>()?;
    let private = pids.iter().map(|pid| private_mb(*pid)).collect::<Result<Vec<f64>>>()?;
    stage.close().await?;
    let (seconds, count) = (span.as_secs_f64(), nodes as f64);
    let wire = used.wire_bytes as f64 / seconds;
    Ok(Idle {
        name: "idle",
        nodes,
        seconds,
        cpu_percent_per_node: rounded(used.cpu_s / seconds / count * 100.0),
        wire_bytes_per_s: wire.round(),
        wire_bytes_per_s_per_node: (wire / count).round(),
        written_bytes_per_s_per_node: (used.written_bytes as f64 / seconds / count).round(),
        rss_mb_worst: rounded(memory.iter().copied().fold(0.0, f64::max)),
        rss_mb_per_node: rounded(median(memory)),
        private_mb_per_node: rounded(median(private)),
        own_network: network::is_own(),
    })
}
