//! What the engine must know again after a crash, besides the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use p2p_chat_model::{
    Address, Certificate, DecodeError, Epoch, PeerId, Rank, Seq, VectorClock, View, Vote,
    codec::{Reader, Writer},
    limits::{MAX_ADDRESS_BYTES, MAX_MEMBERS},
};

const FORMAT: u8 = 1;

/// What a node does in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It founds the network and waits for the discovery service.
    Founding,
    /// It asks to be let in for the first time.
    Joining,
    /// It is a member.
    Joined,
    /// It is on its way out.
    Leaving,
    /// It is out.
    Left,
}

/// The engine's state on disk. Everything here is synced before anything that rests on it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// What the node does.
    pub phase: Phase,
    /// The newest view; `None` before the first.
    pub view: Option<View>,
    /// How the reign of the view was won.
    pub certificate: Certificate,
    /// The highest epoch voted in, and for whom.
    pub vote: Option<(Epoch, PeerId)>,
    /// The highest epoch ever followed: it never falls, even while outside of any view.
    pub epoch: Epoch,
    /// The own join request's number.
    pub join_request: u64,
    /// Own entries up to here exist somewhere: nothing is written before they are here again.
    pub own_floor: Seq,
    /// This admission is to be delivered before anything is written.
    pub admission: Option<(PeerId, Seq)>,
    /// Where members were last known to listen.
    pub addresses: BTreeMap<PeerId, Address>,
    /// How much of the own feed each member is known to have on disk.
    pub acked: VectorClock,
    /// Authors that have contradicted themselves: nothing more is taken of their feeds.
    pub frozen: BTreeSet<PeerId>,
}

impl Durable {
    /// The state of a node that has just come to the network.
    pub fn new(phase: Phase, join_request: u64) -> Self {
        Self {
            phase,
            view: None,
            certificate: Certificate::founding(),
            vote: None,
            epoch: Epoch(0),
            join_request,
            own_floor: 0,
            admission: None,
            addresses: BTreeMap::new(),
            acked: VectorClock::new(),
            frozen: BTreeSet::new(),
        }
    }

    /// The bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(FORMAT).byte(self.phase as u8).varint(self.epoch.0);
        writer.varint(self.join_request).varint(self.own_floor);
        writer.byte(u8::from(self.view.is_some()));
        if let Some(view) = &self.view {
            view.encode(&mut writer);
        }
        encode_certificate(&self.certificate, &mut writer);
        encode_mark(self.vote.map(|(epoch, peer)| (peer, epoch.0)), &mut writer);
        encode_mark(self.admission, &mut writer);
        writer.varint(self.addresses.len() as u64);
        for (peer, address) in &self.addresses {
            writer.fixed(peer.as_bytes()).bytes(address.as_str().as_bytes());
        }
        self.acked.encode(&mut writer);
        writer.varint(self.frozen.len() as u64);
        for author in &self.frozen {
            writer.fixed(author.as_bytes());
        }
        writer.0
    }

    /// Takes what [`Durable::encode`] wrote; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        if reader.byte("state format")? != FORMAT {
            return Err(DecodeError::OutOfRange("state format"));
        }
        let phase = phase(reader.byte("phase")?)?;
        let epoch = Epoch(reader.varint("epoch")?);
        let join_request = reader.varint("join request")?;
        let own_floor = reader.varint("own floor")?;
        let view = if flag(&mut reader, "view")? { Some(View::decode(&mut reader)?) } else { None };
        let certificate = decode_certificate(&mut reader)?;
        let vote = decode_mark(&mut reader)?.map(|(peer, epoch)| (Epoch(epoch), peer));
        let admission = decode_mark(&mut reader)?;
        let mut addresses = BTreeMap::new();
        for _ in 0..reader.count(MAX_MEMBERS, "addresses")? {
            let peer = PeerId::new(reader.array("address of")?);
            in_order(addresses.last_key_value().map(|(last, _)| last), &peer, "addresses")?;
            addresses.insert(peer, Address::decode(&mut reader)?);
        }
        let acked = VectorClock::decode(&mut reader)?;
        let mut frozen = BTreeSet::new();
        for _ in 0..reader.count(MAX_MEMBERS, "frozen feeds")? {
            let author = PeerId::new(reader.array("frozen feed")?);
            in_order(frozen.last(), &author, "frozen feeds")?;
            frozen.insert(author);
        }
        reader.end()?;
        let state = Self {
            phase,
            view,
            certificate,
            vote,
            epoch,
            join_request,
            own_floor,
            admission,
            addresses,
            acked,
            frozen,
        };
        Ok(state)
    }
}

