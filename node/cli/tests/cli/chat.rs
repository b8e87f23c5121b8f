//! `chat` in line mode.

use p2p_chat_proto::v1;
use tonic::Status;

use crate::support::{ALICE, BOB, Outcome, World, failed, member, message, network_state, notice, ok};

const HEAD: &str = "\
you are alice (a11ce000) at 10.0.0.1:7500
back in lab: 2 of 3 members active, bob (b0b00000) leads epoch 4
";

fn in_lab() -> World {
    let world = World::new();
    world.host.node.enter("lab");
    world
}

#[tokio::test]
async fn a_script_reads_what_is_new_says_its_lines_and_leaves() {
    let world = in_lab();
    world.host.node.arrives(message(1, "hello\nyou"));
    let seen = world.run_with_input(&["chat", "lab", "--nds", "nds:1"], b"one\n\n//two\r\nthree").await;
    let talk = "\
09:30:01 bob: hello
           you
09:30:02 alice: one
09:30:03 alice: /two
09:30:04 alice: three
";
    assert_eq!(seen, ok(&format!("{HEAD}{talk}")));
    let calls = world.host.node.calls();
    assert!(calls.contains(&"subscribe lab START_UNREAD 0".to_owned()), "{calls:?}");
    assert_eq!(calls.last().map(String::as_str), Some("mark_read lab 4"));
    assert!(!calls.iter().any(|call| call.starts_with("leave")), "{calls:?}");
    assert_eq!(world.host.stopped(), 1);
}

#[tokio::test]
async fn a_network_is_joined_or_else_founded() {
    let world = World::new();
    world.host.node.state().listed.push("lab".to_owned());
    let seen = world.run(&["chat", "lab"]).await;
    assert!(seen.out.contains("joined lab: 2 of 3 members active"), "{}", seen.out);
    let seen = world.run(&["chat", "new"]).await;
    assert!(seen.out.contains("founded new: "), "{}", seen.out);
    assert!(world.host.node.calls().contains(&"create new".to_owned()));
}

#[tokio::test]
async fn a_network_that_is_still_being_joined_is_said_to_be_and_can_be_read() {
    let world = World::new();
    let joining = v1::NetworkState { phase: v1::Phase::Joining.into(), ..network_state("lab") };
    world.host.node.state().status.networks = vec![joining];
    world.host.node.arrives(message(1, "from before"));
    let seen = world.run(&["chat", "lab"]).await;
    assert_eq!(seen, ok(&format!("{}09:30:01 bob: from before\n", HEAD.replace("back in", "not yet in"))));
}

#[tokio::test]
async fn an_unknown_id_founds_nothing_and_an_unreachable_discovery_service_is_said() {
    let world = World::new();
    let id = "0".repeat(64);
    let seen = world.run(&["chat", &id]).await;
    assert_eq!(seen, failed(3, &format!("there is no network {id}; found it first")));
    world.host.node.refuses("join", Status::unavailable("no discovery service answers; start one"));
    assert_eq!(world.run(&["chat", "lab"]).await, failed(6, "no discovery service answers; start one"));
    assert!(!world.host.node.calls().iter().any(|call| call.starts_with("create")));
    assert_eq!(world.host.stopped(), 2);
}

#[tokio::test]
async fn two_that_found_at_once_end_up_in_one_network() {
    for refusal in [Status::already_exists("lab exists"), Status::aborted("lab is being created")] {
        let world = World::new();
        world.host.node.refuses("join", Status::not_found("there is no network lab"));
        world.host.node.refuses("create", refusal);
        world.host.node.state().listed.push("lab".to_owned());
        let seen = world.run(&["chat", "lab"]).await;
        assert!(seen.out.contains("joined lab"), "{}", seen.out);
    }
}

