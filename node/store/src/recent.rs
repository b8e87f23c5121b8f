//! The newest runs and deliveries, in memory: so neither handing a fresh run to every member nor showing what has just
//! been delivered reads the file.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use p2p_chat_model::{NetworkId, PeerId, Seq};

use crate::{StoredMessage, read::Tallies};

/// Most bytes kept in memory for one network (1 MiB): of runs, and of messages.
pub const RECENT_BYTES: usize = 1 << 20;

/// What a committed transaction changed.
pub(crate) enum Change {
    Run {
        network: NetworkId,
        author: PeerId,
        first: Seq,
        last: Seq,
        bytes: Bytes,
    },
    /// The timeline has grown by these messages, or by some that are not at hand.
    Delivered {
        network: NetworkId,
        messages: Option<Vec<StoredMessage>>,
    },
    /// A network was hidden, if there was one; it had this key.
    Forget {
        network: NetworkId,
        key: Option<i64>,
    },
}

impl Change {
    /// The key of a network that was hidden, and whose it was.
    pub(crate) fn hidden(&self) -> Option<(i64, NetworkId)> {
        match self {
            Self::Forget { network, key } => key.map(|key| (key, *network)),
            _ => None,
        }
    }
}

/// The newest committed runs and deliveries of each network, and what was counted of it.
#[derive(Default)]
pub(crate) struct Recent {
    networks: Mutex<BTreeMap<NetworkId, Newest>>,
    tallies: Tallies,
}

#[derive(Default)]
struct Newest {
    runs: Runs,
    arrivals: Arrivals,
}

/// The end of the timeline: without gaps, up to its last position.
#[derive(Default)]
struct Arrivals {
    messages: VecDeque<StoredMessage>,
    size: usize,
}

/// Evicted in the order of arrival: so what is here of one feed has no gaps and goes up to its end.
#[derive(Default)]
struct Runs {
    by_start: BTreeMap<(PeerId, Seq), (Seq, Bytes)>,
    arrived: VecDeque<(PeerId, Seq)>,
    size: usize,
}

