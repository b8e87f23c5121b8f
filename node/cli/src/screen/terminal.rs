//! The terminal: taken for the screen, and given back whatever happens.

use std::{
    io::{self, Stdout},
    panic,
    process::{Child, Command, ExitStatus},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossterm::{
    event::{
        DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
        EnableMouseCapture,
    },
    execute,
    style::Print,
    terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_current_process_group, kill_process, waitid};
use tokio::{
    signal::unix,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{model::Model, view::view};
use crate::{failure::Failure, surroundings::Interrupt};

/// How long to wait for the process to be stopped; it may not be possible, without a shell that could continue it.
const STOPPING: Duration = Duration::from_millis(300);
/// How long the same SIGINT may take to arrive here that has ended the editor.
const SAME_KEY: Duration = Duration::from_millis(100);
/// Most that is read back from the editor outside; what can't be sent is refused later.
const MAX_EDITED_BYTES: u64 = 256 << 10;

/// Whether the terminal is in the state that the screen needs.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The screen's terminal. Dropping it gives the terminal back.
pub(super) struct Display {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: bool,
}

impl Display {
    /// Takes the terminal.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it is no terminal, or refuses.
    pub(super) fn take(mouse: bool) -> Result<Self, Failure> {
        restore_at_panic();
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(|error| broken(&error))?;
        let display = Self { terminal, mouse };
        display.enter()?;
        Ok(display)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> Result<(u16, u16), Failure> {
        let size = self.terminal.size().map_err(|error| broken(&error))?;
        Ok((size.width, size.height))
    }

    /// Draws the model; only what is different is written.
    pub(super) fn draw(&mut self, model: &Model) -> Result<(), Failure> {
        self.terminal.draw(|frame| view(model, frame)).map(drop).map_err(|error| broken(&error))
    }

    /// Lets the next draw write everything.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        let (width, height) = self.size()?;
        // `Terminal::clear` asks the terminal where the cursor is, and the answer would be taken for a key.
        self.terminal.resize(Rect { x: 0, y: 0, width, height }).map_err(|error| broken(&error))
    }

    /// Rings the bell.
    pub(super) fn ring(&self) -> Result<(), Failure> {
        execute!(io::stdout(), Print('\u{7}')).map_err(|error| broken(&error))
    }

    /// Stops the process as the shell's Ctrl-Z does, and goes on when it is continued. Nothing else may read from the
    /// terminal meanwhile.
    pub(super) async fn suspend(&mut self, continued: &mut unix::Signal) -> Result<(), Failure> {
        leave();
        kill_current_process_group(Signal::TSTP).map_err(|error| broken(&error.into()))?;
        // Time passes for a process that is stopped, too: this ends at once when it goes on.
        let _ = timeout(STOPPING, continued.recv()).await;
        self.retake()
    }

    /// Takes the terminal again, after somebody else has had it.
    pub(super) fn retake(&mut self) -> Result<(), Failure> {
        self.enter()?;
        self.clear()
    }

    /// Lets `text` be written in another program, which has the terminal meanwhile. The outer failure is one of the
    /// terminal, the inner one of the program. Cancelled, it ends the program.
    pub(super) async fn edit(
        &mut self,
        editor: &str,
        text: &str,
        interrupt: &Interrupt,
    ) -> Result<Result<String, String>, Failure> {
        let edited = lent_to(interrupt, async {
            leave();
            edited(editor, text).await
        });
        let edited = edited.await;
        self.retake()?;
        Ok(edited)
    }

    fn enter(&self) -> Result<(), Failure> {
        enable_raw_mode().map_err(|error| broken(&error))?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        // The alternate screen comes empty only to who is not in it already: after a crash, it holds what was there.
        let emptied = execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All));
        let entered = emptied.and_then(|()| execute!(io::stdout(), EnableBracketedPaste, EnableFocusChange));
        let entered =
            entered.and_then(|()| if self.mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) });
        entered.map_err(|error| broken(&error))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back; harmless if that has been done.
fn leave() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // A terminal that has gone needs nothing back.
    let _ = execute!(
        io::stdout(),
        DisableMouseCapture,
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
}

/// A panic that ends the screen is printed where it can be read; one that ends another task only belongs to the log.
fn restore_at_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let screen = thread::current().id();
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let ends_all = cfg!(panic = "abort") || thread::current().id() == screen;
            if ends_all || !IS_TAKEN.load(Ordering::SeqCst) {
                leave();
                print(info);
            } else {
                tracing::error!(%info, "a task panicked");
            }
        }));
    });
}

/// Leaves Ctrl-C to a program from before it has the terminal until the key that ended it must have arrived here, too.
async fn lent_to<T>(interrupt: &Interrupt, program: impl Future<Output = T>) -> T {
    let lent = interrupt.lend();
    let ended = program.await;
    sleep(SAME_KEY).await;
    drop(lent);
    ended
}

