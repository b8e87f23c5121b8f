//! Model to wire and back. Encoding can't fail; decoding names the field that is wrong.

use p2p_chat_model::{
    ActiveMember, Address, BadSignature, Certificate, Epoch, NetworkId, NodeId, PeerId, Rank, Registration, Signature,
    VectorClock, View, Vote, limits::MAX_MEMBERS, registration::Action,
};

use crate::v1;

/// A field of a message that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The value is not acceptable.
    #[error("{field}: {reason}")]
    Bad {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The message carries a signature that does not fit.
    #[error("{field}: {reason}")]
    Forged {
        /// Which field.
        field: &'static str,
        /// Whose signature it should have been.
        reason: BadSignature,
    },
}

impl FieldError {
    /// A field with something wrong.
    pub fn bad(field: &'static str, reason: impl ToString) -> Self {
        Self::Bad { field, reason: reason.to_string() }
    }

    /// A field that must be there and isn't.
    pub fn missing(field: &'static str) -> Self {
        Self::bad(field, "is missing")
    }
}

impl From<FieldError> for tonic::Status {
    /// `INVALID_ARGUMENT`, or `UNAUTHENTICATED` for a signature that does not fit.
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::Bad { .. } => Self::invalid_argument(error.to_string()),
            FieldError::Forged { .. } => Self::unauthenticated(error.to_string()),
        }
    }
}

/// Decodes a peer id.
pub fn peer(bytes: &[u8], field: &'static str) -> Result<PeerId, FieldError> {
    PeerId::try_from(bytes).map_err(|error| FieldError::bad(field, error))
}

/// Decodes a network id.
pub fn network(bytes: &[u8], field: &'static str) -> Result<NetworkId, FieldError> {
    NetworkId::try_from(bytes).map_err(|error| FieldError::bad(field, error))
}

/// Decodes an address.
pub fn address(text: &str, field: &'static str) -> Result<Address, FieldError> {
    text.parse().map_err(|error| FieldError::bad(field, error))
}

/// Decodes a signature.
pub fn signature(bytes: &[u8], field: &'static str) -> Result<Signature, FieldError> {
    bytes.try_into().map(Signature::new).map_err(|_| FieldError::bad(field, "a signature has 64 bytes"))
}

impl From<&VectorClock> for v1::VectorClock {
    fn from(clock: &VectorClock) -> Self {
        let position = |(author, seq): (PeerId, u64)| v1::FeedPosition { author: author.to_wire(), seq };
        Self { feeds: clock.iter().map(position).collect() }
    }
}

impl TryFrom<&v1::VectorClock> for VectorClock {
    type Error = FieldError;

    fn try_from(wire: &v1::VectorClock) -> Result<Self, FieldError> {
        if wire.feeds.len() > MAX_MEMBERS {
            return Err(FieldError::bad("clock", format!("more than {MAX_MEMBERS} authors")));
        }
        let mut clock = Self::new();
        for feed in &wire.feeds {
            let author = peer(&feed.author, "clock author")?;
            if feed.seq == 0 || clock.at(&author) > 0 {
                return Err(FieldError::bad("clock", "positions count from 1, and each author occurs once"));
            }
            clock.set(author, feed.seq);
        }
        Ok(clock)
    }
}

impl From<&ActiveMember> for v1::ActiveMember {
    fn from(member: &ActiveMember) -> Self {
        Self {
            node_id: member.node.0,
            peer: member.peer.to_wire(),
            address: member.address.to_string(),
            join_request: member.join_request,
        }
    }
}