impl Recent {
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let mut networks = self.networks();
        for change in changes {
            match change {
                Change::Run { network, author, first, last, bytes } => {
                    networks.entry(network).or_default().runs.push(author, first, last, bytes);
                }
                Change::Delivered { network, messages } => {
                    networks.entry(network).or_default().arrivals.extend(messages);
                }
                Change::Forget { network, .. } => {
                    networks.remove(&network);
                    self.tallies.forget(network);
                }
            }
        }
    }

    /// Runs of the feed from the one that contains `from`, at most `max_bytes` but at least one; `None` if that one
    /// is not here.
    pub(crate) fn runs(&self, network: NetworkId, author: PeerId, from: Seq, max_bytes: usize) -> Option<Vec<Bytes>> {
        let networks = self.networks();
        let runs = &networks.get(&network)?.runs.by_start;
        let (start, (last, _)) = runs.range((author, 0)..=(author, from)).next_back()?;
        if *last < from {
            return None;
        }
        let mut found = Vec::new();
        let mut size = 0;
        for (_, (_, bytes)) in runs.range(*start..=(author, Seq::MAX)) {
            size += bytes.len();
            if size > max_bytes && !found.is_empty() {
                break;
            }
            found.push(bytes.clone());
        }
        Some(found)
    }

    /// At most `limit` messages after a position, fewer where their bodies exceed `max_bytes`; `None` if they do not all
    /// come from here.
    pub(crate) fn arrivals_after(
        &self,
        network: NetworkId,
        position: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Option<Vec<StoredMessage>> {
        let networks = self.networks();
        let messages = &networks.get(&network)?.arrivals.messages;
        let first = messages.front()?.position;
        let skipped = usize::try_from(position.checked_add(1)?.checked_sub(first)?).ok()?;
        let (mut found, mut size) = (Vec::new(), 0);
        for message in messages.iter().skip(skipped).take(limit as usize) {
            size += message.body.len();
            found.push(message.clone());
            if size >= max_bytes {
                break;
            }
        }
        Some(found)
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    fn networks(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Newest>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    fn push(&mut self, author: PeerId, first: Seq, last: Seq, bytes: Bytes) {
        self.size += bytes.len();
        self.arrived.push_back((author, first));
        self.by_start.insert((author, first), (last, bytes));
        while self.size > RECENT_BYTES
            && let Some(oldest) = self.arrived.pop_front()
        {
            let size = self.by_start.remove(&oldest).map_or(0, |(_, bytes)| bytes.len());
            self.size = self.size.saturating_sub(size);
        }
    }
}

impl Arrivals {
    fn extend(&mut self, messages: Option<Vec<StoredMessage>>) {
        match messages {
            Some(messages) => messages.into_iter().for_each(|message| self.push(message)),
            None => *self = Self::default(),
        }
    }

    fn push(&mut self, message: StoredMessage) {
        if self.messages.back().is_some_and(|last| last.position + 1 != message.position) {
            *self = Self::default();
        }
        self.size += size_of::<StoredMessage>() + message.body.len();
        self.messages.push_back(message);
        while self.size > RECENT_BYTES
            && let Some(oldest) = self.messages.pop_front()
        {
            self.size = self.size.saturating_sub(size_of::<StoredMessage>() + oldest.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::{EntryHash, EntryKind, MessageId};

    use super::*;

    const LAB: NetworkId = NetworkId::new([1; 32]);
    const ALICE: PeerId = PeerId::new([2; 32]);
    const BOB: PeerId = PeerId::new([3; 32]);

    fn push(recent: &Recent, author: PeerId, first: Seq, last: Seq, len: usize) {
        let bytes = Bytes::from(vec![first as u8; len]);
        recent.apply(vec![Change::Run { network: LAB, author, first, last, bytes }]);
    }

    #[test]
    fn the_newest_runs_are_found_by_any_of_their_entries() {
        let recent = Recent::default();
        push(&recent, ALICE, 4, 6, 10);
        push(&recent, BOB, 1, 1, 10);
        push(&recent, ALICE, 7, 7, 10);
        let starts = |from, max| {
            recent.runs(LAB, ALICE, from, max).map(|runs| runs.iter().map(|bytes| bytes[0]).collect::<Vec<_>>())
        };
        assert_eq!(starts(3, 100), None);
        assert_eq!(starts(4, 100), Some(vec![4, 7]));
        assert_eq!(starts(6, 19), Some(vec![4]));
        assert_eq!(starts(6, 0), Some(vec![4]));
        assert_eq!(starts(7, 100), Some(vec![7]));
        assert_eq!(starts(8, 100), None);
    }

    #[test]
    fn no_more_is_kept_than_the_cap_and_the_oldest_goes_first() {
        let recent = Recent::default();
        for first in 1..=5 {
            push(&recent, ALICE, first, first, RECENT_BYTES / 4);
        }
        assert_eq!(recent.runs(LAB, ALICE, 1, 1), None);
        assert_eq!(recent.runs(LAB, ALICE, 2, usize::MAX).map(|runs| runs.len()), Some(4));
        push(&recent, BOB, 1, 1, RECENT_BYTES + 1);
        assert_eq!(recent.runs(LAB, BOB, 1, 1), None);
        recent.apply(vec![Change::Forget { network: LAB, key: Some(1) }]);
        assert_eq!(recent.runs(LAB, ALICE, 5, 1), None);
    }

    fn message(position: u64, len: usize) -> StoredMessage {
        let (id, kind) = (MessageId::from(EntryHash::NONE), EntryKind::Text);
        let (author, seq, lamport, body) = (ALICE, position, position, Bytes::from(vec![0; len]));
        StoredMessage { id, author, seq, lamport, wall_ms: 0, kind, body, position, late: false, arrived_ms: 0 }
    }

    #[test]
    fn what_has_just_been_delivered_is_at_hand_as_far_back_as_it_has_no_gap() {
        let recent = Recent::default();
        let deliver = |message: Option<StoredMessage>| {
            let messages = message.map(|message| vec![message]);
            recent.apply(vec![Change::Delivered { network: LAB, messages }]);
        };
        let after = |position, limit, max_bytes| {
            let page = recent.arrivals_after(LAB, position, limit, max_bytes);
            page.map(|page| page.iter().map(|message| message.position).collect::<Vec<_>>())
        };
        assert_eq!(after(0, 9, 99), None);
        (4..=6).for_each(|position| deliver(Some(message(position, 10))));
        assert_eq!((after(2, 9, 99), after(3, 9, 99)), (None, Some(vec![4, 5, 6])));
        assert_eq!((after(3, 2, 99), after(3, 9, 15)), (Some(vec![4, 5]), Some(vec![4, 5])));
        assert_eq!((after(6, 9, 99), after(7, 9, 99)), (Some(Vec::new()), Some(Vec::new())));
        deliver(None);
        assert_eq!(after(6, 9, 99), None);
        deliver(Some(message(8, 10)));
        assert_eq!((after(6, 9, 99), after(7, 9, 99)), (None, Some(vec![8])));
        deliver(Some(message(10, 10)));
        assert_eq!((after(8, 9, 99), after(9, 9, 99)), (None, Some(vec![10])), "the ninth is not here");
        deliver(Some(message(11, RECENT_BYTES)));
        assert_eq!(after(10, 9, 99), None, "more than is kept");
    }
}
