//! Views: who is active now, as the leader says.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    DecodeError, Epoch, NodeId, PeerId,
    codec::{Reader, Writer},
    limits::{MAX_ADDRESS_BYTES, MAX_MEMBERS},
};

/// An address that is not `HOST:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address must be HOST:PORT with a port from 1 to 65535 and at most {MAX_ADDRESS_BYTES} bytes")]
pub struct AddressError;

/// Where a node listens: `HOST:PORT`, the host a name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Address {
    /// Takes an address that was written as bytes after their length.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.bytes(MAX_ADDRESS_BYTES, "address")?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::OutOfRange("address"))?;
        text.parse().map_err(|AddressError| DecodeError::OutOfRange("address"))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_good = match bare {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
        };
        let port_is_good = port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        if host_is_good && port_is_good && text.len() <= MAX_ADDRESS_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(AddressError)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One line of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveMember {
    /// The number given at join.
    pub node: NodeId,
    /// Who it is.
    pub peer: PeerId,
    /// Where it listens.
    pub address: Address,
    /// The joiner's request number: a join that is repeated after a lost reply gets the same answer.
    pub join_request: u64,
}

/// Why a view is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Nobody is active, or more than [`MAX_MEMBERS`] are.
    #[error("a view has 1 to {MAX_MEMBERS} active members, not {0}")]
    Size(usize),
    /// Node ids do not ascend: one occurs twice, or the list is not sorted.
    #[error("node id {0} is not in ascending order")]
    Order(NodeId),
    /// One peer holds two node ids.
    #[error("node id {0} belongs to a peer that has another one")]
    Peer(NodeId),
    /// The leader is not active.
    #[error("the leader, node {0}, is not active")]
    Leader(NodeId),
    /// A node id is 0, or not below `next_id`.
    #[error("node id {0} was never given")]
    NextId(NodeId),
    /// Epochs and versions count from 1.
    #[error("epochs and versions count from 1")]
    Zero,
}

/// Who is active, issued by the leader of `epoch`. Valid by construction through [`View::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The leader's reign.
    pub epoch: Epoch,
    /// Grows with every change within a reign, and never falls from one reign to the next.
    pub version: u64,
    /// Who leads.
    pub leader: NodeId,
    /// The id that the next member will get.
    pub next_id: NodeId,
    /// The active members in ascending order of their ids.
    pub active: Vec<ActiveMember>,
}

impl View {
    /// The first view of a network: its creator alone, node 1, leading epoch 1.
    pub fn founding(creator: PeerId, address: Address) -> Self {
        let founder = ActiveMember { node: NodeId(1), peer: creator, address, join_request: 0 };
        Self { epoch: Epoch(1), version: 1, leader: NodeId(1), next_id: NodeId(2), active: vec![founder] }
    }

    /// Checks that the view does not contradict itself.
    pub fn check(&self) -> Result<(), ViewError> {
        if self.active.is_empty() || self.active.len() > MAX_MEMBERS {
            return Err(ViewError::Size(self.active.len()));
        }
        if self.epoch.0 == 0 || self.version == 0 {
            return Err(ViewError::Zero);
        }
        let mut last = NodeId(0);
        let mut peers = BTreeSet::new();
        for member in &self.active {
            if member.node <= last {
                return Err(ViewError::Order(member.node));
            }
            last = member.node;
            if !peers.insert(member.peer) {
                return Err(ViewError::Peer(member.node));
            }
        }
        if last >= self.next_id {
            return Err(ViewError::NextId(last));
        }
        self.leader().map(|_| ()).ok_or(ViewError::Leader(self.leader))
    }

    /// The leader's line.
    pub fn leader(&self) -> Option<&ActiveMember> {
        self.node(self.leader)
    }

    /// The line of a node id.
    pub fn node(&self, node: NodeId) -> Option<&ActiveMember> {
        self.active.iter().find(|member| member.node == node)
    }

    /// The line of a peer.
    pub fn member(&self, peer: &PeerId) -> Option<&ActiveMember> {
        self.active.iter().find(|member| member.peer == *peer)
    }

    /// Whether `votes` are more than half of the active members.
    pub fn is_majority(&self, votes: usize) -> bool {
        votes * 2 > self.active.len()
    }

    /// Appends the canonical encoding.
    pub fn encode(&self, writer: &mut Writer) {
        writer.varint(self.epoch.0).varint(self.version).varint(self.leader.0).varint(self.next_id.0);
        writer.varint(self.active.len() as u64);
        for member in &self.active {
            writer.varint(member.node.0).fixed(member.peer.as_bytes());
            writer.bytes(member.address.as_str().as_bytes()).varint(member.join_request);
        }
    }

    /// Takes what [`View::encode`] wrote. A view that contradicts itself is refused.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = Epoch(reader.varint("view epoch")?);
        let version = reader.varint("view version")?;
        let leader = NodeId(reader.varint("view leader")?);
        let next_id = NodeId(reader.varint("next node id")?);
        let mut active = Vec::new();
        for _ in 0..reader.count(MAX_MEMBERS, "view size")? {
            let node = NodeId(reader.varint("node id")?);
            let peer = PeerId::new(reader.array("active peer")?);
            let address = Address::decode(reader)?;
            active.push(ActiveMember { node, peer, address, join_request: reader.varint("join request")? });
        }
        let view = Self { epoch, version, leader, next_id, active };
        view.check()?;
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, peer: u8) -> ActiveMember {
        let address = "10.0.0.1:7500".parse().expect("an address");
        ActiveMember { node: NodeId(node), peer: PeerId::new([peer; 32]), address, join_request: 0 }
    }

    fn view(active: Vec<ActiveMember>) -> View {
        View { epoch: Epoch(1), version: 1, leader: NodeId(1), next_id: NodeId(4), active }
    }

    #[test]
    fn views_that_contradict_themselves_are_refused() {
        assert_eq!(view(vec![member(1, 1), member(3, 3)]).check(), Ok(()));
        assert_eq!(view(vec![]).check(), Err(ViewError::Size(0)));
        assert_eq!(view(vec![member(1, 1), member(1, 2)]).check(), Err(ViewError::Order(NodeId(1))));
        assert_eq!(view(vec![member(1, 1), member(2, 1)]).check(), Err(ViewError::Peer(NodeId(2))));
        assert_eq!(view(vec![member(2, 1)]).check(), Err(ViewError::Leader(NodeId(1))));
        assert_eq!(view(vec![member(1, 1), member(4, 2)]).check(), Err(ViewError::NextId(NodeId(4))));
        assert_eq!(view(vec![member(0, 1)]).check(), Err(ViewError::Order(NodeId(0))));
        assert_eq!(View { version: 0, ..view(vec![member(1, 1)]) }.check(), Err(ViewError::Zero));
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:7500", "alice:7500", "a-b.example_1.org:1", "[::1]:7500"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in ["", "alice", "alice:", ":7500", "alice:0", "alice:65536", "alice:+1", "::1:7500", "a b:1", "[x]:1"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
