//! Messages, members and custody, as users see them.

use std::collections::BTreeMap;

use p2p_chat_engine::{Roster, Snapshot};
use p2p_chat_model::{Entry, EntryKind, Header, NodeId, PeerId, RosterOp, Seq, VectorClock, name::printable};
use p2p_chat_proto::v1;
use p2p_chat_store::{Lookup, StoredMessage, Way};
use tonic::Status;

use super::{Local, hub_status, store_status};
use crate::{hub::Entry as Known, network::dormant};

/// Messages read at a time.
pub(super) const PAGE: u32 = 256;
/// Shortest beginning of a message id that is looked up.
const MIN_PREFIX: usize = 4;

/// The name of a member, or the beginning of its identity.
pub(super) fn name_of(roster: &Roster, peer: &PeerId) -> String {
    roster.member(peer).map_or_else(|| peer.short(), |member| member.name.as_str().to_owned())
}

/// A message as users see it.
pub(super) fn message(network: &str, roster: &Roster, stored: &StoredMessage) -> v1::Message {
    let (kind, text) = content(roster, stored);
    v1::Message {
        network: network.to_owned(),
        id: stored.id.to_string(),
        author: stored.author.to_string(),
        author_name: name_of(roster, &stored.author),
        seq: stored.seq,
        lamport: stored.lamport,
        time_ms: stored.wall_ms.min(stored.arrived_ms),
        kind: kind.to_owned(),
        text,
        position: stored.position,
        late: stored.late,
    }
}

fn content(roster: &Roster, stored: &StoredMessage) -> (&'static str, String) {
    let header = Header { lamport: 0, wall_ms: 0, clock: VectorClock::new(), kind: stored.kind };
    let op = || Entry { header: header.clone(), body: stored.body.clone() }.roster_op().ok().flatten();
    let author = || name_of(roster, &stored.author);
    match stored.kind {
        EntryKind::Text => ("text", text_of(&stored.body)),
        EntryKind::Genesis => ("create", format!("{} created the network", author())),
        EntryKind::Leave => ("leave", format!("{} left", author())),
        EntryKind::Admit => match op() {
            Some(RosterOp::Admit { name, .. }) => ("admit", format!("{} admitted {name}", author())),
            _ => ("admit", format!("{} admitted somebody", author())),
        },
        EntryKind::Unknown(_) => ("unknown", String::new()),
    }
}

