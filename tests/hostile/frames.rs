//! HTTP/2 by hand (RFC 9113): frames that no library would send, over plaintext and over TLS.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use p2p_chat_model::{Identity, PeerId};
use p2p_chat_transport::tls::client_config;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    task::JoinHandle,
    time::{Duration, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::support::{NodeProcess, wait::secs};

/// With what every client begins.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// How long one write may be held up. Who is not read from for so long has been shut out.
const WRITE_DEADLINE: Duration = secs(10);

/// A port to attack.
#[derive(Debug, Clone)]
pub(crate) enum Port {
    /// HTTP/2 with prior knowledge.
    Plain(String),
    /// A node's TLS, with a key of this program's own: anybody can make one.
    Tls(String, PeerId),
}

impl Port {
    pub(crate) fn of_node(node: &NodeProcess) -> [Self; 2] {
        let peer = node.peer.parse().expect("a peer id");
        [Self::Plain(node.address.clone()), Self::Tls(node.address.clone(), peer)]
    }

    /// A connection that has said nothing in HTTP/2 yet. `None` if the server won't have it.
    pub(crate) async fn dial(&self) -> Option<Wire> {
        let (Self::Plain(address) | Self::Tls(address, _)) = self;
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let Self::Tls(_, peer) = self else { return Some(Wire::over(stream)) };
        let config = client_config(&Identity::from_seed([0x77; 32]), *peer).expect("the key makes a certificate");
        let name = ServerName::try_from("p2p-chat").expect("a name");
        let shaken = timeout(secs(20), TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
        Some(Wire::over(shaken.ok()?.ok()?))
    }

    /// A connection that has begun as it should.
    pub(crate) async fn greet(&self) -> Option<Wire> {
        let mut wire = self.dial().await?;
        wire.send(PREFACE).await;
        wire.send(&frame(SETTINGS, 0, 0, &[])).await;
        Some(wire)
    }
}

/// A connection. What the server sends is read all the time, and probes for life are answered with whatever is sent
/// next.
pub(crate) struct Wire {
    writer: WriteHalf<Box<dyn Stream>>,
    reading: JoinHandle<()>,
    flow: Arc<Mutex<Flow>>,
    /// Whether the server still takes what is sent.
    pub(crate) is_open: bool,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Wire {
    fn over(stream: impl Stream + 'static) -> Self {
        let stream: Box<dyn Stream> = Box::new(stream);
        let (reader, writer) = split(stream);
        let flow = Arc::new(Mutex::new(Flow::default()));
        Self { writer, reading: tokio::spawn(read(reader, Arc::clone(&flow))), flow, is_open: true }
    }

    /// How many bytes of data the server wants on a stream now.
    pub(crate) fn room(&self, stream: u32) -> usize {
        let flow = locked(&self.flow);
        let of_stream = flow.initial + flow.streams.get(&stream).copied().unwrap_or(0);
        usize::try_from(of_stream.min(flow.connection)).unwrap_or(0)
    }

    /// Sends data, as much of it as the server wants now. Returns how much that was.
    pub(crate) async fn send_data(&mut self, stream: u32, data: &[u8]) -> usize {
        let len = data.len().min(self.room(stream)).min(16_384);
        if len > 0 && self.send(&frame(DATA, 0, stream, &data[..len])).await {
            let mut flow = locked(&self.flow);
            flow.connection -= len as i64;
            *flow.streams.entry(stream).or_default() -= len as i64;
        }
        len
    }

    /// Sends bytes as they are. Returns whether they were taken.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        if self.is_open {
            let mut answered = std::mem::take(&mut locked(&self.flow).answers);
            answered.extend_from_slice(bytes);
            let sent = timeout(WRITE_DEADLINE, self.writer.write_all(&answered)).await;
            self.is_open = matches!(sent, Ok(Ok(()))) && !self.reading.is_finished();
        }
        self.is_open
    }

    /// Sends no more.
    pub(crate) async fn finish(&mut self) {
        let _ = timeout(WRITE_DEADLINE, self.writer.shutdown()).await;
        self.is_open = false;
    }

    /// Waits until the server closes the connection. Returns whether it does.
    pub(crate) async fn closed(self, deadline: Duration) -> bool {
        timeout(deadline, self.reading).await.is_ok()
    }

    /// How many streams the server has ended.
    pub(crate) fn ended(&self) -> usize {
        locked(&self.flow).ended.len()
    }
}

/// How much the server wants, and what it wants to know.
struct Flow {
    connection: i64,
    initial: i64,
    streams: BTreeMap<u32, i64>,
    /// Answers to probes for life, to be sent.
    answers: Vec<u8>,
    /// A stream may be ended by its answer, and then reset as well.
    ended: BTreeSet<u32>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            connection: 65_535,
            initial: 65_535,
            streams: BTreeMap::new(),
            answers: Vec::new(),
            ended: BTreeSet::new(),
        }
    }
}

impl Flow {
    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match (kind, payload) {
            (WINDOW_UPDATE, [a, b, c, d]) => {
                let more = i64::from(u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff);
                if stream == 0 {
                    self.connection += more;
                } else {
                    *self.streams.entry(stream).or_default() += more;
                }
            }
            (SETTINGS, settings) if flags & ACK == 0 => {
                for setting in settings.chunks_exact(6) {
                    if setting[..2] == [0, 4] {
                        self.initial = i64::from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
                    }
                }
                self.answers.extend(settings_ack());
            }
            (RESET, _) => _ = self.ended.insert(stream),
            (HEADERS | DATA, _) if flags & END_STREAM != 0 => _ = self.ended.insert(stream),
            (PING, content) if flags & ACK == 0 => self.answers.extend(frame(PING, ACK, 0, content)),
            _ => {}
        }
    }
}

fn locked(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(mut reader: ReadHalf<Box<dyn Stream>>, flow: Arc<Mutex<Flow>>) {
    let mut head = [0; 9];
    let mut payload = Vec::new();
    while reader.read_exact(&mut head).await.is_ok() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        payload.resize(len, 0);
        if reader.read_exact(&mut payload).await.is_err() {
            break;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        locked(&flow).take(head[3], head[4], stream, &payload);
    }
}

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_of(payload.len(), kind, flags, stream, payload)
}

/// A frame that says it is of another length than it is.
pub(crate) fn frame_of(len: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call (RFC 7541: indexed where the static table has them, else literal and never indexed).
pub(crate) fn call_headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    block.extend(literal(&[0x04], path));
    block.extend(literal(&[0x01], "localhost"));
    block.extend(literal(&[0x0f, 0x10], "application/grpc"));
    block.extend(header("te", "trailers"));
    block
}

/// A header of any name.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x10];
    block.extend(length(name.len()));
    block.extend(name.bytes());
    block.extend(length(value.len()));
    block.extend(value.bytes());
    block
}

fn literal(index: &[u8], value: &str) -> Vec<u8> {
    [index, &length(value.len()), value.as_bytes()].concat()
}

/// A length with a prefix of seven bits.
fn length(len: usize) -> Vec<u8> {
    if len < 127 {
        return vec![len as u8];
    }
    let mut bytes = vec![127];
    let mut rest = len - 127;
    while rest >= 128 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}
