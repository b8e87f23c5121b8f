//! Benchmarks of p2p-chat: `cargo run --release -p p2p-chat-bench -- [MODE] ...`.
//!
//! Each mode prints one JSON object on one line, and says on standard error what it does. Nothing of the product is
//! switched off: nodes as `p2p-chat serve` runs them, TLS over TCP on the loopback device, signed entries, a synced
//! log, acknowledgements, causal delivery. Texts go in by `Send` and come out by `Subscribe` of the local API, over
//! its Unix socket, as with any client.
//!
//! # How the numbers are taken
//!
//! - `received`, `lost`, `duplicates`: every text names its sender and its number; each has to come exactly once out
//!   of the subscription of every member but its sender. What has not come 30 s after the last arrival is lost. If
//!   anything is, or comes twice, the exit code is 1.
//! - `seconds`, `deliveries_per_s`: from the first call of Send to the last arrival.
//! - `accepted_s`: until the last Send was answered, which is when the text is on the sender's disk.
//! - `latency_us`: from right before the call of Send to the event in the hands of the reader, over all receivers;
//!   one clock, since all clients are in this process. Quantiles are exact within 1.6 %, `max` is exact. With a
//!   `rate`, texts are due at even times whatever became of those before them, so that a stall shows in all of them
//!   (up to `in_flight` a sender); with rate 0 each sender keeps `in_flight` calls under way, and the latency is
//!   that of a queue of this length.
//! - `acked_all_us`: from the call of Send to the moment at which the author's subscription has told for every other
//!   member that it has the text on its disk (the events `Acknowledged`, which are cumulative). `samples` says for
//!   how many texts that was seen; a subscription that lags by more than 1,024 notices misses some. Whatever is not
//!   seen 30 s after the one before is not waited for.
//! - `cpu_s`: user and system time from the first Send to the last arrival, of the processes in which nodes run:
//!   without `--processes` that is this one, with the senders and the readers in it. `cpu_us_per_delivery`, which is
//!   `cpu_s` over `received`, says most where other programs keep the processors busy.
//! - `rss_mb`: resident memory of the same processes half a second after the last acknowledgement was seen, when nobody
//!   reads any more; of `ceiling` right after the last arrival.
//! - `formation_s`: from the start of the first node until all follow one leader in a view of all.
//! - `disk_bytes_per_message`: what the closed logs of all nodes take, over messages (history included) and nodes.
//!   `written_bytes_per_message`: what was sent to the disk from the first Send to the last arrival, write-ahead log
//!   and all, over the messages of the load alone and nodes.
//! - `wire_bytes_per_delivery`: bytes on the loopback device from the first Send to the last arrival, with TCP and IP
//!   headers and acknowledgements, all traffic of the group. The benchmark runs in a network namespace of its own
//!   where the system lets it (`own_network`); else whatever other programs send to this machine counts, too.
//! - `fdatasync_us`: the median of 51 small appends to a file beside the logs, each synced, right before the load:
//!   what a message has to wait for at the least, twice until it is acknowledged.
//!
//! `ceiling` sends the same texts to the same receivers over bare tonic, in this process. `unary`: one call a text
//! and receiver, `in_flight` texts of a sender at a time. `stream`: one bidirectional stream a pair of nodes, with
//! texts both ways and nothing else, and HTTP/2 to hold senders back; what a sender has queued for one receiver is
//! bounded by `in_flight`, too. With TLS it is configured as in the product. `compare` takes the stream without TLS as
//! 1 and says how much of it the product reaches.
//!
//! # The other modes
//!
//! - `failover`: nodes as processes, of which every one talks; the leader is killed (`kill -9`), and started again when
//!   all follow another. Median and worst over the runs, all from the kill on: until a survivor's subscription says
//!   that there is no leader (`detection_ms`; where none says so, until the next), that there is a new one
//!   (`election_ms`), until the last says that (`all_follow_ms`), until the discovery service lists it, asked every
//!   millisecond (`listed_ms`), until a text sent after the kill arrives at a node that is not its author's
//!   (`first_delivery_ms`), and the longest time meanwhile in which a survivor got nothing of the others
//!   (`longest_pause_ms`). The kill comes at a random moment between two texts of a node, so both contain the wait for
//!   the next text to be due: 20 ms at most, with the default rate. The system closes the connections of a killed
//!   process, which all notice at once; a host that vanishes is noticed by its silence, after 1 to 2 s.
//! - `join`: from the call of Join on, until the first of `history` texts, and all, came out of the new member's
//!   subscription. `catch-up`: the same for a member that was stopped before the others wrote them, from its start on
//!   (`start_s` is the part until its local API answered). What has not come after 10 minutes is lost.
//! - `idle`: processor time, bytes on the loopback device and to the disk, and resident memory of nodes as processes
//!   that nobody uses, 3 s after the group was formed.
//! - `slow-consumer`: nodes as processes. All but the last send as fast as they can, first with all running, then with
//!   the last one stopped (SIGSTOP); messages a second until all running ones had them. Then it goes on, and reads
//!   its whole log (`catch_up_s`); what it has not shown after 5 minutes is lost. Memory is that of the
//!   sender that has most.

