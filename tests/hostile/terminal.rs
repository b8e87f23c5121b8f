//! What others wrote never acts on a terminal.

use p2p_chat_proto::v1;

use crate::support::{Cluster, Lines, process::run};

const NAMES: [&str; 2] = ["alice", "bob"];
/// Clears a screen, sets a title, rings, goes back over the line, and turns the text around.
const VENOM: &str = "\u{1b}[2J\u{1b}]0;owned\u{7} over\rwritten \u{9b}31m \u{202e}desrever";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_in_messages_are_never_printed_raw() {
    let cluster = Cluster::of(Lines::Direct, &NAMES).await;
    let text = format!("look {VENOM}");
    let said = cluster.ledger.say_and_wait(cluster.node("alice"), &text, v1::Wait::All).await;
    let said = said.expect("a text may hold any character");
    for command in [&["history", "lab"][..], &["inspect", "lab", &said.id]] {
        for json in [&[][..], &["--json"]] {
            let shown = stays_harmless(&cluster, &[command, json].concat()).await;
            assert!(shown.contains("look "), "{command:?} does not show the message: {shown:?}");
        }
    }
    for command in [&["status"][..], &["members", "lab"], &["networks"]] {
        stays_harmless(&cluster, command).await;
    }
    cluster.assert_histories(&NAMES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_in_arguments_are_never_printed_raw() {
    let cluster = Cluster::of(Lines::Direct, &NAMES).await;
    for command in [
        &["history", VENOM][..],
        &["join", VENOM],
        &["create", VENOM],
        &["send", VENOM, "hello"],
        &["inspect", "lab", VENOM],
        &["health", VENOM],
        &["status", "--nds", VENOM],
        &["serve", "--name", VENOM],
        &["serve", "--advertise", VENOM],
        &[VENOM],
    ] {
        stays_harmless(&cluster, command).await;
    }
}

/// Runs a command at bob's node; what it printed on stdout.
async fn stays_harmless(cluster: &Cluster, command: &[&str]) -> String {
    let dir = cluster.node("bob").dir.display().to_string();
    let args = [command, &["--data-dir", &dir]].concat();
    let finished = run(&args, &cluster.logs()).await;
    for shown in [&finished.stdout, &finished.stderr] {
        let acting = shown.chars().find(|&c| c.is_control() && c != '\n' || c == '\u{202e}');
        assert_eq!(acting, None, "{args:?} printed {shown:?}");
    }
    finished.stdout
}
