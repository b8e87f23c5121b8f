//! Runs: consecutive entries of one feed under one signature. The hash chain lets the signature over the last
//! entry's hash vouch for all of them. A run is formed once, by its author, and is kept and passed on as those
//! exact bytes.

use bytes::Bytes;

use crate::{
    BadSignature, DecodeError, Entry, EntryHash, EntryKind, Genesis, Header, Identity, NetworkId, PeerId, Seq,
    Signature,
    codec::{Reader, Writer},
    entry::check_body,
    limits::{MAX_BODY_BYTES, MAX_LAMPORT, MAX_RUN_BYTES, MAX_RUN_ENTRIES, MAX_SINGLE_RUN_BYTES},
};

const DOMAIN: &str = "p2p-chat v1 run";
const FORMAT: u8 = 1;

/// Why a run is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The bytes are not a run.
    #[error("malformed run: {0}")]
    Malformed(#[from] DecodeError),
    /// The signature is not the author's.
    #[error("forged run: {0}")]
    Forged(#[from] BadSignature),
    /// No entries, too many, too large, or numbered from 0.
    #[error("a run has 1 to {MAX_RUN_ENTRIES} entries numbered from 1 and at most {MAX_RUN_BYTES} bytes")]
    Bounds,
    /// An entry's clock names the author itself, or lamport times do not grow.
    #[error("entry {0} of the run contradicts its own clock")]
    Clock(Seq),
    /// A genesis entry anywhere but at the beginning of a feed, or of another network.
    #[error("entry {0} of the run can't be a genesis entry")]
    Genesis(Seq),
}

/// Consecutive entries of one feed, decoded and found genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The network it belongs to.
    pub network: NetworkId,
    /// Whose feed it is of.
    pub author: PeerId,
    /// The number of the first entry.
    pub first: Seq,
    /// The hash of the entry before the first; [`EntryHash::NONE`] at the beginning of the feed.
    pub previous: EntryHash,
    /// The entries, with their hashes.
    pub entries: Vec<(EntryHash, Entry)>,
    /// The author's signature over the last hash.
    pub signature: Signature,
}

impl Run {
    /// Signs `entries` as the continuation of the signer's feed after `previous`. The entries must be in bounds:
    /// [`Run::decode`] refuses on the other side what is not.
    pub fn sign(identity: &Identity, network: NetworkId, first: Seq, previous: EntryHash, entries: Vec<Entry>) -> Self {
        let author = identity.peer();
        let entries = chain(network, author, first, previous, entries);
        let last = entries.last().map_or(previous, |(hash, _)| *hash);
        let signature = identity.sign(DOMAIN, last.as_bytes());
        Self { network, author, first, previous, entries, signature }
    }

    /// Founds a network: its id, and the run that holds nothing but the genesis entry.
    pub fn found(identity: &Identity, genesis: &Genesis, wall_ms: u64) -> (NetworkId, Self) {
        let entry = genesis.entry(wall_ms);
        let hash = entry.hash(NetworkId::new([0; 32]), identity.peer(), 1, EntryHash::NONE);
        let network = NetworkId::new(*hash.as_bytes());
        (network, Self::sign(identity, network, 1, EntryHash::NONE, vec![entry]))
    }

    /// The number of the last entry.
    pub fn last(&self) -> Seq {
        self.first + self.entries.len().saturating_sub(1) as Seq
    }

    /// The hash of the last entry.
    pub fn head(&self) -> EntryHash {
        self.entries.last().map_or(self.previous, |(hash, _)| *hash)
    }

    /// The bytes that are stored and sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer
            .byte(FORMAT)
            .fixed(self.network.as_bytes())
            .fixed(self.author.as_bytes())
            .varint(self.first)
            .fixed(self.previous.as_bytes())
            .varint(self.entries.len() as u64);
        for (_, entry) in &self.entries {
            writer.bytes(&entry.header.encode()).bytes(&entry.body);
        }
        writer.fixed(self.signature.as_bytes());
        writer.0
    }

    /// Decodes a run from somebody else and checks all that can be checked of it alone: sizes, bodies, the
    /// order of its own clocks, the hash chain inside, and the author's signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, RunError> {
        let run = Self::decode_trusted(bytes)?;
        run.check_bounds(bytes.len())?;
        run.check_entries()?;
        run.author.verify(DOMAIN, run.head().as_bytes(), &run.signature)?;
        Ok(run)
    }

    /// Decodes a run that was checked before it was stored. The signature is not checked again.
    pub fn decode_trusted(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        if reader.byte("run format")? != FORMAT {
            return Err(DecodeError::OutOfRange("run format"));
        }
        let network = NetworkId::new(reader.array("run network")?);
        let author = PeerId::new(reader.array("run author")?);
        let first = reader.varint("run start")?;
        let previous = EntryHash::new(reader.array("run predecessor")?);
        let (mut headers, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..reader.count(MAX_RUN_ENTRIES, "run length")? {
            headers.push(Header::decode(reader.bytes(Header::MAX_BYTES, "entry header")?)?);
            bodies.push(reader.bytes(MAX_BODY_BYTES, "entry body")?);
        }
        let signature = reader.signature("run signature")?;
        reader.end()?;
        if first.checked_add(MAX_RUN_ENTRIES as Seq).is_none() {
            return Err(DecodeError::OutOfRange("run start"));
        }
        // Nothing but the bodies: whoever keeps one keeps all of this.
        let mut rest = Bytes::from(bodies.concat());
        let bodies = bodies.iter().map(|body| rest.split_to(body.len()));
        let entries = headers.into_iter().zip(bodies).map(|(header, body)| Entry { header, body }).collect();
        let entries = chain(network, author, first, previous, entries);
        Ok(Self { network, author, first, previous, entries, signature })
    }

    fn check_bounds(&self, encoded_len: usize) -> Result<(), RunError> {
        let most = if self.entries.len() == 1 { MAX_SINGLE_RUN_BYTES } else { MAX_RUN_BYTES };
        let starts_right = self.first > 0 && (self.first == 1) == (self.previous == EntryHash::NONE);
        if self.entries.is_empty() || encoded_len > most || !starts_right { Err(RunError::Bounds) } else { Ok(()) }
    }

    fn check_entries(&self) -> Result<(), RunError> {
        let mut lamport = 0;
        for (seq, (hash, entry)) in (self.first..).zip(&self.entries) {
            let header = &entry.header;
            let out_of_range = header.lamport <= lamport || header.lamport < seq || header.lamport > MAX_LAMPORT;
            if out_of_range || header.clock.at(&self.author) > 0 {
                return Err(RunError::Clock(seq));
            }
            lamport = header.lamport;
            let founds = header.kind == EntryKind::Genesis;
            if founds && (seq != 1 || hash.as_bytes() != self.network.as_bytes()) {
                return Err(RunError::Genesis(seq));
            }
            check_body(header.kind, &entry.body)?;
        }
        Ok(())
    }
}

fn chain(
    network: NetworkId,
    author: PeerId,
    first: Seq,
    previous: EntryHash,
    entries: Vec<Entry>,
) -> Vec<(EntryHash, Entry)> {
    let mut previous = previous;
    (first..)
        .zip(entries)
        .map(|(seq, entry)| {
            previous = entry.hash(network, author, seq, previous);
            (previous, entry)
        })
        .collect()
}

#[cfg(test)]
mod tests;
