//! From the arguments to the exit code.

use std::{
    ffi::OsString,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, Parser};

use crate::{
    args::{Cli, Command, NodeArgs},
    chat,
    client::Client,
    commands::{answers, health, messages, networks, serve},
    console::Console,
    demo,
    failure::Failure,
    holder::Mode,
    host::{Host, Running},
    screen,
    session::{PATIENCE, Session},
    settings::{Env, Settings},
    surroundings::{Interrupt, Surroundings},
};

/// Reads the arguments of this process. On `--help`, `--version` or wrong usage (exit code 2) the process ends here.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            // What was typed may hold characters that act on a terminal.
            let shown = p2p_chat_model::name::printable(&error.render().to_string());
            // Nowhere to say that the message can't be said.
            let _ = std::io::stderr().write_all(shown.as_bytes());
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

/// Reads arguments, the program's name first.
///
/// # Errors
/// Wrong usage, and also `--help` and `--version`: what to print, where, and with which exit code.
pub fn parse_from(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(args)
}

/// Carries out one command with the environment, streams and signals of this process.
///
/// Must be called inside a Tokio runtime with time and IO, by `block_on` (the future is not `Send`). To be called once: it takes over SIGINT and SIGTERM.
pub async fn run(cli: Cli, host: &impl Host) -> ExitCode {
    match Surroundings::of_process() {
        Ok(surroundings) => ExitCode::from(run_in(cli, host, surroundings).await),
        Err(failure) => {
            // There is no console without surroundings, and nowhere to say that this failed.
            let _ = writeln!(std::io::stderr(), "p2p-chat: {}", crate::console::one_line(&failure.to_string()));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Carries out one command in the given surroundings; says what failed, and returns the exit code.
pub async fn run_in(cli: Cli, host: &impl Host, mut surroundings: Surroundings) -> u8 {
    let console = Console::new(&mut surroundings, cli.global.json, cli.global.log_format);
    let typed_is_visible = surroundings.input_is_terminal && surroundings.out_is_terminal;
    let Surroundings { env, input, interrupt, input_is_terminal, has_screen, out_pipe, .. } = surroundings;
    let input = Some(input);
    let mut run =
        Run { host, console, env, input, out_pipe, input_is_terminal, typed_is_visible, has_screen, interrupt };
    let result = run.command(cli).await;
    let result = result.and_then(|()| run.console.flush());
    match result {
        Ok(()) => 0,
        Err(failure) => {
            if failure != Failure::OutputClosed {
                run.console.fail(crate::console::one_line(&failure.to_string()));
            }
            failure.exit_code()
        }
    }
}

/// One run of the program.
pub(crate) struct Run<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) console: Console,
    pub(crate) env: Env,
    /// Standard input, until somebody takes it.
    input: Option<Box<dyn Read + Send>>,
    /// Where it can be seen that whoever reads the output has gone, until somebody takes it.
    out_pipe: Option<OwnedFd>,
    /// Whether somebody types.
    pub(crate) input_is_terminal: bool,
    /// Whether what is typed can be seen where the output is.
    pub(crate) typed_is_visible: bool,
    /// Whether there is a terminal that can show a screen.
    has_screen: bool,
    pub(crate) interrupt: Interrupt,
}

impl<H: Host> Run<'_, H> {
    async fn command(&mut self, cli: Cli) -> Result<(), Failure> {
        let node = match &cli.command {
            Command::Serve { node, .. }
            | Command::Chat { node, .. }
            | Command::Create { node, .. }
            | Command::Join { node, .. } => node.clone(),
            Command::Nds { preset, .. } => NodeArgs { preset: *preset, ..NodeArgs::default() },
            _ => NodeArgs::default(),
        };
        let monitor = match &cli.command {
            Command::Nds { monitor, .. }
            | Command::Serve { monitor, .. }
            | Command::Chat { monitor, .. }
            | Command::Listen { monitor, .. } => Some(monitor.clone()),
            // They are over before anybody could read them, and many may run beside each other.
            _ => None,
        };
        let runs_for_longer = monitor.is_some();
        let mut settings = match &cli.command {
            Command::Completions { shell } => return self.completions(*shell),
            Command::Health { address, timeout } => return health::check(address, *timeout, self).await,
            Command::Demo => return demo::run(self).await,
            _ => Settings::resolve(&cli.global, &node, &monitor.unwrap_or_default(), &self.env)?,
        };
        settings.metrics = settings.metrics.filter(|_| runs_for_longer);
        settings.otlp = settings.otlp.filter(|_| runs_for_longer);
        match cli.command {
            Command::Nds { listen, .. } => serve::discovery(self, &settings, listen).await,
            Command::Serve { create, join, .. } => serve::node(self, &settings, create, join).await,
            Command::Chat { network, plain, .. } => {
                if self.has_screen && !plain && !cli.global.json {
                    // It takes a good deal of memory, which other commands need not carry around.
                    return Box::pin(screen::run(self, &settings, network)).await;
                }
                chat::chat(self, &settings, network).await
            }
            Command::Listen { network, from, .. } => messages::listen(self, &settings, &network, from).await,
            Command::Send { network, text, wait, timeout } => {
                let text = self.text_to_send(text).await?;
                let send = async |client: &Client, console: &mut Console| {
                    messages::send(client, console, &network, text, wait, timeout).await
                };
                self.with_node(&settings, PATIENCE, messages::interrupted(&network), send).await.map(drop)
            }
            command => {
                let founds_or_joins = matches!(command, Command::Create { .. } | Command::Join { .. });
                let ask = async |client: &Client, console: &mut Console| ask(client, console, &command).await;
                let was_own = self.with_node(&settings, patience(&command), given_up(&command), ask).await?;
                if founds_or_joins && was_own {
                    self.console.note("this node ends here; keep one running with p2p-chat serve, or chat");
                }
                Ok(())
            }
        }
    }

    /// Lets `command` talk to a node, and closes the node afterwards if it was started for that; says if it was. It
    /// then waits up to `patience` for another member to hold what it wrote. An interrupt ends the command with
    /// `interrupted`.
    async fn with_node(
        &mut self,
        settings: &Settings,
        patience: Duration,
        interrupted: Failure,
        command: impl AsyncFnOnce(&Client, &mut Console) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let session = self.open(settings, Mode::Command).await?;
        self.explain_what_is_ignored(&session);
        let result = tokio::select! {
            result = command(&session.client, &mut self.console) => result,
            () = self.interrupt.wait() => Err(interrupted),
        };
        let flushed = self.console.flush();
        let was_own = session.is_own();
        let closed = session.close_within(patience, &mut self.console, &mut self.interrupt).await;
        result.and(flushed).and(closed).map(|()| was_own)
    }

    /// Opens a session; an interrupt ends the attempt.
    pub(crate) async fn open(&mut self, settings: &Settings, mode: Mode) -> Result<Session<H::Node>, Failure> {
        tokio::select! {
            session = Session::open(self.host, settings, mode) => session,
            () = self.interrupt.wait() => Err(interrupted()),
        }
    }

    /// Says so where options for the node come too late.
    pub(crate) fn explain_what_is_ignored(&mut self, session: &Session<H::Node>) {
        if let Some(sentence) = what_is_ignored(session) {
            self.console.note(sentence);
        }
    }

    /// Standard input; the second caller gets an empty one.
    pub(crate) fn take_input(&mut self) -> Box<dyn Read + Send> {
        self.input.take().unwrap_or_else(|| Box::new(std::io::empty()))
    }

    /// Whoever reads the output, to be watched by [`crate::surroundings::reader_gone`]; the second caller gets nothing.
    pub(crate) fn take_out_pipe(&mut self) -> Option<OwnedFd> {
        self.out_pipe.take()
    }

    async fn text_to_send(&mut self, text: String) -> Result<String, Failure> {
        if text != "-" {
            return crate::values::message_text(text).map_err(Failure::Usage);
        }
        let input = self.take_input();
        tokio::select! {
            text = crate::input::message(input) => text,
            () = self.interrupt.wait() => Err(interrupted()),
        }
    }

    fn completions(&mut self, shell: clap_complete::Shell) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "p2p-chat", &mut script);
        let script = String::from_utf8_lossy(&script);
        // clap_complete looks for `p2p__chat__subcmd__send` in bash, and defines `p2p__subcmd__chat__subcmd__send`: it
        // takes the hyphen of the program's name for the end of a command's.
        self.console.raw(script.replace("p2p__subcmd__chat", "p2p__chat").as_bytes())
    }
}

