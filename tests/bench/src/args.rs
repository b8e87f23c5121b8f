//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    board::{Load, MIN_SIZE},
    ceiling::Shape,
    group::Plan,
};

/// Benchmarks of p2p-chat.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
    #[command(flatten)]
    pub(crate) group: GroupArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// A whole group at work; what is run when no mode is named
    Group(GroupArgs),
    /// The same texts to the same receivers over bare tonic
    Ceiling {
        #[command(flatten)]
        load: LoadArgs,
        /// How texts travel
        #[arg(long, value_enum, default_value = "stream")]
        shape: Shape,
        /// Whether they are encrypted, as in the product
        #[arg(long, action = clap::ArgAction::Set, default_value_t = false)]
        tls: bool,
    },
    /// The product as a share of bare tonic with one stream a pair, no TLS and no disk
    Compare {
        #[command(flatten)]
        group: GroupArgs,
        /// How often both are measured, in turns
        #[arg(long, default_value_t = 1)]
        rounds: usize,
    },
    /// The leader is killed while everybody talks
    Failover {
        #[command(flatten)]
        size: SizeArgs,
        /// How often
        #[arg(long, default_value_t = 10)]
        runs: usize,
        /// Messages a node and second
        #[arg(long, default_value_t = 50)]
        rate: u32,
    },
    /// Somebody joins a network with a history
    Join(HistoryArgs),
    /// A member comes back that was away
    CatchUp(HistoryArgs),
    /// Nobody says anything
    Idle {
        #[command(flatten)]
        size: SizeArgs,
        /// For how long
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// One member stands still while the others talk
    SlowConsumer(LoadArgs),
}

/// A group without a load of its own.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    /// Nodes in the group
    #[arg(long)]
    pub(crate) nodes: Option<usize>,
    /// Where to keep data meanwhile [default: the directory for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl SizeArgs {
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// A group with a history that somebody lacks.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Nodes in the group, the one that comes included
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Messages that it lacks
    #[arg(long, default_value_t = 10_000)]
    history: usize,
    /// Bytes of each text, 32 to 65,536
    #[arg(long, default_value_t = 256, value_parser = size)]
    size: usize,
    /// Run every node in a process of its own
    #[arg(long)]
    processes: bool,
    /// Where to keep data meanwhile [default: the directory for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl HistoryArgs {
    pub(crate) fn plan(self) -> Plan {
        let Self { nodes, history, size, processes, dir } = self;
        let load = Load { senders: nodes.saturating_sub(1), messages: 0, size, rate: 0, in_flight: 64 };
        Plan { nodes, load, processes, history, dir: dir.unwrap_or_else(std::env::temp_dir) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Nodes in the group
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Nodes that send [default: all]
    #[arg(long)]
    senders: Option<usize>,
    /// Messages of each sender
    #[arg(long, default_value_t = 2_000)]
    messages: usize,
    /// Bytes of each text, 32 to 65,536
    #[arg(long, default_value_t = 256, value_parser = size)]
    size: usize,
    /// Messages a sender and second; 0 as fast as they are accepted
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Messages of a sender that wait to be accepted, at most
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
    /// Where to keep data meanwhile [default: the directory for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Run every node in a process of its own
    #[arg(long)]
    processes: bool,
    /// Messages in the log before the measurement
    #[arg(long, default_value_t = 0)]
    history: usize,
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse::<usize>().map_err(|error| error.to_string())?;
    let longest = p2p_chat_model::limits::MAX_TEXT_BYTES;
    let fits = (MIN_SIZE..=longest).contains(&size);
    fits.then_some(size).ok_or_else(|| format!("texts have {MIN_SIZE} to {longest} bytes"))
}

impl LoadArgs {
    pub(crate) fn plan(self, processes: bool, history: usize) -> Plan {
        let Self { nodes, senders, messages, size, rate, in_flight, dir } = self;
        let load = Load { senders: senders.unwrap_or(nodes), messages, size, rate, in_flight };
        Plan { nodes, load, processes, history, dir: dir.unwrap_or_else(std::env::temp_dir) }
    }
}

impl GroupArgs {
    pub(crate) fn plan(self) -> Plan {
        self.load.plan(self.processes, self.history)
    }
}
