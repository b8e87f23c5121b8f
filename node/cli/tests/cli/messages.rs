//! `send`, `history`, `listen`.

use std::time::Duration;

use p2p_chat_cli::{Failure, Mode};
use p2p_chat_proto::v1;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::support::{BOB, Outcome, World, failed, message, notice, ok};

const FIRST: &str = "00000001-0000-8000-8000-000000000000";

#[tokio::test]
async fn send_prints_the_id_and_passes_on_what_to_wait_for() {
    let world = World::new();
    assert_eq!(world.run(&["send", "lab", "hi"]).await, ok(&format!("{FIRST}\n")));
    let seen = world.run(&["send", "lab", "-5 °C", "--wait", "all", "--timeout", "3", "--json"]).await;
    let object = r#"{"network":"lab","id":"00000002-0000-8000-8000-000000000000","seq":2,"lamport":2,"stored_by":1,"members":2}"#;
    assert_eq!(seen, ok(&format!("{object}\n")));
    let sent = world.host.node.state().sent.clone();
    assert_eq!((sent[0].text.as_str(), sent[0].wait(), sent[0].timeout_ms), ("hi", v1::Wait::None, 10_000));
    assert_eq!((sent[1].text.as_str(), sent[1].wait(), sent[1].timeout_ms), ("-5 °C", v1::Wait::All, 3_000));
}

#[tokio::test]
async fn send_reads_one_message_from_stdin() {
    let world = World::new();
    let seen = world.run_with_input(&["send", "lab", "-"], "one\ntwo\n".as_bytes()).await;
    assert_eq!(seen.code, 0);
    assert_eq!(world.host.node.state().sent[0].text, "one\ntwo");
}

#[tokio::test]
async fn a_text_that_is_no_message_is_refused_before_anything_starts() {
    let world = World::new();
    let too_long = "x".repeat(65_537);
    let sentence = "a message has at most 65536 bytes, this one has 65537; send it in parts";
    assert_eq!(world.run(&["send", "lab", &too_long]).await, failed(2, sentence));
    assert_eq!(world.run_with_input(&["send", "lab", "-"], too_long.as_bytes()).await, failed(2, sentence));
    assert_eq!(world.run(&["send", "lab", ""]).await, failed(2, "a message must not be empty"));
    assert_eq!(world.run(&["send", "lab", "   "]).await, failed(2, "a message must not be empty"));
    assert_eq!(world.run(&["send", "lab", "-"]).await, failed(2, "a message must not be empty"));
    let not_text = world.run_with_input(&["send", "lab", "-"], b"\xff").await;
    assert_eq!(not_text, failed(2, "the message on stdin is not UTF-8; convert it first"));
    assert_eq!(world.host.started(), []);
}

#[tokio::test]
async fn send_that_times_out_still_prints_the_id() {
    let world = World::new();
    let status = || {
        let mut metadata = MetadataMap::new();
        metadata.insert("message-id", FIRST.parse().expect("ASCII"));
        Status::with_metadata(Code::DeadlineExceeded, "bob has not stored it yet; it is safe", metadata)
    };
    world.host.node.refuses("send", status());
    let mut expected = failed(5, "bob has not stored it yet; it is safe");
    expected.out = format!("{FIRST}\n");
    assert_eq!(world.run(&["send", "lab", "hi", "--wait", "all"]).await, expected);
    world.host.node.refuses("send", status());
    expected.out = format!("{{\"network\":\"lab\",\"id\":\"{FIRST}\"}}\n");
    assert_eq!(world.run(&["send", "lab", "hi", "--wait", "all", "--json"]).await, expected);
}

