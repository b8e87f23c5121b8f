//! `group`: a whole group at work.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use p2p_chat_proto::v1::{self, event, send_outcome};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    board::{Board, Inbox, Load, Tally},
    histogram::Histogram,
    load::{acknowledgements, arrivals, send_all},
    report::{Measured, Report, Spread, seconds},
    stage::{LAB, Node, Stage},
    usage::{Usage, fdatasync, memory_mb},
};

/// After so long without an arrival the rest counts as lost, and after so long without an acknowledgement as unseen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long duplicates are waited for when everything has arrived.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(500);

/// A group and what is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) load: Load,
    pub(crate) processes: bool,
    /// Messages in the log before the measurement.
    pub(crate) history: usize,
    /// Below where the data is kept.
    pub(crate) dir: PathBuf,
}

/// Forms a group, has it talk, and ends it.
pub(crate) async fn run(plan: &Plan) -> Result<Report> {
    let load = plan.load;
    if load.senders == 0 || load.senders > plan.nodes || plan.nodes < 2 {
        bail!("a group needs 2 nodes, and at least one and not more senders than nodes");
    }
    let (stage, formation) = Stage::of(&plan.dir, plan.nodes, plan.processes).await?;
    eprintln!("{} nodes are in the group after {formation:.2?}", plan.nodes);
    write_history(&stage, plan.history, load).await?;
    let fdatasync = fdatasync(stage.dir())?;
    let board = Arc::new(Board::new(load, 'm'));
    let readers = subscribe(&stage.nodes, &board).await?;

    let pids = stage.pids();
    let before = Usage::of(&pids)?;
    let accepted = send(&stage, &board).await?;
    let expected = (load.total() * (plan.nodes - 1)) as u64;
    arrivals(&board, expected, PATIENCE).await;
    let used = Usage::of(&pids)?.since(before);
    acknowledgements(&board, PATIENCE).await;
    tokio::time::sleep(AFTERMATH).await;

    let heard = collect(readers).await?;
    let mut rss_mb = 0.0;
    for pid in &pids {
        rss_mb += memory_mb(*pid)?.0;
    }
    let disk = stage.close().await?;
    let stored = ((load.total() + plan.history) * plan.nodes) as f64;
    let written = used.written_bytes as f64 / (load.total() * plan.nodes) as f64;
    let measured = Measured { tally: heard.tally, accepted, used, rss_mb, fdatasync };
    Ok(Report {
        processes: plan.processes,
        history: plan.history,
        acked_all_us: Some(Spread::from(&heard.acked_all)),
        formation_s: Some(seconds(formation)),
        disk_bytes_per_message: Some((disk as f64 / stored).round()),
        written_bytes_per_message: Some(written.round()),
        ..Report::new("group".to_owned(), plan, &board, &measured)
    })
}

/// Fills the logs of all, as fast as it goes.
pub(crate) async fn write_history(stage: &Stage, messages: usize, load: Load) -> Result<()> {
    if messages == 0 {
        return Ok(());
    }
    let load = Load { messages: messages.div_ceil(load.senders), rate: 0, ..load };
    let before = stage.nodes.first().context("a group without nodes")?.state().await?.entries;
    let took = send(stage, &Arc::new(Board::new(load, 'h'))).await?;
    stage.all_have(before + load.total() as u64, Duration::from_secs(600)).await?;
    eprintln!("{} messages of history were accepted in {took:.2?}", load.total());
    Ok(())
}

/// Has the first nodes send the load through their local APIs: each sender has one stream, on which as many texts as
/// may be in flight wait to be accepted. Returns how long it took until all were.
pub(crate) async fn send(stage: &Stage, board: &Arc<Board>) -> Result<Duration> {
    let mut mouths = Vec::new();
    for node in stage.nodes.iter().take(board.load.senders) {
        mouths.push(Mouth::open(node, board.load.in_flight).await?);
    }
    let mouths = Arc::new(mouths);
    let speaking = Arc::clone(&mouths);
    let began = Instant::now();
    send_all(board, 1, move |sender, text| {
        let mouths = Arc::clone(&speaking);
        async move { mouths[sender].say(text).await }
    })
    .await?;
    for mouth in mouths.iter() {
        mouth.all_accepted().await?;
    }
    Ok(began.elapsed())
}

/// A stream of texts to a node.
struct Mouth {
    requests: mpsc::Sender<v1::SendRequest>,
    /// Closed when a text is refused.
    window: Arc<Semaphore>,
    in_flight: u32,
}

impl Mouth {
    async fn open(node: &Node, in_flight: usize) -> Result<Self> {
        let (requests, stream) = mpsc::channel(in_flight);
        let mut outcomes = node.client.clone().send_stream(ReceiverStream::new(stream)).await?.into_inner();
        let window = Arc::new(Semaphore::new(in_flight));
        let (free, name) = (Arc::clone(&window), node.name.clone());
        tokio::spawn(async move {
            while let Ok(Some(outcome)) = outcomes.message().await {
                if let Some(send_outcome::Outcome::Sent(_)) = outcome.outcome {
                    free.add_permits(1);
                } else {
                    eprintln!("{name} refused a text: {outcome:?}");
                    break;
                }
            }
            free.close();
        });
        Ok(Self { requests, window, in_flight: in_flight as u32 })
    }

