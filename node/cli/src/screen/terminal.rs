//! The terminal: taken for the screen, and given back whatever happens.

use std::{
    io::{self, Stdout},
    panic,
    process::Command,
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
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};
use rustix::process::{Signal, kill_current_process_group};
use tokio::{signal::unix, task::spawn_blocking, time::timeout};

use super::{model::Model, view::view};
use crate::failure::Failure;

/// How long to wait for the process to be stopped; it may not be possible, without a shell that could continue it.
const STOPPING: Duration = Duration::from_millis(300);
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
    /// terminal, the inner one of the program.
    pub(super) async fn edit(&mut self, editor: String, text: String) -> Result<Result<String, String>, Failure> {
        leave();
        let edited = spawn_blocking(move || edited(&editor, &text)).await;
        self.retake()?;
        Ok(edited.unwrap_or_else(|error| Err(format!("bug: the editor could not be run: {error}"))))
    }

    fn enter(&self) -> Result<(), Failure> {
        enable_raw_mode().map_err(|error| broken(&error))?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let entered = execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange);
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

/// A panic of the screen is printed where it can be read; one of another task belongs to the log.
fn restore_at_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let screen = thread::current().id();
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() == screen || !IS_TAKEN.load(Ordering::SeqCst) {
                leave();
                print(info);
            } else {
                tracing::error!(%info, "a task panicked");
            }
        }));
    });
}

fn edited(editor: &str, text: &str) -> Result<String, String> {
    use std::io::{Read, Write};

    let failed = |error: io::Error| format!("the text can't be handed to {editor}: {error}");
    let mut file = tempfile::Builder::new().prefix("p2p-chat-").suffix(".txt").tempfile().map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
    // By a shell, as git does: the variable may hold options.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file.path()).status();
    let status = status.map_err(failed)?;
    if !status.success() {
        return Err(format!("{editor} ended with {status}; the text is as it was"));
    }
    // Editors may put a new file in place of the old one.
    let mut edited = Vec::new();
    let read = std::fs::File::open(file.path()).and_then(|file| file.take(MAX_EDITED_BYTES).read_to_end(&mut edited));
    read.map_err(failed)?;
    String::from_utf8(edited).map_err(|_| format!("what {editor} wrote is not UTF-8; the text is as it was"))
}

fn broken(error: &io::Error) -> Failure {
    Failure::Failed(format!("the terminal can't be used: {error}; try --plain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_gets_the_text_and_its_options() {
        assert_eq!(edited("sed -i s/one/two/", "one\n"), Ok("two\n".to_owned()));
        assert!(edited("false", "one").expect_err("failed").starts_with("false ended with"));
        assert!(edited("printf '\\377' >", "one").expect_err("failed").contains("not UTF-8"));
    }
}
