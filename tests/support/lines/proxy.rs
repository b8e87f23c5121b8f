//! TCP proxies, one in front of each process. A proxy finds out which process calls (the system knows whose socket
//! the other end is), so that the line between one pair can be cut while everybody else still gets through.
//!
//! A cut freezes: bytes wait, new connections are taken and get no answer; after the cut everything goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
};

use crate::support::let_pass;

/// Reads of a slow line that may be under way at once.
const UNDER_WAY: usize = 256;
/// How long a caller waits for a process that is still starting.
const START_DEADLINE: Duration = Duration::from_secs(30);

type Cuts = BTreeSet<(String, String)>;
/// The newest census; held while one is taken.
type Newest = Arc<tokio::sync::Mutex<Option<Arc<Census>>>>;

/// All proxies of a cluster.
#[derive(Default)]
pub(crate) struct Switchboard {
    cuts: watch::Sender<Cuts>,
    callers: Arc<Mutex<BTreeMap<u32, String>>>,
    newest: Newest,
    targets: Mutex<BTreeMap<String, watch::Sender<Option<String>>>>,
    proxies: Mutex<Vec<JoinHandle<()>>>,
    /// How long everything is under way, each way.
    delay: Duration,
}

/// The process behind a proxy.
#[derive(Clone)]
struct Callee {
    name: String,
    target: watch::Receiver<Option<String>>,
    cuts: watch::Receiver<Cuts>,
    callers: Arc<Mutex<BTreeMap<u32, String>>>,
    newest: Newest,
    delay: Duration,
}

/// The line from one caller to one process.
#[derive(Clone)]
struct Line {
    pair: (String, String),
    cuts: watch::Receiver<Cuts>,
    delay: Duration,
}

impl Switchboard {
    /// Lines on which everything is under way for so long, each way.
    pub(crate) fn slow(delay: Duration) -> Self {
        let mut board = Self::default();
        board.delay = delay;
        board
    }

    /// Opens the proxy of a process that is about to start; its address.
    pub(crate) async fn open(&self, name: &str, ip: Ipv4Addr) -> String {
        let listener = TcpListener::bind((ip, 0)).await.expect("a loopback address can be bound");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let target = watch::Sender::new(None);
        let callee = Callee {
            name: name.to_owned(),
            target: target.subscribe(),
            cuts: self.cuts.subscribe(),
            callers: Arc::clone(&self.callers),
            newest: Arc::clone(&self.newest),
            delay: self.delay,
        };
        let serving = serve(listener, callee);
        lock(&self.targets).insert(name.to_owned(), target);
        lock(&self.proxies).push(tokio::spawn(serving));
        address
    }

    pub(crate) fn spawned(&self, name: &str, pid: u32) {
        lock(&self.callers).insert(pid, name.to_owned());
    }

    pub(crate) fn listens(&self, name: &str, address: &str) {
        lock(&self.targets)[name].send_replace(Some(address.to_owned()));
    }

    pub(crate) fn cut(&self, left: &[&str], right: &[&str]) {
        let pairs = left.iter().flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
        self.cuts.send_modify(|cuts| cuts.extend(pairs.map(|(a, b)| (a.to_owned(), b.to_owned()))));
    }

    pub(crate) fn cut_one_way(&self, from: &str, to: &str) {
        self.cuts.send_modify(|cuts| _ = cuts.insert((from.to_owned(), to.to_owned())));
    }

    pub(crate) fn mend(&self, from: &str, to: &str) {
        self.cuts.send_modify(|cuts| _ = cuts.remove(&(from.to_owned(), to.to_owned())));
    }

    pub(crate) fn heal(&self) {
        self.cuts.send_replace(Cuts::new());
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        for proxy in lock(&self.proxies).drain(..) {
            proxy.abort();
        }
    }
}

async fn serve(listener: TcpListener, callee: Callee) {
    // Tasks end with the proxy: the set aborts them.
    let mut connections = JoinSet::new();
    while let Ok((caller, from)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(carry(caller, from, callee.clone()));
    }
}

