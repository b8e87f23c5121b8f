//! Malformed HTTP/2 at the ports of live servers: it ends the connection, or the stream, and nothing else.

use std::time::Instant;

use crate::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE, Port, RESET,
        SETTINGS, WINDOW_UPDATE, call_headers, frame, frame_of, header, setting,
    },
    siege::Siege,
    support::{figure, wait::secs},
};

/// The call of those that make one.
const PATH: &str = "/p2pchat.v1.Liveness/Ping";

/// What a client sends after its connection stands.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// Whether it comes instead of the preface, or after it.
    is_first: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_end_their_connection_and_nothing_else() {
    let siege = Siege::lay().await;
    let (mut cases, begun) = (0, Instant::now());
    for port in siege.ports() {
        for case in every_case() {
            break_in(&port, &case).await;
            cases += 1;
        }
        siege.all_are_served().await;
    }
    let grown = siege.grown_mib();
    assert!(grown < 50, "the servers grew by {grown} MiB");
    figure(format!("broken frames: {cases} connections in {:?}, {grown} MiB more memory", begun.elapsed()));
    siege.lift().await;
}

async fn break_in(port: &Port, case: &Case) {
    let name = case.name;
    let wire = if case.is_first { port.dial().await } else { port.greet().await };
    let mut wire = wire.unwrap_or_else(|| panic!("{port:?} takes no connection before {name}"));
    wire.send(&case.bytes).await;
    // Whatever the server makes of it, after this it has nothing to wait for.
    wire.finish().await;
    assert!(wire.closed(secs(15)).await, "{port:?} holds the connection after {name}");
}

fn every_case() -> Vec<Case> {
    [prefaces(), frames(), headers(), control_frames(), calls()].into_iter().flatten().collect()
}

fn after(name: &'static str, bytes: Vec<u8>) -> Case {
    Case { name, bytes, is_first: false }
}

/// A call that is begun, and what comes after that.
fn with(bytes: &[u8]) -> Vec<u8> {
    [&frame(HEADERS, END_HEADERS, 1, &call_headers(PATH)), bytes].concat()
}

/// Before HTTP/2 has begun.
fn prefaces() -> Vec<Case> {
    vec![
        Case { name: "another preface", bytes: b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n".to_vec(), is_first: true },
        Case { name: "HTTP/1.1", bytes: b"POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), is_first: true },
        Case { name: "half a preface", bytes: PREFACE[..11].to_vec(), is_first: true },
        Case { name: "a preface and noise", bytes: [PREFACE, &[0xff; 4_000]].concat(), is_first: true },
        Case { name: "no settings", bytes: [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(), is_first: true },
    ]
}

/// Of the wrong size or kind, or on a stream that is not there.
fn frames() -> Vec<Case> {
    vec![
        after("half a frame head", frame(PING, 0, 0, &[])[..5].to_vec()),
        after("half a frame", frame_of(8_000, HEADERS, END_HEADERS, 1, &call_headers(PATH))),
        after("a frame of 16 MiB", frame_of(0xff_ffff, DATA, 0, 1, &[0; 60_000])),
        after("a frame above the limit", frame(DATA, 0, 1, &vec![0; 40_000])),
        after("an unknown kind of frame", frame(0xbe, 0xff, 7, &[1; 100])),
        after("data on stream 0", frame(DATA, END_STREAM, 0, b"x")),
        after("data on an idle stream", frame(DATA, END_STREAM, 5, b"x")),
    ]
}

/// Headers, and what belongs to them.
fn headers() -> Vec<Case> {
    let many_values: Vec<u8> = (0..40).flat_map(|number| header(&format!("x-{number}"), &"v".repeat(900))).collect();
    vec![
        after("headers on an even stream", frame(HEADERS, END_HEADERS | END_STREAM, 2, &call_headers(PATH))),
        after("headers that are no HPACK", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 200])),
        after("a table as large as can be said", frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        after("no path", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x83, 0x86])),
        after("a path that is none", frame(HEADERS, END_HEADERS, 1, &call_headers("\u{1}\n"))),
        after(
            "40 KiB of headers",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[call_headers(PATH), many_values].concat()[..16_384]),
        ),
        after("padding beyond the frame", frame(HEADERS, END_HEADERS | 0x8, 1, &[200, 1, 2, 3])),
        after("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &call_headers(PATH))),
        after(
            "headers that something interrupts",
            [frame(HEADERS, 0, 1, &call_headers(PATH)), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
    ]
}

/// What says something of a stream or of the connection.
fn control_frames() -> Vec<Case> {
    vec![
        after("a reset of an idle stream", frame(RESET, 0, 9, &[0; 4])),
        after("a reset of three bytes", with(&frame(RESET, 0, 1, &[0; 3]))),
        after("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        after("an acknowledgement with content", frame(SETTINGS, 1, 0, &setting(3, 1))),
        after("settings on a stream", with(&frame(SETTINGS, 0, 1, &setting(3, 1)))),
        after("a window above 2^31", frame(SETTINGS, 0, 0, &setting(4, u32::MAX))),
        after("frames of 0 bytes at most", frame(SETTINGS, 0, 0, &setting(5, 0))),
        after("a window update of 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        after("a window update of 0 on a stream", with(&frame(WINDOW_UPDATE, 0, 1, &[0; 4]))),
        after("windows that overflow", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)),
        after("a promise of a client", with(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x83]))),
        after("a ping of seven bytes", frame(PING, 0, 0, &[0; 7])),
        after("a farewell that is cut short", frame(GOAWAY, 0, 0, &[0; 4])),
    ]
}

/// A call, and data that can't be its.
fn calls() -> Vec<Case> {
    vec![
        after(
            "a stream again",
            with(&[frame(DATA, END_STREAM, 1, &[0; 5]), frame(HEADERS, END_HEADERS, 1, &call_headers(PATH))].concat()),
        ),
        after("data after the end", with(&frame(DATA, END_STREAM, 1, &[0; 5]).repeat(3))),
        after(
            "a message that is longer than it is",
            with(&frame(DATA, END_STREAM, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1])),
        ),
        after("a message that is compressed", with(&frame(DATA, END_STREAM, 1, &[1, 0, 0, 0, 1, 0]))),
        after("half of a message's length", with(&frame(DATA, END_STREAM, 1, &[0, 0, 0]))),
        after(
            "trailers and more",
            with(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &header("a", "b")), frame(DATA, 0, 1, b"x")].concat()),
        ),
    ]
}
