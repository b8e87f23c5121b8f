//! `serve` and `nds`.

use std::time::Duration;

use p2p_chat_cli::{Failure, Mode};
use p2p_chat_proto::v1;
use tonic::Status;

use crate::support::{Outcome, Started, World, failed, network_state, ok};

#[tokio::test]
async fn serve_says_where_it_listens_and_enters_its_networks() {
    let world = World::new();
    let run = world.start(&["serve", "--name", "carol", "--create", "one", "--join", "two", "--preset", "wan"]);
    run.out.shows("listening on 127.0.0.1:7555\n").await;
    run.err.shows("cannot join two yet").await;
    world.host.node.state().listed.push("two".to_owned());
    world.host.node.was_called("join two", 2).await;
    let options = world.host.node_options();
    assert_eq!((options.mode, options.listen.to_string().as_str()), (Mode::Serve, "0.0.0.0:7500"));
    assert_eq!((options.name.as_str(), options.name_is_given), ("carol", true));
    assert_eq!(options.preset, p2p_chat_cli::Preset::Wan);
    let seen = run.interrupted().await;
    let err = "p2p-chat: cannot join two yet: there is no network two; found it first\n";
    assert_eq!(seen, Outcome { err: err.to_owned(), ..ok("listening on 127.0.0.1:7555\n") });
    assert_eq!(world.host.stopped(), 1);
    assert!(world.host.node.calls().contains(&"create one".to_owned()));
}

#[tokio::test]
async fn serve_does_not_found_or_join_what_it_is_in() {
    let world = World::new();
    world.host.node.enter("lab");
    let run = world.start(&["serve", "--create", "lab", "--join", "lab", "--join", "new", "--json"]);
    world.host.node.was_called("join new", 1).await;
    let seen = run.interrupted().await;
    assert_eq!(seen.out, "{\"listening\":\"127.0.0.1:7555\"}\n");
    let calls = world.host.node.calls();
    assert!(!calls.iter().any(|call| call == "create lab" || call == "join lab"), "{calls:?}");
}

#[tokio::test]
async fn serve_does_not_take_a_join_under_way_for_one_that_worked() {
    let world = World::new();
    let joining = v1::NetworkState { phase: v1::Phase::Joining.into(), ..network_state("lab") };
    world.host.node.state().status.networks = vec![joining];
    let run = world.start(&["serve", "--join", "lab"]);
    run.err.shows("cannot join lab yet: what was begun for that earlier is still under way\n").await;
    // Nothing comes of it.
    world.host.node.state().status.networks.clear();
    world.host.node.was_called("join lab", 1).await;
    run.err.shows("cannot join lab yet: there is no network lab").await;
    // Somebody else's attempt comes to nothing, too.
    world.host.node.refuses("join", Status::aborted("the network lab is being created or joined by this node"));
    run.err.shows("cannot join lab yet: the network lab is being created or joined by this node\n").await;
    world.host.node.refuses("join", Status::already_exists("this node is in the network lab already"));
    run.err.shows("cannot join lab yet: this node is in the network lab already\n").await;
    world.host.node.state().listed.push("lab".to_owned());
    let calls = world.host.node.calls().iter().filter(|call| *call == "join lab").count();
    world.host.node.was_called("join lab", calls + 1).await;
    assert_eq!(run.interrupted().await.code, 0);
}

#[tokio::test]
async fn serve_that_was_founding_founds_again_if_nothing_came_of_it() {
    let world = World::new();
    let founding = v1::NetworkState { phase: v1::Phase::Joining.into(), ..network_state("lab") };
    world.host.node.state().status.networks = vec![founding];
    let run = world.start(&["serve", "--create", "lab"]);
    run.err.shows("cannot found lab yet: what was begun for that earlier is still under way\n").await;
    world.host.node.state().status.networks.clear();
    world.host.node.was_called("create lab", 1).await;
    assert_eq!(run.interrupted().await.code, 0);
}

#[tokio::test]
async fn serve_ends_when_a_network_can_never_be_entered_or_the_node_fails() {
    let world = World::new();
    world.host.node.refuses("create", Status::already_exists("the name lab is taken; choose another"));
    let seen = world.run(&["serve", "--create", "lab"]).await;
    assert_eq!((seen.code, seen.err.as_str()), (1, "p2p-chat: the name lab is taken; choose another\n"));
    assert_eq!(world.host.stopped(), 1);
    let run = world.start(&["serve"]);
    run.out.shows("listening").await;
    world.host.die(Failure::Failed("the disk is full; free some space".to_owned()));
    let seen = run.end().await;
    assert_eq!((seen.code, seen.err.as_str()), (1, "p2p-chat: the disk is full; free some space\n"));
}