#[tokio::test]
async fn send_that_is_interrupted_or_not_answered_says_that_the_message_may_go_out() {
    let world = World::new();
    world.host.node.is_at_work(true);
    let run = world.start(&["send", "lab", "hi", "--wait", "one"]);
    world.host.node.was_called("send hi", 1).await;
    let may = "the message may go out all the same: see p2p-chat history lab before you send it again";
    assert_eq!(run.interrupted().await, failed(1, &format!("interrupted; {may}")));
    world.host.node.is_at_work(false);
    world.host.node.refuses("send", Status::unavailable("the node did not answer within 20 s; look at its log"));
    let sentence = format!("the node did not answer within 20 s; look at its log; {may}");
    assert_eq!(world.run(&["send", "lab", "hi"]).await, failed(6, &sentence));
    world.host.node.refuses("send", Status::unavailable("it has gone"));
    let seen = world.run(&["send", "our lab", "hi"]).await.err;
    assert!(seen.contains("see p2p-chat history 'our lab' before"), "{seen}");
    world.host.node.refuses("send", Status::not_found("there is no network lab"));
    assert_eq!(world.run(&["send", "lab", "hi"]).await, failed(3, "there is no network lab"), "an answer is final");
}

#[tokio::test]
async fn a_node_for_one_command_is_started_quietly_and_shut_down_again() {
    let world = World::new();
    assert_eq!(world.run(&["send", "lab", "hi", "--nds", "nds:7400"]).await.code, 0);
    let options = world.host.node_options();
    assert_eq!(options.data_dir, world.dir.path().join(".local/share/p2p-chat"));
    assert_eq!((options.mode, options.embed_nds), (Mode::Command, false));
    assert_eq!((options.name.as_str(), options.name_is_given), ("alice", false));
    assert_eq!(options.listen.to_string(), "0.0.0.0:0");
    assert_eq!(options.nds.iter().map(ToString::to_string).collect::<Vec<_>>(), ["http://nds:7400"]);
    assert_eq!(world.host.stopped(), 1);
}

#[tokio::test]
async fn what_nobody_else_has_at_the_end_is_said() {
    let mut world = World::new();
    world.waits.noticeable = Duration::from_millis(50);
    *world.host.unreplicated.lock().expect("not poisoned") = (2, Duration::from_secs(5));
    let seen = world.run(&["send", "lab", "hi"]).await;
    let err = "\
p2p-chat: waiting up to 5 s for another member to store what this node wrote
p2p-chat: 2 entries are on this disk only and will go out when the node runs again
";
    assert_eq!(seen, Outcome { err: err.to_owned(), ..ok(&format!("{FIRST}\n")) });
}

#[tokio::test]
async fn the_wait_at_the_end_can_be_interrupted() {
    let mut world = World::new();
    world.waits.noticeable = Duration::from_millis(50);
    *world.host.unreplicated.lock().expect("not poisoned") = (2, Duration::from_secs(3_600));
    let run = world.start(&["send", "lab", "hi"]);
    run.err.shows("waiting up to").await;
    let seen = run.interrupted().await;
    assert_eq!(seen.code, 1);
    assert!(seen.err.contains("what was sent is safe on this disk"), "{}", seen.err);
}

#[tokio::test]
async fn a_question_does_not_wait_for_others_at_the_end() {
    let mut world = World::new();
    world.waits.noticeable = Duration::from_millis(50);
    *world.host.unreplicated.lock().expect("not poisoned") = (1, Duration::from_secs(3_600));
    world.host.node.state().listed.push("lab".to_owned());
    let waits = "waiting up to 5 s";
    for question in ["history lab", "members lab", "networks", "status", "inspect lab 0000", "forget lab", "leave lab"]
    {
        let args: Vec<&str> = question.split(' ').collect();
        let seen = world.run(&args).await;
        assert!(!seen.err.contains(waits), "{question}: {}", seen.err);
        assert!(seen.err.contains("1 entry is on this disk only"), "{question}: {}", seen.err);
    }
    for wish in ["create new", "join lab", "send lab hi"] {
        let args: Vec<&str> = wish.split(' ').collect();
        let run = world.start(&args);
        run.err.shows(waits).await;
        run.interrupted().await;
    }
}

