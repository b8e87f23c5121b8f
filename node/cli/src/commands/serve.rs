//! `serve` and `nds`: what runs until it is told to stop.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tonic::{Code, Status};

use crate::{
    client::Client,
    commands::networks::{Entered, ensure_created, ensure_joined},
    console::{Console, one_line},
    failure::Failure,
    holder::Mode,
    host::{Host, NdsOptions, Running, StartFailure},
    render::json,
    run::{Run, interrupted},
    session::{PATIENCE, held, node_options, stop},
    settings::Settings,
};

/// Where a node listens as a server.
const NODE_PORT: u16 = 7500;
/// Where a discovery service listens.
const NDS_PORT: u16 = 7400;
/// First and longest wait before a network is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// `p2p-chat nds`
pub(crate) async fn discovery<H: Host>(
    run: &mut Run<'_, H>,
    settings: &Settings,
    listen: Option<SocketAddr>,
) -> Result<(), Failure> {
    // The default directory belongs to a node; a record of its own lies below it.
    let data_dir = match settings.data_dir_is_given {
        true => settings.data_dir.clone(),
        false => settings.data_dir.join("nds"),
    };
    let options = NdsOptions {
        listen: listen.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, NDS_PORT).into()),
        data_dir,
        preset: settings.preset,
        metrics: settings.nds_metrics.clone(),
        otlp: settings.otlp.clone(),
    };
    let settings = Settings { data_dir: options.data_dir.clone(), ..settings.clone() };
    let started = tokio::select! {
        started = run.host.start_nds(options) => started,
        () = run.interrupt.wait() => return Err(interrupted()),
    };
    let mut nds = started.map_err(|failure| refusal(failure, &settings))?;
    let announced = announce(&nds, &mut run.console);
    let result = match announced {
        Ok(()) => tokio::select! {
            result = nds.stopped() => return result,
            () = run.interrupt.wait() => Ok(()),
        },
        failed => failed,
    };
    result.and(stop(nds, PATIENCE, &mut run.console, &mut run.interrupt).await)
}

/// `p2p-chat serve`
pub(crate) async fn node<H: Host>(
    run: &mut Run<'_, H>,
    settings: &Settings,
    create: Vec<String>,
    join: Vec<String>,
) -> Result<(), Failure> {
    let options = node_options(settings, Mode::Serve, (Ipv4Addr::UNSPECIFIED, NODE_PORT).into());
    let started = tokio::select! {
        started = run.host.start(options) => started,
        () = run.interrupt.wait() => return Err(interrupted()),
    };
    let mut node = started.map_err(|failure| refusal(failure, settings))?;
    let served = serve(run, &mut node, settings, wishes(create, join)).await;
    let patience = match served {
        // Whoever told the node so has waited for as long as it wanted to.
        Ok(Stop::ToldByApi) => Duration::ZERO,
        Ok(Stop::Interrupted) | Err(_) => PATIENCE,
    };
    let stopped = stop(node, patience, &mut run.console, &mut run.interrupt).await;
    served.map(drop).and(stopped)
}

/// Why a node is to stop.
enum Stop {
    ToldByApi,
    Interrupted,
}

async fn serve<H: Host>(
    run: &mut Run<'_, H>,
    node: &mut H::Node,
    settings: &Settings,
    wishes: Vec<Wish>,
) -> Result<Stop, Failure> {
    let client = Client::attach(&settings.socket()).await?;
    let client = client.ok_or_else(|| Failure::Failed("bug: the node does not answer at its socket".to_owned()))?;
    announce(node, &mut run.console)?;
    let mut entering = std::pin::pin!(enter(&client, &mut run.console, wishes));
    let mut is_entering = true;
    loop {
        tokio::select! {
            result = &mut entering, if is_entering => {
                result?;
                is_entering = false;
            }
            result = node.stopped() => return result.map(|()| Stop::ToldByApi),
            () = run.interrupt.wait() => return Ok(Stop::Interrupted),
        }
    }
}

/// A network to be in.
struct Wish {
    network: String,
    founds: bool,
    /// What was said last about its not working.
    complaint: String,
}

fn wishes(create: Vec<String>, join: Vec<String>) -> Vec<Wish> {
    let wish = |founds| move |network| Wish { network, founds, complaint: String::new() };
    create.into_iter().map(wish(true)).chain(join.into_iter().map(wish(false))).collect()
}

/// Founds and joins, again and again as long as others are missing for that: servers start in any order.
async fn enter(client: &Client, console: &mut Console, mut wishes: Vec<Wish>) -> Result<(), Failure> {
    let (mut pause, longest) = RETRY;
    loop {
        let mut unfulfilled = Vec::new();
        for mut wish in wishes {
            let result = if wish.founds {
                ensure_created(client, &wish.network).await
            } else {
                ensure_joined(client, &wish.network).await
            };
            // What was begun earlier may come to nothing: only whoever is in needs to be looked after no longer.
            let result = match result {
                Ok(Entered::UnderWay) => Err(Status::aborted("what was begun for that earlier is still under way")),
                result => result,
            };
            match result {
                Ok(entered) => tracing::info!(network = %wish.network, how = ?entered, "in the network"),
                Err(status) if is_passing(&status, wish.founds) => {
                    let complaint = one_line(status.message());
                    if complaint != wish.complaint {
                        let what = if wish.founds { "found" } else { "join" };
                        console.note(format!("cannot {what} {} yet: {complaint}", wish.network));
                        wish.complaint = complaint;
                    }
                    unfulfilled.push(wish);
                }
                Err(status) => return Err(status.into()),
            }
        }
        if unfulfilled.is_empty() {
            return Ok(());
        }
        wishes = unfulfilled;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn is_passing(status: &Status, founds: bool) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => true,
        Code::NotFound => !founds,
        _ => false,
    }
}

/// The one line that tells others (a person, a script) that calls are accepted.
fn announce(running: &impl Running, console: &mut Console) -> Result<(), Failure> {
    let address = running.address().to_string();
    if console.json {
        console.object(&json::Listening { listening: &address })?;
    } else {
        console.line(format!("listening on {address}"))?;
    }
    console.flush()
}

fn refusal(failure: StartFailure, settings: &Settings) -> Failure {
    match failure {
        StartFailure::Held => held(settings),
        StartFailure::Failed(failure) => failure,
    }
}
