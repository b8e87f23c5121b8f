//! Vector clocks: author to the highest contiguous `seq` (Fidge 1988, Mattern 1989).

use std::collections::BTreeMap;

use crate::{
    DecodeError, PeerId, Seq,
    codec::{Reader, Writer},
    limits::MAX_MEMBERS,
};

/// For each author the highest `seq` up to which everything is known. Authors of whom nothing is known are absent.
///
/// As a *frontier* it says what a node has; as the clock of an entry, what its author had seen.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct VectorClock(BTreeMap<PeerId, Seq>);

impl VectorClock {
    /// The clock that knows nothing.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The position of `author`; 0 if nothing of it is known.
    pub fn at(&self, author: &PeerId) -> Seq {
        self.0.get(author).copied().unwrap_or(0)
    }

    /// Sets the position of `author`, forwards or backwards.
    pub fn set(&mut self, author: PeerId, seq: Seq) {
        if seq == 0 {
            self.0.remove(&author);
        } else {
            self.0.insert(author, seq);
        }
    }

    /// Raises the position of `author` to `seq`, if that is higher.
    pub fn raise(&mut self, author: PeerId, seq: Seq) {
        if seq > self.at(&author) {
            self.0.insert(author, seq);
        }
    }

    /// The least upper bound of both.
    pub fn merge(&mut self, other: &Self) {
        for (author, seq) in other.iter() {
            self.raise(author, seq);
        }
    }

    /// Whether everything known to `other` is known here.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(author, seq)| self.at(&author) >= seq)
    }

    /// Where this clock is ahead of `other`: what changed since `other` (Singhal and Kshemkalyani 1992).
    #[must_use]
    pub fn since(&self, other: &Self) -> Self {
        Self(self.iter().filter(|(author, seq)| *seq > other.at(author)).collect())
    }

    /// Authors and positions, in the order of authors.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, Seq)> + '_ {
        self.0.iter().map(|(author, seq)| (*author, *seq))
    }

    /// How many authors are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no author is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A 64-bit digest for telling whether two clocks are equal. 1,000 authors take about 20 microseconds.
    pub fn digest(&self) -> u64 {
        let mut writer = Writer::default();
        self.encode(&mut writer);
        let hash = blake3::hash(&writer.0);
        hash.as_bytes().iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte))
    }

    /// Appends the canonical encoding.
    pub fn encode(&self, writer: &mut Writer) {
        writer.varint(self.0.len() as u64);
        for (author, seq) in &self.0 {
            writer.fixed(author.as_bytes()).varint(*seq);
        }
    }

    /// Takes what [`VectorClock::encode`] wrote; anything else is refused.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut clock = BTreeMap::new();
        for _ in 0..reader.count(MAX_MEMBERS, "clock")? {
            let author = PeerId::new(reader.array("clock author")?);
            let seq = reader.varint("clock position")?;
            let ascending = clock.last_key_value().is_none_or(|(last, _)| *last < author);
            if seq == 0 || !ascending {
                return Err(DecodeError::OutOfRange("clock"));
            }
            clock.insert(author, seq);
        }
        Ok(Self(clock))
    }
}

impl FromIterator<(PeerId, Seq)> for VectorClock {
    /// Keeps the highest position where an author occurs twice.
    fn from_iter<I: IntoIterator<Item = (PeerId, Seq)>>(positions: I) -> Self {
        let mut clock = Self::new();
        for (author, seq) in positions {
            clock.raise(author, seq);
        }
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(positions: &[(u8, Seq)]) -> VectorClock {
        positions.iter().map(|(author, seq)| (PeerId::new([*author; 32]), *seq)).collect()
    }

    #[test]
    fn merge_is_the_least_upper_bound() {
        let mut merged = clock(&[(1, 3), (2, 1)]);
        merged.merge(&clock(&[(2, 5), (3, 1)]));
        assert_eq!(merged, clock(&[(1, 3), (2, 5), (3, 1)]));
        assert!(merged.covers(&clock(&[(2, 5)])));
        assert!(!clock(&[(2, 4)]).covers(&clock(&[(2, 5)])));
    }

    #[test]
    fn since_keeps_only_what_is_ahead() {
        let now = clock(&[(1, 3), (2, 5), (3, 1)]);
        assert_eq!(now.since(&clock(&[(1, 3), (2, 4)])), clock(&[(2, 5), (3, 1)]));
    }

    #[test]
    fn equal_clocks_have_equal_digests() {
        assert_eq!(clock(&[(1, 3), (2, 5)]).digest(), clock(&[(2, 5), (1, 3)]).digest());
        assert_ne!(clock(&[(1, 3)]).digest(), clock(&[(1, 4)]).digest());
    }

    #[test]
    fn clocks_out_of_order_are_refused() {
        let mut writer = Writer::default();
        writer.varint(2).fixed(&[2; 32]).varint(1).fixed(&[1; 32]).varint(1);
        assert_eq!(VectorClock::decode(&mut Reader(&writer.0)), Err(DecodeError::OutOfRange("clock")));
    }
}
