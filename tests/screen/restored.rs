//! However a chat ends, the shell gets its terminal back as it was.

use std::{fs, io::IsTerminal};

use rustix::process::Signal;

use crate::{
    scene::{Scene, USUAL, says, shows_network},
    terminal::Terminal,
};

/// What a shell's terminal looks like.
fn of_the_shell(terminal: &Terminal) -> bool {
    let modes = terminal.modes();
    !modes.alternate && modes.cursor && !modes.mouse && !modes.ended
}

/// A shell that has started a chat, which is on the screen.
async fn chatting(scene: &Scene) -> Terminal {
    let shell = scene.shell("alice", USUAL).await;
    shell.enters("echo said before; stty -a > before");
    shell.shows("said before\n").await;
    shell.enters(&format!("{}; echo ended=$?", scene.chat_line("alice").join(" ")));
    shows_network(&shell).await;
    // What is not stored would be named after the chat.
    says(&shell, "is it there?").await;
    shell
}

/// Waits for the shell, and checks its terminal.
async fn is_restored(scene: &Scene, shell: &Terminal) {
    shell.until_modes("the shell's terminal", |modes| !modes.alternate && modes.cursor && !modes.mouse).await;
    shell
        .until("what was said before", |screen| screen.contains("said before") && !screen.contains("is it there?"))
        .await;
    // Until the chat has ended, it takes what is typed. A prompt may be an earlier one.
    let is_said =
        |row: &str| row.strip_prefix("ended=").is_some_and(|code| code.starts_with(|c: char| c.is_ascii_digit()));
    shell.until("the end of the chat", |screen| screen.lines().any(is_said)).await;
    shell.enters("stty -a > after; echo written=$?");
    shell.shows("written=0").await;
    let told = |name: &str| fs::read_to_string(scene.path().join(name)).expect("the shell has written it");
    assert_eq!(told("before"), told("after"));
    // Were pastes still bracketed, the brackets would be shown.
    shell.enters("cat -v");
    shell.pastes("pasted\n");
    let screen = shell.until("a paste", |screen| screen.matches("pasted").count() >= 2).await;
    assert!(!screen.contains("200~"), "{screen}");
    shell.presses(&["C-c"]);
    // Until it has ended, what is typed is lost with it.
    shell.until("a prompt", |screen| screen.trim_end().ends_with('$')).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_clears_what_a_program_that_crashed_has_left() {
    let Some(scene) = Scene::new().await else { return };
    let shell = scene.shell("alice", USUAL).await;
    // The alternate screen stays active, with something in a place where a new chat shows nothing.
    shell.enters(r"printf '\033[?1049h\033[2J\033[5;40H%s\033[H' rub''bish; echo in''side");
    shell.until("the alternate screen", |screen| screen.contains("rubbish") && screen.contains("inside")).await;
    shell.enters(&scene.chat_line("alice").join(" "));
    shows_network(&shell).await;
    shell.until("a clear screen", |screen| screen.contains("all caught up")).await;
    assert!(!shell.screen().contains("rubbish"), "{}", shell.screen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_the_chat_restores_the_terminal() {
    let Some(scene) = Scene::new().await else { return };
    let shell = chatting(&scene).await;
    shell.enters("/quit");
    is_restored(&scene, &shell).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_restores_the_terminal() {
    is_restored_after(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_whose_terminal_hangs_up_ends_as_if_it_were_left() {
    is_restored_after(Signal::HUP).await;
}

/// What the shell of the next test starts.
#[test]
#[ignore = "takes the terminal and panics; started by `a_panic_gives_the_terminal_back`"]
fn panics_at_the_terminal() {
    if std::io::stdout().is_terminal() {
        p2p_chat_cli::panic_at_the_terminal();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_gives_the_terminal_back() {
    let Some(scene) = Scene::new().await else { return };
    let shell = scene.shell("alice", USUAL).await;
    shell.enters("echo said before; stty -a > before");
    shell.shows("said before\n").await;
    let program = std::env::current_exe().expect("a test has a program").display().to_string();
    shell.enters(&format!("{program} --ignored --nocapture panics_at_the_terminal; echo ended=$?"));
    shell.shows("on purpose, with the terminal taken").await;
    shell.shows("ended=101").await;
    is_restored(&scene, &shell).await;
}

async fn is_restored_after(signal: Signal) {
    let Some(scene) = Scene::new().await else { return };
    let shell = chatting(&scene).await;
    scene.signal("alice", signal).await;
    is_restored(&scene, &shell).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_chat_gives_the_terminal_back_and_goes_on_in_the_foreground() {
    let Some(scene) = Scene::new().await else { return };
    let shell = chatting(&scene).await;
    shell.presses(&["C-z"]);
    is_restored(&scene, &shell).await;
    shell.enters("fg");
    shell.until_modes("a full screen", |modes| modes.alternate).await;
    shell.shows("is it there?").await;
    shell.enters("back again");
    shell.shows("back again").await;
    assert!(!of_the_shell(&shell));
    shell.enters("/quit");
    shell.until_modes("the shell's terminal", |modes| !modes.alternate && modes.cursor && !modes.mouse).await;
}
