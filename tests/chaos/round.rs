//! A group and its rounds: everybody talks while things go wrong; then all is healed, and the group has to come to
//! rest and show what it promised.

use std::{
    fs,
    time::{Duration, Instant},
};

use p2p_chat_proto::v1;

use crate::{
    havoc::{Havoc, Tally},
    schedule::{NAMES, NDS, Planned},
    support::{
        Cluster, Lines, Recorder, Writer,
        cluster::Rest,
        figure,
        wait::{ensure, secs, within},
    },
    verdict::{Compared, Histories, verdict},
};

/// How long a group may take to come to rest.
const REST_DEADLINE: Duration = secs(60);
/// What each writer says in a second.
const RATE: u32 = 20;
/// What a process may take of the memory at any time; a quiet one takes a tenth of that.
const MEMORY_LIMIT_KIB: u64 = 200 * 1024;

/// A cluster that lives through several rounds.
pub(crate) struct Group {
    cluster: Cluster,
    rounds: usize,
    epoch: u64,
}

/// What a round came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) tried: usize,
    pub(crate) acknowledged: usize,
    pub(crate) compared: Compared,
    pub(crate) converged_after: Duration,
}

impl Group {
    /// Five nodes in one network.
    pub(crate) async fn found(lines: Lines) -> Self {
        let mut cluster = Cluster::alone(lines).await;
        cluster.keep_if_failed();
        cluster.found(&NAMES).await;
        cluster.invite_visitor().await;
        Self { cluster, rounds: 0, epoch: 1 }
    }

    /// One round of faults, and the judgement.
    pub(crate) async fn live_through(&mut self, planned: &[Planned], lasts: Duration) -> Outcome {
        self.rounds += 1;
        let before = self.said();
        let topic = format!("{}.", self.rounds);
        let writers = NAMES.map(|name| {
            let node = self.cluster.node(name);
            Writer::start_about(&topic, node, &self.cluster.ledger, RATE)
        });
        let tally = Havoc::new(&mut self.cluster).wreak(planned, lasts).await;
        let healed = Instant::now();
        let mut recorders = Vec::new();
        for writer in writers {
            recorders.push(writer.stop().await.1);
        }
        self.nobody_fell();
        let mut obstacle = "nothing".to_owned();
        let left = REST_DEADLINE.saturating_sub(healed.elapsed());
        let rest = within(left, async || self.rest().await.inspect_err(|error| obstacle.clone_from(error))).await;
        let converged_after = healed.elapsed();
        let rest = match rest {
            Ok(rest) => rest,
            Err(complaint) => {
                panic!("no rest {converged_after:.1?} after the heal: {complaint}\n{}", self.standings().await)
            }
        };
        eprintln!("{:>6.1} s  at rest after {converged_after:.1?}; last in the way: {obstacle}", lasts.as_secs_f64());
        assert!(rest.epoch >= self.epoch, "the epoch went back from {} to {}", self.epoch, rest.epoch);
        self.epoch = rest.epoch;
        let compared = self.compare(&rest, &recorders.iter().map(|recorder| &**recorder).collect::<Vec<_>>()).await;
        self.nobody_fell();
        self.memory();
        let after = self.said();
        Outcome { tally, tried: after.0 - before.0, acknowledged: after.1 - before.1, compared, converged_after }
    }

    /// How many texts were tried, and how many acknowledged.
    fn said(&self) -> (usize, usize) {
        let book = self.cluster.ledger.lock();
        (book.attempted.len(), book.acknowledged.len())
    }

