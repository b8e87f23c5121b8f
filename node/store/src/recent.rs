//! The newest runs, in memory, so that handing a fresh run to every member does not read it from the file each time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use p2p_chat_model::{NetworkId, PeerId, Seq};

/// Most run bytes kept in memory for one network (1 MiB).
pub const RECENT_BYTES: usize = 1 << 20;

/// What a committed transaction changed.
pub(crate) enum Change {
    Run { network: NetworkId, author: PeerId, first: Seq, last: Seq, bytes: Bytes },
    Forget(NetworkId),
}

/// The newest committed runs of each network.
#[derive(Default)]
pub(crate) struct Recent(Mutex<BTreeMap<NetworkId, Runs>>);

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
                    networks.entry(network).or_default().push(author, first, last, bytes);
                }
                Change::Forget(network) => drop(networks.remove(&network)),
            }
        }
    }

    /// Runs of the feed from the one that contains `from`, at most `max_bytes` but at least one; `None` if that one
    /// is not here.
    pub(crate) fn runs(&self, network: NetworkId, author: PeerId, from: Seq, max_bytes: usize) -> Option<Vec<Bytes>> {
        let networks = self.networks();
        let runs = &networks.get(&network)?.by_start;
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

    fn networks(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Runs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
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
        recent.apply(vec![Change::Forget(LAB)]);
        assert_eq!(recent.runs(LAB, ALICE, 5, 1), None);
    }
}
