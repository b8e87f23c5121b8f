//! Carries the planned faults out on the processes of a cluster, and takes them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    schedule::{Fault, NAMES, NDS, Planned, Victim},
    support::{Cluster, let_pass, wait::within},
};

/// Processes that may be down or stopped at one time, but for a loss of all power: the others have something to do.
const MAX_ABSENT: usize = 3;
/// Directions that may be cut at one time, of the 30 that there are.
const MAX_CUTS: usize = 8;
/// How long to look for the leader.
const LOOK: Duration = Duration::from_secs(1);

/// How often each fault was carried out.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    pub(crate) of_the_service: usize,
    pub(crate) of_leaders: usize,
    pub(crate) power_cuts: usize,
    pub(crate) stops: usize,
    pub(crate) cuts: usize,
    pub(crate) one_way: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.of_the_service += other.of_the_service;
        self.of_leaders += other.of_leaders;
        self.power_cuts += other.power_cuts;
        self.stops += other.stops;
        self.cuts += other.cuts;
        self.one_way += other.one_way;
        self.skipped += other.skipped;
    }
}

/// The faults that are under way.
pub(crate) struct Havoc<'a> {
    cluster: &'a mut Cluster,
    begun: Instant,
    down: BTreeSet<&'static str>,
    still: BTreeSet<&'static str>,
    cut: BTreeSet<(&'static str, &'static str)>,
    tally: Tally,
}

impl<'a> Havoc<'a> {
    pub(crate) fn new(cluster: &'a mut Cluster) -> Self {
        Self {
            cluster,
            begun: Instant::now(),
            down: BTreeSet::new(),
            still: BTreeSet::new(),
            cut: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Lets a round of faults pass, then takes back what is still under way.
    pub(crate) async fn wreak(mut self, planned: &[Planned], round: Duration) -> Tally {
        let mut steps: Vec<(Duration, usize, bool)> = Vec::new();
        for (index, fault) in planned.iter().enumerate() {
            steps.extend([(fault.at, index, true), (fault.at + fault.lasts, index, false)]);
        }
        steps.retain(|(at, ..)| *at < round);
        steps.sort_unstable();
        let mut hit: BTreeMap<usize, Vec<&'static str>> = BTreeMap::new();
        for (at, index, begins) in steps {
            let_pass(at.saturating_sub(self.begun.elapsed())).await;
            let fault = planned[index].fault;
            if begins {
                hit.insert(index, self.begin(fault).await);
            } else {
                self.end(fault, hit.remove(&index).unwrap_or_default()).await;
            }
        }
        let_pass(round.saturating_sub(self.begun.elapsed())).await;
        self.heal().await;
        self.tally
    }

    /// Lets something go wrong, unless too much is wrong already. Returns what was hit.
    async fn begin(&mut self, fault: Fault) -> Vec<&'static str> {
        let hit = match fault {
            Fault::Cut { from, to, both_ways } => self.sever(from, to, both_ways),
            Fault::Kill(victim) => {
                let hit = self.choose(victim).await;
                for name in &hit {
                    self.kill(name);
                }
                self.tally.kills += hit.len();
                self.tally.power_cuts += usize::from(victim == Victim::Everybody);
                self.tally.of_the_service += hit.iter().filter(|name| **name == NDS).count();
                hit
            }
            Fault::Stop(victim) => {
                let hit = self.choose(victim).await;
                for name in &hit {
                    self.signal(name, Signal::STOP);
                    self.still.insert(name);
                }
                self.tally.stops += hit.len();
                hit
            }
        };
        self.tally.skipped += usize::from(hit.is_empty());
        if !hit.is_empty() {
            self.note(&format!("{fault:?}: {}", hit.join(" ")));
        }
        hit
    }

    async fn end(&mut self, fault: Fault, hit: Vec<&'static str>) {
        if hit.is_empty() {
            return;
        }
        match fault {
            Fault::Cut { from, to, both_ways } => {
                self.mend(from, to);
                if both_ways {
                    self.mend(to, from);
                }
            }
            Fault::Kill(_) => {
                for name in &hit {
                    self.raise(name).await;
                }
            }
            Fault::Stop(_) => {
                for name in &hit {
                    self.wake(name);
                }
            }
        }
        self.note(&format!("over: {fault:?}: {}", hit.join(" ")));
    }

    async fn choose(&mut self, victim: Victim) -> Vec<&'static str> {
        let standing = |name: &&str| !self.down.contains(name) && !self.still.contains(name);
        let victims: Vec<&'static str> = match victim {
            Victim::Everybody => {
                return NAMES.into_iter().chain([NDS]).filter(|name| !self.down.contains(name)).collect();
            }
            Victim::Named(name) => [name].into_iter().filter(standing).collect(),
            Victim::Leader => self.leader(NAMES.into_iter().filter(standing).collect()).await.into_iter().collect(),
        };
        if self.down.len() + self.still.len() >= MAX_ABSENT {
            return Vec::new();
        }
        self.tally.of_leaders += if victim == Victim::Leader { victims.len() } else { 0 };
        victims
    }

    /// Who of these leads by its own account.
    async fn leader(&self, names: Vec<&'static str>) -> Option<&'static str> {
        for name in names {
            let state = within(LOOK, async || self.cluster.node(name).state().await).await;
            if state.is_ok_and(|state| state.leading) {
                return Some(name);
            }
        }
        None
    }

    fn sever(&mut self, from: &'static str, to: &'static str, both_ways: bool) -> Vec<&'static str> {
        let directions = if both_ways { vec![(from, to), (to, from)] } else { vec![(from, to)] };
        if directions.iter().any(|pair| self.cut.contains(pair)) || self.cut.len() + directions.len() > MAX_CUTS {
            return Vec::new();
        }
        for (from, to) in directions {
            self.cluster.lines.cut_one_way(from, to);
            self.cut.insert((from, to));
        }
        self.tally.cuts += 1;
        self.tally.one_way += usize::from(!both_ways);
        vec![from, to]
    }

    fn mend(&mut self, from: &'static str, to: &'static str) {
        self.cluster.lines.mend(from, to);
        self.cut.remove(&(from, to));
    }

    fn kill(&mut self, name: &'static str) {
        match name {
            NDS => self.cluster.nds.kill(),
            node => self.cluster.node_mut(node).kill(),
        }
        self.still.remove(name);
        self.down.insert(name);
    }

    async fn raise(&mut self, name: &'static str) {
        if self.down.remove(name) {
            match name {
                NDS => self.cluster.nds.restart().await,
                node => self.cluster.node_mut(node).restart().await,
            }
        }
    }

    fn wake(&mut self, name: &'static str) {
        if self.still.remove(name) {
            self.signal(name, Signal::CONT);
        }
    }

    fn signal(&mut self, name: &str, signal: Signal) {
        match name {
            NDS => self.cluster.nds.process().signal(signal),
            node => self.cluster.node(node).process().signal(signal),
        }
    }

    /// All lines are whole, all processes run.
    async fn heal(&mut self) {
        self.cluster.lines.heal();
        self.cut.clear();
        for name in NAMES.into_iter().chain([NDS]) {
            self.wake(name);
            self.raise(name).await;
        }
        self.note("healed");
    }

    /// Shown by the test harness if the test fails.
    fn note(&self, what: &str) {
        eprintln!("{:>6.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }
}
