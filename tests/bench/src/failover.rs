//! `failover`: the leader is killed while everybody talks.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    stage::{Client, LAB, Stage},
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
    /// Until a text that was sent after the kill arrives at another node than its author's.
    first_delivery_ms: Typical,
    /// The longest time in which one survivor got nothing of the others, until all follow the new leader.
    longest_pause_ms: Typical,
    seconds: f64,
}

/// Something that a node showed.
struct Shown {
    node: usize,
    at: Instant,
    event: event::Event,
}

/// What the survivors of one kill have shown since.
struct Outcome {
    killed: Instant,
    detected: Option<Duration>,
    elected: Option<Duration>,
    delivered: Option<Duration>,
    /// Who follows the new leader, and how long the last of them took.
    followers: BTreeSet<usize>,
    all: Duration,
    /// When each survivor last got something of another node; the kill for who has not since.
    latest: BTreeMap<usize, Instant>,
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
        let took = once(&mut stage, rate, began).await?;
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

async fn once(stage: &mut Stage, rate: u32, base: Instant) -> Result<[Duration; 6]> {
    stage.agree(PATIENCE).await?;
    let before = stage.record().await?;
    let leader = leader(stage).await?;
    let (shows, mut shown) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let survivors: Vec<usize> = (0..stage.nodes.len()).filter(|node| *node != leader).collect();
    for node in &survivors {
        let events = open(&stage.nodes[*node]).await?;
        tasks.spawn(watch(*node, events, shows.clone()));
        tasks.spawn(talk(*node, stage.nodes[*node].client.clone(), base, rate));
    }
    // Whoever kills at a fixed phase of the talk finds the next text always as far away.
    let phase = (Duration::from_secs(1) / rate).mul_f64(rand::random());
    tokio::time::sleep(CALM + phase).await;
    while shown.try_recv().is_ok() {}

    let killed = Instant::now();
    stage.nodes[leader].kill();
    let listing = listed(stage, before.epoch, killed);
    let following = follow(&mut shown, Outcome::new(killed, &survivors), base);
    let both = async { tokio::try_join!(listing, following) };
    let (listed, outcome) = tokio::time::timeout(PATIENCE, both).await.context("nobody took the leader's place")??;
    tasks.shutdown().await;
    stage.restart(leader).await?;
    let missing = "a leader was followed before it was elected";
    let elected = outcome.elected.context(missing)?;
    let delivered = outcome.delivered.context("nothing was delivered during a failover")?;
    Ok([outcome.detected.unwrap_or(elected), elected, outcome.all, listed, delivered, outcome.pause])
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

/// Says again and again who speaks, and when.
async fn talk(node: usize, mut client: Client, base: Instant, rate: u32) {
    let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
    loop {
        due.tick().await;
        let text = format!("{node} {}", base.elapsed().as_nanos());
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

/// Who said a text, and when.
fn said(text: &str, base: Instant) -> Option<(usize, Instant)> {
    let (author, nanos) = text.split_once(' ')?;
    Some((author.parse().ok()?, base + Duration::from_nanos(nanos.parse().ok()?)))
}

/// Until all survivors follow a new leader, and one of them has got something.
async fn follow(shown: &mut mpsc::UnboundedReceiver<Shown>, mut outcome: Outcome, base: Instant) -> Result<Outcome> {
    loop {
        let next = shown.recv().await.context("no node shows anything any more")?;
        outcome.add(&next, base);
        if outcome.followers.len() == outcome.latest.len() && outcome.delivered.is_some() {
            outcome.end(next.at);
            return Ok(outcome);
        }
    }
}

impl Outcome {
    fn new(killed: Instant, survivors: &[usize]) -> Self {
        Self {
            killed,
            detected: None,
            elected: None,
            delivered: None,
            followers: BTreeSet::new(),
            all: Duration::ZERO,
            latest: survivors.iter().map(|node| (*node, killed)).collect(),
            pause: Duration::ZERO,
        }
    }

    fn add(&mut self, shown: &Shown, base: Instant) {
        let since = shown.at.saturating_duration_since(self.killed);
        match &shown.event {
            event::Event::Notice(notice) if notice.kind() == NoticeKind::Leaderless => {
                self.detected.get_or_insert(since);
            }
            event::Event::Notice(notice) if notice.kind() == NoticeKind::LeaderChanged => {
                self.elected.get_or_insert(since);
                if self.followers.insert(shown.node) {
                    self.all = self.all.max(since);
                }
            }
            event::Event::Message(message) => {
                // A node shows its own texts, too: they have not travelled.
                if let Some((_, sent)) = said(&message.text, base).filter(|(author, _)| *author != shown.node) {
                    self.arrived(shown, sent);
                }
            }
            _ => {}
        }
    }

    fn arrived(&mut self, shown: &Shown, sent: Instant) {
        if let Some(latest) = self.latest.get_mut(&shown.node) {
            self.pause = self.pause.max(shown.at.saturating_duration_since(*latest));
            *latest = shown.at.max(*latest);
        }
        if sent > self.killed {
            self.delivered.get_or_insert(shown.at.saturating_duration_since(self.killed));
        }
    }

    /// Counts the pauses that nothing has ended.
    fn end(&mut self, at: Instant) {
        let open = self.latest.values().map(|latest| at.saturating_duration_since(*latest)).max();
        self.pause = self.pause.max(open.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: u64 = 1_000;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// What two survivors, 0 and 1, have shown of the texts of each other: reader, author, when sent, when shown.
    fn outcome(texts: &[(usize, usize, u64, u64)]) -> Outcome {
        let base = Instant::now();
        let mut outcome = Outcome::new(base + ms(KILLED), &[0, 1]);
        for (node, author, sent, at) in texts {
            let text = format!("{author} {}", ms(*sent).as_nanos());
            let event = event::Event::Message(v1::Message { text, ..v1::Message::default() });
            outcome.add(&Shown { node: *node, at: base + ms(*at), event }, base);
        }
        outcome.end(base + ms(KILLED + 100));
        outcome
    }

    #[test]
    fn only_a_text_of_another_that_was_sent_after_the_kill_is_a_delivery() {
        assert_eq!(outcome(&[(0, 0, 1_010, 1_011)]).delivered, None, "its own");
        assert_eq!(outcome(&[(0, 1, 990, 1_011)]).delivered, None, "sent before");
        assert_eq!(outcome(&[(0, 0, 1_010, 1_011), (0, 1, 1_010, 1_012)]).delivered, Some(ms(12)));
    }

    #[test]
    fn a_pause_of_one_survivor_ends_with_a_text_of_another_or_with_the_run() {
        assert_eq!(outcome(&[]).pause, ms(100));
        let both = [(0, 1, 1_029, 1_030), (1, 0, 1_029, 1_030), (0, 1, 1_069, 1_070), (1, 0, 1_069, 1_070)];
        assert_eq!(outcome(&both).pause, ms(40));
        let deaf = [(0, 1, 1_029, 1_030), (1, 1, 1_029, 1_030), (1, 0, 1_029, 1_040)];
        assert_eq!(outcome(&deaf).pause, ms(70));
    }
}
