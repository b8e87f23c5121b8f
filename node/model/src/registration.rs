//! What a leader signs for the Node Discovery Service, and how a leader proves that it was admitted.

use crate::{BadSignature, Epoch, Identity, NetworkId, PeerId, RosterOp, Run, Signature, View, codec::Writer};

/// Which call a registration is for: a signature given for one can't serve another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `CreateNetwork`.
    Create,
    /// `UpdateLeader`.
    Update,
    /// `RenewLease`.
    Renew,
    /// `CloseNetwork`.
    Close,
}

impl Action {
    const fn domain(self) -> &'static str {
        match self {
            Self::Create => "p2p-chat v1 registration create",
            Self::Update => "p2p-chat v1 registration update",
            Self::Renew => "p2p-chat v1 registration renew",
            Self::Close => "p2p-chat v1 registration close",
        }
    }
}

/// A leader's statement about its network. The signer is the leader of `view`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The network.
    pub network: NetworkId,
    /// Who is active and who leads.
    pub view: View,
    /// For [`Action::Update`]: the epoch that the service is expected to have on record. Otherwise the view's own.
    pub expected_epoch: Epoch,
    /// Grows with every statement of one leader in one reign: an old one can't be replayed.
    pub serial: u64,
}

impl Registration {
    /// Signs the statement for one call.
    pub fn sign(&self, action: Action, identity: &Identity) -> Signature {
        identity.sign(action.domain(), &self.statement())
    }

    /// Checks that `signer` made this statement for this call.
    pub fn verify(&self, action: Action, signer: PeerId, signature: &Signature) -> Result<(), BadSignature> {
        signer.verify(action.domain(), &self.statement(), signature)
    }

    fn statement(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.fixed(self.network.as_bytes()).varint(self.expected_epoch.0).varint(self.serial);
        self.view.encode(&mut writer);
        writer.0
    }
}

/// A chain of admissions that does not lead from the creator to the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the admissions do not lead from the creator to peer {}", .0.short())]
pub struct NotAdmitted(pub PeerId);

/// Checks that `member` was admitted to the network that `genesis` founds: by the creator, or by somebody that was.
///
/// `admissions` are runs, each holding the admission of the member at hand by the author of the run, who is the
/// next member at hand, until the creator is reached. All runs must have been decoded with [`Run::decode`].
pub fn check_admission(genesis: &Run, admissions: &[Run], member: PeerId) -> Result<(), NotAdmitted> {
    let mut at_hand = member;
    for run in admissions {
        let admits = |op: RosterOp| matches!(op, RosterOp::Admit { peer, .. } if peer == at_hand);
        let held = run.entries.iter().any(|(_, entry)| entry.roster_op().ok().flatten().is_some_and(admits));
        if !held || run.network != genesis.network {
            return Err(NotAdmitted(member));
        }
        at_hand = run.author;
    }
    if at_hand == genesis.author { Ok(()) } else { Err(NotAdmitted(member)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, EntryHash, Genesis, Header, VectorClock};

    fn admit(by: &Identity, network: NetworkId, peer: PeerId) -> Run {
        let op = RosterOp::Admit { peer, name: "someone".parse().unwrap(), past: 0 };
        let header = Header { lamport: 9, wall_ms: 0, clock: VectorClock::new(), kind: op.kind() };
        Run::sign(by, network, 2, EntryHash::new([1; 32]), vec![Entry { header, body: op.encode().into() }])
    }

    #[test]
    fn a_statement_serves_one_call_only() {
        let alice = Identity::from_seed([1; 32]);
        let view = View::founding(alice.peer(), "alice:7500".parse().unwrap());
        let statement = Registration { network: NetworkId::new([7; 32]), view, expected_epoch: Epoch(1), serial: 1 };
        let signature = statement.sign(Action::Renew, &alice);
        assert_eq!(statement.verify(Action::Renew, alice.peer(), &signature), Ok(()));
        assert!(statement.verify(Action::Close, alice.peer(), &signature).is_err());
        let replayed = Registration { serial: 2, ..statement };
        assert!(replayed.verify(Action::Renew, alice.peer(), &signature).is_err());
    }

    #[test]
    fn admissions_lead_back_to_the_creator() {
        let [alice, bob, carol] = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]));
        let genesis = Genesis { salt: [0; 32], name: "lab".parse().unwrap(), creator: "alice".parse().unwrap() };
        let (network, genesis) = Run::found(&alice, &genesis, 0);
        let by_alice = admit(&alice, network, bob.peer());
        let by_bob = admit(&bob, network, carol.peer());
        assert_eq!(check_admission(&genesis, &[], alice.peer()), Ok(()));
        assert_eq!(check_admission(&genesis, &[by_bob.clone(), by_alice.clone()], carol.peer()), Ok(()));
        assert_eq!(check_admission(&genesis, &[by_bob], carol.peer()), Err(NotAdmitted(carol.peer())));
        assert_eq!(check_admission(&genesis, &[by_alice], carol.peer()), Err(NotAdmitted(carol.peer())));
        assert_eq!(check_admission(&genesis, &[], bob.peer()), Err(NotAdmitted(bob.peer())));
    }
}
