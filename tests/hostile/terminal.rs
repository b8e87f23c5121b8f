//! What others wrote never acts on a terminal.

use p2p_chat_proto::v1;

use crate::support::{Cluster, Lines, process::run};

const NAMES: [&str; 2] = ["alice", "bob"];
/// Clears a screen, sets a title, rings, goes back over the line, and turns the text around.
const VENOM: &str = "\u{1b}[2J\u{1b}]0;owned\u{7} over\rwritten \u{9b}31m \u{202e}desrever";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_in_messages_and_arguments_are_never_printed_raw() {
    let cluster = Cluster::of(Lines::Direct, &NAMES).await;
    let text = format!("look {VENOM}");
    let said = cluster.ledger.say_and_wait(cluster.node("alice"), &text, v1::Wait::All).await;
    let said = said.expect("a text may hold any character");
    let dir = cluster.node("bob").dir.display().to_string();
    let mut found = 0;
    for command in [
        vec!["history", "lab"],
        vec!["history", "lab", "--json"],
        vec!["inspect", "lab", &said.id],
        vec!["inspect", "lab", &said.id, "--json"],
        vec!["status"],
        vec!["members", "lab"],
        vec!["history", VENOM],
        vec!["join", VENOM],
        vec!["create", VENOM],
        vec!["send", VENOM, "hello"],
        vec!["inspect", "lab", VENOM],
        vec!["health", VENOM],
        vec!["status", "--nds", VENOM],
    ] {
        let args = [&command[..], &["--data-dir", &dir]].concat();
        let finished = run(&args, &cluster.logs()).await;
        for shown in [&finished.stdout, &finished.stderr] {
            let acting = shown.chars().find(|&c| c.is_control() && c != '\n' || c == '\u{202e}');
            assert_eq!(acting, None, "{args:?} printed {shown:?}");
        }
        found += usize::from(finished.stdout.contains("look "));
    }
    assert!(found >= 3, "the text was shown by {found} commands only");
    cluster.assert_histories(&NAMES).await;
}