#[tokio::test]
async fn notices_stand_for_roster_changes_while_one_is_there() {
    let world = in_lab();
    let admit = |number| v1::Message { kind: "admit".to_owned(), ..message(number, "bob admitted carol") };
    world.host.node.arrives(admit(1));
    let run = world.start(&["chat", "lab"]);
    run.out.shows("bob admitted carol").await;
    world.host.node.happens(notice("dave\u{1b}[2J joined as node 4"));
    world.host.node.arrives(admit(2));
    world.host.node.arrives(message(3, "welcome"));
    run.out.shows("welcome").await;
    let talk = "\
09:30:01 * bob admitted carol
09:30:00 * dave\\u{1b}[2J joined as node 4
09:30:03 bob: welcome
";
    assert_eq!(run.end_of_input().await, ok(&format!("{HEAD}{talk}")));
    assert_eq!(world.host.node.calls().last().map(String::as_str), Some("mark_read lab 3"));
}

#[tokio::test]
async fn on_a_terminal_authors_have_colours_and_typed_lines_are_not_repeated() {
    let mut world = in_lab();
    world.is_terminal = true;
    let run = world.start(&["chat", "lab"]);
    run.keyboard.line("typed here");
    world.host.node.was_called("send typed here", 1).await;
    let elsewhere =
        v1::Message { author: ALICE.to_owned(), author_name: "alice".to_owned(), ..message(9, "from a script") };
    world.host.node.arrives(elsewhere);
    world.host.node.arrives(message(10, "hi"));
    run.out.shows("hi\n").await;
    run.keyboard.line("/quit");
    let seen = run.end().await;
    let talk = seen.out.strip_prefix(HEAD).expect("the head");
    let lines: Vec<&str> = talk.lines().collect();
    let [own, others] = lines.as_slice() else { panic!("{talk:?}") };
    let named = |line: &str, name: &str| {
        let coloured = line.strip_prefix("09:30:").and_then(|rest| rest.get(3..)).expect("a time");
        assert!(coloured.starts_with("\u{1b}[") && coloured.contains(&format!("m{name}\u{1b}[0m: ")), "{line:?}");
    };
    named(own, "alice");
    assert!(own.ends_with("from a script"));
    named(others, "bob");

    world.env.push(("NO_COLOR", "1".to_owned()));
    let seen = world.run(&["chat", "lab"]).await;
    assert!(!seen.out.contains('\u{1b}'), "{:?}", seen.out);
}

#[tokio::test]
async fn commands_are_answered_and_unknown_ones_are_said() {
    let world = in_lab();
    world.host.node.state().members = vec![member("bob", BOB, 1)];
    let run = world.start(&["chat", "lab"]);
    run.keyboard.line("/help");
    run.out.shows("//text        say /text\n").await;
    run.keyboard.line("/members");
    run.out.shows("1   bob   member  active  10.0.0.1:7500  b0b00000  leader\n").await;
    run.keyboard.line("/status");
    run.out.shows("node       alice").await;
    run.keyboard.line("/inspect 1234");
    run.out.shows("MEMBER  STATE").await;
    run.keyboard.line("/da\u{1b}nce");
    run.err.shows("there is no command /da\\u{1b}nce; /help lists them").await;
    world.host.node.refuses("members", Status::not_found("no such network"));
    run.keyboard.line("/members");
    run.err.shows("p2p-chat: no such network\n").await;
    run.keyboard.line("/inspect");
    run.err.shows("write it as /inspect ID\n").await;
    assert_eq!(world.host.node.state().sent, [], "commands are not said");
    run.keyboard.line("/me waves");
    run.out.shows("* alice waves\n").await;
    run.keyboard.line("/quit");
    let seen = run.end().await;
    assert_eq!(seen.code, 0);
}

#[tokio::test]
async fn json_has_messages_on_stdout_and_everything_else_beside_it() {
    let world = in_lab();
    let run = world.start(&["chat", "lab", "--json"]);
    run.err.shows("back in lab").await;
    world.host.node.was_called("subscribe lab START_UNREAD 0", 1).await;
    world.host.node.happens(notice("bob dropped out"));
    run.err.shows("bob dropped out").await;
    run.keyboard.line("hi");
    let seen = run.end_of_input().await;
    assert_eq!(seen.code, 0);
    let object: serde_json::Value = serde_json::from_str(&seen.out).expect("one object");
    assert_eq!((&object["text"], &object["author_name"]), (&"hi".into(), &"alice".into()));
}

#[tokio::test]
async fn a_line_that_can_not_be_sent_fails_a_script_but_not_its_other_lines() {
    let world = in_lab();
    let input = [b"\xff\n".as_slice(), "x".repeat(65_537).as_bytes(), b"\nfine\n"].concat();
    let seen = world.run_with_input(&["chat", "lab"], &input).await;
    assert_eq!(seen.code, 2);
    let err = "\
p2p-chat: not sent: a line is not UTF-8; convert it first
p2p-chat: not sent: a line has more than 65536 bytes; send it in parts
p2p-chat: not all lines were sent; see above
";
    assert_eq!(seen.err, err);
    assert_eq!(seen.out, format!("{HEAD}09:30:01 alice: fine\n"));
}

#[tokio::test]
async fn who_types_sees_that_a_line_was_not_sent_and_goes_on() {
    let mut world = in_lab();
    world.is_terminal = true;
    world.host.node.refuses("send", Status::resource_exhausted("the disk is full; free some space"));
    let run = world.start(&["chat", "lab"]);
    run.keyboard.line("hi");
    run.err.shows("p2p-chat: not sent: the disk is full; free some space").await;
    world.host.node.refuses("send", Status::unavailable("the node has gone"));
    run.keyboard.line("hi");
    run.err.shows("p2p-chat: may not have been sent: the node has gone").await;
    assert_eq!(run.end_of_input().await.code, 0);
}

#[tokio::test]
async fn an_interrupt_fails_a_script_that_may_have_more_to_say_and_nobody_who_types() {
    let mut world = in_lab();
    for (is_terminal, code, err) in [(false, 1, "p2p-chat: interrupted\n"), (true, 0, "")] {
        world.is_terminal = is_terminal;
        let run = world.start(&["chat", "lab"]);
        run.out.shows("back in lab").await;
        let seen = run.interrupted().await;
        assert_eq!((seen.code, seen.err.as_str()), (code, err));
    }
}

#[tokio::test]
async fn an_embedded_discovery_service_is_said_in_one_line() {
    let world = in_lab();
    world.host.node.state().status.discovery = vec![v1::DiscoveryState {
        url: "http://127.0.0.1:7400".to_owned(),
        reachable: true,
        embedded: true,
        ..Default::default()
    }];
    let seen = world.run(&["chat", "lab"]).await;
    let line = "no discovery service was found, so this chat hosts one at http://127.0.0.1:7400\n";
    assert_eq!(seen, ok(&format!("{line}{HEAD}")));
    assert!(world.host.node_options().embed_nds);
}

#[tokio::test]
async fn with_a_discovery_service_configured_none_is_embedded() {
    let world = in_lab();
    world.run(&["chat", "lab", "--nds", "nds:7400"]).await;
    assert!(!world.host.node_options().embed_nds);
}

#[tokio::test]
async fn a_network_without_leader_and_a_broken_node_are_said() {
    let world = World::new();
    let broken = v1::NetworkState {
        leader_peer: String::new(),
        phase: v1::Phase::Broken.into(),
        problem: "the disk is full".to_owned(),
        ..network_state("lab")
    };
    world.host.node.state().status.networks = vec![broken];
    let seen = world.run(&["chat", "lab"]).await;
    let out = "\
you are alice (a11ce000) at 10.0.0.1:7500
back in lab: 2 of 3 members active, no leader (last epoch 4)
";
    assert_eq!(seen, Outcome { err: "p2p-chat: the disk is full\n".to_owned(), ..ok(out) });
}