async fn edited(editor: &str, text: &str) -> Result<String, String> {
    use std::io::{Read, Write};

    let failed = |error: io::Error| format!("the text can't be handed to {editor}: {error}");
    let mut file = tempfile::Builder::new().prefix("p2p-chat-").suffix(".txt").tempfile().map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
    // By a shell, as git does: the variable may hold options.
    let shell = Command::new("sh").arg("-c").arg(script(editor)).arg("sh").arg(file.path()).spawn();
    let status = Editor(Some(shell.map_err(failed)?)).ended().await.map_err(failed)?;
    if !status.success() {
        return Err(format!("{editor} ended with {status}; the text is as it was"));
    }
    // Editors may put a new file in place of the old one.
    let mut edited = Vec::new();
    let read = std::fs::File::open(file.path()).and_then(|file| file.take(MAX_EDITED_BYTES).read_to_end(&mut edited));
    read.map_err(failed)?;
    String::from_utf8(edited).map_err(|_| format!("what {editor} wrote is not UTF-8; the text is as it was"))
}

/// What the shell does to run the editor on `$1`.
fn script(editor: &str) -> String {
    if is_one_command(editor) {
        // In the shell's place, so that signals reach it.
        format!("exec {editor} \"$1\"")
    } else {
        // The shell outlives Ctrl-C, which the editor may want for itself; what asks to end ends only the shell.
        format!("trap : INT; {editor} \"$1\"")
    }
}

/// Whether these are surely a program and its arguments, and nothing else that a shell knows.
fn is_one_command(editor: &str) -> bool {
    let mut quote = None;
    let mut chars = editor.chars();
    while let Some(c) = chars.next() {
        let is_plain = match (quote, c) {
            (Some(open), _) if open == c => {
                quote = None;
                true
            }
            (Some('\''), _) => true,
            (_, '\\') => chars.next().is_some(),
            (Some(_), _) => true,
            (None, '\'' | '"') => {
                quote = Some(c);
                true
            }
            (None, _) => c.is_alphanumeric() || " -_./+:@,~=%".contains(c),
        };
        if !is_plain {
            return false;
        }
    }
    // What has a value before the program is a variable for it.
    quote.is_none() && !editor.split_whitespace().next().is_some_and(|first| first.contains('='))
}

/// A program that has the terminal. Dropping it asks the program to end.
struct Editor(Option<Child>);

impl Editor {
    /// Waits for its end, in a thread that nobody waits for when this process ends.
    async fn ended(mut self) -> io::Result<ExitStatus> {
        let Some(child) = &self.0 else { return Err(io::ErrorKind::NotFound.into()) };
        let pid = Pid::from_child(child);
        let (sender, ended) = oneshot::channel();
        thread::Builder::new().name("editor".to_owned()).spawn(move || {
            // Whoever is dropped meanwhile must not send its signal to another process of that number.
            let seen = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = sender.send(seen);
        })?;
        ended.await.map_err(|_| io::Error::other("bug: nobody waits for the editor"))??;
        match self.0.take() {
            Some(mut child) => child.wait(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            // It may have ended in this moment.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Failed(format!("the terminal can't be used: {error}; try --plain"))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[tokio::test]
    async fn an_editor_gets_the_text_and_its_options() {
        assert_eq!(edited("sed -i s/one/two/", "one\n").await, Ok("two\n".to_owned()));
        assert!(edited("false", "one").await.expect_err("failed").starts_with("false ended with"));
        assert!(edited("printf '\\377' >", "one").await.expect_err("failed").contains("not UTF-8"));
    }

    #[tokio::test]
    async fn an_editor_that_is_one_command_takes_the_place_of_the_shell() {
        for editor in ["vi", "\"/a b/vi\" -c 'set tw=70; w'", "/a\\ b/vi", "ed --at=~/x", r#"ed "a\"; b""#] {
            assert_eq!(script(editor), format!("exec {editor} \"$1\""));
        }
        for editor in ["vi; true", "TERM=vt100 vi", "T='a b' vi", "vi |", "\"vi", "vi $X", "vi 'a' && b", "vi\\"] {
            assert!(script(editor).starts_with("trap"), "{editor}");
        }
        assert_eq!(edited("'sed' -i \"s/one/two/; s/o$/o!/\"", "one\n").await, Ok("two!\n".to_owned()));
    }

    #[tokio::test]
    async fn an_interrupt_is_left_to_the_editor_until_it_has_arrived_here_too() {
        let (_trigger, interrupt) = Interrupt::manual();
        let (end, ended) = oneshot::channel();
        let program = async {
            assert!(interrupt.is_lent(), "before the program has the terminal");
            end.send(()).expect("somebody waits");
        };
        let arrives = async {
            ended.await.expect("told");
            assert!(interrupt.is_lent(), "the same key arrives a little later");
        };
        tokio::join!(lent_to(&interrupt, program), arrives);
        assert!(!interrupt.is_lent());
    }

    #[tokio::test]
    async fn an_editor_that_is_not_waited_for_any_more_is_asked_to_end() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().expect("started");
        // Its input stays open: nothing but a signal ends it.
        let input = cat.stdin.take();
        let pid = Pid::from_child(&cat);
        let waiting = timeout(Duration::ZERO, Editor(Some(cat)).ended()).await;
        assert!(waiting.is_err(), "{waiting:?}");
        let ended = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED));
        let ended = timeout(Duration::from_secs(20), ended).await.expect("in time").expect("no panic");
        let status = ended.expect("a child").expect("an end");
        assert_eq!(status.terminating_signal(), Some(Signal::TERM.as_raw()));
        drop(input);
    }
}