/// What is stored was checked to be UTF-8: so this costs one look at it, and a lossy conversion more.
fn text_of(body: &[u8]) -> String {
    str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

impl Local {
    /// How things stand in a network, also in one that was left.
    pub(super) async fn snapshot(&self, entry: &Known) -> Result<Snapshot, Status> {
        if let Some(network) = &entry.network
            && let Some(look) = network.look().await
        {
            return Ok(look.snapshot);
        }
        let snapshot = dormant(&self.hub.setup(entry.id), &self.hub.store).await;
        snapshot
            .map_err(|error| store_status(&error))?
            .ok_or_else(|| Status::aborted(format!("nothing is known of network {} yet", entry.name)))
    }

    pub(super) async fn members_of(&self, wanted: &str) -> Result<Vec<v1::Member>, Status> {
        let entry = self.hub.find(wanted).map_err(hub_status)?;
        let snapshot = self.snapshot(&entry).await?;
        let me = self.hub.identity.peer();
        let mut members: Vec<v1::Member> = Vec::new();
        for (peer, known) in snapshot.roster.iter() {
            let active = snapshot.view.as_ref().and_then(|view| view.member(peer)).filter(|_| known.stands());
            let state = match (known.stands(), active) {
                (false, _) => "left",
                (true, Some(_)) => "active",
                (true, None) => "away",
            };
            let node = active.map_or(NodeId(0), |member| member.node);
            members.push(v1::Member {
                name: known.name.to_string(),
                peer: peer.to_string(),
                node_id: node.0,
                role: if known.founder { "owner" } else { "member" }.to_owned(),
                state: state.to_owned(),
                address: active.map_or(String::new(), |member| member.address.to_string()),
                leader: snapshot.view.as_ref().is_some_and(|view| active.is_some() && view.leader == node),
                me: *peer == me,
                stored: stored_of(&snapshot, peer, me),
            });
        }
        // Active ones by id, then those that are away, then those that left.
        let rank = |member: &v1::Member| (member.state == "left", member.node_id == 0, member.node_id);
        members.sort_by_key(rank);
        Ok(members)
    }

    pub(super) async fn inspect_message(&self, request: v1::InspectRequest) -> Result<v1::InspectResponse, Status> {
        let entry = self.hub.find(&request.network).map_err(hub_status)?;
        let is_digit = |c: char| c.is_ascii_hexdigit() || c == '-';
        if request.message.len() < MIN_PREFIX || !request.message.chars().all(is_digit) {
            let text = format!("a message id is a UUID; give at least its first {MIN_PREFIX} characters");
            return Err(Status::invalid_argument(text));
        }
        let found = self.hub.store.by_id(entry.id, &request.message).await.map_err(|error| store_status(&error))?;
        let shown = printable(&request.message);
        let stored = match found {
            Lookup::Found(stored) => stored,
            Lookup::Missing => {
                return Err(Status::not_found(format!("no message of {} has the id {shown}", entry.name)));
            }
            Lookup::Ambiguous => {
                return Err(Status::invalid_argument(format!(
                    "more than one message id begins with {shown}; give more of it"
                )));
            }
        };
        let snapshot = self.snapshot(&entry).await?;
        let custody = self.custody(&entry, &snapshot, &stored).await?;
        let shown = message(entry.name.as_str(), &snapshot.roster, &stored);
        Ok(v1::InspectResponse { message: Some(shown), custody })
    }

    async fn custody(
        &self,
        entry: &Known,
        snapshot: &Snapshot,
        stored: &StoredMessage,
    ) -> Result<Vec<v1::Custody>, Status> {
        let me = self.hub.identity.peer();
        let mut known: BTreeMap<PeerId, (u64, String)> = BTreeMap::new();
        known.insert(stored.author, (stored.wall_ms.min(stored.arrived_ms), "author".to_owned()));
        if stored.author == me {
            if let Some(network) = &entry.network {
                network.write_down().await;
            }
            let acks = self.hub.store.custody(entry.id, stored.seq).await.map_err(|error| store_status(&error))?;
            for ack in acks {
                let way = match ack.way {
                    Way::Direct => "direct".to_owned(),
                    Way::Relayed(by) => format!("relayed by {}", name_of(&snapshot.roster, &by)),
                    Way::Fetched => "fetched".to_owned(),
                };
                known.entry(ack.peer).or_insert((ack.time_ms, way));
            }
        } else {
            known.insert(me, (stored.arrived_ms, String::new()));
        }
        let others = if stored.author == me { "not yet" } else { "unknown" };
        let members = snapshot.roster.iter().filter(|(peer, member)| member.stands() || known.contains_key(peer));
        let custody = members.map(|(peer, member)| {
            let hold = known.get(peer);
            v1::Custody {
                member_name: member.name.to_string(),
                member_peer: peer.to_string(),
                state: if hold.is_some() { "stored" } else { others }.to_owned(),
                time_ms: hold.map_or(0, |(time, _)| *time),
                way: hold.map_or(String::new(), |(_, way)| way.clone()),
                active: snapshot.view.as_ref().is_some_and(|view| view.member(peer).is_some()),
            }
        });
        Ok(custody.collect())
    }
}

/// Up to where a member is known to have the own feed.
fn stored_of(snapshot: &Snapshot, peer: &PeerId, me: PeerId) -> Seq {
    if *peer == me {
        return snapshot.frontier.at(&me);
    }
    snapshot.cursors.iter().find(|cursor| cursor.peer == *peer).map_or(0, |cursor| cursor.acked)
}

/// Whether users see entries of this kind.
pub(super) fn is_shown(kind: EntryKind) -> bool {
    !matches!(kind, EntryKind::Unknown(_))
}
