//! People talk, and the leader among them dies.

use rustix::process::Signal;

use crate::scene::{Scene, USUAL};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_replaced_and_has_everything_when_it_returns() {
    let Some(scene) = Scene::new().await else { return };
    let alice = scene.chat("alice", USUAL).await;
    let bob = scene.chat("bob", USUAL).await;
    alice.enters("hello, bob");
    bob.shows("hello, bob").await;
    bob.enters("日本 🙂 wie geht's");
    alice.shows("日本 🙂 wie geht's").await;

    scene.signal("alice", Signal::KILL).await;
    alice.until_modes("the end", |modes| modes.ended).await;
    drop(alice);
    bob.shows("you lead now").await;
    bob.enters("said while alice was away");
    bob.shows("said while alice was away").await;

    let alice = scene.chat("alice", USUAL).await;
    for text in ["hello, bob", "日本 🙂 wie geht's", "said while alice was away"] {
        alice.until(&format!("{text:?} once"), |screen| screen.matches(text).count() == 1).await;
    }
    bob.shows("alice is back").await;
    alice.enters("and on it goes");
    bob.shows("and on it goes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_that_changes_its_size_shows_what_was_said_in_the_new_one() {
    let Some(scene) = Scene::new().await else { return };
    let alice = scene.chat("alice", USUAL).await;
    let text = "a sentence that is a good deal longer than forty columns can show in one line of the screen";
    alice.enters(text);
    alice.shows("a sentence").await;
    for size in [(40, 15), (200, 60), (20, 5), (1, 1), (100, 30)] {
        alice.resize(size);
    }
    alice.shows("a sentence").await;
    alice.resize((40, 15));
    // There is room for nothing beside the text, and for all of it.
    let words = |screen: &str| screen.split_whitespace().collect::<Vec<_>>().join(" ");
    alice.until("the whole text in lines", |screen| words(screen).contains(text)).await;
    alice.enters("still here");
    alice.shows("still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_a_hurry_goes_out_in_the_order_in_which_it_was_said() {
    let Some(scene) = Scene::new().await else { return };
    let alice = scene.chat("alice", USUAL).await;
    let bob = scene.chat("bob", USUAL).await;
    let said: Vec<String> = (10..30).map(|number| format!("line {number}")).collect();
    let keys: Vec<&str> = said.iter().flat_map(|line| [line.as_str(), "Enter"]).collect();
    alice.presses(&keys);
    let at_bob = bob.until("the last line", |screen| screen.contains("line 29")).await;
    let shown: Vec<&str> =
        at_bob.lines().filter_map(|row| row.find("line ").and_then(|at| row.get(at..at + 7))).collect();
    assert_eq!(shown, said, "{at_bob}");
}
