//! `slow-consumer`: one member stands still while the others talk as fast as they can.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{
    board::{Board, Load, Tally},
    catchup::read,
    group::{AFTERMATH, Plan, collect, send, subscribe},
    load::arrivals,
    report::{rounded, seconds},
    stage::Stage,
    usage::{fdatasync, memory_mb},
};

/// After so long without an arrival the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long what the one that stood still has not shown counts as lost.
const CATCH_UP: Duration = Duration::from_secs(300);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Slow {
    name: &'static str,
    nodes: usize,
    senders: usize,
    messages: usize,
    size: usize,
    lost: u64,
    duplicates: u64,
    /// Messages a second until all who run had them: while all run, and while one stands still.
    messages_per_s_before: f64,
    messages_per_s_meanwhile: f64,
    /// Of the sender that has most: before, while one stands still (its highest so far), and half a second after that
    /// one has all.
    rss_mb_before: f64,
    rss_mb_meanwhile: f64,
    rss_mb_after: f64,
    /// How long it stood still.
    stopped_s: f64,
    /// From its going on until it has shown everything.
    catch_up_s: f64,
    entries_per_s: f64,
    fdatasync_us: u64,
}

impl Slow {
    /// Whether everything arrived exactly once.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0
    }
}

/// The last node is stopped; all others send.
pub(crate) async fn run(plan: &Plan) -> Result<Slow> {
    if plan.nodes < 3 {
        bail!("3 nodes are needed: two that talk, and one that stands still");
    }
    let senders = plan.nodes - 1;
    let load = Load { senders, ..plan.load };
    let (stage, _) = Stage::of(&plan.dir, plan.nodes, true).await?;
    let fdatasync = fdatasync(stage.dir())?;
    let (before, took_before) = talk(&stage, load, 'a', senders).await?;
    let rss_mb_before = most_memory(&stage)?.0;

    let (others, victim) = (&stage.nodes[..senders], &stage.nodes[senders]);
    let board = Arc::new(Board::new(load, 'b'));
    let readers = subscribe(others, &board).await?;
    victim.freeze()?;
    let stopped = Instant::now();
    send(&stage, &board).await?;
    arrivals(&board, (load.total() * (senders - 1)) as u64, PATIENCE).await;
    let took = stopped.elapsed();
    let rss_mb_meanwhile = most_memory(&stage)?.1;
    victim.thaw()?;
    let going_on = Instant::now();
    let (inbox, _) = read(victim.client.clone(), &board, senders, going_on, CATCH_UP).await?;
    let catch_up = inbox.tally.last.map_or(Duration::ZERO, |last| last.duration_since(going_on));
    let rss_mb_after = most_memory(&stage)?.0;
    let mut all = collect(readers).await?.tally;
    all.merge(&before);
    all.merge(&inbox.tally);
    stage.close().await?;
    let expected = 2 * (load.total() * senders) as u64;
    Ok(Slow {
        name: "slow-consumer",
        nodes: plan.nodes,
        senders,
        messages: load.messages,
        size: load.size,
        lost: expected - all.received,
        duplicates: all.duplicates,
        messages_per_s_before: (load.total() as f64 / took_before.as_secs_f64()).round(),
        messages_per_s_meanwhile: (load.total() as f64 / took.as_secs_f64()).round(),
        rss_mb_before: rounded(rss_mb_before),
        rss_mb_meanwhile: rounded(rss_mb_meanwhile),
        rss_mb_after: rounded(rss_mb_after),
        stopped_s: seconds(took),
        catch_up_s: seconds(catch_up),
        entries_per_s: rounded(inbox.tally.received as f64 / catch_up.as_secs_f64()).round(),
        fdatasync_us: fdatasync.as_micros() as u64,
    })
}

/// Has all but the last node talk while all listen.
async fn talk(stage: &Stage, load: Load, mark: char, others: usize) -> Result<(Tally, Duration)> {
    let board = Arc::new(Board::new(load, mark));
    let readers = subscribe(&stage.nodes, &board).await?;
    let began = Instant::now();
    send(stage, &board).await?;
    arrivals(&board, (load.total() * others) as u64, PATIENCE).await;
    let took = began.elapsed();
    tokio::time::sleep(AFTERMATH).await;
    Ok((collect(readers).await?.tally, took))
}

/// Memory of the node that has most, the last one left out: now, and at the highest, in MiB.
fn most_memory(stage: &Stage) -> Result<(f64, f64)> {
    let pids = stage.pids();
    let mut most: (f64, f64) = (0.0, 0.0);
    for pid in pids.iter().take(pids.len() - 1) {
        let (now, highest) = memory_mb(*pid)?;
        most = (most.0.max(now), most.1.max(highest));
    }
    Ok(most)
}