    /// One view of all five at every node, led by the lowest id, nothing missing anywhere, and the discovery service
    /// says the same.
    async fn rest(&self) -> Result<Rest, String> {
        let rest = self.cluster.resting(&NAMES).await?;
        let mut ids = Vec::new();
        for name in NAMES {
            ids.push((self.cluster.node(name).state().await?.node_id, name));
        }
        let lowest = ids.iter().min().map(|(_, name)| *name);
        ensure(lowest == Some(&*rest.leader), || format!("{} leads, of {ids:?}", rest.leader))?;
        let address = &self.cluster.node(&rest.leader).address;
        let info = self.cluster.listing().await?;
        let agrees = info.epoch == rest.epoch && &info.leader_address == address;
        let agrees = agrees && info.members as usize == NAMES.len() && !info.stale;
        ensure(agrees, || format!("the discovery service lists {info:?}, the nodes are at {rest:?}"))?;
        Ok(rest)
    }

    async fn compare(&self, rest: &Rest, recorders: &[&Recorder]) -> Compared {
        let mut histories = Histories::new();
        for name in NAMES {
            histories.insert(name, self.cluster.node(name).history().await);
        }
        let verdict = verdict(&histories, &self.cluster.ledger.lock());
        let compared = verdict.unwrap_or_else(|complaints| panic!("the promise is broken:\n{complaints}"));
        for recorder in recorders {
            recorder.has_shown(rest.entries as usize).await;
            recorder.check().unwrap_or_else(|error| panic!("{error}"));
        }
        compared
    }

    /// Checks that no process ended or panicked by itself.
    fn nobody_fell(&mut self) {
        for name in NAMES {
            let fallen = self.cluster.node_mut(name).fallen();
            assert!(fallen.is_none(), "{name} ended by itself: {fallen:?}");
        }
        let fallen = self.cluster.nds.process().finished();
        assert!(fallen.is_none(), "{NDS} ended by itself: {fallen:?}");
        for log in fs::read_dir(self.cluster.logs()).into_iter().flatten().flatten() {
            let said = fs::read(log.path()).unwrap_or_default();
            let panicked = String::from_utf8_lossy(&said).contains("panicked at");
            assert!(!panicked, "a process panicked: {}", log.path().display());
        }
    }

    /// Reports and judges what the processes take of the memory.
    fn memory(&mut self) {
        let mut taken: Vec<_> =
            NAMES.iter().map(|name| (*name, self.cluster.node(name).process().memory_kib())).collect();
        taken.push((NDS, self.cluster.nds.process().memory_kib()));
        let texts: Vec<String> =
            taken.iter().map(|(name, (now, peak))| format!("{name} {} ({})", now / 1024, peak / 1024)).collect();
        figure(format!("chaos: memory in MiB, now (and at its highest since its start): {}", texts.join(", ")));
        for (name, (_, peak)) in taken {
            assert!(peak < MEMORY_LIMIT_KIB, "{name} took {peak} KiB");
        }
    }

    /// Where everybody stands, for a person to read.
    async fn standings(&self) -> String {
        let mut text = String::new();
        for name in NAMES {
            let state = within(secs(3), async || self.cluster.node(name).state().await).await;
            text += &format!("    {name}: {}\n", state.map_or_else(|error| error, |state| standing(&state)));
        }
        let listing = within(secs(3), async || self.cluster.listing().await).await;
        text + &format!("    the discovery service lists {listing:?}\n")
    }
}

fn standing(state: &v1::NetworkState) -> String {
    let missing = state.missing.iter().map(|missing| format!("{} of {}", missing.entries, missing.author_name));
    let owed = state.owed.iter().map(|owed| format!("{} to {} ({})", owed.entries, owed.member_name, owed.way));
    format!(
        "{:?} as node {}, epoch {}, view {} with {} active, led by {} ({}), {} entries, {} held back; misses [{}], owes [{}] {}",
        state.phase(),
        state.node_id,
        state.epoch,
        state.view_version,
        state.active,
        state.leader_name,
        if state.leader_alive { "alive" } else { "not heard of" },
        state.entries,
        state.held_back,
        missing.collect::<Vec<_>>().join(", "),
        owed.collect::<Vec<_>>().join(", "),
        state.problem,
    )
}