impl Hash for Durable {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.encode().hash(hasher);
    }
}

fn phase(code: u8) -> Result<Phase, DecodeError> {
    let phases = [Phase::Founding, Phase::Joining, Phase::Joined, Phase::Leaving, Phase::Left];
    phases.into_iter().find(|phase| *phase as u8 == code).ok_or(DecodeError::OutOfRange("phase"))
}

fn encode_mark(mark: Option<(PeerId, u64)>, writer: &mut Writer) {
    writer.byte(u8::from(mark.is_some()));
    if let Some((peer, number)) = mark {
        writer.fixed(peer.as_bytes()).varint(number);
    }
}

fn decode_mark(reader: &mut Reader<'_>) -> Result<Option<(PeerId, u64)>, DecodeError> {
    if flag(reader, "mark")? {
        return Ok(Some((PeerId::new(reader.array("marked peer")?), reader.varint("marked number")?)));
    }
    Ok(None)
}

/// Whether something follows.
fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.byte(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::OutOfRange(field)),
    }
}

/// Lists are written in ascending order.
fn in_order(last: Option<&PeerId>, next: &PeerId, field: &'static str) -> Result<(), DecodeError> {
    if last.is_some_and(|last| last >= next) { Err(DecodeError::OutOfRange(field)) } else { Ok(()) }
}

fn encode_certificate(certificate: &Certificate, writer: &mut Writer) {
    writer.byte(certificate.rank as u8).varint(certificate.votes.len() as u64);
    for vote in &certificate.votes {
        writer.fixed(vote.network.as_bytes()).varint(vote.epoch.0).fixed(vote.candidate.as_bytes());
        writer.fixed(vote.voter.as_bytes()).fixed(vote.signature.as_bytes());
    }
}

fn decode_certificate(reader: &mut Reader<'_>) -> Result<Certificate, DecodeError> {
    let rank = match reader.byte("rank")? {
        0 => Rank::Registered,
        1 => Rank::Majority,
        _ => return Err(DecodeError::OutOfRange("rank")),
    };
    let mut votes = Vec::new();
    for _ in 0..reader.count(MAX_MEMBERS, "votes")? {
        votes.push(Vote {
            network: p2p_chat_model::NetworkId::new(reader.array("vote network")?),
            epoch: Epoch(reader.varint("vote epoch")?),
            candidate: PeerId::new(reader.array("vote candidate")?),
            voter: PeerId::new(reader.array("voter")?),
            signature: reader.signature("vote signature")?,
        });
    }
    Ok(Certificate { rank, votes })
}

/// The longest that [`Durable::encode`] can be, for a store that sets limits: about 600 KiB.
pub const MAX_STATE_BYTES: usize =
    1024 + MAX_MEMBERS * (64 + MAX_ADDRESS_BYTES + 180 + 32 + MAX_ADDRESS_BYTES + 42 + 32);

#[cfg(test)]
mod tests {
    use p2p_chat_model::{Identity, NetworkId};

    use super::*;

    #[test]
    fn the_state_survives_its_encoding_and_no_prefix_of_it_passes() {
        let alice = Identity::from_seed([1; 32]);
        let address: Address = "alice:7500".parse().unwrap();
        let mut state = Durable::new(Phase::Joined, 77);
        state.view = Some(View::founding(alice.peer(), address.clone()));
        let vote = Vote::cast(&alice, NetworkId::new([7; 32]), Epoch(2), alice.peer());
        state.certificate = Certificate { rank: Rank::Majority, votes: vec![vote] };
        state.vote = Some((Epoch(2), alice.peer()));
        state.epoch = Epoch(2);
        state.admission = Some((alice.peer(), 9));
        state.addresses.insert(alice.peer(), address);
        state.acked.set(alice.peer(), 4);
        state.frozen.insert(alice.peer());
        let bytes = state.encode();
        assert_eq!(Durable::decode(&bytes), Ok(state));
        for len in 0..bytes.len() {
            assert!(Durable::decode(&bytes[..len]).is_err(), "{len} bytes pass for a state");
        }
    }
}
