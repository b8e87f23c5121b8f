//! `join` and `catch-up`: how long one takes that was not there while the others wrote.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use p2p_chat_proto::v1::{self, event};
use serde::Serialize;
use tonic::{Code, Streaming};

use crate::{
    board::{Board, Inbox, Load},
    group::{AFTERMATH, Plan, send},
    report::{rounded, seconds},
    stage::{Client, LAB, Stage},
    usage::fdatasync,
};

/// After so long the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two tries to subscribe in a network that is being joined.
const RETRY: Duration = Duration::from_millis(1);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct CatchUp {
    name: &'static str,
    nodes: usize,
    history: usize,
    size: usize,
    processes: bool,
    received: u64,
    lost: u64,
    duplicates: u64,
    /// Until its local API answered; `join`: not counted in what follows. `catch-up`: counted in.
    start_s: f64,
    /// `join`: until the call of Join was answered.
    join_s: Option<f64>,
    first_message_s: Option<f64>,
    /// Until the last arrival.
    all_s: f64,
    entries_per_s: f64,
    fdatasync_us: u64,
}

impl CatchUp {
    /// Whether everything arrived exactly once.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0
    }
}

/// Whoever comes after the others have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comer {
    /// Was never there.
    Joiner,
    /// Was away.
    Returner,
}

/// Has all but one write `plan.history` messages, and then the one come.
pub(crate) async fn run(plan: &Plan, comer: Comer) -> Result<CatchUp> {
    let there = plan.nodes - 1;
    if there < 1 || plan.history == 0 {
        bail!("2 nodes are needed, one that comes and one that is there, and a history");
    }
    let formed = if comer == Comer::Joiner { there } else { plan.nodes };
    let (mut stage, _) = Stage::of(&plan.dir, formed, plan.processes).await?;
    if comer == Comer::Returner {
        stage.nodes[there].stop().await?;
    }
    let load = Load { senders: there, messages: plan.history.div_ceil(there), rate: 0, ..plan.load };
    let board = Arc::new(Board::new(load, 'h'));
    let accepted = send(&stage, &board).await?;
    stage.all_have(load.total() as u64, PATIENCE).await?;
    eprintln!("{} messages were accepted in {accepted:.2?}", load.total());
    let fdatasync = fdatasync(stage.dir())?;

    let started = Instant::now();
    let (began, start, join) = match comer {
        Comer::Joiner => {
            stage.add(there).await?;
            let start = started.elapsed();
            let client = stage.nodes[there].client.clone();
            let began = Instant::now();
            (began, start, Some(tokio::spawn(join(client, began))))
        }
        Comer::Returner => {
            stage.restart(there).await?;
            (started, started.elapsed(), None)
        }
    };
    let (inbox, first) = read(stage.nodes[there].client.clone(), &board, there, began, PATIENCE).await?;
    let join_s = match join {
        Some(task) => Some(seconds(task.await??)),
        None => None,
    };
    let tally = inbox.tally;
    let all = tally.last.map_or(Duration::ZERO, |last| last.duration_since(began));
    stage.close().await?;
    Ok(CatchUp {
        name: if comer == Comer::Joiner { "join" } else { "catch-up" },
        nodes: plan.nodes,
        history: load.total(),
        size: load.size,
        processes: plan.processes,
        received: tally.received,
        lost: load.total() as u64 - tally.received,
        duplicates: tally.duplicates,
        start_s: seconds(start),
        join_s,
        first_message_s: first.map(seconds),
        all_s: seconds(all),
        entries_per_s: rounded(tally.received as f64 / all.as_secs_f64()).round(),
        fdatasync_us: fdatasync.as_micros() as u64,
    })
}

async fn join(mut client: Client, began: Instant) -> Result<Duration> {
    let mut request = tonic::Request::new(v1::JoinNetworkRequest { network: LAB.to_owned() });
    request.set_timeout(PATIENCE);
    client.join(request).await.context("the node could not join")?;
    Ok(began.elapsed())
}

/// Reads from the first message on until everything has come, and a moment longer for duplicates, or until `patience`
/// is over; `began` is when it began. Returns also how long the first message took.
pub(crate) async fn read(
    client: Client,
    board: &Board,
    me: usize,
    began: Instant,
    patience: Duration,
) -> Result<(Inbox, Option<Duration>)> {
    let mut end = began + patience;
    let subscribing = tokio::time::timeout_at(end.into(), subscribe(client)).await;
    let mut events = subscribing.context("the node shows nothing of the network")??;
    let mut inbox = Inbox::new(me, &board.load);
    let mut first = None;
    while let Ok(event) = tokio::time::timeout_at(end.into(), events.message()).await {
        let event = event?.context("the node ended the subscription")?;
        let Some(event::Event::Message(message)) = event.event else { continue };
        inbox.take(board, &message.text);
        let Some(last) = inbox.tally.last else { continue };
        first.get_or_insert_with(|| last.duration_since(began));
        if inbox.tally.received == board.load.total() as u64 {
            end = end.min(last + AFTERMATH);
        }
    }
    Ok((inbox, first))
}

async fn subscribe(mut client: Client) -> Result<Streaming<v1::Event>> {
    let request = v1::SubscribeRequest { network: LAB.to_owned(), start: v1::Start::Beginning.into(), after: 0 };
    loop {
        match client.subscribe(request.clone()).await {
            Ok(response) => return Ok(response.into_inner()),
            // On its way in, or not connected again yet.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unavailable) => {
                tokio::time::sleep(RETRY).await
            }
            Err(status) => return Err(status.into()),
        }
    }
}
