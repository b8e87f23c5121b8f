//! Questions to the node and what is printed of its answers.

use std::{collections::BTreeMap, time::Duration};

use p2p_chat_cli::Mode;
use p2p_chat_proto::v1;
use tonic::{Code, Status};

use crate::support::{ALICE, BOB, World, failed, info, member, network_state, ok};

const HOSTILE: &str = "m\u{1b}[2Jal\nlory\u{202e}";

#[tokio::test]
async fn members_are_a_table_for_people_and_objects_for_programs() {
    let world = World::new();
    let owner = v1::Member { role: "owner".to_owned(), ..member("日本", BOB, 1) };
    world.host.node.state().members = vec![owner, member("alice", ALICE, 12), member(HOSTILE, BOB, 0)];
    let table = "\
ID  NAME                        ROLE    STATE   ADDRESS        PEER
1   日本                        owner   active  10.0.0.1:7500  b0b00000  leader
12  alice                       member  active  10.0.0.1:7500  a11ce000  this node
-   m\\u{1b}[2Jal\\nlory\\u{202e}  member  away    10.0.0.1:7500  b0b00000
";
    assert_eq!(world.run(&["members", "lab"]).await, ok(table));
    let lines = world.run(&["members", "lab", "--json"]).await.out;
    let first = lines.lines().next().expect("a line");
    assert_eq!(
        first,
        format!(
            r#"{{"name":"日本","peer":"{BOB}","node_id":1,"role":"owner","state":"active","address":"10.0.0.1:7500","leader":true}}"#
        )
    );
    let last: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(lines.lines().last().expect("a line")).expect("an object");
    assert_eq!(last["name"], HOSTILE);
    assert!(!lines.contains(['\u{1b}', '\u{202e}']), "{lines:?}");
}

#[tokio::test]
async fn very_many_networks_with_long_names_are_listed() {
    let world = World::new();
    let name = "\u{10ffff}".repeat(64);
    let long = v1::NetworkInfo { leader: name.clone(), leader_address: "a".repeat(250), ..info(&name) };
    world.host.node.state().networks.networks = vec![long; 10_000];
    let seen = world.run(&["--json", "networks"]).await;
    assert_eq!((seen.code, seen.err.as_str()), (0, ""));
    assert_eq!(seen.out.lines().count(), 10_000);
}

#[tokio::test]
async fn networks_are_listed_and_a_silent_discovery_service_is_named() {
    let world = World::new();
    let silent = v1::DiscoveryState {
        url: "http://nds:7400".to_owned(),
        error: "refused\u{7}".to_owned(),
        ..Default::default()
    };
    let stale = v1::NetworkInfo { joined: false, stale: true, ..info("old") };
    world.host.node.state().networks =
        v1::NetworksResponse { networks: vec![info("lab"), stale], unreachable: vec![silent.clone()] };
    let seen = world.run(&["networks"]).await;
    let table = "\
NAME  LEADER  ADDRESS        EPOCH  MEMBERS  ID
lab   bob     10.0.0.2:7500  4      2        1ab00000  joined
old   bob     10.0.0.2:7500  4      2        1ab00000  stale
";
    assert_eq!((seen.code, seen.out.as_str()), (0, table));
    assert_eq!(seen.err, "p2p-chat: the discovery service http://nds:7400 did not answer: refused\\u{7}\n");
    let seen = world.run(&["--json", "networks"]).await;
    let object = format!(
        r#"{{"name":"lab","id":"{}","leader":"bob","leader_address":"10.0.0.2:7500","epoch":4,"members":2,"joined":true,"stale":false,"left":false}}"#,
        info("lab").id
    );
    assert_eq!(seen.out.lines().next(), Some(object.as_str()));

    world.host.node.state().networks = v1::NetworksResponse { networks: vec![], unreachable: vec![silent] };
    let seen = world.run(&["networks"]).await;
    assert_eq!((seen.code, seen.out.as_str()), (6, ""));
    world.host.node.state().status.discovery = vec![v1::DiscoveryState::default(); 2];
    let seen = world.run(&["networks"]).await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "there are no networks where an answer came from\n"));
    assert_eq!(seen.err, "p2p-chat: the discovery service http://nds:7400 did not answer: refused\\u{7}\n");
    world.host.node.state().networks = v1::NetworksResponse::default();
    assert_eq!(world.run(&["networks"]).await, ok("there are no networks; found one with p2p-chat create NET\n"));
    assert_eq!(world.run(&["networks", "--json"]).await, ok(""));
}

