//! The roster: who is a member, folded from the signed entries of the log.
//!
//! The fold takes maxima and minima only, so every order of the same entries gives the same roster. A member is
//! whoever was admitted by somebody who had seen its latest leave. Silence never ends a membership.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{Name, PeerId, RosterOp, Seq};

/// Where an entry stands in the order for everybody.
type Place = (u64, PeerId, Seq);

/// What the log says about one peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// How the peer calls itself, as of its latest admission.
    pub name: Name,
    /// Whether it founded the network.
    pub founder: bool,
    /// Where its first admission stands: Lamport time, author, number.
    pub admitted: (u64, PeerId, Seq),
    /// How far its feed was known to the best-informed one who admitted it.
    past: Seq,
    /// The number of its latest Leave entry; 0 if it never left.
    left: Seq,
    named: Place,
}

impl Member {
    /// Whether the membership holds.
    pub fn stands(&self) -> bool {
        self.past >= self.left
    }
}

/// Everybody who was ever admitted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Roster {
    members: BTreeMap<PeerId, Member>,
    /// Leaves that were delivered; kept apart, because a peer's own Leave may come before its admission here.
    leaves: BTreeMap<PeerId, Seq>,
    /// Peers whose admission is on disk, even if it still waits for what it depends on.
    announced: BTreeSet<PeerId>,
    name: Option<Name>,
}

impl Roster {
    /// The network's name; `None` until the genesis entry is delivered.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Whether `peer` is a member.
    pub fn is_member(&self, peer: &PeerId) -> bool {
        self.members.get(peer).is_some_and(Member::stands)
    }

    /// What is known of a peer that is or was a member.
    pub fn member(&self, peer: &PeerId) -> Option<&Member> {
        self.members.get(peer)
    }

    /// Everybody who is or was a member.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Member)> {
        self.members.iter()
    }

    /// How many memberships hold.
    pub fn len(&self) -> usize {
        self.members.values().filter(|member| member.stands()).count()
    }

    /// Whether nobody is a member, as before the genesis entry is delivered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether entries of `author` may be stored.
    pub(crate) fn knows(&self, author: &PeerId) -> bool {
        self.announced.contains(author)
    }

    /// How many peers were ever admitted.
    pub(crate) fn known(&self) -> usize {
        self.announced.len()
    }

    /// Takes note of an entry that is on disk, delivered or not.
    pub(crate) fn announce(&mut self, author: PeerId, op: &RosterOp) {
        match op {
            RosterOp::Genesis(_) => self.announced.insert(author),
            RosterOp::Admit { peer, .. } => self.announced.insert(*peer),
            RosterOp::Leave => false,
        };
    }

    /// Folds a delivered entry in.
    pub(crate) fn apply(&mut self, place: Place, op: &RosterOp) {
        let (_, author, seq) = place;
        match op {
            RosterOp::Genesis(genesis) => {
                self.name = Some(genesis.name.clone());
                self.admit(place, author, &genesis.creator, 0, true);
            }
            RosterOp::Admit { peer, name, past } => self.admit(place, *peer, name, *past, false),
            RosterOp::Leave => {
                let left = self.leaves.entry(author).or_default();
                *left = seq.max(*left);
                if let Some(member) = self.members.get_mut(&author) {
                    member.left = *left;
                }
            }
        }
    }

    fn admit(&mut self, place: Place, peer: PeerId, name: &Name, past: Seq, founder: bool) {
        let left = self.leaves.get(&peer).copied().unwrap_or(0);
        let new = Member { name: name.clone(), founder, admitted: place, past, left, named: place };
        let member = self.members.entry(peer).or_insert(new);
        member.founder |= founder;
        member.admitted = member.admitted.min(place);
        member.past = member.past.max(past);
        if place > member.named {
            member.named = place;
            member.name = name.clone();
        }
    }

    /// Where the admissions stand that lead from `peer` back to the founder, the latest first: the chain that
    /// [`p2p_chat_model::registration::check_admission`] follows. `None` if the log does not hold it yet.
    pub(crate) fn admission_chain(&self, peer: &PeerId) -> Option<Vec<(PeerId, Seq)>> {
        let mut chain = Vec::new();
        let mut member = self.members.get(peer)?;
        // Lamport times fall along the chain, so it ends.
        while !member.founder {
            let (lamport, by, seq) = member.admitted;
            chain.push((by, seq));
            member = self.members.get(&by).filter(|by| by.founder || by.admitted.0 < lamport)?;
        }
        Some(chain)
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::Genesis;

    use super::*;

    const ALICE: PeerId = PeerId::new([1; 32]);
    const BOB: PeerId = PeerId::new([2; 32]);
    const CAROL: PeerId = PeerId::new([3; 32]);

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn genesis() -> (Place, RosterOp) {
        ((1, ALICE, 1), RosterOp::Genesis(Genesis { salt: [0; 32], name: name("lab"), creator: name("alice") }))
    }

    fn admit(place: Place, peer: PeerId, called: &str, past: Seq) -> (Place, RosterOp) {
        (place, RosterOp::Admit { peer, name: name(called), past })
    }

    fn fold(entries: &[(Place, RosterOp)]) -> Roster {
        let mut roster = Roster::default();
        for (place, op) in entries {
            roster.announce(place.1, op);
            roster.apply(*place, op);
        }
        roster
    }

    #[test]
    fn every_order_of_the_same_entries_gives_the_same_roster() {
        let entries = [
            genesis(),
            admit((2, ALICE, 2), BOB, "bob", 0),
            ((5, BOB, 1), RosterOp::Leave),
            admit((7, ALICE, 3), BOB, "robert", 1),
            admit((8, BOB, 2), CAROL, "carol", 0),
        ];
        let expected = fold(&entries);
        for rotation in 0..entries.len() {
            let mut rotated = entries.clone();
            rotated.rotate_left(rotation);
            assert_eq!(fold(&rotated), expected);
            rotated.reverse();
            assert_eq!(fold(&rotated), expected);
        }
        assert!(expected.is_member(&BOB));
        assert_eq!(expected.member(&BOB).map(|bob| bob.name.as_str()), Some("robert"));
    }

    #[test]
    fn an_admission_that_had_not_seen_the_leave_does_not_undo_it() {
        let left = [genesis(), admit((2, ALICE, 2), BOB, "bob", 0), ((5, BOB, 4), RosterOp::Leave)];
        assert!(!fold(&left).is_member(&BOB));
        let concurrent = admit((6, ALICE, 3), BOB, "bob", 3);
        assert!(!fold(&[&left[..], &[concurrent]].concat()).is_member(&BOB));
        let later = admit((6, ALICE, 3), BOB, "bob", 4);
        assert!(fold(&[&left[..], &[later]].concat()).is_member(&BOB));
    }

    #[test]
    fn admissions_lead_back_to_the_founder() {
        let roster = fold(&[genesis(), admit((2, ALICE, 2), BOB, "bob", 0), admit((8, BOB, 2), CAROL, "carol", 0)]);
        assert_eq!(roster.admission_chain(&ALICE), Some(vec![]));
        assert_eq!(roster.admission_chain(&CAROL), Some(vec![(BOB, 2), (ALICE, 2)]));
        assert_eq!(roster.admission_chain(&PeerId::new([9; 32])), None);
    }
}
