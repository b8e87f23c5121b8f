//! What goes wrong behind the screen does not show on it, except in words.

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    scene::{Scene, USUAL, says, shows_network},
    support::{
        LAB, Process,
        disk::SmallDisk,
        eventually,
        process::BINARY,
        report::skip,
        wait::{ensure, secs},
    },
    terminal::Terminal,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_does_not_tear_the_screen() {
    let Some(scene) = Scene::new().await else { return };
    let disk = match SmallDisk::mount(&scene.data("alice"), 4) {
        Ok(disk) => disk,
        Err(reason) => return skip("a full disk is told and does not tear the screen", reason),
    };
    let alice = scene.chat("alice", USUAL).await;
    let long = "x".repeat(60_000);
    let says_it_all = || {
        alice.pastes(&long);
        alice.presses(&["Enter"]);
    };
    // Once the write-ahead log has been taken into the file it is written from its beginning, where it has room.
    (0..3).for_each(|_| says_it_all());
    says(&alice, "there is room for this").await;
    disk.fill();
    says_it_all();
    // The node tells it, and the screen keeps what could not be sent.
    alice.shows("is full").await;
    let screen = alice.until("the text that was not sent", |screen| screen.contains("xxxxxxxxxx")).await;
    assert!(!screen.contains("tracing"), "{screen}");
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[0].starts_with(" lab") && lines[1].starts_with("▌1 lab"), "{screen}");
    disk.free();
    alice.shows("works again").await;
    alice.presses(&["C-u"]);
    says(&alice, "and there is again").await;
    assert!(!alice.screen().contains("tracing"), "{}", alice.screen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_that_stands_still_was_not_told_is_said_after_the_screen() {
    let Some(scene) = Scene::new().await else { return };
    let daemon = Process::start("alice", &[], &scene.serve_words("alice"), scene.path());
    scene.is_in("alice").await;
    let shell = scene.shell("alice", USUAL).await;
    shell.enters(&scene.chat_line("alice").join(" "));
    shows_network(&shell).await;
    daemon.signal(Signal::STOP);
    shell.enters("into the void");
    shell.enters("and more");
    shell.shows("and more").await;
    shell.enters("/quit");
    shell.shows("your last 2 messages may not have been sent; the first of them: into the void").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_while_a_chat_still_ends_is_the_shells() {
    let Some(scene) = Scene::new().await else { return };
    let daemon = Process::start("alice", &[], &scene.serve_words("alice"), scene.path());
    scene.is_in("alice").await;
    let shell = scene.shell("alice", USUAL).await;
    shell.enters(&format!("sh -c 'echo $$ > chat.pid; exec {}'", scene.chat_line("alice").join(" ")));
    shows_network(&shell).await;
    // It gets a last moment to answer.
    daemon.signal(Signal::STOP);
    shell.enters("into the void");
    shell.shows("into the void …").await;
    let pid = std::fs::read_to_string(scene.path().join("chat.pid")).expect("the shell has written it");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::TERM).expect("it runs");
    shell.until_modes("the shell's terminal", |modes| !modes.alternate).await;
    shell.enters("echo typed ahead for $0");
    shell.shows("may not have been sent: into the void").await;
    shell.shows("typed ahead for /bin/sh").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_second_chat_is_with_its_own_data() {
    let Some(scene) = Scene::new().await else { return };
    let nds = scene.nds();
    let words = [BINARY, "chat", LAB, "--nds", &nds];
    let first = Terminal::start("first", scene.path(), USUAL, &words).await;
    shows_network(&first).await;
    let second = Terminal::start("second", scene.path(), USUAL, &[&words[..], &["-v"]].concat()).await;
    shows_network(&second).await;
    let log = |profile: &str| scene.path().join(".local/share").join(profile).join("screen.log");
    eventually(secs(20), "a log of the second chat", async || {
        ensure(log("p2p-chat-2").exists(), || "there is none".to_owned())
    })
    .await;
    assert!(!log("p2p-chat").exists(), "the first chat has nothing to log");
}