async fn carry(caller: TcpStream, from: SocketAddr, mut callee: Callee) {
    let Ok(at) = caller.local_addr() else { return };
    let Some(name) = callee.caller(from, at).await else { return };
    let pair = (name, callee.name.clone());
    let mut line = Line { pair, cuts: callee.cuts.clone(), delay: callee.delay };
    // The caller is connected already; over a slow line it would be after a round trip.
    let_pass(2 * line.delay).await;
    line.is_open().await;
    let address = match timeout(START_DEADLINE, callee.target.wait_for(Option::is_some)).await {
        Ok(Ok(address)) => address.clone().unwrap_or_default(),
        _ => return,
    };
    // A refused connection is closed: that is as near to a refusal as a proxy can come.
    let Ok(callee) = TcpStream::connect(address).await else { return };
    let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
    let (from_caller, to_caller) = caller.into_split();
    let (from_callee, to_callee) = callee.into_split();
    // When either side closes, both are dropped.
    tokio::select! {
        () = pump(from_caller, to_callee, line.clone()) => {}
        () = pump(from_callee, to_caller, line.clone()) => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut line: Line) {
    let delay = line.delay;
    let (sender, mut under_way) = mpsc::channel(if delay.is_zero() { 1 } else { UNDER_WAY });
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((due, bytes)) = under_way.recv().await {
            if !delay.is_zero() {
                let_pass(due.saturating_duration_since(Instant::now())).await;
            }
            line.is_open().await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        line.is_open().await;
    };
    tokio::select! {
        () = writing => {}
        () = async { reading.await; std::future::pending().await } => {}
    }
}

impl Callee {
    /// Who calls; a process that has just been started may not be known yet. `None` if whoever it was is gone.
    async fn caller(&self, from: SocketAddr, at: SocketAddr) -> Option<String> {
        let mut absent = 0;
        for _ in 0..50 {
            match self.census().await.owner(from, at) {
                Owner::Known(name) => return Some(name),
                Owner::Unknown => {}
                // A table that changes while it is read can miss a line.
                Owner::Absent if absent < 4 => absent += 1,
                Owner::Absent | Owner::Gone => return None,
            }
            let_pass(Duration::from_millis(10)).await;
        }
        Some("somebody else".to_owned())
    }

    /// A census that began after this call. It takes the system milliseconds: one serves all who wait for it.
    async fn census(&self) -> Arc<Census> {
        let called = Instant::now();
        let mut newest = self.newest.lock().await;
        if newest.as_ref().is_none_or(|census| census.begun < called) {
            let callers = lock(&self.callers).clone();
            let census = spawn_blocking(move || Census::take(&callers)).await.expect("a census does not panic");
            *newest = Some(Arc::new(census));
        }
        newest.clone().expect("it was just taken")
    }
}

impl Line {
    /// Waits until the line is not cut.
    async fn is_open(&mut self) {
        let pair = &self.pair;
        let _ = self.cuts.wait_for(|cuts| !cuts.contains(pair)).await;
    }
}

/// Who holds a socket.
enum Owner {
    Known(String),
    /// A process that is none of ours, or not known yet.
    Unknown,
    /// There is no such socket.
    Absent,
    /// Nobody any more.
    Gone,
}

/// All connections of this machine and who of ours holds them.
struct Census {
    begun: Instant,
    /// Both ends of a connection to the inode of the socket at the first. Both ends count: a port that is in use may
    /// be in the table a second time, of an earlier connection to somebody else that nobody holds any more.
    inodes: BTreeMap<(String, String), String>,
    holders: BTreeMap<String, String>,
}

impl Census {
    fn take(callers: &BTreeMap<u32, String>) -> Self {
        let begun = Instant::now();
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let inode = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some((((*words.get(1)?).to_owned(), (*words.get(2)?).to_owned()), (*words.get(9)?).to_owned()))
        };
        let inodes = table.lines().filter_map(inode).collect();
        let mut holders = BTreeMap::new();
        for (pid, name) in callers {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            for link in files.filter_map(|file| fs::read_link(file.path()).ok()) {
                let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
                holders.extend(inode.map(|inode| (inode.to_owned(), name.clone())));
            }
        }
        Self { begun, inodes, holders }
    }

    fn owner(&self, near: SocketAddr, far: SocketAddr) -> Owner {
        let (SocketAddr::V4(near), SocketAddr::V4(far)) = (near, far) else { return Owner::Unknown };
        let [near, far] =
            [near, far].map(|end| format!("{:08X}:{:04X}", u32::from_le_bytes(end.ip().octets()), end.port()));
        match self.inodes.get(&(near, far)) {
            None => Owner::Absent,
            Some(inode) if inode == "0" => Owner::Gone,
            Some(inode) => self.holders.get(inode).map_or(Owner::Unknown, |name| Owner::Known(name.clone())),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
