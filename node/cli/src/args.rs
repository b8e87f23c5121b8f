//! The grammar of the command line (DESIGN §7), as clap reads it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use p2p_chat_model::{Name, view::Address};

use crate::{
    settings::Env,
    values::{self, ServiceUrl},
};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 no such network or member, 4 not allowed, 5 timed out, 6 unreachable.

Settings come from flags, then the environment, then DATA_DIR/config.toml, then $XDG_CONFIG_HOME/p2p-chat/config.toml \
(or the one file given with --config). Keys: name, nds (a URL or a list), listen, advertise, preset, metrics, nds_metrics, otlp; \
and for the screen of chat [screen], [keys] and [colours].";

/// Group chat that needs no chat server.
#[derive(Debug, Clone, Parser)]
#[command(name = "p2p-chat", version, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where the node keeps its identity and its log [env: P2P_CHAT_DATA_DIR] [default: $XDG_DATA_HOME/p2p-chat]
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// A discovery service; repeatable; no effect on a node that is running already [env: P2P_CHAT_NDS, comma separated]
    /// [default: http://127.0.0.1:7400]
    #[arg(long, value_name = "URL", global = true)]
    pub nds: Vec<ServiceUrl>,
    /// Print one JSON object a line on stdout, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Read settings from this file only
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Log more on stderr (the screen of chat: to DATA_DIR/screen.log); twice for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to log, for example "info" or "p2p_chat=debug"; overrides --verbose [env: RUST_LOG]
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// How to write the log, and what else is told on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How the node that a command runs appears to others. Has no effect on a node that is running already.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Node options")]
pub struct NodeArgs {
    /// How the node calls itself in networks that it joins from now on [default: $USER]
    #[arg(long)]
    pub name: Option<Name>,
    /// Where to listen for other nodes; port 0 lets the system choose [default: 0.0.0.0:7500 for serve, else any port]
    #[arg(long, value_name = "IP:PORT", value_parser = values::listen_address)]
    pub listen: Option<SocketAddr>,
    /// Where others reach the node, if not at the address it listens on
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<Address>,
    /// How patient the node is with the network between members
    #[arg(long)]
    pub preset: Option<Preset>,
}

/// What a process that runs for longer tells a monitor.
#[derive(Debug, Clone, Default, Args)]
pub struct MonitorArgs {
    /// Serve metrics for Prometheus at http://ADDRESS/metrics; port 0 lets the system choose [env: P2P_CHAT_METRICS]
    #[arg(long, value_name = "ADDRESS", value_parser = values::bind_address)]
    pub metrics: Option<String>,
    /// Export traces to the OpenTelemetry collector at URL (OTLP over gRPC) [env: P2P_CHAT_OTLP]
    #[arg(long, value_name = "URL")]
    pub otlp: Option<ServiceUrl>,
}

/// How long a node waits before it suspects another (DESIGN §4.2), and what calls and connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// For one building: who is silent is suspected after one to two seconds.
    #[default]
    Lan,
    /// For the internet, with round trips of up to a second: four times as patient.
    Wan,
}

/// What `send` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Wait {
    /// For the disk of this node.
    #[default]
    None,
    /// For the disk of one other member.
    One,
    /// For the disks of all members.
    All,
}

