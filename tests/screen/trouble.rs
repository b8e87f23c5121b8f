//! What goes wrong behind the screen does not show on it, except in words.

use crate::{
    scene::{Scene, USUAL},
    support::{disk::SmallDisk, report::skip},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_does_not_tear_the_screen() {
    let Some(scene) = Scene::new().await else { return };
    let disk = match SmallDisk::mount(&scene.data("alice"), 4) {
        Ok(disk) => disk,
        Err(reason) => return skip("a full disk is told and does not tear the screen", reason),
    };
    let alice = scene.chat("alice", USUAL).await;
    alice.enters("there is room for this");
    alice.shows("there is room for this").await;
    disk.fill();
    let long = "x".repeat(60_000);
    alice.pastes(&long);
    alice.presses(&["Enter"]);
    // The node tells it, and the screen keeps what could not be sent.
    alice.shows("is full").await;
    let screen = alice.until("the text that was not sent", |screen| screen.contains("xxxxxxxxxx")).await;
    assert!(!screen.contains("tracing"), "{screen}");
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[0].starts_with(" lab") && lines[1].starts_with("▌1 lab"), "{screen}");
    disk.free();
    alice.shows("works again").await;
    alice.presses(&["C-u"]);
    alice.enters("and there is again");
    alice.shows("and there is again").await;
    assert!(!alice.screen().contains("tracing"), "{}", alice.screen());
}