#[tokio::test]
async fn history_shows_times_dates_and_indents_what_goes_on() {
    let world = World::new();
    let yesterday = v1::Message { time_ms: 1_763_597_000_000, ..message(1, "good night") };
    let admit = v1::Message { kind: "admit".to_owned(), text: "alice admitted bob".to_owned(), ..message(2, "") };
    let hostile = v1::Message {
        author_name: "e\u{1b}[2Jve".to_owned(),
        late: true,
        ..message(3, "a\r\n09:30:04 bob: fake\u{1b}]0;x\u{7}\u{9b}")
    };
    let lost_clock = v1::Message { time_ms: u64::MAX, ..message(4, "when?") };
    world.host.node.state().messages = vec![yesterday, admit, hostile, lost_clock];
    let text = "\
-- Thu 2025-11-20 --
00:03:20 bob: good night
09:30:02 * alice admitted bob
09:30:03 e\\u{1b}[2Jve (late): a
           09:30:04 bob: fake\\u{1b}]0;x\\u{7}\\u{9b}
--:--:-- bob: when?
";
    let all = world.run(&["history", "lab"]).await;
    assert_eq!(all, ok(&text.replace("-- Thu 2025-11-20 --\n", "")));
    world.host.node.state().messages[0].time_ms -= 3_600_000;
    let all = world.run(&["history", "lab"]).await.out;
    assert!(all.starts_with("-- Wed 2025-11-19 --\n23:03:20 bob: good night\n-- Thu 2025-11-20 --\n09:30"), "{all}");
    assert_eq!(world.run(&["history", "lab", "--limit", "1"]).await, ok("--:--:-- bob: when?\n"));
}

#[tokio::test]
async fn history_as_json_has_the_agreed_fields_and_the_exact_text() {
    let world = World::new();
    world.host.node.state().messages = vec![message(1, "a\u{1b}[2J\u{9b}\n")];
    let object = format!(
        "{{\"network\":\"lab\",\"id\":\"{FIRST}\",\"author\":\"{BOB}\",\"author_name\":\"bob\",\"seq\":1,\
         \"lamport\":1,\"time\":\"2025-11-20T09:30:01.000Z\",\"kind\":\"text\",\"text\":\"a\\u001b[2J\\u009b\\n\"}}\n"
    );
    assert_eq!(world.run(&["history", "lab", "--json"]).await, ok(&object));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_quietly() {
    let mut world = World::new();
    world.output_is_closed = true;
    world.host.node.state().messages = (1..100).map(|number| message(number, "hi")).collect();
    assert_eq!(world.run(&["history", "lab"]).await, ok(""));
    assert_eq!(world.host.stopped(), 1);
}

#[tokio::test]
async fn listen_whose_reader_goes_away_ends_although_nobody_says_anything() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    *world.out_pipe.lock().expect("not poisoned") = Some(writer.into());
    let run = world.start(&["listen", "lab", "--from", "start"]);
    world.host.node.was_called("subscribe lab START_BEGINNING 0", 1).await;
    drop(reader);
    assert_eq!(run.end().await, ok(""));
}

#[tokio::test]
async fn listen_prints_messages_as_they_come_and_notices_beside_them() {
    let world = World::new();
    world.host.node.arrives(message(1, "before"));
    let run = world.start(&["listen", "lab"]);
    world.host.node.was_called("subscribe lab START_NOW 0", 1).await;
    world.host.node.arrives(message(2, "now"));
    run.out.shows("now").await;
    world.host.node.happens(notice("bob dropped\nout"));
    run.err.shows("out").await;
    let seen = run.interrupted().await;
    assert_eq!(seen.out, "09:30:02 bob: now\n");
    assert_eq!((seen.code, seen.err.as_str()), (0, "p2p-chat: bob dropped\\nout\n"));
    assert_eq!(world.host.stopped(), 1);
}

#[tokio::test]
async fn listen_from_the_start_goes_on_where_it_was_when_the_node_comes_back() {
    let world = World::new();
    let dir = world.dir.path().join("data");
    let node = world.host.run_elsewhere(&dir, Mode::Serve);
    world.host.node.arrives(message(1, "one"));
    let run = world.start(&["listen", "lab", "--from", "start", "--data-dir", &dir.display().to_string()]);
    run.out.shows("one").await;
    world.host.end_elsewhere(node);
    world.host.node.arrives(message(2, "two"));
    let node = world.host.run_elsewhere(&dir, Mode::Serve);
    run.out.shows("two").await;
    let seen = run.interrupted().await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "09:30:01 bob: one\n09:30:02 bob: two\n"));
    world.host.end_elsewhere(node);
}

