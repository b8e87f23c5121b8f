//! What lies between the processes of a cluster, and how to cut it.
//!
//! - direct: loopback, nothing can be cut.
//! - wired: each process in a network namespace of its own, on one bridge. A cut line swallows packets, as in life.
//!   Needs root and `ip`. Nothing outside the namespaces is touched.
//! - proxied: in front of each process a TCP proxy that knows who calls, and freezes what is cut. Needs nothing.

mod namespaces;
mod proxy;

use std::{
    net::Ipv4Addr,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use namespaces::Namespaces;
use proxy::Switchboard;

/// Where a process sits.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// What to give `--listen`.
    pub(crate) listen: String,
    /// What to give `--advertise`, if it is not the same.
    pub(crate) advertise: Option<String>,
    /// The command that puts it there.
    pub(crate) prefix: Vec<String>,
}

/// The lines of one cluster. They are laid when it begins, and gone when the last handle is dropped.
#[derive(Clone)]
pub(crate) enum Lines {
    Direct,
    Proxied(Arc<Switchboard>),
    Wired(Arc<Namespaces>),
}

impl Lines {
    /// Lines through proxies.
    pub(crate) fn proxied() -> Self {
        Self::Proxied(Arc::default())
    }

    /// Lines through proxies on which everything is under way for `delay`, each way.
    pub(crate) fn slow(delay: Duration) -> Self {
        Self::Proxied(Arc::new(Switchboard::slow(delay)))
    }

    /// Lines between network namespaces; an error if this machine won't have it.
    pub(crate) fn wired() -> Result<Self, String> {
        Namespaces::new().map(|namespaces| Self::Wired(Arc::new(namespaces)))
    }

    /// The best lines that can be cut on this machine.
    pub(crate) fn that_can_be_cut() -> Self {
        Self::wired().unwrap_or_else(|_| Self::proxied())
    }

    /// What they are, for a report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Direct => "directly",
            Self::Proxied(_) => "behind proxies",
            Self::Wired(_) => "in namespaces",
        }
    }

    /// Makes room for a process. Where addresses are its own, it listens at `port`.
    pub(crate) async fn seat(&self, name: &str, port: u16) -> Seat {
        let listen = format!("{}:0", loopback());
        match self {
            Self::Direct => Seat { listen, advertise: None, prefix: Vec::new() },
            Self::Proxied(board) => {
                Seat { listen, advertise: Some(board.open(name, loopback()).await), prefix: Vec::new() }
            }
            Self::Wired(namespaces) => {
                let (ip, prefix) = namespaces.add(name);
                Seat { listen: format!("{ip}:{port}"), advertise: None, prefix }
            }
        }
    }

    /// Tells whose calls come from this process id.
    pub(crate) fn spawned(&self, name: &str, pid: u32) {
        if let Self::Proxied(board) = self {
            board.spawned(name, pid);
        }
    }

    /// Tells where a process listens.
    pub(crate) fn listens(&self, name: &str, address: &str) {
        if let Self::Proxied(board) = self {
            board.listens(name, address);
        }
    }

    /// Cuts every line between one of `left` and one of `right`, both ways; what is under way stays there.
    pub(crate) fn cut(&self, left: &[&str], right: &[&str]) {
        match self {
            Self::Direct => panic!("direct lines can't be cut"),
            Self::Proxied(board) => board.cut(left, right),
            Self::Wired(namespaces) => namespaces.cut(left, right),
        }
    }

    /// Cuts one direction: packets from one to the other are lost; between proxies, calls of the one at the other.
    pub(crate) fn cut_one_way(&self, from: &str, to: &str) {
        match self {
            Self::Direct => panic!("direct lines can't be cut"),
            Self::Proxied(board) => board.cut_one_way(from, to),
            Self::Wired(namespaces) => namespaces.cut_one_way(from, to),
        }
    }

    /// Mends one direction.
    pub(crate) fn mend(&self, from: &str, to: &str) {
        match self {
            Self::Direct => {}
            Self::Proxied(board) => board.mend(from, to),
            Self::Wired(namespaces) => namespaces.mend(from, to),
        }
    }

    /// Mends every line.
    pub(crate) fn heal(&self) {
        match self {
            Self::Direct => {}
            Self::Proxied(board) => board.heal(),
            Self::Wired(namespaces) => namespaces.heal(),
        }
    }
}

/// An address of this machine that no other process uses: outgoing connections come from 127.0.0.1, so a port that
/// the system chose here is free again for a restart.
pub(crate) fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, high, low_high, low] = process::id().to_be_bytes();
    let next = (NEXT.fetch_add(1, Ordering::Relaxed) % 254 + 1) as u8;
    Ipv4Addr::new(127, 16 + (low_high ^ high << 4) % 224, low, next)
}
