//! The full-screen chat: a client of the local API like any other.
//!
//! ```text
//! terminal ---- keys, mouse, size ------+
//! node -------- events, answers --------+--> update(model, input) --> effects --+--> tasks that ask the node
//! clock ------- ticks ------------------+           |                           +--> the terminal: bell, editor, end
//!                                                 model --> view --> terminal
//! ```
//!
//! `model` is plain data. `update` takes inputs in and returns effects; it knows no clock and does no IO. `view` draws
//! the model and changes nothing; `layout` says where things are, for both. `effects` carries out what is the node's,
//! `terminal` what is the terminal's. The loop here only passes things on: it draws when something has changed, at most
//! some sixty times a second, and before there is a node.
//!
//! Of the log only a window is in memory. A draw formats the messages in view, and no others.

mod config;
mod editor;
mod effects;
#[cfg(test)]
mod fixture;
mod keys;
mod layout;
mod log;
mod model;
mod terminal;
mod theme;
mod update;
mod view;

use std::{io, pin::Pin, time::Duration};

use crossterm::event::{Event as TerminalEvent, EventStream};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::StreamExt;

use self::{
    effects::{Report, Runner},
    model::{Model, Wanted, Way},
    terminal::Display,
    theme::Theme,
    update::{Answer, Effect, Input, unsent, update},
};
use crate::{
    console::one_line,
    failure::Failure,
    holder::Mode,
    host::{Host, Running},
    run::{Run, what_is_ignored},
    session::Session,
    settings::Settings,
    surroundings::Interrupt,
};

pub use self::log::{LogFile, log_file};
pub(crate) use self::{
    config::{ScreenConfig, colours, keys},
    keys::Keys,
    theme::Role,
};

/// How often the clock is looked at: as often as something turns while it takes long, else as often as the node is
/// asked where it stands.
const BUSY_TICK: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_secs(1);
/// The shortest time between two draws.
const FRAME: Duration = Duration::from_millis(16);
/// Reports that may wait, and those that are taken in before the next draw.
const REPORTS: usize = 512;

/// `p2p-chat chat` on a terminal
pub(crate) async fn run<H: Host>(run: &mut Run<'_, H>, settings: &Settings, network: String) -> Result<(), Failure> {
    let look = settings.screen.clone();
    let theme = Theme::new(&run.env, look.config.background, look.colours);
    let display = Display::take(look.config.mouse)?;
    let begun = (Instant::now(), now_ms());
    let mut model = Model::new(display.size()?, begun.1, run.console.zone.clone(), theme, look.keys, look.config);
    model.wanted = Some(Wanted::new(network, Way::JoinOrFound));
    let editor = run.env.text("VISUAL").or(run.env.text("EDITOR")).unwrap_or("vi").to_owned();
    let (reports, reported) = mpsc::channel(REPORTS);
    let deaf = |error| Failure::Failed(format!("cannot listen to signals: {error}; try again"));
    let continued = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())).map_err(deaf)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(deaf)?;
    let mut screen = Screen {
        begun,
        model,
        display,
        editor,
        interrupt: run.interrupt.clone(),
        keys: Some(EventStream::new()),
        runner: Runner::new(reports),
        reported,
        continued,
        link: Link::Gone,
    };
    screen.link = Link::Sought(Box::pin(open(run.host, settings)));
    let result = tokio::select! {
        result = screen.go(run.host) => result,
        () = run.interrupt.wait() => Ok(()),
        // The terminal was closed: whoever did that wants to end.
        _ = hung_up.recv() => Ok(()),
    };
    result.and(screen.end(run).await)
}

/// What holds for the screen, from the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) config: ScreenConfig,
    pub(crate) keys: Keys,
    pub(crate) colours: std::collections::BTreeMap<Role, ratatui::style::Color>,
}

/// Takes the terminal as a chat does, and panics: for the test that it is given back.
#[doc(hidden)]
pub fn panic_at_the_terminal() {
    let _display = Display::take(true);
    panic!("on purpose, with the terminal taken");
}

/// A node that was found, and what to say about it.
struct Found<N> {
    session: Session<N>,
    remark: Option<String>,
}

