//! The command line of p2p-chat: a client of the local API.
//!
//! [`run`] carries out one command. It talks to the node that runs on the data directory, through the Unix socket
//! there, and to nothing else; where no node runs, it asks the [`Host`] for one in this process, for as long as it
//! takes. The binary provides the host, and so this package knows neither engine nor store nor transport:
//!
//! ```no_run
//! # async fn example(host: impl p2p_chat_cli::Host) -> std::process::ExitCode {
//! let cli = p2p_chat_cli::parse();
//! // Set logging up with `cli.log_filter(&Env::of_process())` and `log_file`, then:
//! p2p_chat_cli::run(cli, &host).await
//! # }
//! ```
//!
//! What `--json` prints, one object a line; times are RFC 3339 in UTC, or null:
//!
//! | command | object |
//! |---|---|
//! | `history`, `listen`, `chat` | `{"network","id","author","author_name","seq","lamport","time","kind","text"}` |
//! | `members` | `{"name","peer","node_id","role","state","address","leader"}` |
//! | `networks`, `create` | `{"name","id","leader","leader_address","epoch","members","joined","stale"}` |
//! | `join` | the network, and `"node_id"` |
//! | `leave` | `{"network","unreplicated","closed"}` |
//! | `forget` | `{"network","entries"}` |
//! | `send` | `{"network","id","seq","lamport","stored_by","members"}`; after a timeout `{"network","id"}` |
//! | `inspect` | `{"message":{…},"custody":[{"member_name","member_peer","state","time","way","active"}]}` |
//! | `status` | `{"peer","name","address","data_dir","version","pid","uptime_ms","discovery":[…],"networks":[…]}` |
//! | `health` | `{"address","status"}` |
//! | `nds`, `serve` | `{"listening":"HOST:PORT"}` |
//! | `demo` | `{"check","passed","detail"}` |
//!
//! In `status`, a discovery service is `{"url","reachable","error","embedded",
//! "last_answer_age_ms"}` (null if it never answered) and a network is `{"name","id",
//! "phase","node_id","epoch","view_version","leader_name","leader_peer","leader_address","leading","leader_alive",
//! "members","active","entries","held_back","unread","read_position",
//! "missing":[{"author_name","author_peer","entries","asking"}], "owed":[{"member_name","member_peer","entries","way"}],
//! "frozen":[{"author_name","author_peer"}],"unlisted":[{"url","reason"}],"problem"}`; `asking` is empty while nobody is asked.

mod args;
mod chat;
mod client;
mod commands;
mod config;
mod console;
mod demo;
mod failure;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod holder;
mod host;
mod input;
mod render;
mod run;
mod screen;
mod session;
mod settings;
mod surroundings;
mod values;

pub use args::{Cli, Command, From, Global, LogFormat, MonitorArgs, NodeArgs, Preset, Wait};
pub use client::{Client, Incoming};
pub use failure::Failure;
pub use holder::{Holder, Mode};
pub use host::{Host, NdsOptions, NodeOptions, Running, StartFailure};
pub use run::{parse, parse_from, run, run_in};
pub use screen::{LogFile, log_file, panic_at_the_terminal};
pub use settings::{DEFAULT_NDS, Env, SOCKET};
pub use surroundings::{Interrupt, Surroundings, Waits};
pub use values::{ServiceUrl, ServiceUrlError};
