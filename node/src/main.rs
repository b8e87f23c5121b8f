//! The `p2p-chat` program: the command line, with nodes and discovery services to run in this process.

use std::{
    fs::OpenOptions,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use p2p_chat::ProcessHost;
use p2p_chat_cli::{Cli, Env, LogFile, LogFormat};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    p2p_chat_metrics::process::start();
    let cli = p2p_chat_cli::parse();
    let filter = cli.log_filter(&Env::of_process());
    let filter = match EnvFilter::try_new(&filter) {
        Ok(filter) => filter,
        Err(error) => {
            let sentence = format!("the log filter {filter:?} is not understood ({error}); write it as p2p_chat=debug");
            // Without a log there is nowhere else to say it, and nowhere to say that this failed.
            let _ = writeln!(std::io::stderr(), "p2p-chat: {sentence}");
            return ExitCode::from(2);
        }
    };
    start_log(filter, &cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "can't start the runtime");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(p2p_chat_cli::run(cli, &ProcessHost))
}

/// The log goes to stderr, or to a file while it would tear a screen there: a line for people, or an object for
/// programs, an event.
fn start_log(filter: EnvFilter, cli: &Cli) {
    let file = p2p_chat_cli::log_file(cli, &Env::of_process()).filter(|_| std::io::stderr().is_terminal());
    let goes_to_terminal = file.is_none() && std::io::stderr().is_terminal();
    // Told on stderr, an error of the log would tear the screen as well.
    let tells_own_errors = file.is_none();
    let writer = move || -> Box<dyn Write> {
        let Some(path) = file.as_ref().map(LogFile::path) else { return Box::new(std::io::stderr()) };
        // There is nowhere to say that the log can't be written.
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map_or_else(|_| Box::new(std::io::sink()) as Box<dyn Write>, |file| Box::new(file))
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let log = log.log_internal_errors(tells_own_errors);
    match cli.global.log_format {
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => {
            let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            log.with_ansi(goes_to_terminal && !asked_not_to).with_target(false).init();
        }
    }
}
