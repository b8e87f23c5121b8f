//! Where the node stands.

use p2p_chat_engine::{CursorState, Phase, Snapshot};
use p2p_chat_model::PeerId;
use p2p_chat_proto::v1;
use p2p_chat_store::StoreError;
use tonic::Status;

use super::{Local, show::name_of};
use crate::{
    directory::ServiceState,
    hub::Entry,
    network::{Look, Network, unreadable},
};

fn discovery(state: ServiceState) -> v1::DiscoveryState {
    let error = state.trouble.unwrap_or_default();
    let last_answer_age_ms = state.last_answer_age.map(|age| age.as_millis() as u64);
    v1::DiscoveryState {
        url: state.url,
        reachable: error.is_empty(),
        error,
        embedded: state.embedded,
        last_answer_age_ms,
    }
}

fn phase(look: &Look) -> v1::Phase {
    match look.snapshot.phase {
        _ if look.problem.is_some() => v1::Phase::Broken,
        Phase::Founding | Phase::Joining => v1::Phase::Joining,
        Phase::Joined => v1::Phase::Joined,
        Phase::Leaving => v1::Phase::Leaving,
        Phase::Left => v1::Phase::Left,
    }
}

/// How many members are active. One that has left may still be in the view, until the leader hears of it.
fn active(snapshot: &Snapshot) -> u32 {
    let has_left = |peer: &PeerId| snapshot.roster.member(peer).is_some_and(|member| !member.stands());
    let active = snapshot.view.iter().flat_map(|view| &view.active);
    active.filter(|member| !has_left(&member.peer)).count() as u32
}

/// How entries go to a member now.
fn way(snapshot: &Snapshot, cursor: &CursorState) -> String {
    let active = snapshot.view.as_ref().is_some_and(|view| view.member(&cursor.peer).is_some());
    match cursor.via {
        _ if !active => "away".to_owned(),
        Some(via) => format!("relayed by {}", name_of(&snapshot.roster, &via)),
        None if cursor.failing => "unreachable".to_owned(),
        None => "direct".to_owned(),
    }
}

/// What this node has written and members lack.
fn owed(snapshot: &Snapshot, me: PeerId) -> Vec<v1::Owed> {
    let written = snapshot.frontier.at(&me);
    let mut owed = Vec::new();
    for (peer, _) in snapshot.roster.iter().filter(|(peer, member)| **peer != me && member.stands()) {
        let known = snapshot.cursors.iter().find(|cursor| cursor.peer == *peer).cloned();
        let cursor = known.unwrap_or(CursorState { peer: *peer, acked: 0, via: None, failing: false });
        let entries = written.saturating_sub(cursor.acked);
        if entries > 0 {
            let member_name = name_of(&snapshot.roster, peer);
            owed.push(v1::Owed { member_name, member_peer: peer.to_string(), entries, way: way(snapshot, &cursor) });
        }
    }
    owed
}

fn missing(snapshot: &Snapshot) -> Vec<v1::Missing> {
    let missing = snapshot.missing.iter().map(|(author, upto)| v1::Missing {
        author_name: name_of(&snapshot.roster, &author),
        author_peer: author.to_string(),
        entries: upto.saturating_sub(snapshot.frontier.at(&author)),
        asking: snapshot.asking.get(&author).map_or(String::new(), |asked| name_of(&snapshot.roster, asked)),
    });
    missing.filter(|missing| missing.entries > 0).collect()
}

fn frozen(snapshot: &Snapshot) -> Vec<v1::Frozen> {
    let frozen = snapshot
        .frozen
        .iter()
        .map(|author| v1::Frozen { author_name: name_of(&snapshot.roster, author), author_peer: author.to_string() });
    frozen.collect()
}

impl Local {
    pub(super) async fn status_now(&self) -> v1::StatusResponse {
        let mut networks = Vec::new();
        for entry in self.hub.entries() {
            networks.push(self.state_of(&entry).await);
        }
        v1::StatusResponse {
            peer: self.hub.identity.peer().to_string(),
            name: self.hub.name.to_string(),
            address: self.hub.address.to_string(),
            data_dir: self.data_dir.display().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            discovery: self.hub.directory.states().into_iter().map(discovery).collect(),
            networks,
            uptime_ms: p2p_chat_metrics::process::start().elapsed().as_millis() as u64,
        }
    }

    /// How a network stands, in which an engine runs or not. What can't be read is a problem of that network alone.
    async fn look_at(&self, entry: &Entry) -> Look {
        if let Some(network) = &entry.network
            && let Some(look) = network.look().await
        {
            return look;
        }
        match self.snapshot(entry).await {
            Ok(snapshot) => Look { snapshot, problem: None },
            Err(error) => {
                let problem = Some(error.message().to_owned());
                Look { snapshot: unreadable(&self.hub.setup(entry.id)), problem }
            }
        }
    }

