//! The page for a monitor is served to those who ask properly, and the others hold nothing up.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use p2p_chat_transport::exposition::{self, HEADER_TIMEOUT, MAX_SCRAPES};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::support::{PATIENCE, loopback};

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

/// What comes back for these bytes until the connection ends.
async fn answer(at: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // A refused connection may be gone before it is written to.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn slow_and_greedy_clients_are_cut_off_and_the_page_is_made_anew_for_each() {
    let listener = exposition::bind(&loopback().to_string()).await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let taken = exposition::bind(&at).await.unwrap_err().to_string();
    assert!(taken.starts_with(&format!("can't serve metrics on {at} (")), "{taken}");
    let (made, (stop, stopped)) = (Arc::new(AtomicU32::new(0)), oneshot::channel::<()>());
    let count = Arc::clone(&made);
    let page = move || std::future::ready(format!("page {}\n", count.fetch_add(1, Ordering::Relaxed)));
    let serving = tokio::spawn(exposition::serve(listener, page, async { drop(stopped.await) }));
    assert!(answer(&at, GET).await.ends_with("\r\n\r\npage 0\n"));
    assert!(answer(&at, GET).await.ends_with("\r\n\r\npage 1\n"));

    let many = format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Header: 1\r\n".repeat(100));
    assert!(!answer(&at, many.as_bytes()).await.contains("page"), "too many headers");
    let long = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(100_000));
    assert!(!answer(&at, long.as_bytes()).await.contains("page"), "too large a header");

    // On a busy machine it may take so long that there is room again.
    let mut turned_away = None;
    for _ in 0..5 {
        let begun = Instant::now();
        let mut slow = Vec::new();
        for _ in 0..MAX_SCRAPES {
            let mut stream = TcpStream::connect(&at).await.unwrap();
            let _ = stream.write_all(b"GET /met").await;
            slow.push(stream);
        }
        let told = answer(&at, GET).await;
        if begun.elapsed() < HEADER_TIMEOUT {
            assert_eq!(told, "", "one too many is closed at once");
            turned_away = Some(slow);
            break;
        }
    }
    let mut slow = turned_away.expect("it had to wait for a place");
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("slow ones are cut off");
        assert!(!String::from_utf8(rest).unwrap().contains("page"));
    }
    let next = format!("\r\n\r\npage {}\n", made.load(Ordering::Relaxed));
    assert!(answer(&at, GET).await.ends_with(&next), "there is room again");

    stop.send(()).unwrap();
    timeout(PATIENCE, serving).await.expect("it stops").unwrap();
    assert!(TcpStream::connect(&at).await.is_err(), "and the port is free");
}
