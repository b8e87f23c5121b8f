//! The program for long texts has the terminal, and the keys that interrupt.

use rustix::process::Signal;

use crate::{
    scene::{Scene, USUAL, shows_network},
    terminal::Terminal,
};

/// A chat of alice's with such a program, which is a script for the shell and gets the text's file as `$1`. It is open
/// once it says which text it has.
async fn writing(scene: &Scene, editor: &str) -> Terminal {
    let file = scene.path().join("editor");
    std::fs::write(&file, editor).expect("the directory is writable");
    let shell = scene.shell("alice", USUAL).await;
    shell.enters(&format!("export EDITOR='sh {}'", file.display()));
    shell.enters(&scene.chat_line("alice").join(" "));
    shows_network(&shell).await;
    shell.types("begun");
    shell.shows("begun").await;
    shell.presses(&["M-e"]);
    shell.shows("the editor has begun").await;
    shell
}

/// Adds to the text when it is interrupted, and ends at the next line.
const INTERRUPTED: &str = r#"
trap 'printf " and done" >> "$1"; echo "it is now $(cat "$1")"' INT
echo "the editor has $(cat "$1")"
until read -r line; do :; done
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_in_the_editor_does_not_end_the_chat() {
    let Some(scene) = Scene::new().await else { return };
    let shell = writing(&scene, INTERRUPTED).await;
    for text in ["begun and done", "begun and done and done"] {
        shell.presses(&["C-c"]);
        shell.shows(&format!("it is now {text}")).await;
        // The chat's node is in the same process: once it answers, the chat has taken the signal in, too.
        scene.is_in("alice").await;
        shell.presses(&["Enter"]);
        shell.until_modes("a full screen", |modes| modes.alternate).await;
        shell.shows(text).await;
        shell.presses(&["M-e"]);
        shell.shows(&format!("the editor has {text}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_chat_whose_editor_is_open() {
    let Some(scene) = Scene::new().await else { return };
    let shell = writing(&scene, "echo \"the editor has $(cat \"$1\")\"\nexec sleep 1000\n").await;
    scene.signal("alice", Signal::TERM).await;
    shell.until("a prompt", |screen| screen.trim_end().ends_with('$')).await;
    shell.enters("echo said by $0");
    shell.shows("said by /bin/sh").await;
}
