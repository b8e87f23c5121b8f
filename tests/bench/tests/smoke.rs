//! The benchmark itself works: everything arrives, and what is printed has the fields that others read.

use std::process::Command;

use serde_json::Value;

const FIELDS: [&str; 19] = [
    "name",
    "nodes",
    "senders",
    "messages",
    "size",
    "rate",
    "expected",
    "received",
    "lost",
    "duplicates",
    "seconds",
    "deliveries_per_s",
    "latency_us",
    "cpu_s",
    "rss_mb",
    "formation_s",
    "disk_bytes_per_message",
    "wire_bytes_per_delivery",
    "fdatasync_us",
];

/// Runs the benchmark and returns the one object that it prints.
fn bench(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_p2p-chat-bench")).args(args).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(&printed).expect("one object")
}

fn assert_complete(report: &Value, deliveries: u64) {
    for field in FIELDS {
        assert!(report.get(field).is_some(), "{field} is missing in {report}");
    }
    assert_eq!(report["expected"], deliveries);
    assert_eq!(report["received"], deliveries);
    assert_eq!((&report["lost"], &report["duplicates"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(report["latency_us"]["samples"], deliveries);
    assert!(report["latency_us"]["p50"].as_u64() <= report["latency_us"]["max"].as_u64());
}

const LOAD: [&str; 6] = ["--nodes", "2", "--messages", "20", "--size", "64"];

#[test]
fn group_in_one_process_receives_everything() {
    let report = bench(&LOAD);
    assert_complete(&report, 40);
    assert_eq!(report["acked_all_us"]["samples"], 40, "each was seen to be on the other disk: {report}");
    assert!(report["wire_bytes_per_delivery"].as_f64() > Some(64.0), "{report}");
    assert!(report["disk_bytes_per_message"].as_f64() > Some(64.0), "{report}");
}

#[test]
fn group_of_processes_with_a_history_receives_everything_at_its_rate() {
    let mode = ["group", "--processes", "--senders", "1", "--history", "10", "--rate", "100"];
    let report = bench(&[&mode[..], &LOAD].concat());
    assert_complete(&report, 20);
    // `seconds` runs from the first sending, which may be late; the last one can't be early.
    assert!(report["accepted_s"].as_f64() >= Some(0.19), "the last of 20 is due after 190 ms: {report}");
}

#[test]
fn ceilings_receive_everything() {
    for (shape, tls) in [("unary", "true"), ("stream", "true"), ("stream", "false")] {
        let report = bench(&[&["ceiling", "--shape", shape, "--tls", tls], &LOAD[..]].concat());
        assert_complete(&report, 40);
    }
}

#[test]
fn comparison_names_both_and_their_ratio() {
    let comparison = bench(&[&["compare"], &LOAD[..]].concat());
    assert_complete(&comparison["ceiling"], 40);
    assert_complete(&comparison["group"], 40);
    assert!(comparison["ratio"].as_f64() > Some(0.0), "{comparison}");
}

#[test]
fn who_comes_late_gets_everything() {
    for mode in ["join", "catch-up"] {
        let report = bench(&[mode, "--nodes", "2", "--history", "200"]);
        assert_eq!((&report["name"], &report["received"]), (&Value::from(mode), &Value::from(200)), "{report}");
        assert!(report["first_message_s"].as_f64() <= report["all_s"].as_f64(), "{report}");
    }
}

#[test]
fn idle_nodes_are_measured() {
    let report = bench(&["idle", "--nodes", "2", "--seconds", "1"]);
    assert!(report["rss_mb_per_node"].as_f64() > Some(1.0), "{report}");
}