mod args;
mod board;
mod catchup;
mod ceiling;
mod compare;
mod failover;
mod group;
mod histogram;
mod idle;
mod load;
mod network;
mod report;
mod slow;
mod stage;
mod usage;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
mod bare {
    tonic::include_proto!("p2pchat.bench.v1");
}

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Mode},
    catchup::Comer,
};

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|word| *word == stage::PROGRAM) {
        return program(std::mem::take(&mut args));
    }
    let cli = Cli::parse();
    network::enter_own();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .init();
    match runtime().and_then(|runtime| runtime.block_on(run(cli))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("p2p-chat-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The product's own command line, in a process of its own: a node.
fn program(args: Vec<std::ffi::OsString>) -> ExitCode {
    let cli = p2p_chat_cli::parse_from(args).unwrap_or_else(|error| error.exit());
    stage::end_with_parent();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_new(cli.log_filter(&p2p_chat_cli::Env::of_process()))
                .unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    match runtime() {
        Ok(runtime) => runtime.block_on(p2p_chat_cli::run(cli, &p2p_chat::ProcessHost)),
        Err(error) => {
            eprintln!("p2p-chat-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints. Returns whether everything arrived exactly once.
async fn run(cli: Cli) -> Result<bool> {
    match cli.mode.unwrap_or(Mode::Group(cli.group)) {
        Mode::Group(args) => {
            let report = group::run(&args.plan()).await?;
            tell(&report, report.is_clean())
        }
        Mode::Ceiling { load, shape, tls } => {
            let report = ceiling::run(&load.plan(false, 0), shape, tls).await?;
            tell(&report, report.is_clean())
        }
        Mode::Compare { group, rounds } => {
            let comparison = compare::run(&group.plan(), rounds).await?;
            tell(&comparison, comparison.is_clean())
        }
        Mode::Failover { size, runs, rate } => {
            tell(&failover::run(&size.dir(), size.nodes.unwrap_or(5), runs, rate).await?, true)
        }
        Mode::Join(args) => {
            let report = catchup::run(&args.plan(), Comer::Joiner).await?;
            tell(&report, report.is_clean())
        }
        Mode::CatchUp(args) => {
            let report = catchup::run(&args.plan(), Comer::Returner).await?;
            tell(&report, report.is_clean())
        }
        Mode::Idle { size, seconds } => {
            let span = std::time::Duration::from_secs(seconds);
            tell(&idle::run(&size.dir(), size.nodes.unwrap_or(8), span).await?, true)
        }
        Mode::SlowConsumer(load) => {
            let report = slow::run(&load.plan(true, 0)).await?;
            tell(&report, report.is_clean())
        }
    }
}

fn tell(report: &impl Serialize, is_clean: bool) -> Result<bool> {
    report::print(report)?;
    Ok(is_clean)
}
