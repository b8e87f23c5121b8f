//! What the timeline needs to know of entries that are stored and not delivered yet: so that what is delivered soon after it
//! came is read from no file.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use p2p_chat_model::{Entry, EntryHash, EntryKind, MessageId, Run, Seq};

use crate::{
    recent::RECENT_BYTES,
    stretch::{Tag, tag},
};

/// Most entries that are known; with more, all are forgotten, and read when they are delivered.
const MAX_KNOWN: usize = 16_384;

/// A feed: the keys of its network and its author.
pub(crate) type FeedKey = (i64, i64);

/// What is known of an entry.
pub(crate) struct Facts {
    pub(crate) lamport: u64,
    pub(crate) kind: EntryKind,
    pub(crate) tag: Tag,
    /// The rest of it, if it has just come in.
    pub(crate) fresh: Option<Fresh>,
}

/// What a message says, and who it is.
pub(crate) struct Fresh {
    pub(crate) id: MessageId,
    pub(crate) wall_ms: u64,
    pub(crate) body: Bytes,
}

/// Entries of one feed, without gaps.
struct Queue {
    next: Seq,
    entries: VecDeque<Facts>,
}

/// The entries that are known, of all feeds.
#[derive(Default)]
pub(crate) struct Undelivered {
    feeds: BTreeMap<FeedKey, Queue>,
    known: usize,
    /// Of the bodies that are known, in bytes.
    body_bytes: usize,
}

impl Facts {
    fn of((hash, entry): &(EntryHash, Entry), is_fresh: bool) -> Self {
        let (id, header) = (MessageId::from(*hash), &entry.header);
        let fresh = is_fresh.then(|| Fresh { id, wall_ms: header.wall_ms, body: entry.body.clone() });
        Self { lamport: header.lamport, kind: header.kind, tag: tag(&id), fresh }
    }

    fn body_bytes(&self) -> usize {
        self.fresh.as_ref().map_or(0, |fresh| fresh.body.len())
    }
}

impl Undelivered {
    /// A run has come in.
    pub(crate) fn add(&mut self, feed: FeedKey, run: &Run) {
        self.extend(feed, run.first, run.entries.iter().map(|entry| Facts::of(entry, true)));
    }

    /// A run was read from the file, of which the entries from `next` on are not delivered.
    pub(crate) fn add_stored(&mut self, feed: FeedKey, run: &Run, next: Seq) {
        let entries = (run.first..).zip(&run.entries).filter(|(seq, _)| *seq >= next);
        self.extend(feed, next.max(run.first), entries.map(|(_, entry)| Facts::of(entry, false)));
    }

    fn extend(&mut self, feed: FeedKey, first: Seq, entries: impl Iterator<Item = Facts>) {
        if self.known > MAX_KNOWN {
            *self = Self::default();
        }
        let queue = self.feeds.entry(feed).or_insert(Queue { next: first, entries: VecDeque::new() });
        if queue.next + queue.entries.len() as Seq != first {
            self.known -= queue.entries.len();
            self.body_bytes -= queue.entries.iter().map(Facts::body_bytes).sum::<usize>();
            *queue = Queue { next: first, entries: VecDeque::new() };
        }
        let before = queue.entries.len();
        queue.entries.extend(entries);
        let added = queue.entries.range(before..);
        self.known += added.len();
        self.body_bytes += added.map(Facts::body_bytes).sum::<usize>();
        // What waits for long to be delivered is read again then.
        if self.body_bytes > RECENT_BYTES {
            self.feeds.values_mut().flat_map(|queue| &mut queue.entries).for_each(|entry| entry.fresh = None);
            self.body_bytes = 0;
        }
    }

    /// Takes an entry out to deliver it: the next of its feed. `None` if it is not known.
    pub(crate) fn take(&mut self, feed: FeedKey, seq: Seq) -> Option<Facts> {
        let queue = self.feeds.get_mut(&feed).filter(|queue| queue.next == seq)?;
        let facts = queue.entries.pop_front()?;
        queue.next += 1;
        if queue.entries.is_empty() {
            self.feeds.remove(&feed);
        }
        self.known -= 1;
        self.body_bytes -= facts.body_bytes();
        Some(facts)
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::{Header, Identity, NetworkId, VectorClock};

    use super::*;

    const ALICE: FeedKey = (1, 1);
    const BOB: FeedKey = (1, 2);

    fn run(first: Seq, bodies: &[usize]) -> Run {
        let identity = Identity::from_seed([1; 32]);
        let entry = |(lamport, len): (u64, &usize)| {
            let header = Header { lamport, wall_ms: lamport, clock: VectorClock::new(), kind: EntryKind::Text };
            Entry { header, body: Bytes::from(vec![b'x'; *len]) }
        };
        let previous = if first == 1 { EntryHash::NONE } else { EntryHash::new([9; 32]) };
        Run::sign(&identity, NetworkId::new([1; 32]), first, previous, (first..).zip(bodies).map(entry).collect())
    }

    /// The Lamport time of what is taken, and how long its body is, if that is at hand.
    fn take(known: &mut Undelivered, feed: FeedKey, seq: Seq) -> Option<(u64, Option<usize>)> {
        known.take(feed, seq).map(|facts| (facts.lamport, facts.fresh.map(|fresh| fresh.body.len())))
    }

    #[test]
    fn runs_that_wait_together_are_all_at_hand() {
        let mut known = Undelivered::default();
        known.add(ALICE, &run(1, &[10, 20]));
        known.add(BOB, &run(1, &[5]));
        known.add(ALICE, &run(3, &[30]));
        for (seq, len) in [(1, 10), (2, 20), (3, 30)] {
            assert_eq!(take(&mut known, ALICE, seq), Some((seq, Some(len))));
        }
        assert_eq!(take(&mut known, ALICE, 4), None);
        assert_eq!(take(&mut known, BOB, 1), Some((1, Some(5))));
        assert!(known.feeds.is_empty() && known.known == 0 && known.body_bytes == 0);
    }

    #[test]
    fn only_the_next_entry_of_a_feed_can_be_taken() {
        let mut known = Undelivered::default();
        known.add(ALICE, &run(2, &[1, 1]));
        assert_eq!((take(&mut known, ALICE, 1), take(&mut known, ALICE, 3)), (None, None));
        known.add_stored(ALICE, &run(1, &[7]), 1);
        assert_eq!(take(&mut known, ALICE, 1), Some((1, None)));
        assert_eq!(take(&mut known, ALICE, 2), None, "what did not follow on was forgotten");
        known.add_stored(ALICE, &run(2, &[1, 1, 1]), 3);
        known.add(ALICE, &run(5, &[2]));
        assert_eq!(take(&mut known, ALICE, 3), Some((3, None)));
        assert_eq!(take(&mut known, ALICE, 4), Some((4, None)));
        assert_eq!(take(&mut known, ALICE, 5), Some((5, Some(2))));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut known = Undelivered::default();
        known.add(ALICE, &run(1, &[RECENT_BYTES / 2, RECENT_BYTES / 2]));
        known.add(BOB, &run(1, &[1]));
        assert_eq!(take(&mut known, ALICE, 1), Some((1, None)));
        assert_eq!(take(&mut known, BOB, 1), Some((1, None)));
        known.add(BOB, &run(2, &[1]));
        assert_eq!((take(&mut known, BOB, 2), known.body_bytes), (Some((2, Some(1))), 0));
        let many = vec![0; 1_000];
        (0..20).for_each(|round| known.add(BOB, &run(3 + round * 1_000, &many)));
        assert!(known.known <= MAX_KNOWN + 1_000, "{} entries", known.known);
    }
}
