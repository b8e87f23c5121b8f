//! Entries: what a feed is made of.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::{
    DecodeError, EntryHash, Name, NetworkId, PeerId, Seq, VectorClock,
    codec::{Reader, Writer},
    limits::{MAX_BODY_BYTES, MAX_MEMBERS, MAX_NAME_CHARS},
};

/// Keyed with the context of entry hashes.
static HASHER: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("p2p-chat v1 entry"));
/// UTF-8 takes at most four bytes a character.
const MAX_NAME_BYTES: usize = 4 * MAX_NAME_CHARS;

/// What an entry says. The number is its code on the wire and on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// 1: founds the network. Entry 1 of the creator's feed; its hash is the [`NetworkId`].
    Genesis,
    /// 2: admits a member.
    Admit,
    /// 3: the author's own membership ends.
    Leave,
    /// 16: a text for everybody. The body is UTF-8.
    Text,
    /// Written by a later version of this program: kept and passed on, not shown.
    Unknown(u8),
}

impl EntryKind {
    /// The code on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Genesis => 1,
            Self::Admit => 2,
            Self::Leave => 3,
            Self::Text => 16,
            Self::Unknown(code) => code,
        }
    }

    /// The kind of a code.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Genesis,
            2 => Self::Admit,
            3 => Self::Leave,
            16 => Self::Text,
            other => Self::Unknown(other),
        }
    }
}

/// What is signed of an entry besides its body and its place in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Lamport time: greater than that of every entry the author had seen (Lamport 1978).
    pub lamport: u64,
    /// The author's wall clock, milliseconds since 1970. Shown, never trusted.
    pub wall_ms: u64,
    /// The author's vector clock where it changed since the author's entry before (Singhal and Kshemkalyani 1992).
    /// The author itself is not in it: its position is the entry's own `seq`.
    pub clock: VectorClock,
    /// What the body is.
    pub kind: EntryKind,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(Self::USUAL_BYTES));
        writer.byte(self.kind.code()).varint(self.lamport).varint(self.wall_ms);
        self.clock.encode(&mut writer);
        writer.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        let kind = EntryKind::from_code(reader.byte("entry kind")?);
        let lamport = reader.varint("lamport time")?;
        let wall_ms = reader.varint("wall time")?;
        let clock = VectorClock::decode(&mut reader)?;
        reader.end()?;
        Ok(Self { lamport, wall_ms, clock, kind })
    }

    /// Most headers are not longer: those without a clock.
    const USUAL_BYTES: usize = 24;
    /// Longest encoded header.
    pub(crate) const MAX_BYTES: usize = 32 + MAX_MEMBERS * 42;
}

/// One record of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The signed header.
    pub header: Header,
    /// The body; at most [`MAX_BODY_BYTES`] bytes. Its meaning depends on [`Header::kind`]. Those of a decoded run share
    /// one allocation.
    pub body: Bytes,
}

impl Entry {
    /// The hash of this entry at its place: it covers the network, the author, the number, the entry before
    /// (and through it the whole feed up to here), the header and the hash of the body.
    pub fn hash(&self, network: NetworkId, author: PeerId, seq: Seq, previous: EntryHash) -> EntryHash {
        hash_parts(network, author, seq, previous, &self.header, &self.body)
    }

    /// The roster change this entry is, if it is one. A malformed body is an error.
    pub fn roster_op(&self) -> Result<Option<RosterOp>, DecodeError> {
        RosterOp::decode(self.header.kind, &self.body)
    }
}

fn hash_parts(
    network: NetworkId,
    author: PeerId,
    seq: Seq,
    previous: EntryHash,
    header: &Header,
    body: &[u8],
) -> EntryHash {
    // The genesis entry can't contain its own hash, so there the network counts as 32 zero bytes.
    let network = if header.kind == EntryKind::Genesis { [0; 32] } else { *network.as_bytes() };
    let mut hasher = HASHER.clone();
    hasher
        .update(&network)
        .update(author.as_bytes())
        .update(&seq.to_be_bytes())
        .update(previous.as_bytes())
        .update(blake3::hash(&header.encode()).as_bytes())
        .update(blake3::hash(body).as_bytes());
    EntryHash::new(*hasher.finalize().as_bytes())
}

/// The founding of a network: body of a [`EntryKind::Genesis`] entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Random; makes the [`NetworkId`] unique.
    pub salt: [u8; 32],
    /// The network's name.
    pub name: Name,
    /// The creator's name.
    pub creator: Name,
}

impl Genesis {
    /// The genesis entry.
    pub fn entry(&self, wall_ms: u64) -> Entry {
        let header = Header { lamport: 1, wall_ms, clock: VectorClock::new(), kind: EntryKind::Genesis };
        Entry { header, body: RosterOp::Genesis(self.clone()).encode().into() }
    }
}

/// A change of the roster: what only [`EntryKind::Genesis`], [`EntryKind::Admit`] and [`EntryKind::Leave`] carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RosterOp {
    /// The author founds the network and is its first member.
    Genesis(Genesis),
    /// The author admits `peer`.
    Admit {
        /// Who is admitted.
        peer: PeerId,
        /// How the peer calls itself.
        name: Name,
        /// How much of the peer's feed the author had delivered: leaves up to there are undone by this admission.
        past: Seq,
    },
    /// The author leaves.
    Leave,
}

