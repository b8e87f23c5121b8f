//! `failover`: the leader is killed while everybody talks.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use p2p_chat_proto::v1::{self, NoticeKind, event};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet};
use tonic::Streaming;

use crate::{
    group::open,
    report::{Typical, seconds},
    stage::{LAB, Stage},
};

/// After so long a failover counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the talk goes on before each kill.
const CALM: Duration = Duration::from_secs(2);
/// Between two looks at the discovery service.
const LOOK: Duration = Duration::from_millis(1);

/// What was measured, from each kill on.
#[derive(Debug, Serialize)]
pub(crate) struct Failovers {
    name: &'static str,
    nodes: usize,
    runs: usize,
    rate: u32,
    /// Until the first survivor says that the leader is gone.
    detection_ms: Typical,
    /// Until the first survivor follows a new one.
    election_ms: Typical,
    /// Until all survivors do.
    all_follow_ms: Typical,
    /// Until the discovery service lists the new one.
    listed_ms: Typical,
    /// Until a text that was sent after the kill arrives anywhere.
    first_delivery_ms: Typical,
    /// The longest time between two arrivals at one survivor, until all follow the new leader.
    longest_pause_ms: Typical,
    seconds: f64,
}

/// Something that a node showed.
struct Shown {
    node: usize,
    at: Instant,
    event: event::Event,
}

/// What became of one kill.
#[derive(Default)]
struct Outcome {
    detected: Option<Duration>,
    elected: Option<Duration>,
    delivered: Option<Duration>,
    pause: Duration,
}

/// Kills the leader of a group of processes `runs` times.
pub(crate) async fn run(dir: &Path, nodes: usize, runs: usize, rate: u32) -> Result<Failovers> {
    if nodes < 3 || rate == 0 {
        bail!("a failover needs 3 nodes, and a rate above 0 to be seen");
    }
    let began = Instant::now();
    let (mut stage, _) = Stage::of(dir, nodes, true).await?;
    let mut times: [Vec<Duration>; 6] = Default::default();
    for number in 1..=runs {
        let took = once(&mut stage, rate).await?;
        eprintln!("failover {number}: {took:.0?} (detection, election, all follow, listed, delivery, pause)");
        for (times, took) in times.iter_mut().zip(took) {
            times.push(took);
        }
    }
    let [detection_ms, election_ms, all_follow_ms, listed_ms, first_delivery_ms, longest_pause_ms] =
        times.map(|times| Typical::from(&*times));
    Ok(Failovers {
        name: "failover",
        nodes,
        runs,
        rate,
        detection_ms,
        election_ms,
        all_follow_ms,
        listed_ms,
        first_delivery_ms,
        longest_pause_ms,
        seconds: seconds(began.elapsed()),
    })
}

async fn once(stage: &mut Stage, rate: u32) -> Result<[Duration; 6]> {
    stage.agree(PATIENCE).await?;
    let before = stage.record().await?;
    let leader = leader(stage).await?;
    let (shows, mut shown) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let base = Instant::now();
    let survivors: Vec<usize> = (0..stage.nodes.len()).filter(|node| *node != leader).collect();
    for node in &survivors {
        let events = open(&stage.nodes[*node]).await?;
        tasks.spawn(watch(*node, events, shows.clone()));
        tasks.spawn(talk(stage.nodes[*node].client.clone(), base, rate));
    }
    tokio::time::sleep(CALM).await;
    while shown.try_recv().is_ok() {}

    let killed = Instant::now();
    stage.nodes[leader].kill();
    let listing = listed(stage, before.epoch, killed);
    let following = follow(&mut shown, &survivors, base, killed);
    let both = async { tokio::try_join!(listing, following) };
    let (listed, (outcome, all)) =
        tokio::time::timeout(PATIENCE, both).await.context("nobody took the leader's place")??;
    tasks.shutdown().await;
    stage.restart(leader).await?;
    let missing = "a leader was followed before it was elected";
    let elected = outcome.elected.context(missing)?;
    let delivered = outcome.delivered.context("nothing was delivered during a failover")?;
    Ok([outcome.detected.unwrap_or(elected), elected, all, listed, delivered, outcome.pause])
}

async fn leader(stage: &Stage) -> Result<usize> {
    for (number, node) in stage.nodes.iter().enumerate() {
        if node.state().await?.leading {
            return Ok(number);
        }
    }
    bail!("nobody leads")
}

async fn watch(node: usize, mut events: Streaming<v1::Event>, shows: mpsc::UnboundedSender<Shown>) {
    while let Ok(Some(v1::Event { event: Some(event) })) = events.message().await {
        if shows.send(Shown { node, at: Instant::now(), event }).is_err() {
            return;
        }
    }
}

/// Says again and again when it speaks.
async fn talk(mut client: crate::stage::Client, base: Instant, rate: u32) {
    let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
    loop {
        due.tick().await;
        let text = base.elapsed().as_nanos().to_string();
        let request = v1::SendRequest { network: LAB.to_owned(), text, wait: v1::Wait::None.into(), timeout_ms: 0 };
        // The pause that a refusal makes is seen where nothing arrives.
        let _ = client.send(request).await;
    }
}

async fn listed(stage: &Stage, epoch: u64, killed: Instant) -> Result<Duration> {
    while stage.record().await?.epoch <= epoch {
        tokio::time::sleep(LOOK).await;
    }
    Ok(killed.elapsed())
}

/// Until all survivors follow a new leader, and one of them has got something.
async fn follow(
    shown: &mut mpsc::UnboundedReceiver<Shown>,
    survivors: &[usize],
    base: Instant,
    killed: Instant,
) -> Result<(Outcome, Duration)> {
    let mut outcome = Outcome::default();
    let (mut followers, mut all) = (Vec::new(), Duration::ZERO);
    let mut latest: Vec<Instant> = vec![killed; survivors.iter().max().map_or(0, |last| last + 1)];
    loop {
        let Shown { node, at, event } = shown.recv().await.context("no node shows anything any more")?;
        let since = at.saturating_duration_since(killed);
        match event {
            event::Event::Notice(notice) if notice.kind() == NoticeKind::Leaderless => {
                outcome.detected.get_or_insert(since);
            }
            event::Event::Notice(notice) if notice.kind() == NoticeKind::LeaderChanged => {
                outcome.elected.get_or_insert(since);
                if !followers.contains(&node) {
                    followers.push(node);
                    all = all.max(since);
                }
            }
            event::Event::Message(message) => {
                outcome.pause = outcome.pause.max(at.saturating_duration_since(latest[node]));
                latest[node] = at;
                let sent = message.text.parse().ok().map(|nanos| base + Duration::from_nanos(nanos));
                if sent.is_some_and(|sent| sent > killed) {
                    outcome.delivered.get_or_insert(since);
                }
            }
            _ => {}
        }
        if followers.len() == survivors.len() && outcome.delivered.is_some() {
            return Ok((outcome, all));
        }
    }
}