    async fn state_of(&self, entry: &Entry) -> v1::NetworkState {
        let (me, store) = (self.hub.identity.peer(), &self.hub.store);
        let mut look = self.look_at(entry).await;
        let read = async { Ok((store.unread_count(entry.id, me).await?, store.read_position(entry.id).await?)) };
        let read: Result<_, StoreError> = read.await;
        let (unread, read_position) = read.unwrap_or_else(|error| {
            look.problem.get_or_insert_with(|| error.to_string());
            (0, 0)
        });
        let snapshot = &look.snapshot;
        let leader = snapshot.view.as_ref().and_then(|view| view.leader());
        let entries = snapshot.frontier.iter().map(|(_, seq)| seq).sum();
        v1::NetworkState {
            name: entry.name.to_string(),
            id: entry.id.to_string(),
            phase: phase(&look).into(),
            node_id: snapshot.node.map_or(0, |node| node.0),
            epoch: snapshot.epoch.0,
            view_version: snapshot.view.as_ref().map_or(0, |view| view.version),
            leader_name: leader.map_or(String::new(), |leader| name_of(&snapshot.roster, &leader.peer)),
            leader_peer: leader.map_or(String::new(), |leader| leader.peer.to_string()),
            leader_address: leader.map_or(String::new(), |leader| leader.address.to_string()),
            // Whoever takes no part leads nobody, whatever the view on its disk says.
            leading: snapshot.leading && look.problem.is_none(),
            leader_alive: snapshot.leader_alive,
            members: snapshot.roster.len() as u32,
            active: active(snapshot),
            entries,
            held_back: snapshot.held as u64,
            missing: missing(snapshot),
            owed: if entry.network.is_some() { owed(snapshot, me) } else { Vec::new() },
            problem: look.problem.clone().unwrap_or_default(),
            unread,
            frozen: frozen(snapshot),
            read_position,
            unlisted: self.unlisted(snapshot),
        }
    }

    fn unlisted(&self, snapshot: &Snapshot) -> Vec<v1::Unlisted> {
        let services = self.hub.directory.states();
        let unlisted = |(service, why): (&usize, &String)| {
            services.get(*service).map(|state| v1::Unlisted { url: state.url.clone(), reason: why.clone() })
        };
        snapshot.unlisted.iter().filter_map(unlisted).collect()
    }

    /// A network the node is in.
    pub(super) async fn describe(&self, network: &Network) -> Result<v1::NetworkInfo, Status> {
        let look = network.look().await.ok_or_else(|| Status::aborted("the node has just left the network"))?;
        let view = look.snapshot.view.as_ref();
        let leader = view.and_then(|view| view.leader());
        Ok(v1::NetworkInfo {
            name: network.name.to_string(),
            id: network.id.to_string(),
            leader: leader.map_or(String::new(), |leader| name_of(&look.snapshot.roster, &leader.peer)),
            leader_address: leader.map_or(String::new(), |leader| leader.address.to_string()),
            epoch: look.snapshot.epoch.0,
            members: active(&look.snapshot),
            joined: true,
            stale: false,
        })
    }

    pub(super) async fn networks_now(&self) -> v1::NetworksResponse {
        let mut networks = Vec::new();
        let mut listed = self.hub.directory.list().await;
        for entry in self.hub.entries() {
            let stale = listed.iter().find(|listed| listed.id == entry.id).is_some_and(|listed| listed.stale);
            let own = match &entry.network {
                Some(network) => self.describe(network).await.ok(),
                None => None,
            };
            if let Some(own) = own {
                listed.retain(|listed| listed.id != entry.id);
                networks.push(v1::NetworkInfo { stale, ..own });
            } else if listed.iter().all(|listed| listed.id != entry.id) {
                let (name, id) = (entry.name.to_string(), entry.id.to_string());
                networks.push(v1::NetworkInfo { name, id, ..v1::NetworkInfo::default() });
            }
        }
        networks.extend(listed.into_iter().map(|listed| v1::NetworkInfo {
            name: listed.name.to_string(),
            id: listed.id.to_string(),
            leader: listed.record.leader.peer.short(),
            leader_address: listed.record.leader.address.to_string(),
            epoch: listed.record.leader.epoch.0,
            members: listed.members,
            joined: false,
            stale: listed.stale,
        }));
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let unreachable = self.hub.directory.states().into_iter().filter(|state| state.trouble.is_some());
        v1::NetworksResponse { networks, unreachable: unreachable.map(discovery).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::local::fixture::snapshot;

    #[test]
    fn what_is_missing_is_told_by_author_with_whom_it_is_asked_for() {
        let peer = |byte| PeerId::new([byte; 32]);
        let (alice, bob, carol) = (peer(1), peer(2), peer(3));
        let snapshot = Snapshot {
            frontier: [(alice, 2)].into_iter().collect(),
            missing: [(alice, 5), (bob, 1)].into_iter().collect(),
            asking: BTreeMap::from([(bob, carol)]),
            ..snapshot()
        };
        let told: Vec<_> = missing(&snapshot).into_iter().map(|it| (it.author_peer, it.entries, it.asking)).collect();
        let expected = [(alice.to_string(), 3, String::new()), (bob.to_string(), 1, carol.short())];
        assert_eq!(told, expected);
    }
}
