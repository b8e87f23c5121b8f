//! A discovery service and nodes, all of one test.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use p2p_chat_proto::v1::{self, Phase};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Ledger, Lines, Nds, NodeProcess, Writer, history,
    process::tail,
    wait::{ensure, eventually, secs},
};

/// The network of the tests.
pub(crate) const LAB: &str = "lab";

/// The name of a node that is in no network.
const VISITOR: &str = "visitor";

/// The machine bears two clusters at a time.
static TURNS: Semaphore = Semaphore::const_new(2);

/// All processes of a test. Dropping it ends them; if the test fails, the ends of their logs are printed.
pub(crate) struct Cluster {
    nodes: Vec<NodeProcess>,
    pub(crate) nds: Nds,
    pub(crate) ledger: Ledger,
    pub(crate) lines: Lines,
    dir: TempDir,
    keep: bool,
    is_patient: bool,
    _turn: SemaphorePermit<'static>,
}

/// Where a group stands that has come to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) epoch: u64,
    pub(crate) view_version: u64,
    pub(crate) leader: String,
    pub(crate) entries: u64,
}

impl Cluster {
    /// A discovery service alone.
    pub(crate) async fn new(lines: Lines) -> Self {
        Self::taking(lines, 1, false).await
    }

    /// As [`Self::new`], with the machine for itself.
    pub(crate) async fn alone(lines: Lines) -> Self {
        Self::taking(lines, 2, false).await
    }

    /// As [`Self::new`], of nodes that suspect each other four times as late: for stories in which nobody may seem dead
    /// who is not, and no call may be made twice, however busy the machine is.
    pub(crate) async fn patient(lines: Lines) -> Self {
        Self::taking(lines, 1, true).await
    }