#[tokio::test]
async fn listen_waits_for_a_daemon_that_starts_again_and_misses_nothing_meanwhile() {
    let world = World::new();
    let dir = world.dir.path().join("data");
    let node = world.host.run_elsewhere(&dir, Mode::Serve);
    world.host.node.arrives(message(1, "before"));
    let run = world.start(&["listen", "lab", "--data-dir", &dir.display().to_string()]);
    world.host.node.was_called("subscribe lab START_NOW 0", 1).await;
    world.host.node.happens(notice("carol joined"));
    run.err.shows("carol joined").await;
    world.host.end_elsewhere(node);
    run.err.shows("waiting for it to come back").await;
    world.host.node.arrives(message(2, "in the gap"));
    let node = world.host.run_elsewhere(&dir, Mode::Serve);
    run.out.shows("in the gap").await;
    let seen = run.interrupted().await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "09:30:02 bob: in the gap\n"));
    let err = "p2p-chat: carol joined\np2p-chat: the node on DIR has gone; waiting for it to come back\n";
    assert_eq!(seen.err.replace(&dir.display().to_string(), "DIR"), err);
    assert_eq!(world.host.started(), [], "a daemon's place is not taken");
    world.host.end_elsewhere(node);
}

#[tokio::test]
async fn who_follows_a_node_that_does_not_answer_can_be_interrupted() {
    let mut world = World::new();
    let dir = world.dir.path().join("data");
    let node = world.host.run_elsewhere(&dir, Mode::Serve);
    world.host.node.enter("lab");
    world.host.node.is_at_work(true);
    let (to_listen, to_chat) = ("subscribe lab START_NOW 0", "subscribe lab START_UNREAD 0");
    let cases = [("listen", to_listen, 1, false, 0), ("chat", to_chat, 1, false, 1), ("chat", to_chat, 2, true, 0)];
    for (command, call, times, is_terminal, code) in cases {
        world.is_terminal = is_terminal;
        let run = world.start(&[command, "lab", "--data-dir", &dir.display().to_string()]);
        world.host.node.was_called(call, times).await;
        let seen = run.interrupted().await;
        assert_eq!(seen.code, code, "{command}: {}", seen.err);
        assert!(!seen.err.contains("did not answer"), "{command}: {}", seen.err);
    }
    world.host.end_elsewhere(node);
}

#[tokio::test]
async fn what_failed_is_told_even_if_the_wait_at_the_end_is_interrupted() {
    let mut world = World::new();
    world.waits.noticeable = Duration::from_millis(50);
    *world.host.unreplicated.lock().expect("not poisoned") = (2, Duration::from_secs(3_600));
    for (command, call) in [("listen", "subscribe"), ("chat", "subscribe"), ("join", "join")] {
        world.host.node.enter("lab");
        world.host.node.refuses(call, Status::not_found("there is no network lab; join it first"));
        let run = world.start(&[command, "lab"]);
        run.err.shows("waiting up to").await;
        let seen = run.interrupted().await;
        assert_eq!(seen.code, 3, "{command}: {}", seen.err);
        assert!(seen.err.ends_with("p2p-chat: there is no network lab; join it first\n"), "{command}: {}", seen.err);
    }
}

#[tokio::test]
async fn listen_says_so_when_its_own_node_fails_or_the_network_is_unknown() {
    let world = World::new();
    world.host.node.refuses("subscribe", Status::not_found("there is no network lab; join it first"));
    assert_eq!(world.run(&["listen", "lab"]).await, failed(3, "there is no network lab; join it first"));
    assert_eq!(world.host.stopped(), 1);
    let run = world.start(&["listen", "lab"]);
    world.host.node.was_called("subscribe lab START_NOW 0", 2).await;
    std::fs::remove_file(world.dir.path().join(".local/share/p2p-chat/node.sock")).expect("removed");
    world.host.die(Failure::Failed("the disk is full; free some space".to_owned()));
    world.host.node.hang_up();
    assert_eq!(run.end().await, failed(1, "the disk is full; free some space"));
}