impl From<&View> for v1::View {
    fn from(view: &View) -> Self {
        Self {
            epoch: view.epoch.0,
            version: view.version,
            leader: view.leader.0,
            next_id: view.next_id.0,
            active: view.active.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&v1::View> for View {
    type Error = FieldError;

    fn try_from(wire: &v1::View) -> Result<Self, FieldError> {
        if wire.active.len() > MAX_MEMBERS {
            return Err(FieldError::bad("view", format!("more than {MAX_MEMBERS} active members")));
        }
        let active = wire.active.iter().map(member).collect::<Result<_, _>>()?;
        let view = Self {
            epoch: Epoch(wire.epoch),
            version: wire.version,
            leader: NodeId(wire.leader),
            next_id: NodeId(wire.next_id),
            active,
        };
        view.check().map_err(|error| FieldError::bad("view", error))?;
        Ok(view)
    }
}

fn member(wire: &v1::ActiveMember) -> Result<ActiveMember, FieldError> {
    Ok(ActiveMember {
        node: NodeId(wire.node_id),
        peer: peer(&wire.peer, "view peer")?,
        address: address(&wire.address, "view address")?,
        join_request: wire.join_request,
    })
}

impl From<&Vote> for v1::Vote {
    fn from(vote: &Vote) -> Self {
        Self {
            network: vote.network.to_wire(),
            epoch: vote.epoch.0,
            candidate: vote.candidate.to_wire(),
            voter: vote.voter.to_wire(),
            signature: vote.signature.as_bytes().to_vec().into(),
        }
    }
}

impl TryFrom<&v1::Vote> for Vote {
    type Error = FieldError;

    /// Decodes and verifies: a [`Vote`] that came in this way was cast by its voter.
    fn try_from(wire: &v1::Vote) -> Result<Self, FieldError> {
        let vote = Self {
            network: network(&wire.network, "vote network")?,
            epoch: Epoch(wire.epoch),
            candidate: peer(&wire.candidate, "vote candidate")?,
            voter: peer(&wire.voter, "voter")?,
            signature: signature(&wire.signature, "vote signature")?,
        };
        vote.verify().map_err(|reason| FieldError::Forged { field: "vote", reason })?;
        Ok(vote)
    }
}

/// Decodes and verifies votes.
pub fn votes(wire: &[v1::Vote]) -> Result<Vec<Vote>, FieldError> {
    if wire.len() > MAX_MEMBERS {
        return Err(FieldError::bad("votes", format!("more than {MAX_MEMBERS}")));
    }
    wire.iter().map(Vote::try_from).collect()
}

impl From<&Certificate> for v1::Certificate {
    fn from(certificate: &Certificate) -> Self {
        let rank = match certificate.rank {
            Rank::Registered => v1::Rank::Registered,
            Rank::Majority => v1::Rank::Majority,
        };
        Self { rank: rank.into(), votes: certificate.votes.iter().map(Into::into).collect() }
    }
}

impl TryFrom<&v1::Certificate> for Certificate {
    type Error = FieldError;

    fn try_from(wire: &v1::Certificate) -> Result<Self, FieldError> {
        let rank = match wire.rank() {
            v1::Rank::Registered => Rank::Registered,
            v1::Rank::Majority => Rank::Majority,
            v1::Rank::Unspecified => return Err(FieldError::missing("rank")),
        };
        Ok(Self { rank, votes: votes(&wire.votes)? })
    }
}

impl v1::Registration {
    /// Signs `statement` for one call.
    pub fn signed(statement: &Registration, action: Action, identity: &p2p_chat_model::Identity) -> Self {
        Self {
            network: statement.network.to_wire(),
            view: Some((&statement.view).into()),
            expected_epoch: statement.expected_epoch.0,
            serial: statement.serial,
            signer: identity.peer().to_wire(),
            signature: statement.sign(action, identity).as_bytes().to_vec().into(),
        }
    }

    /// Decodes the statement and verifies that the leader of its view made it for this call.
    pub fn verified(&self, action: Action) -> Result<Registration, FieldError> {
        let view = View::try_from(self.view.as_ref().ok_or(FieldError::missing("view"))?)?;
        let signer = peer(&self.signer, "signer")?;
        if view.leader().is_none_or(|leader| leader.peer != signer) {
            return Err(FieldError::bad("signer", "is not the leader of the view"));
        }
        let statement = Registration {
            network: network(&self.network, "network")?,
            view,
            expected_epoch: Epoch(self.expected_epoch),
            serial: self.serial,
        };
        let signature = signature(&self.signature, "signature")?;
        let verified = statement.verify(action, signer, &signature);
        verified.map_err(|reason| FieldError::Forged { field: "registration", reason })?;
        Ok(statement)
    }
}

/// Identifiers as raw bytes.
pub trait ToWire {
    /// The bytes.
    fn to_wire(&self) -> bytes::Bytes;
}

impl ToWire for PeerId {
    fn to_wire(&self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(self.as_bytes())
    }
}

impl ToWire for NetworkId {
    fn to_wire(&self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_the_wire_and_a_bad_one_is_named() {
        let peer = PeerId::new([1; 32]);
        let view = View::founding(peer, "alice:7500".parse().expect("an address"));
        let mut wire = v1::View::from(&view);
        assert_eq!(View::try_from(&wire), Ok(view));
        wire.active.push(wire.active[0].clone());
        let error = View::try_from(&wire).expect_err("node 1 occurs twice");
        assert_eq!(error.to_string(), "view: node id 1 is not in ascending order");
    }

    #[test]
    fn a_vote_is_verified_on_the_way_in() {
        let identity = p2p_chat_model::Identity::from_seed([1; 32]);
        let vote = Vote::cast(&identity, NetworkId::new([2; 32]), Epoch(3), identity.peer());
        let mut wire = v1::Vote::from(&vote);
        assert_eq!(Vote::try_from(&wire), Ok(vote));
        wire.epoch = 4;
        assert!(matches!(Vote::try_from(&wire), Err(FieldError::Forged { field: "vote", .. })));
    }
}