#[tokio::test]
async fn a_second_process_on_one_data_directory_is_told_so() {
    let world = World::new();
    let dir = world.dir.path().join("data");
    let _first = world.host.run_elsewhere(&dir, Mode::Serve);
    let at = dir.display().to_string();
    let sentence = format!(
        "the data directory {at} is in use by another p2p-chat (pid 77); stop that one, or name another with --data-dir"
    );
    assert_eq!(world.run(&["serve", "--data-dir", &at]).await, failed(1, &sentence));
    assert_eq!(world.run(&["nds", "--data-dir", &at]).await, failed(1, &sentence));
}

#[tokio::test]
async fn a_command_uses_the_node_that_runs_and_says_what_it_ignores() {
    let mut world = World::new();
    let dir = world.dir.path().join("data");
    let at = dir.display().to_string();
    let _running = world.host.run_elsewhere(&dir, Mode::Serve);
    world.host.node.state().listed.push("lab".to_owned());
    let seen = world.run(&["join", "lab", "--name", "eve", "--data-dir", &at]).await;
    let err = format!("p2p-chat: a node runs on {at} already; --name is ignored\n");
    let ignored = Outcome { err: err.replace("--name", "--nds"), ..ok("") };
    assert_eq!(world.run(&["history", "lab", "--nds", "nds:7400", "--data-dir", &at]).await, ignored);
    assert_eq!(seen, Outcome { err, ..ok("joined lab as node 3; bob leads epoch 4\n") });
    world.env.push(("P2P_CHAT_NDS", "nds:7400".to_owned()));
    assert_eq!(world.run(&["history", "lab", "--data-dir", &at]).await, ok(""), "what always holds is no mistake");
    let flags = ["--name", "eve", "--preset", "wan", "--metrics", "127.0.0.1:0", "--otlp", "http://127.0.0.1:1"];
    let args = [&["chat", "lab", "--plain", "--data-dir", &at], &flags[..]].concat();
    let err = format!("p2p-chat: a node runs on {at} already; --name, --preset, --metrics, --otlp are ignored\n");
    assert_eq!(world.run(&args).await.err, err);
    assert_eq!((world.host.started(), world.host.stopped()), (vec![], 0));
}

#[tokio::test]
async fn a_command_waits_for_a_node_that_is_just_starting() {
    let world = World::new();
    let dir = world.dir.path().join("data");
    world.host.held().insert(dir.clone());
    let run = world.start(&["members", "lab", "--data-dir", &dir.display().to_string()]);
    tokio::task::yield_now().await;
    world.host.held().remove(&dir);
    let _running = world.host.run_elsewhere(&dir, Mode::Serve);
    assert_eq!(run.end().await.code, 0);
}

#[tokio::test]
async fn a_command_waits_for_another_command_to_end() {
    let world = World::new();
    let dir = world.dir.path().join("data");
    let other = world.host.run_elsewhere(&dir, Mode::Command);
    let run = world.start(&["members", "lab", "--data-dir", &dir.display().to_string()]);
    world.host.is_looked_at(2).await;
    world.host.end_elsewhere(other);
    assert_eq!(run.end().await.code, 0);
    assert_eq!(world.host.node_options().mode, Mode::Command);
}

#[tokio::test]
async fn a_command_waits_for_the_end_of_a_node_that_has_begun_to_end() {
    let world = World::new();
    let dir = world.dir.path().join("data");
    let daemon = world.host.run_elsewhere(&dir, Mode::Serve);
    std::fs::remove_file(dir.join("node.json")).expect("removed");
    let run = world.start(&["members", "lab", "--data-dir", &dir.display().to_string()]);
    world.host.is_looked_at(2).await;
    world.host.end_elsewhere(daemon);
    assert_eq!(run.end().await.code, 0);
    assert_eq!(world.host.node_options().mode, Mode::Command);
}