#[tokio::test]
async fn networks_that_were_left_are_listed_as_such() {
    let world = World::new();
    let gone = v1::NetworkInfo { name: "gone".to_owned(), id: BOB.to_owned(), ..Default::default() };
    let going_on = v1::NetworkInfo { id: ALICE.to_owned(), joined: false, stale: true, ..info("old") };
    let left = |info: &v1::NetworkInfo| v1::NetworkState {
        id: info.id.clone(),
        phase: v1::Phase::Left.into(),
        ..network_state(&info.name)
    };
    {
        let mut node = world.host.node.state();
        node.status.networks = vec![left(&gone), network_state("lab"), left(&going_on)];
        node.networks.networks = vec![gone, info("lab"), going_on];
    }
    let table = "\
NAME  LEADER  ADDRESS        EPOCH  MEMBERS  ID
gone                         0      0        b0b00000  left
lab   bob     10.0.0.2:7500  4      2        1ab00000  joined
old   bob     10.0.0.2:7500  4      2        a11ce000  left, stale
";
    assert_eq!(world.run(&["networks"]).await, ok(table));
    let seen = world.run(&["networks", "--json"]).await;
    let left = seen.out.lines().map(|line| line.ends_with(r#","left":true}"#));
    assert_eq!((seen.code, left.collect::<Vec<_>>()), (0, vec![true, false, true]), "{}", seen.out);
}

#[tokio::test]
async fn status_says_what_is_missing_and_owed() {
    let world = World::new();
    let missing = |name: &str, entries, asking: &str| v1::Missing {
        author_name: name.to_owned(),
        author_peer: BOB.to_owned(),
        entries,
        asking: asking.to_owned(),
    };
    let missing = vec![missing("bob", 3, "carol"), missing("dave", 1, ""), missing("eve", 1, HOSTILE)];
    let owed = v1::Owed {
        member_name: HOSTILE.to_owned(),
        member_peer: BOB.to_owned(),
        entries: 2,
        way: "relayed by bob".to_owned(),
    };
    let frozen = vec![v1::Frozen { author_name: HOSTILE.to_owned(), author_peer: BOB.to_owned() }];
    let unlisted = vec![v1::Unlisted { url: "http://other:7400".to_owned(), reason: "the name is taken".to_owned() }];
    let lab = network_state("lab");
    let state = v1::NetworkState { missing, owed: vec![owed], unread: 3, read_position: 8, frozen, unlisted, ..lab };
    let left = v1::NetworkState { phase: v1::Phase::Left.into(), node_id: 0, ..network_state("old") };
    {
        let mut node = world.host.node.state();
        node.status.networks = vec![state, left];
        let url = "http://nds:7400".to_owned();
        node.status.discovery =
            vec![v1::DiscoveryState { url, reachable: true, last_answer_age_ms: Some(7), ..Default::default() }];
        node.status.uptime_ms = 9;
    }
    let text = format!(
        "\
node       alice ({ALICE}) at 10.0.0.1:7500, pid 42, version 0.1.0
data       /data
discovery  http://nds:7400, reachable
network    lab (1ab00000), joined as node 3
  leader   bob (b0b00000) leads epoch 4
  members  2 of 3 active, view version 9
  log      5 entries, 0 held back, 3 unread
  unlisted http://other:7400: the name is taken
  frozen   m\\u{{1b}}[2Jal\\nlory\\u{{202e}} has contradicted itself; nothing more is taken of it
  missing  3 entries from bob, asking carol
  missing  1 entry from dave
  missing  1 entry from eve, asking m\\u{{1b}}[2Jal\\nlory\\u{{202e}}
  owed     2 entries to m\\u{{1b}}[2Jal\\nlory\\u{{202e}} (relayed by bob)
network    old (1ab00000), left
  log      5 entries, 0 held back, 0 unread
"
    );
    assert_eq!(world.run(&["status"]).await, ok(&text));
    let seen = world.run(&["status", "--json"]).await;
    let object: serde_json::Value = serde_json::from_str(&seen.out).expect("one object");
    assert_eq!(object["networks"][0]["owed"][0]["way"], "relayed by bob");
    assert_eq!(object["networks"][0]["missing"][0]["asking"], "carol");
    assert_eq!(object["networks"][0]["read_position"], 8);
    assert_eq!(object["networks"][0]["frozen"][0]["author_peer"], BOB);
    assert_eq!(object["networks"][0]["unlisted"][0]["reason"], "the name is taken");
    assert_eq!(object["networks"][1]["frozen"], serde_json::json!([]));
    assert_eq!(object["networks"][1]["phase"], "left");
    assert_eq!((&object["uptime_ms"], &object["discovery"][0]["last_answer_age_ms"]), (&9.into(), &7.into()));
    assert_eq!(seen.out.lines().count(), 1);
}

#[tokio::test]
async fn inspect_shows_who_has_a_message() {
    let world = World::new();
    let custody = |name: &str, state: &str, time_ms, way: &str, active| v1::Custody {
        member_name: name.to_owned(),
        member_peer: if name == "carol" { ALICE } else { BOB }.to_owned(),
        state: state.to_owned(),
        time_ms,
        way: way.to_owned(),
        active,
    };
    world.host.node.state().inspection = v1::InspectResponse {
        message: Some(crate::support::message(7, "hi\nthere")),
        custody: vec![
            custody("bob", "stored", 1_763_631_007_000, "relayed by carol", true),
            custody("dave", "not yet", 0, "", false),
            custody("carol", "stored", 1_763_631_007_000, "direct", false),
        ],
    };
    let carol = v1::Member { peer: ALICE.to_owned(), state: "left".to_owned(), ..v1::Member::default() };
    world.host.node.state().members = vec![carol];
    let text = "\
message 00000007-0000-8000-8000-000000000000: entry 7 of bob, 09:30:07
  hi
  there
MEMBER  STATE    SINCE     WAY
bob     stored   09:30:07  relayed by carol
dave    not yet  -         -                 away
carol   stored   09:30:07  direct            left
";
    assert_eq!(world.run(&["inspect", "lab", "0000000"]).await, ok(text));
    let seen = world.run(&["inspect", "lab", "ABCD", "--json"]).await;
    let object: serde_json::Value = serde_json::from_str(&seen.out).expect("one object");
    assert_eq!(object["message"]["time"], "2025-11-20T09:30:07.000Z");
    assert_eq!(object["custody"][0]["time"], "2025-11-20T09:30:07.000Z");
    assert_eq!(object["custody"][1]["time"], serde_json::Value::Null);
    world.host.node.was_called("inspect lab abcd", 1).await;
}

#[tokio::test]
async fn networks_are_founded_joined_left_and_forgotten() {
    let world = World::new();
    let _running = world.host.run_elsewhere(&world.dir.path().join(".local/share/p2p-chat"), Mode::Serve);
    let id = info("lab").id;
    assert_eq!(world.run(&["create", "lab"]).await, ok(&format!("founded lab ({id})\n")));
    world.host.node.state().listed.push("lab".to_owned());
    assert_eq!(world.run(&["join", "lab"]).await, ok("joined lab as node 3; bob leads epoch 4\n"));
    let object: serde_json::Value =
        serde_json::from_str(&world.run(&["join", "lab", "--json"]).await.out).expect("one object");
    assert_eq!((&object["name"], &object["node_id"]), (&"lab".into(), &3.into()));
    assert_eq!(world.run(&["leave", "lab"]).await, ok("left lab\n"));
    world.host.node.state().left = v1::LeaveNetworkResponse { unreplicated: 2, closed: true };
    let seen = world.run(&["leave", "lab", "--timeout", "1", "--json"]).await;
    assert_eq!(seen.out, "{\"network\":\"lab\",\"unreplicated\":2,\"closed\":true}\n");
    assert_eq!(seen.err, "p2p-chat: nobody else has 2 entries of this node\n");
    world.host.node.was_called("leave lab 1000", 1).await;
    assert_eq!(world.run(&["leave", "lab", "--force"]).await.err, "p2p-chat: nobody else has 2 entries of this node\n");
    world.host.node.was_called("leave lab 10000 by force", 1).await;
    assert_eq!(world.run(&["forget", "lab"]).await, ok("forgot lab: 2 entries deleted\n"));
    assert_eq!(world.run(&["forget", "lab", "--json"]).await, ok("{\"network\":\"lab\",\"entries\":2}\n"));
}

#[tokio::test]
async fn what_the_node_refuses_becomes_one_sentence_and_an_exit_code() {
    let world = World::new();
    let codes = [
        (Code::InvalidArgument, 2),
        (Code::NotFound, 3),
        (Code::PermissionDenied, 4),
        (Code::Unauthenticated, 4),
        (Code::DeadlineExceeded, 5),
        (Code::Unavailable, 6),
        (Code::AlreadyExists, 1),
        (Code::ResourceExhausted, 1),
    ];
    for (code, exit_code) in codes {
        world.host.node.refuses("members", Status::new(code, "no \u{1b}[31mway\nout"));
        let expected = failed(exit_code, "no \\u{1b}[31mway\\nout");
        assert_eq!(world.run(&["members", "lab"]).await, expected, "{code:?}");
    }
}

#[tokio::test]
async fn completions_are_printed_without_a_node() {
    let world = World::new();
    let seen = world.run(&["completions", "bash"]).await;
    assert_eq!(seen.code, 0);
    assert!(seen.out.trim_end().ends_with("fi") && seen.out.contains("complete -F"), "a script for bash");
    assert_eq!(world.host.started(), []);
}

#[tokio::test]
async fn bash_completes_the_options_of_commands() {
    let world = World::new();
    let script = world.run(&["completions", "bash"]).await.out;
    let complete = |words: &str, at: usize| {
        // As bash does it: what is typed in an array, and the command, the word and the one before as arguments.
        let ask = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={at}\n\
             completer=$(complete -p p2p-chat | grep -o -- '-F [^ ]*')\n\
             \"${{completer#-F }}\" p2p-chat \"${{COMP_WORDS[at]}}\" \"${{COMP_WORDS[at - 1]}}\"\n\
             echo \"${{COMPREPLY[@]}}\"\n"
        );
        let ask = ask.replace("[at", &format!("[{at}"));
        let answer = std::process::Command::new("bash").args(["--norc", "-c", &ask]).output();
        answer.ok().map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    // There are machines without bash.
    let Some(of_send) = complete("p2p-chat send --w", 2) else { return };
    assert_eq!(of_send, "--wait");
    assert_eq!(complete("p2p-chat send --wait ''", 3).as_deref(), Some("none one all"));
    assert_eq!(complete("p2p-chat serve --preset ''", 3).as_deref(), Some("lan wan"));
    assert_eq!(complete("p2p-chat sen", 1).as_deref(), Some("send"));
}

#[tokio::test]
async fn forgetting_a_long_log_is_waited_for_and_said_to_be_under_way() {
    let mut world = World::new();
    world.waits.noticeable = Duration::from_millis(50);
    world.host.node.is_at_work(true);
    let run = world.start(&["forget", "lab"]);
    let note = "p2p-chat: deleting what is kept of lab; a long log takes a while\n";
    run.err.shows(note).await;
    world.host.node.is_at_work(false);
    let seen = run.end().await;
    let told = (seen.code, seen.out.as_str(), seen.err.as_str());
    assert_eq!(told, (0, "forgot lab: 2 entries deleted\n", note));
}

#[tokio::test]
async fn what_is_interrupted_may_be_done_all_the_same() {
    let world = World::new();
    world.host.node.is_at_work(true);
    let run = world.start(&["leave", "lab", "--timeout", "9"]);
    world.host.node.was_called("leave lab 9000", 1).await;
    assert_eq!(run.interrupted().await, failed(1, "interrupted; lab may be left all the same: see p2p-chat networks"));
}
