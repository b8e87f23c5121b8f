//! Whose node a chat uses: one command, run twice, gives a conversation.

use p2p_chat_cli::Mode;

use crate::support::{World, message};

fn world() -> World {
    let world = World::new();
    world.host.node.enter("lab");
    world
}

#[tokio::test]
async fn a_second_chat_takes_a_second_profile_and_says_so() {
    let world = world();
    let dir = world.dir.path().join(".local/share/p2p-chat");
    let second = world.dir.path().join(".local/share/p2p-chat-2");
    let _first = world.host.run_elsewhere(&dir, Mode::Chat);
    let _other = world.host.run_elsewhere(&second, Mode::Chat);
    let seen = world.run(&["chat", "lab"]).await;
    let options = world.host.node_options();
    assert_eq!(options.data_dir, world.dir.path().join(".local/share/p2p-chat-3"));
    assert_eq!((options.name.as_str(), options.mode), ("alice-3", Mode::Chat));
    let line = format!(
        "your other chat goes on; this one is alice-3, with its data in {}\nyou are alice-3 ",
        options.data_dir.display()
    );
    assert!(seen.out.starts_with(&line), "{}", seen.out);
    assert_eq!((seen.code, seen.err.as_str()), (0, ""));
}

#[tokio::test]
async fn a_chat_attaches_to_a_daemon() {
    let world = world();
    let _daemon = world.host.run_elsewhere(&world.dir.path().join(".local/share/p2p-chat"), Mode::Serve);
    assert_eq!(world.run(&["chat", "lab"]).await.code, 0);
    assert_eq!(world.host.started(), []);
}

#[tokio::test]
async fn a_chat_on_a_directory_that_was_named_shares_its_node() {
    let world = world();
    let dir = world.dir.path().join("data");
    let _first = world.host.run_elsewhere(&dir, Mode::Chat);
    assert_eq!(world.run(&["chat", "lab", "--data-dir", &dir.display().to_string()]).await.code, 0);
    assert_eq!(world.host.started(), []);
}

#[tokio::test]
async fn a_chat_waits_for_a_command_to_end() {
    let world = world();
    let dir = world.dir.path().join("data");
    let command = world.host.run_elsewhere(&dir, Mode::Command);
    let run = world.start(&["chat", "lab", "--data-dir", &dir.display().to_string()]);
    world.host.is_looked_at(2).await;
    world.host.end_elsewhere(command);
    run.out.shows("back in lab").await;
    assert_eq!(world.host.node_options().mode, Mode::Chat);
    run.interrupted().await;
}

#[tokio::test]
async fn a_chat_takes_the_place_of_the_one_whose_node_it_used() {
    let world = world();
    let dir = world.dir.path().join("data");
    let first = world.host.run_elsewhere(&dir, Mode::Chat);
    let run = world.start(&["chat", "lab", "--data-dir", &dir.display().to_string()]);
    world.host.node.was_called("subscribe lab START_UNREAD 0", 1).await;
    world.host.node.arrives(message(1, "one"));
    run.out.shows("one").await;
    world.host.end_elsewhere(first);
    world.host.node.was_called("subscribe lab START_POSITION 1", 1).await;
    world.host.node.arrives(message(2, "two"));
    run.out.shows("two").await;
    assert_eq!(world.host.node_options().mode, Mode::Chat);
    let seen = run.end_of_input().await;
    assert_eq!(seen.err, "p2p-chat: the connection to the node broke; going on where it was\n");
    assert_eq!(seen.out.matches("one").count(), 1);
}
