//! Floods and slow senders at the ports of live servers: memory stays bounded, honest clients are served, and who
//! does nothing useful is disconnected.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use p2p_chat_transport::sizes::{MAX_RUNS_BYTES, MAX_STANDING_BYTES, MAX_VIEW_BYTES};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::timeout,
};

use crate::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, Port, RESET, SETTINGS, WINDOW_UPDATE,
        Wire, call_headers, frame, header, setting,
    },
    siege::Siege,
    support::{figure, let_pass, wait::secs},
};

/// How long each flood is kept up.
const FLOOD: Duration = secs(1);
/// How much memory the attacked servers may take more, in MiB, all attacks together.
const MAX_GROWTH_MIB: u64 = 100;
/// Keepalive asks after 10 s and waits for 10 s more; the machine may be busy.
const IDLE_DEADLINE: Duration = secs(40);
/// A call that this program makes for nothing else.
const PATH: &str = "/p2pchat.v1.Chat/Deliver";
const PING_PATH: &str = "/p2pchat.v1.Liveness/Ping";
const COORDINATE: &str = "/p2pchat.v1.Election/Coordinate";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const UPDATE: &str = "/p2pchat.v1.Discovery/UpdateLeader";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_cut_off_and_honest_clients_served() {
    let siege = Siege::lay().await;
    for port in siege.ports() {
        for (name, round) in floods() {
            let begun = Instant::now();
            let (sent, served) = siege.during(flood(&port, &round), FLOOD).await;
            let grown = siege.grown_mib();
            figure(format!("{name}: {sent} KiB in {:?}, {served} honest rounds, {grown} MiB more", begun.elapsed()));
            assert!(served > 0 && grown < MAX_GROWTH_MIB, "{name} at {port:?}: the servers grew by {grown} MiB");
        }
    }
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_or_silent_costs_little_and_is_disconnected() {
    let siege = Siege::lay().await;
    let mut wires = Vec::new();
    for port in siege.ports() {
        for _ in 0..100 {
            wires.extend(port.greet().await);
        }
        for _ in 0..50 {
            // A handshake, or a preface, that is never finished.
            wires.extend(silent(&port).await);
        }
    }
    assert_eq!(wires.len(), 450, "the servers refuse connections long before their cap");
    let (closed, served) = siege.during(all_closed(wires), secs(1)).await;
    let grown = siege.grown_mib();
    figure(format!("450 silent connections: {closed} closed, {served} honest rounds, {grown} MiB more"));
    assert_eq!(closed, 450, "the servers keep some");
    assert!(grown < MAX_GROWTH_MIB, "the servers grew by {grown} MiB");
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_never_end_cost_little_and_are_cut_off() {
    let siege = Siege::lay().await;
    for port in siege.ports() {
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let port = port.clone();
            tasks.spawn(async move { half_messages(&port, number).await });
        }
        let (ends, served) = siege.during(tasks.join_all(), secs(5)).await;
        let grown = siege.grown_mib();
        figure(format!("half messages: ended {ends:?}, {served} honest rounds, {grown} MiB more"));
        assert!(grown < MAX_GROWTH_MIB, "{port:?}: the servers grew by {grown} MiB");
        assert!(ends.iter().all(|ended| *ended), "{port:?} waits for ever");
    }
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_nothing_but_empty_parts_cost_little() {
    let siege = Siege::lay().await;
    for (port, paths) in siege.ports().into_iter().zip([[PING_PATH, COORDINATE], [PING_PATH, COORDINATE], [UPDATE; 2]])
    {
        let mut tasks = JoinSet::new();
        for path in paths.repeat(2) {
            let port = port.clone();
            tasks.spawn(async move { empty_parts(&port, path).await });
        }
        let (ends, served) = siege.during(tasks.join_all(), secs(1)).await;
        let grown = siege.grown_mib();
        figure(format!("empty parts: ended {ends:?}, {served} honest rounds, {grown} MiB more"));
        // Each processor may be taking one apart, at either server: 36 MiB.
        let processors = std::thread::available_parallelism().map_or(1, |many| many.get() as u64);
        assert!(grown < MAX_GROWTH_MIB + 100 * processors, "{port:?}: the servers grew by {grown} MiB");
        assert!(ends.iter().all(|ended| *ended), "{port:?} waits for more");
    }
    siege.lift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_much_and_reads_nothing_costs_little_and_is_cut_off() {
    let siege = Siege::lay().await;
    let mut tasks = JoinSet::new();
    for port in siege.ports() {
        let Port::Plain(address) = port else { continue };
        for _ in 0..16 {
            let address = address.clone();
            tasks.spawn(async move { deaf(&address).await });
        }
    }
    let (cut_off, served) = siege.during(tasks.join_all(), secs(1)).await;
    let grown = siege.grown_mib();
    figure(format!("deaf: cut off after {cut_off:?} s, {served} honest rounds, {grown} MiB more"));
    assert!(grown < MAX_GROWTH_MIB, "the servers grew by {grown} MiB");
    assert!(cut_off.iter().all(Option::is_some), "the servers wait for ever");
    siege.lift().await;
}

/// What is sent again and again on one connection: frames for a stream number.
type Round = Box<dyn Fn(u32) -> Vec<u8> + Sync>;

fn floods() -> Vec<(&'static str, Round)> {
    let small = call_headers(PING_PATH);
    let (again, opened, endless) = (small.clone(), small.clone(), small.clone());
    let wide = header("x-wide", &"w".repeat(8_000));
    vec![
        (
            "rapid reset",
            Box::new(move |stream| {
                let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream, &small);
                [opened, frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
            }),
        ),
        (
            "reset by the server",
            Box::new(move |stream| {
                let opened = frame(HEADERS, END_HEADERS, stream, &again);
                [opened, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
            }),
        ),
        ("open streams", Box::new(move |stream| frame(HEADERS, END_HEADERS, stream, &opened))),
        (
            "continuation",
            Box::new(
                move |stream| {
                    if stream == 1 { frame(HEADERS, 0, 1, &endless) } else { frame(CONTINUATION, 0, 1, &wide) }
                },
            ),
        ),
        (
            "empty continuation",
            Box::new(move |stream| {
                if stream == 1 { frame(HEADERS, 0, 1, &[0x83]) } else { frame(CONTINUATION, 0, 1, &[]).repeat(100) }
            }),
        ),
        ("settings", Box::new(|stream| frame(SETTINGS, 0, 0, &setting(4, 70_000 + stream % 7)).repeat(20))),
        ("ping", Box::new(|stream| frame(PING, 0, 0, &u64::from(stream).to_be_bytes()).repeat(20))),
        (
            "empty data",
            Box::new(|stream| {
                if stream == 1 {
                    frame(HEADERS, END_HEADERS, 1, &call_headers(PATH))
                } else {
                    frame(DATA, 0, 1, &[]).repeat(100)
                }
            }),
        ),
        ("unknown frames", Box::new(|stream| frame(0xfe, 0, stream, &[7; 500]).repeat(4))),
        ("priority", Box::new(|stream| frame(2, 0, stream, &[0, 0, 0, 0, 9]).repeat(40))),
    ]
}

/// Floods a port; where it is cut off, with a new connection again. Returns how many KiB were sent.
async fn flood(port: &Port, round: &Round) -> usize {
    let (end, mut sent) = (Instant::now() + FLOOD, 0);
    while Instant::now() < end {
        let Some(mut wire) = port.greet().await else {
            let_pass(Duration::from_millis(50)).await;
            continue;
        };
        let mut stream = 1;
        while Instant::now() < end && wire.is_open {
            let bytes = round(stream);
            wire.send(&bytes).await;
            sent += bytes.len();
            stream += 2;
        }
    }
    sent / 1024
}

/// Connections that stop in the middle of a handshake.
async fn silent(port: &Port) -> Vec<Wire> {
    let Port::Plain(address) = port else {
        let (Port::Plain(address) | Port::Tls(address, _)) = port;
        let mut wire = Port::Plain(address.clone()).dial().await;
        if let Some(wire) = &mut wire {
            // The beginning of a ClientHello.
            wire.send(&[0x16, 3, 1, 2, 0, 1, 0]).await;
        }
        return wire.into_iter().collect();
    };
    let mut wires: Vec<Wire> = Port::Plain(address.clone()).dial().await.into_iter().collect();
    for wire in &mut wires {
        wire.send(&PREFACE[..10]).await;
    }
    wires
}

/// Waits for the servers to close them. How many they close.
async fn all_closed(wires: Vec<Wire>) -> usize {
    let mut closed = 0;
    let end = Instant::now() + IDLE_DEADLINE;
    for wire in wires {
        closed += usize::from(wire.closed(end.saturating_duration_since(Instant::now())).await);
    }
    closed
}

/// Grants the largest windows there are, asks reflection for some 90 MB, and reads nothing. Returns after how many seconds the
/// server put an end to it, if it did.
async fn deaf(address: &str) -> Option<u64> {
    const QUESTIONS: usize = 75;
    let begun = Instant::now();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    let mut stream = socket.connect(address.parse().expect("an address")).await.ok()?;
    let most = i32::MAX.cast_unsigned();
    let windows =
        [frame(SETTINGS, 0, 0, &setting(4, most)), frame(WINDOW_UPDATE, 0, 0, &(most - 65_535).to_be_bytes())];
    stream.write_all(&[PREFACE, &windows.concat()].concat()).await.ok()?;
    // With its settings the server says how much it takes: enough for all questions.
    let mut settings = [0; 64];
    let _ = timeout(IDLE_DEADLINE, stream.read(&mut settings)).await;
    // Field 4 of ServerReflectionRequest: file_containing_symbol.
    let symbol = b"p2pchat.v1.Liveness";
    let question = [&[0x22, symbol.len() as u8], &symbol[..]].concat();
    let questions = [prefix(question.len()), question].concat().repeat(QUESTIONS);
    for stream_id in (1..256).step_by(2) {
        let opened = frame(HEADERS, END_HEADERS, stream_id, &call_headers(REFLECT));
        let call = [opened, frame(DATA, 0, stream_id, &questions)].concat();
        timeout(IDLE_DEADLINE, stream.write_all(&call)).await.ok()?.ok()?;
    }
    let (server, client) = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
    while begun.elapsed() < IDLE_DEADLINE {
        if !is_established(server, client) {
            return Some(begun.elapsed().as_secs());
        }
        // Whoever wants to keep the connection says something now and then.
        let _ = stream.try_write(&frame(PING, 0, 0, &[7; 8]));
        let_pass(Duration::from_millis(200)).await;
    }
    None
}

/// Whether the system has the server's end of a connection as open. Who reads nothing is told nothing either, once its own
/// system has no room for more.
fn is_established(server: SocketAddr, client: SocketAddr) -> bool {
    let hex = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()),
        IpAddr::V6(_) => panic!("bug: the servers listen on IPv4"),
    };
    let open = format!(" {} {} 01 ", hex(server), hex(client));
    std::fs::read_to_string("/proc/net/tcp").expect("a table of connections").contains(&open)
}

/// What gRPC puts before a message.
fn prefix(size: usize) -> Vec<u8> {
    [&[0][..], &(size as u32).to_be_bytes()].concat()
}

/// Calls with complete messages of empty parts, which never say that nothing follows; then one with a message that is
/// larger than any of its kind. Returns whether all of them were answered.
async fn empty_parts(port: &Port, path: &str) -> bool {
    const CALLS: u32 = 16;
    let Some(mut wire) = port.greet().await else { return false };
    // Votes: field 2 of UpdateLeaderRequest and of Certificate, which is field 3 of CoordinateRequest. A feed is field 1
    // of a clock, which is field 5 of a standing, which is field 2 of PingRequest.
    let (part, around, most): ([u8; 2], &[u8], usize) = match path {
        UPDATE => ([0x12, 0], &[], MAX_VIEW_BYTES),
        COORDINATE => ([0x12, 0], &[0x1a], MAX_VIEW_BYTES),
        _ => ([0x0a, 0], &[0x2a, 0x12], MAX_STANDING_BYTES),
    };
    let mut message = part.repeat(most / 2 - 8);
    for tag in around {
        let mut wrapped = vec![*tag];
        prost::encode_length_delimiter(message.len(), &mut wrapped).expect("there is room");
        message = [wrapped, message].concat();
    }
    let complete = [prefix(message.len()), message].concat();
    let end = Instant::now() + IDLE_DEADLINE;
    let mut answered = 0;
    for stream in (1..2 * CALLS).step_by(2) {
        wire.send(&frame(HEADERS, END_HEADERS, stream, &call_headers(path))).await;
        let mut left = &complete[..];
        while !left.is_empty() && wire.is_open && Instant::now() < end {
            let sent = wire.send_data(stream, left).await;
            left = &left[sent..];
            if sent == 0 {
                wire.send(&[]).await;
                let_pass(Duration::from_millis(1)).await;
            }
        }
        answered += 1;
    }
    let large = 2 * CALLS + 1;
    wire.send(&frame(HEADERS, END_HEADERS, large, &call_headers(path))).await;
    wire.send_data(large, &prefix(most + 1)).await;
    while wire.is_open && wire.ended() <= answered && Instant::now() < end {
        wire.send(&[]).await;
        let_pass(Duration::from_millis(10)).await;
    }
    wire.ended() > answered
}

/// Opens as many calls as the server bears, and sends almost all of the largest message on each; then a byte a
/// second, and answers to whatever keeps the connection alive. Returns whether the server put an end to all of it.
async fn half_messages(port: &Port, number: usize) -> bool {
    let Some(mut wire) = port.greet().await else { return true };
    let size = MAX_RUNS_BYTES;
    let head = prefix(size);
    let path = ["/p2pchat.v1.Chat/Deliver", "/p2pchat.v1.Discovery/CreateNetwork"][number % 2];
    for call in 0..128 {
        let stream = 1 + 2 * call;
        wire.send(&frame(HEADERS, END_HEADERS, stream, &call_headers(path))).await;
        wire.send_data(stream, &head).await;
    }
    let chunk = vec![0; 16_384];
    let end = Instant::now() + IDLE_DEADLINE;
    let mut left = [size - 10; 128];
    while wire.is_open && wire.ended() < 128 && Instant::now() < end {
        let mut sent = 0;
        for (stream, left) in (1..).step_by(2).zip(&mut left) {
            let data = &chunk[..chunk.len().min(*left)];
            let len = wire.send_data(stream, data).await;
            *left -= len;
            sent += len;
        }
        if sent == 0 {
            // Everything is there but the end; what keeps the connection alive is answered.
            wire.send(&[]).await;
            wire.send_data(1, &[0]).await;
            let_pass(secs(1)).await;
        }
    }
    !wire.is_open || wire.ended() >= 128
}
