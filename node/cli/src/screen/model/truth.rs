//! Who has what this node wrote: for each own message, on how many disks it is.

use std::collections::BTreeMap;

use p2p_chat_model::PeerId;
use p2p_chat_proto::v1;

/// Where an own message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// There is nobody else.
    Alone,
    /// On this node's disk only.
    Queued,
    /// On the disks of some of the others.
    StoredBy { members: usize, of: usize },
    /// On the disks of all others.
    StoredByAll,
}

/// Up to where each of the others has this node's feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    stored: BTreeMap<PeerId, u64>,
    /// What was acknowledged since the members were asked for: the answer may be older than that.
    since: BTreeMap<PeerId, u64>,
}

impl Truth {
    /// The node is asked who the members are.
    pub(crate) fn asked(&mut self) {
        self.since.clear();
    }

    /// What the node says of the members. Those that left don't count.
    pub(crate) fn set(&mut self, members: &[v1::Member]) {
        let others = members.iter().filter(|member| !member.me && member.state != "left");
        let known = others.filter_map(|member| Some((member.peer.parse().ok()?, member.stored)));
        self.stored = known.map(|(peer, stored)| (peer, self.since.get(&peer).copied().unwrap_or(stored))).collect();
    }

    /// A member has stored this node's entries up to one. It may be fewer than before: its disk was set back.
    pub(crate) fn acknowledged(&mut self, member: PeerId, upto: u64) {
        self.since.insert(member, upto);
        // Whoever is not known to be a member yet is, with the next list of members.
        if let Some(stored) = self.stored.get_mut(&member) {
            *stored = upto;
        }
    }

    /// Where an own message is. Costs what there are members.
    pub(crate) fn of(&self, seq: u64) -> Delivery {
        let members = self.stored.values().filter(|stored| **stored >= seq).count();
        match (members, self.stored.len()) {
            (_, 0) => Delivery::Alone,
            (0, _) => Delivery::Queued,
            (members, of) if members == of => Delivery::StoredByAll,
            (members, of) => Delivery::StoredBy { members, of },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u8, state: &str, stored: u64) -> v1::Member {
        let peer = PeerId::new([id; 32]).to_string();
        v1::Member { peer, state: state.to_owned(), stored, me: id == 1, ..Default::default() }
    }

    #[test]
    fn an_answer_that_is_older_than_an_acknowledgement_does_not_undo_it() {
        let mut truth = Truth::default();
        truth.set(&[member(2, "active", 0)]);
        truth.asked();
        truth.acknowledged(PeerId::new([2; 32]), 5);
        truth.set(&[member(2, "active", 4)]);
        assert_eq!(truth.of(5), Delivery::StoredByAll);
        truth.asked();
        truth.set(&[member(2, "active", 4)]);
        assert_eq!(truth.of(5), Delivery::Queued, "its disk was set back");
    }

    #[test]
    fn a_message_goes_from_this_disk_to_all() {
        let mut truth = Truth::default();
        assert_eq!(truth.of(1), Delivery::Alone);
        truth.set(&[member(1, "active", 9), member(2, "active", 0), member(3, "away", 0), member(4, "left", 0)]);
        assert_eq!(truth.of(1), Delivery::Queued);
        truth.acknowledged(PeerId::new([2; 32]), 5);
        assert_eq!(truth.of(5), Delivery::StoredBy { members: 1, of: 2 });
        assert_eq!(truth.of(6), Delivery::Queued);
        truth.acknowledged(PeerId::new([3; 32]), 5);
        assert_eq!(truth.of(5), Delivery::StoredByAll);
        truth.acknowledged(PeerId::new([3; 32]), 2);
        assert_eq!(truth.of(5), Delivery::StoredBy { members: 1, of: 2 });
        truth.acknowledged(PeerId::new([4; 32]), 5);
        assert_eq!(truth.of(5), Delivery::StoredBy { members: 1, of: 2 }, "who left does not count");
    }
}
