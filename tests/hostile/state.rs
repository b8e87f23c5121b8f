//! All that an outsider, a member or a user could have changed.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_proto::v1::{self, discovery_client::DiscoveryClient};

use crate::support::{
    Cluster, NodeProcess, eventually,
    wait::{ensure, secs},
};

/// Everything that has to be the same before and after.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    nodes: BTreeMap<String, Facts>,
    records: Vec<v1::NetworkRecord>,
}

#[derive(Debug, Clone, PartialEq)]
struct Facts {
    identity: (String, String, String),
    networks: Vec<v1::NetworkState>,
    members: Vec<v1::Member>,
    history: Vec<v1::Message>,
}

impl State {
    /// Reads it once it does not change any more by itself.
    pub(crate) async fn at_rest(cluster: &Cluster) -> Self {
        let mut last = Self::read(cluster).await;
        let mut equal = 0;
        let names: Vec<&str> = cluster.running().map(|node| node.name.as_str()).collect();
        eventually(secs(60), "rest before the hostile calls", async || {
            // An acknowledgement that is tried again only after seconds looks like rest meanwhile.
            cluster.settled(&names).await.inspect_err(|_| equal = 0)?;
            let now = Self::read(cluster).await;
            equal = if now == last { equal + 1 } else { 0 };
            let difference = last.difference(&now);
            last = now;
            ensure(equal > 20, || format!("{difference:?}"))
        })
        .await;
        last
    }

    /// Reads it.
    pub(crate) async fn read(cluster: &Cluster) -> Self {
        let mut nodes = BTreeMap::new();
        for node in cluster.running() {
            nodes.insert(node.name.clone(), Facts::read(node).await);
        }
        let listed =
            DiscoveryClient::new(cluster.nds.channel()).list_networks(v1::ListNetworksRequest::default()).await;
        let mut records = listed.expect("the discovery service answers").into_inner().records;
        // The lease runs on by itself.
        records.iter_mut().for_each(|record| record.stale = false);
        Self { nodes, records }
    }

    /// What is different, for people.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        let (before, after) = (format!("{self:#?}"), format!("{other:#?}"));
        let kept: BTreeSet<&str> = before.lines().collect();
        let left: BTreeSet<&str> = after.lines().collect();
        let gone = before.lines().filter(|line| !left.contains(line)).map(|line| format!("-{}", line.trim()));
        let new = after.lines().filter(|line| !kept.contains(line)).map(|line| format!("+{}", line.trim()));
        Some(gone.chain(new).take(12).collect::<Vec<_>>().join(" "))
    }
}

impl Facts {
    async fn read(node: &NodeProcess) -> Self {
        let status =
            node.status().await.unwrap_or_else(|error| panic!("{error}; its log: {}", node.process().tail(20)));
        let mut networks = status.networks;
        for network in &mut networks {
            // What others claim to have, and what is under way, is no state of this node's.
            (network.missing, network.owed) = (Vec::new(), Vec::new());
            network.leader_alive = true;
            // Nor is the proof that somebody has contradicted itself: it is kept beside all of this.
            network.frozen = Vec::new();
        }
        let identity = (status.peer, status.name, status.address);
        let members = node.members().await.unwrap_or_else(|status| panic!("{}: {status}", node.name));
        Self { identity, networks, members, history: node.history().await }
    }
}