#[tokio::test]
async fn a_command_uses_the_node_of_somebody_who_chats_or_listens() {
    for mode in [Mode::Chat, Mode::Listen] {
        let world = World::new();
        let dir = world.dir.path().join("data");
        let _other = world.host.run_elsewhere(&dir, mode);
        assert_eq!(world.run(&["members", "lab", "--data-dir", &dir.display().to_string()]).await.code, 0);
        assert_eq!(world.host.started(), []);
    }
}

#[tokio::test]
async fn serve_that_is_told_to_stop_through_its_api_ends_in_order() {
    let world = World::new();
    *world.host.unreplicated.lock().expect("not poisoned") = (1, Duration::from_secs(3_600));
    let run = world.start(&["serve"]);
    run.out.shows("listening").await;
    world.host.is_told_to_stop();
    let seen = run.end().await;
    let err = "p2p-chat: 1 entry is on this disk only and will go out when the node runs again\n";
    assert_eq!(seen, Outcome { err: err.to_owned(), ..ok("listening on 127.0.0.1:7555\n") });
    assert_eq!(world.host.stopped(), 1);
}

#[tokio::test]
async fn nds_keeps_its_record_below_the_default_directory_or_where_told() {
    let world = World::new();
    let run = world.start(&["nds"]);
    run.out.shows("listening on 127.0.0.1:7555\n").await;
    assert_eq!(run.interrupted().await, ok("listening on 127.0.0.1:7555\n"));
    let at = world.dir.path().join("data");
    let at_dir = at.display().to_string();
    let run = world.start(&["nds", "--listen", "127.0.0.1:0", "--data-dir", &at_dir, "--preset", "wan"]);
    run.out.shows("listening").await;
    run.interrupted().await;
    let started = world.host.started();
    let [Started::Nds(first), Started::Nds(second)] = started.as_slice() else { panic!("{started:?}") };
    assert_eq!(first.data_dir, world.dir.path().join(".local/share/p2p-chat/nds"));
    assert_eq!(first.listen.to_string(), "0.0.0.0:7400");
    assert_eq!((second.data_dir.as_path(), second.listen.to_string().as_str()), (at.as_path(), "127.0.0.1:0"));
    assert_eq!((first.preset, second.preset), (p2p_chat_cli::Preset::Lan, p2p_chat_cli::Preset::Wan));
    assert_eq!(world.host.stopped(), 2);
}

#[tokio::test]
async fn with_a_log_in_json_everything_on_stderr_is_an_object() {
    let world = World::new();
    world.host.node.refuses("join", Status::not_found("no discovery service lists \u{9b}lab"));
    let run = world.start(&["serve", "--join", "lab", "--log-format", "json"]);
    run.err.shows("cannot join lab yet").await;
    world.host.die(p2p_chat_cli::Failure::Failed("the disk is full".to_owned()));
    let seen = run.end().await;
    let events: Vec<serde_json::Value> =
        seen.err.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let said = |at: usize| (events[at]["level"].as_str(), events[at]["message"].as_str());
    let waits = "cannot join lab yet: no discovery service lists \\u{9b}lab";
    assert_eq!(said(0), (Some("WARN"), Some(waits)));
    assert_eq!(said(events.len() - 1), (Some("ERROR"), Some("the disk is full")));
    for event in events {
        assert!(event["target"].is_string() && event["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
}

#[tokio::test]
async fn bad_settings_are_found_before_anything_starts() {
    let world = World::new();
    let file = world.dir.path().join("bad.toml");
    std::fs::write(&file, "colour = \"red\"\n").expect("written");
    let seen = world.run(&["serve", "--config", &file.display().to_string()]).await;
    assert_eq!(seen.code, 2);
    assert!(seen.err.contains("bad.toml, line 1: unknown field `colour`"), "{}", seen.err);
    assert_eq!(world.host.started(), []);
}

#[tokio::test]
async fn a_demo_whose_processes_do_not_start_fails_and_says_why() {
    // The program that runs here is this test, which understands none of the arguments.
    let seen = World::new().run(&["demo"]).await;
    assert_eq!(seen.code, 1);
    assert!(seen.err.starts_with("p2p-chat: nds did not start: error: Unrecognized option"), "{}", seen.err);
    // Beside JSON, the progress goes to the other stream, and looks the same there.
    let beside_json = World::new().run(&["demo", "--json"]).await;
    assert_eq!((beside_json.out.as_str(), beside_json.err), ("", seen.out + &seen.err));
}