    async fn say(&self, text: String) -> Result<()> {
        self.window.acquire().await.context("a message was not accepted")?.forget();
        let (network, wait) = (LAB.to_owned(), v1::Wait::None.into());
        let request = v1::SendRequest { network, text, wait, timeout_ms: PATIENCE.as_millis() as u32 };
        self.requests.send(request).await.context("a stream of texts broke")
    }

    async fn all_accepted(&self) -> Result<()> {
        self.window.acquire_many(self.in_flight).await.map(drop).context("a message was not accepted")
    }
}

/// What one node showed, or all together.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) tally: Tally,
    pub(crate) acked_all: Histogram,
}

/// A subscription that is read.
pub(crate) struct Reader {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<Result<Heard>>,
}

/// Subscribes at these nodes, the first of which send; when this returns, all of them are live.
pub(crate) async fn subscribe(nodes: &[Node], board: &Arc<Board>) -> Result<Vec<Reader>> {
    let mut readers = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let events = open(node).await?;
        let listener = Listener {
            inbox: Inbox::new(number, &board.load),
            board: Arc::clone(board),
            acks: Acks::new(nodes.len() - 1),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        readers.push(Reader { stop, task: tokio::spawn(listener.read(events, stopped)) });
    }
    Ok(readers)
}

/// Subscribes to what comes from now on.
pub(crate) async fn open(node: &Node) -> Result<Streaming<v1::Event>> {
    let request = v1::SubscribeRequest { network: LAB.to_owned(), start: v1::Start::Now.into(), after: 0 };
    let mut events = node.client.clone().subscribe(request).await?.into_inner();
    loop {
        let event = events.message().await?.with_context(|| format!("{} ended a subscription", node.name))?;
        if let Some(event::Event::CaughtUp(_)) = event.event {
            return Ok(events);
        }
    }
}

/// Ends the subscriptions and adds up what they showed.
pub(crate) async fn collect(readers: Vec<Reader>) -> Result<Heard> {
    let mut all = Heard::default();
    for reader in readers {
        // Whoever has failed does not listen; its result says so.
        let _ = reader.stop.send(());
        let heard = reader.task.await.map_err(|error| anyhow!("bug: a reader broke: {error}"))??;
        all.tally.merge(&heard.tally);
        all.acked_all.merge(&heard.acked_all);
    }
    Ok(all)
}

/// Who reads a subscription.
struct Listener {
    inbox: Inbox,
    board: Arc<Board>,
    acks: Acks,
}

impl Listener {
    async fn read(
        mut self,
        mut events: Streaming<v1::Event>,
        mut stopped: tokio::sync::oneshot::Receiver<()>,
    ) -> Result<Heard> {
        loop {
            let event = tokio::select! {
                biased;
                event = events.message() => event?.context("a node ended a subscription")?,
                _ = &mut stopped => break,
            };
            match event.event {
                Some(event::Event::Message(message)) => {
                    if let Some(place) = self.inbox.take(&self.board, &message.text) {
                        self.acks.written(&self.board, message.seq, place);
                    }
                }
                Some(event::Event::Acknowledged(ack)) => self.acks.acked(&self.board, ack),
                _ => {}
            }
        }
        Ok(Heard { tally: self.inbox.tally, acked_all: self.acks.times })
    }
}

/// What an author knows of the disks of the others.
struct Acks {
    others: usize,
    /// Up to where each other member has the author's feed.
    cursors: BTreeMap<String, u64>,
    /// Messages that somebody lacks: number in the feed, and place on the board.
    waiting: VecDeque<(u64, usize)>,
    times: Histogram,
}

impl Acks {
    fn new(others: usize) -> Self {
        Self { others, cursors: BTreeMap::new(), waiting: VecDeque::new(), times: Histogram::default() }
    }

    fn written(&mut self, board: &Board, seq: u64, place: usize) {
        self.waiting.push_back((seq, place));
        self.settle(board);
    }

    fn acked(&mut self, board: &Board, ack: v1::Acknowledged) {
        let cursor = self.cursors.entry(ack.member_peer).or_default();
        *cursor = ack.seq.max(*cursor);
        self.settle(board);
    }

    fn settle(&mut self, board: &Board) {
        if self.cursors.len() < self.others {
            return;
        }
        let least = self.cursors.values().copied().min().unwrap_or(0);
        while let Some((_, place)) = self.waiting.front().copied().filter(|(seq, _)| *seq <= least) {
            self.times.add(board.since(place));
            board.count_acked_all();
            self.waiting.pop_front();
        }
    }
}