    async fn taking(lines: Lines, turns: u32, is_patient: bool) -> Self {
        let turn = TURNS.acquire_many(turns).await.expect("the semaphore is never closed");
        let dir = tempfile::Builder::new().prefix("p2p-").tempdir().expect("a temporary directory can be made");
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).expect("the temporary directory is writable");
        let nds = Nds::start(dir.path().join("nds"), &logs, &lines, is_patient).await;
        let keep = std::env::var_os("P2P_CHAT_TEST_KEEP").is_some();
        let (nodes, ledger) = (Vec::new(), Ledger::default());
        Self { nodes, nds, ledger, lines, dir, keep, is_patient, _turn: turn }
    }

    /// A network of these nodes, which hold the node ids 1, 2, ... in this order.
    pub(crate) async fn of(lines: Lines, names: &[&str]) -> Self {
        let mut cluster = Self::new(lines).await;
        cluster.found(names).await;
        cluster
    }

    /// As [`Self::of`], of patient nodes (see [`Self::patient`]).
    pub(crate) async fn of_patient(lines: Lines, names: &[&str]) -> Self {
        let mut cluster = Self::patient(lines).await;
        cluster.found(names).await;
        cluster
    }

    /// Starts nodes in the network: the first creates it, the others join it, one after the other.
    pub(crate) async fn found(&mut self, names: &[&str]) {
        for name in names {
            let how = if self.nodes.is_empty() { "--create" } else { "--join" };
            self.add(name).await.start(&[how, LAB]).await;
            self.node(name).is_in(LAB).await;
        }
        self.rest(names).await;
    }

    /// A node that is not started yet.
    pub(crate) async fn add(&mut self, name: &str) -> &mut NodeProcess {
        let mut node = NodeProcess::new(name, self.data_dir(name), &self.logs(), self.nds.url(), &self.lines).await;
        node.is_patient = self.is_patient;
        self.nodes.push(node);
        self.node_mut(name)
    }

    /// A node by name.
    pub(crate) fn node(&self, name: &str) -> &NodeProcess {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// A node by name.
    pub(crate) fn node_mut(&mut self, name: &str) -> &mut NodeProcess {
        self.nodes.iter_mut().find(|node| node.name == name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &NodeProcess> {
        self.nodes.iter().filter(|node| node.runs())
    }

    /// Where the processes log to.
    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    /// Waits until all these nodes follow one leader, in one view that holds exactly them.
    pub(crate) async fn agree(&self, names: &[&str], deadline: Duration) -> Rest {
        eventually(deadline, format!("agreement of {names:?}"), async || self.agreement(names).await).await
    }

    async fn agreement(&self, names: &[&str]) -> Result<Rest, String> {
        let mut agreed: Option<Rest> = None;
        for name in names {
            let state = self.node(name).state().await?;
            let sound = state.phase() == Phase::Joined && state.active as usize == names.len() && state.leader_alive;
            ensure(sound, || format!("{name}: {state:?}"))?;
            ensure(state.leading == (state.leader_peer == self.node(name).peer), || format!("{name}: {state:?}"))?;
            let v1::NetworkState { epoch, view_version, leader_name: leader, entries, .. } = state;
            let rest = Rest { epoch, view_version, leader, entries };
            let before = agreed.get_or_insert_with(|| rest.clone());
            let same = Rest { entries: before.entries, ..rest.clone() } == *before;
            ensure(same, || format!("{name} stands at {rest:?}, another at {before:?}"))?;
        }
        let agreed = agreed.ok_or("nobody was asked")?;
        ensure(names.contains(&&*agreed.leader), || format!("{} leads", agreed.leader))?;
        Ok(agreed)
    }

    /// Waits until these nodes agree, and everybody has everything.
    pub(crate) async fn rest(&self, names: &[&str]) -> Rest {
        self.rest_within(names, secs(45)).await
    }

    /// As [`Self::rest`], with another deadline.
    pub(crate) async fn rest_within(&self, names: &[&str], deadline: Duration) -> Rest {
        eventually(deadline, format!("rest of {names:?}"), async || self.resting(names).await).await
    }

    /// Where these nodes stand, if they agree and everybody has everything.
    pub(crate) async fn resting(&self, names: &[&str]) -> Result<Rest, String> {
        let rest = self.agreement(names).await?;
        let entries = self.settled(names).await?;
        ensure(entries == rest.entries, || format!("{entries} entries, of {rest:?}"))?;
        Ok(rest)
    }

    /// How many entries each of these nodes has, if all have the same number, and none knows of one that another lacks;
    /// whoever else may be in the group.
    pub(crate) async fn settled(&self, names: &[&str]) -> Result<u64, String> {
        let mut entries = None;
        for name in names {
            let state = self.node(name).state().await?;
            let owed = state.owed.iter().filter(|owed| names.contains(&&*owed.member_name));
            let clean = state.held_back == 0
                && state.missing.iter().all(|missing| missing.entries == 0)
                && owed.map(|owed| owed.entries).sum::<u64>() == 0;
            let same = state.entries == *entries.get_or_insert(state.entries);
            ensure(clean && same, || format!("{name}: {state:?}, of {entries:?} entries"))?;
        }
        entries.ok_or_else(|| "nobody was asked".to_owned())
    }

    /// Waits for rest, then checks that nothing acknowledged was lost, doubled or misplaced at any of these nodes,
    /// and that all of them show the same.
    pub(crate) async fn assert_histories(&self, names: &[&str]) -> Rest {
        let begun = Instant::now();
        let rest = self.rest(names).await;
        let mut first: Option<Vec<v1::Message>> = None;
        for name in names {
            let history = self.node(name).history().await;
            let checked = history::check(&history, &self.ledger.lock());
            checked.unwrap_or_else(|error| panic!("the history of {name}: {error}"));
            let first = first.get_or_insert_with(|| history.clone());
            let equal = history::check_equal(first, &history);
            equal.unwrap_or_else(|error| panic!("the histories of {} and {name} differ: {error}", names[0]));
        }
        let messages = first.map_or(0, |history| history.len());
        super::figure(format!(
            "{messages} entries, {} acknowledged texts, equal at {names:?} ({:.1?} to rest and check)",
            self.ledger.acknowledged(),
            begun.elapsed()
        ));
        rest
    }

    /// Somebody talks at each of these nodes.
    pub(crate) fn talk(&self, names: &[&str], per_second: u32) -> Vec<Writer> {
        names.iter().map(|name| Writer::start(self.node(name), &self.ledger, per_second)).collect()
    }

    /// Ends the talk, and checks all that was promised: the histories of `names`, and what was shown live there.
    pub(crate) async fn conclude(&self, writers: Vec<Writer>, names: &[&str]) -> Rest {
        let mut recorders = Vec::new();
        for writer in writers {
            let (counts, recorder) = writer.stop().await;
            assert!(counts.acknowledged > 0, "{} said nothing: {counts:?}", recorder.name);
            recorders.push(recorder);
        }
        let rest = self.assert_histories(names).await;
        for recorder in recorders {
            if names.contains(&&*recorder.name) {
                let entries = rest.entries as usize;
                recorder.has_shown(entries).await;
            }
            recorder.check().unwrap_or_else(|error| panic!("{error}"));
        }
        rest
    }

    /// Where a node keeps its data.
    pub(crate) fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A node that is in no network. To a member, its node says what it knows itself; a visitor hears what the
    /// discovery service says, also where that can't be reached from here.
    pub(crate) async fn invite_visitor(&mut self) {
        self.add(VISITOR).await.start(&[]).await;
    }

    /// Waits until the visitor is told of the network what is wanted.
    pub(crate) async fn listed(&self, what: &str, wanted: impl Fn(&v1::NetworkInfo) -> bool) -> v1::NetworkInfo {
        eventually(secs(20), format!("a listing of the network: {what}"), async || {
            let info = self.listing().await?;
            if wanted(&info) { Ok(info) } else { Err(format!("it is listed as {info:?}")) }
        })
        .await
    }

    /// The network as the discovery service lists it to the visitor.
    pub(crate) async fn listing(&self) -> Result<v1::NetworkInfo, String> {
        let request = super::node::call(v1::NetworksRequest {});
        let response = self.node(VISITOR).client().networks(request).await.map_err(|status| status.to_string())?;
        let response = response.into_inner();
        ensure(response.unreachable.is_empty(), || format!("unreachable: {:?}", response.unreachable))?;
        let listed = response.networks.into_iter().find(|info| info.name == LAB).ok_or("it is not listed")?;
        assert!(!listed.joined, "the visitor is a member");
        Ok(listed)
    }

    /// Keeps the directory of all data and logs, should the test fail.
    pub(crate) fn keep_if_failed(&mut self) {
        self.keep = true;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut logs: Vec<PathBuf> =
            fs::read_dir(self.logs()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        logs.sort();
        for log in logs.iter().filter(|log| log.extension().is_some_and(|kind| kind == "err")) {
            eprintln!("--- {}\n{}", log.display(), tail(log, 40));
        }
        if self.keep {
            self.dir.disable_cleanup(true);
            eprintln!("--- kept: {}", self.dir.path().display());
        }
    }
}
