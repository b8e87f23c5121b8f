//! The `p2p-chat` program: the command line, with nodes and discovery services to run in this process.

use std::{io::IsTerminal, process::ExitCode};

use p2p_chat::ProcessHost;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    p2p_chat_metrics::process::start();
    let cli = p2p_chat_cli::parse();
    let filter = EnvFilter::try_new(cli.log_filter()).unwrap_or_else(|_| EnvFilter::new("warn"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "can't start the runtime");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(p2p_chat_cli::run(cli, &ProcessHost))
}