/// How long a node that was started for a command waits at its end for others. Who only asks does not pay for what was
/// written earlier, and who leaves has waited for as long as it wanted to.
fn patience(command: &Command) -> Duration {
    match command {
        Command::Create { .. } | Command::Join { .. } => PATIENCE,
        _ => Duration::ZERO,
    }
}

/// The commands that are a question to a node and its answer.
async fn ask(client: &Client, console: &mut Console, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create { network, .. } => networks::create(client, console, network).await,
        Command::Join { network, .. } => networks::join(client, console, network).await,
        Command::Leave { network, timeout, force } => {
            networks::leave(client, console, network, (*timeout, *force)).await
        }
        Command::Forget { network } => networks::forget(client, console, network).await,
        Command::Networks => networks::list(client, console).await,
        Command::Members { network } => answers::members(client, console, network).await,
        Command::History { network, limit } => messages::history(client, console, network, limit.unwrap_or(0)).await,
        Command::Status => answers::status(client, console).await,
        Command::Inspect { network, message } => answers::inspect(client, console, network, message).await,
        _ => Err(Failure::Failed("bug: this command asks a node nothing".to_owned())),
    }
}

/// What to say where options for the node come too late.
pub(crate) fn what_is_ignored<N: Running>(session: &Session<N>) -> Option<String> {
    let flags = &session.settings.node_flags;
    let at = session.settings.data_dir.display();
    let are = if flags.len() == 1 { "is" } else { "are" };
    let sentence = || format!("a node runs on {at} already; {} {are} ignored", flags.join(", "));
    (!flags.is_empty() && !session.is_own()).then(sentence)
}

/// What to say when the user gives up.
pub(crate) fn interrupted() -> Failure {
    Failure::Failed("interrupted".to_owned())
}

/// The same, where the node may go on with what it was asked to do.
fn given_up(command: &Command) -> Failure {
    let (done, network) = match command {
        Command::Create { network, .. } => ("founded", network),
        Command::Join { network, .. } => ("joined", network),
        Command::Leave { network, .. } => ("left", network),
        Command::Forget { network } => ("forgotten", network),
        _ => return interrupted(),
    };
    Failure::Failed(format!("interrupted; {network} may be {done} all the same: see p2p-chat networks"))
}
