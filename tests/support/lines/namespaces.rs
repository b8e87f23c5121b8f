//! Network namespaces: one for the bridge, one for each process.
//!
//! A line is cut by a false entry in the neighbour tables of both ends: packets leave for a hardware address that
//! nobody has, and are lost without a word, those of open connections too.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    process::{self, Command},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

const NOBODY: &str = "02:00:00:00:00:fe";

/// The namespaces of one cluster. Dropping them removes them; their processes must have ended.
pub(crate) struct Namespaces {
    /// Unique on this machine; each namespace's name begins with it.
    prefix: String,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    names: Vec<String>,
    /// Who was given a false entry for whose address.
    cuts: BTreeSet<(String, Ipv4Addr)>,
}

impl Hosts {
    fn address_of(&self, name: &str) -> Ipv4Addr {
        address(self.names.iter().position(|host| host == name).expect("a host of this cluster") + 1)
    }
}

impl Namespaces {
    /// Lays the bridge. An error if namespaces can't be had.
    pub(crate) fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("p2p-chat-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespaces = Self { prefix, hosts: Mutex::default() };
        let hub = namespaces.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "hub", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "hub", "up"])?;
        Ok(namespaces)
    }

    /// Makes a namespace; its address, and the command that runs a program in it.
    pub(crate) fn add(&self, name: &str) -> (Ipv4Addr, Vec<String>) {
        let index = {
            let mut hosts = self.lock();
            hosts.names.push(name.to_owned());
            hosts.names.len()
        };
        let (namespace, hub, plug) = (self.namespace(name), self.hub(), format!("plug{index}"));
        let (own, hardware) = (address(index), format!("02:00:00:00:01:{index:02x}"));
        let commands: [&[&str]; 6] = [
            &["netns", "add", &namespace],
            &["link", "add", "line", "netns", &namespace, "type", "veth", "peer", "name", &plug, "netns", &hub],
            &["-n", &hub, "link", "set", &plug, "master", "hub", "up"],
            &["-n", &namespace, "addr", "add", &format!("{own}/24"), "dev", "line"],
            &["-n", &namespace, "link", "set", "line", "address", &hardware, "up"],
            &["-n", &namespace, "link", "set", "lo", "up"],
        ];
        for command in commands {
            ip(command).unwrap_or_else(|error| panic!("{error}"));
        }
        (own, ["ip", "netns", "exec", &namespace].map(str::to_owned).into())
    }

    pub(crate) fn cut(&self, left: &[&str], right: &[&str]) {
        let pairs = left.iter().flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
        for (from, to) in pairs {
            self.cut_one_way(from, to);
        }
    }

    pub(crate) fn cut_one_way(&self, from: &str, to: &str) {
        let mut hosts = self.lock();
        let to = hosts.address_of(to);
        let entry = ["neigh", "replace", &to.to_string(), "lladdr", NOBODY, "nud", "permanent", "dev", "line"];
        self.ip_in(from, &entry);
        hosts.cuts.insert((from.to_owned(), to));
    }

    pub(crate) fn mend(&self, from: &str, to: &str) {
        let mut hosts = self.lock();
        let to = hosts.address_of(to);
        if hosts.cuts.remove(&(from.to_owned(), to)) {
            self.ip_in(from, &["neigh", "del", &to.to_string(), "dev", "line"]);
        }
    }

    pub(crate) fn heal(&self) {
        let cuts = std::mem::take(&mut self.lock().cuts);
        for (from, to) in cuts {
            self.ip_in(&from, &["neigh", "del", &to.to_string(), "dev", "line"]);
        }
    }

    fn ip_in(&self, name: &str, args: &[&str]) {
        let namespace = self.namespace(name);
        let command: Vec<&str> = ["-n", &namespace].into_iter().chain(args.iter().copied()).collect();
        ip(&command).unwrap_or_else(|error| panic!("{error}"));
    }

    fn hub(&self) -> String {
        self.namespace("hub")
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let names = std::mem::take(&mut self.lock().names);
        for name in names.iter().map(String::as_str).chain(["hub"]) {
            let _ = ip(&["netns", "del", &self.namespace(name)]);
        }
    }
}

fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, index as u8)
}

fn ip(args: &[&str]) -> Result<(), String> {
    let failed = |why: String| format!("`ip {}` failed: {why}", args.join(" "));
    let output = Command::new("ip").args(args).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