impl RosterOp {
    /// The kind of entry that carries this change.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Genesis(_) => EntryKind::Genesis,
            Self::Admit { .. } => EntryKind::Admit,
            Self::Leave => EntryKind::Leave,
        }
    }

    /// The body of the entry that carries this change.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Genesis(genesis) => {
                // The one join policy there is: open.
                writer.fixed(&genesis.salt).byte(0);
                writer.bytes(genesis.name.as_str().as_bytes()).bytes(genesis.creator.as_str().as_bytes());
            }
            Self::Admit { peer, name, past } => {
                writer.fixed(peer.as_bytes()).varint(*past).bytes(name.as_str().as_bytes());
            }
            Self::Leave => {}
        }
        writer.0
    }

    fn decode(kind: EntryKind, body: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader(body);
        let op = match kind {
            EntryKind::Genesis => {
                let salt = reader.array("salt")?;
                if reader.byte("join policy")? != 0 {
                    return Err(DecodeError::OutOfRange("join policy"));
                }
                let name = decode_name(&mut reader, "network name")?;
                let creator = decode_name(&mut reader, "creator's name")?;
                Self::Genesis(Genesis { salt, name, creator })
            }
            EntryKind::Admit => {
                let peer = PeerId::new(reader.array("admitted peer")?);
                let past = reader.varint("admitted past")?;
                Self::Admit { peer, past, name: decode_name(&mut reader, "member name")? }
            }
            EntryKind::Leave => Self::Leave,
            EntryKind::Text | EntryKind::Unknown(_) => return Ok(None),
        };
        reader.end()?;
        Ok(Some(op))
    }
}

fn decode_name(reader: &mut Reader<'_>, field: &'static str) -> Result<Name, DecodeError> {
    let text = std::str::from_utf8(reader.bytes(MAX_NAME_BYTES, field)?).map_err(|_| DecodeError::OutOfRange(field))?;
    Ok(text.parse()?)
}

/// Whether a body of this kind is acceptable: size, UTF-8 where text, a well-formed roster change.
pub(crate) fn check_body(kind: EntryKind, body: &[u8]) -> Result<(), DecodeError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(DecodeError::OutOfRange("body"));
    }
    match kind {
        EntryKind::Text => check_text(body),
        _ => RosterOp::decode(kind, body).map(|_| ()),
    }
}

fn check_text(body: &[u8]) -> Result<(), DecodeError> {
    let fits = !body.is_empty() && body.len() <= crate::limits::MAX_TEXT_BYTES;
    if fits && std::str::from_utf8(body).is_ok() { Ok(()) } else { Err(DecodeError::OutOfRange("text")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a valid name")
    }

    #[test]
    fn roster_changes_survive_their_encoding() {
        let ops = [
            RosterOp::Genesis(Genesis { salt: [9; 32], name: name("lab"), creator: name("alice") }),
            RosterOp::Admit { peer: PeerId::new([3; 32]), name: name("bob"), past: 300 },
            RosterOp::Leave,
        ];
        for op in ops {
            assert_eq!(RosterOp::decode(op.kind(), &op.encode()), Ok(Some(op.clone())));
        }
        assert_eq!(RosterOp::decode(EntryKind::Leave, b"x"), Err(DecodeError::Trailing(1)));
        assert_eq!(RosterOp::decode(EntryKind::Text, b"x"), Ok(None));
    }

    #[test]
    fn the_hash_covers_every_part() {
        let entry = Entry {
            header: Header { lamport: 1, wall_ms: 2, clock: VectorClock::new(), kind: EntryKind::Text },
            body: Bytes::from_static(b"hello"),
        };
        let (network, author) = (NetworkId::new([1; 32]), PeerId::new([2; 32]));
        let hash = entry.hash(network, author, 1, EntryHash::NONE);
        let mut other = entry.clone();
        other.body = Bytes::from_static(b"hellp");
        let mut later = entry.clone();
        later.header.lamport = 2;
        let different = [
            other.hash(network, author, 1, EntryHash::NONE),
            later.hash(network, author, 1, EntryHash::NONE),
            entry.hash(NetworkId::new([9; 32]), author, 1, EntryHash::NONE),
            entry.hash(network, PeerId::new([9; 32]), 1, EntryHash::NONE),
            entry.hash(network, author, 2, EntryHash::NONE),
            entry.hash(network, author, 1, hash),
        ];
        assert!(different.iter().all(|changed| *changed != hash));
    }

    #[test]
    fn texts_are_utf8_and_bounded() {
        assert!(check_body(EntryKind::Text, b"hi").is_ok());
        assert!(check_body(EntryKind::Text, b"").is_err());
        assert!(check_body(EntryKind::Text, b"\xff").is_err());
        assert!(check_body(EntryKind::Text, &vec![b'a'; 64 * 1024]).is_ok());
        assert!(check_body(EntryKind::Text, &vec![b'a'; 64 * 1024 + 1]).is_err());
    }
}
