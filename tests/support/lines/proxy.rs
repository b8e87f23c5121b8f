//! TCP proxies, one in front of each process. A proxy finds out which process calls (the system knows whose socket
//! the other end is), so that the line between one pair can be cut while everybody else still gets through.
//!
//! A cut freezes: bytes wait, new connections are taken and get no answer; after the cut everything goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::support::let_pass;

/// How long a caller waits for a process that is still starting.
const START_DEADLINE: Duration = Duration::from_secs(30);

type Cuts = BTreeSet<(String, String)>;

/// All proxies of a cluster.
#[derive(Default)]
pub(crate) struct Switchboard {
    cuts: watch::Sender<Cuts>,
    callers: Arc<Mutex<BTreeMap<u32, String>>>,
    targets: Mutex<BTreeMap<String, watch::Sender<Option<String>>>>,
    proxies: Mutex<Vec<JoinHandle<()>>>,
}

/// The process behind a proxy.
#[derive(Clone)]
struct Callee {
    name: String,
    target: watch::Receiver<Option<String>>,
    cuts: watch::Receiver<Cuts>,
    callers: Arc<Mutex<BTreeMap<u32, String>>>,
}

/// The line from one caller to one process.
#[derive(Clone)]
struct Line {
    pair: (String, String),
    cuts: watch::Receiver<Cuts>,
}

impl Switchboard {
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
    let pair = (callee.caller(from, at).await, callee.name.clone());
    let mut line = Line { pair, cuts: callee.cuts.clone() };
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
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return line.is_open().await };
        line.is_open().await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

impl Callee {
    /// Who calls; a process that has just been started may not be known yet.
    async fn caller(&self, from: SocketAddr, at: SocketAddr) -> String {
        for _ in 0..50 {
            let found = owner(from, at, &lock(&self.callers));
            if let Some(name) = found {
                return name;
            }
            let_pass(Duration::from_millis(10)).await;
        }
        "somebody else".to_owned()
    }
}

impl Line {
    /// Waits until the line is not cut.
    async fn is_open(&mut self) {
        let pair = &self.pair;
        let _ = self.cuts.wait_for(|cuts| !cuts.contains(pair)).await;
    }
}

/// Which of `callers` holds the socket at the near end of a connection. Both ends count: a port that is in use may be
/// in the table a second time, of an earlier connection to somebody else that nobody holds any more.
fn owner(near: SocketAddr, far: SocketAddr, callers: &BTreeMap<u32, String>) -> Option<String> {
    let (SocketAddr::V4(near), SocketAddr::V4(far)) = (near, far) else { return None };
    let [near, far] =
        [near, far].map(|end| format!("{:08X}:{:04X}", u32::from_le_bytes(end.ip().octets()), end.port()));
    let is_it = |line: &&str| line.split_whitespace().skip(1).take(2).eq([near.as_str(), far.as_str()]);
    // A table that changes while it is read can miss a line.
    let inode = (0..5).find_map(|_| {
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        table.lines().find(is_it)?.split_whitespace().nth(9).map(str::to_owned)
    })?;
    let socket = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.map(|file| fs::read_link(file.path())).any(|link| link.is_ok_and(|link| link.as_os_str() == &*socket))
    };
    callers.iter().find(|(pid, _)| holds(pid)).map(|(_, name)| name.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