type Search<'a, N> = Pin<Box<dyn Future<Output = Result<Found<N>, Failure>> + 'a>>;

/// The way to the node.
enum Link<'a, N> {
    /// It is being looked for, or started.
    Sought(Search<'a, N>),
    Up(Box<Session<N>>),
    Gone,
}

async fn open<H: Host>(host: &H, settings: &Settings) -> Result<Found<H::Node>, Failure> {
    let session = Session::open_chat(host, settings, |profile| log::goes_with(&profile.data_dir)).await?;
    let remark = if session.settings.data_dir == settings.data_dir {
        what_is_ignored(&session)
    } else {
        let (name, at) = (&session.settings.name, session.settings.data_dir.display());
        Some(one_line(&format!("your other chat goes on; this one is {name}, with its data in {at}")))
    };
    Ok(Found { session, remark })
}

async fn find_again<H: Host>(host: &H, mut session: Session<H::Node>) -> Result<Found<H::Node>, Failure> {
    loop {
        match session.recover(host, Mode::Chat, drop).await {
            Ok(()) => return Ok(Found { session, remark: Some("the node is there again".to_owned()) }),
            // Whoever waits at the screen can see that, and end it.
            Err(Failure::Unreachable(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Everything that the loop turns around.
struct Screen<'a, N> {
    /// When it began, and the time by the clock on the wall then.
    begun: (Instant, u64),
    model: Model,
    display: Display,
    /// The program for long texts.
    editor: String,
    interrupt: Interrupt,
    /// Nothing while somebody else reads from the terminal.
    keys: Option<EventStream>,
    runner: Runner,
    reported: mpsc::Receiver<Report>,
    continued: Signal,
    link: Link<'a, N>,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl<'a, N: Running> Screen<'a, N> {
    /// Until the user wants to end, or nothing goes on any more.
    async fn go<H: Host<Node = N>>(&mut self, host: &'a H) -> Result<(), Failure> {
        self.draw()?;
        let (mut drawn, mut is_stale) = (Instant::now(), false);
        let mut ticked = Instant::now();
        loop {
            if is_stale && drawn.elapsed() >= FRAME {
                self.draw()?;
                (drawn, is_stale) = (Instant::now(), false);
            }
            let tick = if self.model.is_busy() { BUSY_TICK } else { TICK };
            let flow = tokio::select! {
                event = next_event(&mut self.keys) => {
                    is_stale = true;
                    self.take_event(event).await?
                }
                Some(report) = self.reported.recv() => {
                    is_stale = true;
                    self.take_reports(report, host).await?
                }
                found = found(&mut self.link) => {
                    is_stale = true;
                    self.opened(found?).await?
                }
                () = sleep_until(ticked + tick) => {
                    ticked = Instant::now();
                    let said = self.model.said.is_some();
                    let flow = self.take(self.tick()).await?;
                    is_stale |= self.model.is_busy() || said && self.model.said.is_none();
                    flow
                }
                _ = self.continued.recv() => {
                    is_stale = true;
                    self.display.retake()?;
                    Flow::On
                }
                () = sleep_until(drawn + FRAME), if is_stale => Flow::On,
            };
            if flow == Flow::End {
                return Ok(());
            }
        }
    }

    /// Gives the terminal back, waits a moment for what was said last, and says what of it may be lost.
    async fn end<H: Host<Node = N>>(self, run: &mut Run<'_, H>) -> Result<(), Failure> {
        // The terminal is given back before anything is printed, or takes long: what is typed from now on is the shell's.
        let Self { link, display, keys, mut model, runner, mut reported, .. } = self;
        drop(keys);
        drop(display);
        let mut take = |report| {
            // What was refused now was not sent, and nobody has seen that.
            if let Report::Input(input) = report
                && matches!(&*input, Input::Answer(Answer::Sent { result: Ok(_), .. }))
            {
                update(&mut model, *input);
            }
        };
        runner.finish(&mut reported, &mut take).await;
        while let Ok(report) = reported.try_recv() {
            take(report);
        }
        if let Some(sentence) = unsent(&model) {
            run.console.note(one_line(&sentence));
        }
        match link {
            Link::Up(session) => session.close(&mut run.console, &mut run.interrupt).await,
            Link::Sought(_) | Link::Gone => Ok(()),
        }
    }

    fn tick(&self) -> Input {
        let (begun, begun_ms) = self.begun;
        let passed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Input::Tick { now_ms: now_ms(), steady_ms: begun_ms.saturating_add(passed_ms) }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let size = self.display.size()?;
        if size != self.model.size {
            self.model.size = size;
        }
        self.display.draw(&self.model)
    }

    async fn take_event(&mut self, event: io::Result<TerminalEvent>) -> Result<Flow, Failure> {
        let unreadable =
            |error| Failure::Failed(format!("cannot read from the terminal: {error}; you stay in the network"));
        self.take(Input::Terminal(event.map_err(unreadable)?)).await
    }

    /// Takes in everything that waits, so that a flood costs one draw.
    async fn take_reports<H: Host<Node = N>>(&mut self, first: Report, host: &'a H) -> Result<Flow, Failure> {
        let mut next = Some(first);
        let mut left = REPORTS;
        while let Some(report) = next {
            let flow = match report {
                Report::Input(input) => self.take(*input).await?,
                Report::Gone => self.look_again(host).await?,
            };
            if flow == Flow::End {
                return Ok(flow);
            }
            left -= 1;
            next = if left > 0 { self.reported.try_recv().ok() } else { None };
        }
        Ok(Flow::On)
    }

    async fn look_again<H: Host<Node = N>>(&mut self, host: &'a H) -> Result<Flow, Failure> {
        match std::mem::replace(&mut self.link, Link::Gone) {
            Link::Up(session) => {
                self.runner.let_go();
                self.link = Link::Sought(Box::pin(find_again(host, *session)));
                self.take(Input::Lost).await
            }
            // It is known already.
            link => {
                self.link = link;
                Ok(Flow::On)
            }
        }
    }

    async fn opened(&mut self, found: Found<N>) -> Result<Flow, Failure> {
        self.runner.go_on(found.session.client.clone());
        self.link = Link::Up(Box::new(found.session));
        self.take(Input::Opened(found.remark)).await
    }

    /// Takes an input in, and does what follows from it.
    async fn take(&mut self, input: Input) -> Result<Flow, Failure> {
        let mut effects = update(&mut self.model, input);
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Quit => return Ok(Flow::End),
                    Effect::Ring => self.display.ring()?,
                    Effect::Redraw => self.display.clear()?,
                    Effect::Suspend => self.suspend().await?,
                    Effect::Edit(text) => {
                        let edited = self.edit(text).await?;
                        effects.extend(update(&mut self.model, Input::Edited(edited)));
                    }
                    effect => {
                        let answer = self.runner.run(effect).map(Input::Answer);
                        effects.extend(answer.into_iter().flat_map(|answer| update(&mut self.model, answer)));
                    }
                }
            }
        }
        Ok(Flow::On)
    }

    async fn suspend(&mut self) -> Result<(), Failure> {
        self.keys = None;
        self.display.suspend(&mut self.continued).await?;
        self.keys = Some(EventStream::new());
        Ok(())
    }

    async fn edit(&mut self, text: String) -> Result<Result<String, String>, Failure> {
        self.keys = None;
        let edited = self.display.edit(&self.editor, &text, &self.interrupt).await?;
        self.keys = Some(EventStream::new());
        Ok(edited)
    }
}

async fn next_event(keys: &mut Option<EventStream>) -> io::Result<TerminalEvent> {
    match keys {
        // The stream has no end, but for that of the terminal, which is a failure.
        Some(keys) => keys.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())),
        None => std::future::pending().await,
    }
}

/// Waits for the node that is looked for; for ever if none is.
async fn found<N>(link: &mut Link<'_, N>) -> Result<Found<N>, Failure> {
    match link {
        Link::Sought(search) => search.await,
        Link::Up(_) | Link::Gone => std::future::pending().await,
    }
}

fn now_ms() -> u64 {
    u64::try_from(crate::surroundings::now().as_millisecond()).unwrap_or(0)
}