/// Where `listen` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum From {
    /// With the first message there is.
    Start,
    /// With the next one.
    #[default]
    Now,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run a Node Discovery Service
    Nds {
        /// Where to listen [default: 0.0.0.0:7400]
        #[arg(long, value_name = "IP:PORT", value_parser = values::listen_address)]
        listen: Option<SocketAddr>,
        /// How long a node that the service calls back may take; with wan, all nodes need it, too
        #[arg(long)]
        preset: Option<Preset>,
        /// What it tells a monitor.
        #[command(flatten)]
        monitor: MonitorArgs,
    },
    /// Run a node until it is told to stop
    Serve {
        /// How it appears.
        #[command(flatten)]
        node: NodeArgs,
        /// What it tells a monitor.
        #[command(flatten)]
        monitor: MonitorArgs,
        /// Found this network at start, unless the node is in it; repeatable
        #[arg(long, value_name = "NET", value_parser = values::network)]
        create: Vec<String>,
        /// Join this network at start, as soon as it can be found; repeatable
        #[arg(long, value_name = "NET", value_parser = values::network)]
        join: Vec<String>,
    },
    /// Chat: join the network, or found it where there is none; on a full screen, or lines in, lines out
    Chat {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// No screen, but lines in and lines out, as without a terminal or with --json
        #[arg(long)]
        plain: bool,
        /// How it appears.
        #[command(flatten)]
        node: NodeArgs,
        /// What it tells a monitor.
        #[command(flatten)]
        monitor: MonitorArgs,
    },
    /// Found a network
    Create {
        /// Its name
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// How it appears.
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Join a network
    Join {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// How it appears.
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Leave a network; what was said in it stays readable
    Leave {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// How long to wait for another member to have everything that is here, in seconds
        #[arg(long, value_name = "S", default_value = "10", value_parser = values::seconds)]
        timeout: Duration,
        /// Leave then all the same, and take along what nobody else has
        #[arg(long)]
        force: bool,
    },
    /// Delete what is kept of a network that was left
    Forget {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
    },
    /// List the networks that exist, and those this node is or was in
    Networks,
    /// List the members of a network
    Members {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
    },
    /// Say something; prints the message's id
    Send {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// The text, or "-" for one message from stdin (without its last line break)
        #[arg(allow_hyphen_values = true)]
        text: String,
        /// Whose disk to wait for
        #[arg(long, default_value = "none")]
        wait: Wait,
        /// How long to wait, in seconds
        #[arg(long, value_name = "S", default_value = "10", value_parser = values::seconds)]
        timeout: Duration,
    },
    /// Print messages as they come, until interrupted; what happens to the group goes to stderr
    Listen {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// Where to begin
        #[arg(long, default_value = "now")]
        from: From,
        /// What it tells a monitor.
        #[command(flatten)]
        monitor: MonitorArgs,
    },
    /// Print the messages there are, in the order in which everybody sees them
    History {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// Only the newest N
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Say where this node stands, and what is still owed to whom
    Status,
    /// Show who has a message, and how it got there
    Inspect {
        /// The network, by name or id
        #[arg(value_name = "NET", value_parser = values::network)]
        network: String,
        /// The message's id, or its first characters (at least 4)
        #[arg(value_name = "MESSAGE", value_parser = message_prefix)]
        message: String,
    },
    /// Ask a node or a discovery service whether it serves (grpc.health.v1)
    Health {
        /// HOST:PORT or http://HOST:PORT
        address: ServiceUrl,
        /// How long to wait, in seconds
        #[arg(long, value_name = "S", default_value = "3", value_parser = values::seconds)]
        timeout: Duration,
    },
    /// Show it all on this machine: a discovery service, four nodes, a conversation, the leader's death
    Demo,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// What to log, as directives of an `EnvFilter`: what `--log` says, else `--verbose`, else `RUST_LOG`. Without any
    /// of them servers say what they do at `info`, and other commands keep quiet below `warn`.
    pub fn log_filter(&self, env: &Env) -> String {
        let of_environment = || env.text("RUST_LOG").filter(|_| self.global.verbose == 0).map(str::to_owned);
        self.global.log.clone().or_else(of_environment).unwrap_or_else(|| self.usual_log_filter())
    }

    fn usual_log_filter(&self) -> String {
        let serves = matches!(self.command, Command::Nds { .. } | Command::Serve { .. });
        let chats = matches!(self.command, Command::Chat { .. });
        let level = match (self.global.verbose, serves) {
            // What happens to the group is said in the chat itself.
            (0, false) if chats => "error",
            (0, false) => "warn",
            (0, true) | (1, false) => "info",
            (1, true) | (2, false) => "debug",
            _ => "trace",
        };
        // The libraries below drown everything else at debug.
        let quiet = "h2=info,hyper=info,hyper_util=info,tower=info,rustls=info";
        // Which discovery service did not answer is in the answer of the command.
        let told = if level == "warn" { ",p2p_chat::directory=error" } else { "" };
        format!("{level},{quiet}{told}")
    }
}

fn message_prefix(text: &str) -> Result<String, String> {
    let is_id = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if is_id && (4..=36).contains(&text.len()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("expected a message id (a UUID), or at least its first 4 characters".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn refusal(args: &[&str]) -> (ErrorKind, i32) {
        let error = Cli::try_parse_from([&["p2p-chat"], args].concat()).expect_err("refused");
        (error.kind(), error.exit_code())
    }

    #[test]
    fn the_grammar_does_not_contradict_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_values_are_refused_before_anything_starts() {
        let long = "x".repeat(65);
        let bad: [&[&str]; 15] = [
            &["create", ""],
            &["create", &long],
            &["create", "a\u{1b}[2J"],
            &["serve", "--name", "a\nb"],
            &["serve", "--listen", "somewhere"],
            &["serve", "--advertise", "nowhere"],
            &["serve", "--advertise", "host:0"],
            &["status", "--nds", "https://nds:7400"],
            &["serve", "--metrics", "9500"],
            &["nds", "--metrics", "::1:9500"],
            &["serve", "--otlp", "https://collector:4317"],
            &["health", "nds"],
            &["send", "lab", "hi", "--timeout", "0"],
            &["history", "lab", "--limit", "0"],
            &["inspect", "lab", "abc"],
        ];
        for args in bad {
            assert_eq!(refusal(args), (ErrorKind::ValueValidation, 2), "{args:?}");
        }
        assert_eq!(refusal(&["send", "lab", "hi", "--wait", "some"]), (ErrorKind::InvalidValue, 2));
        assert_eq!(refusal(&["dance"]), (ErrorKind::InvalidSubcommand, 2));
        assert_eq!(refusal(&[]).1, 2);
    }

    #[test]
    fn global_options_go_before_or_after_the_command() {
        for args in [["p2p-chat", "--json", "networks"], ["p2p-chat", "networks", "--json"]] {
            assert!(Cli::try_parse_from(args).expect("understood").global.json);
        }
    }

    #[test]
    fn servers_log_what_they_do_and_commands_keep_quiet() {
        let filter_in = |env: &[(&str, &str)], args: &[&str]| {
            let cli = Cli::try_parse_from([&["p2p-chat"], args].concat()).expect("understood");
            let filter = cli.log_filter(&env.iter().copied().collect());
            filter.split(',').next().map(str::to_owned).expect("a level")
        };
        let filter = |args: &[&str]| filter_in(&[], args);
        assert_eq!(filter(&["status"]), "warn");
        assert_eq!(filter(&["status", "-v"]), "info");
        assert_eq!(filter(&["nds"]), "info");
        assert_eq!(filter(&["serve", "-vv"]), "trace");
        assert_eq!(filter(&["serve", "-v", "--log", "error"]), "error");
        let env = [("RUST_LOG", "p2p_chat=trace")];
        assert_eq!(filter_in(&env, &["status"]), "p2p_chat=trace");
        assert_eq!(filter_in(&env, &["status", "-v"]), "info");
        assert_eq!(filter_in(&env, &["status", "--log", "off"]), "off");
        assert_eq!(filter_in(&[("RUST_LOG", "")], &["status"]), "warn");
    }
}
