//! Which texts make up the next run of the own feed. One that comes alone is written at once. Those that come while the
//! own run before them is on its way to the disk, or while every member still takes the entries handed over to it, wait
//! and are written together: nobody would have them sooner if they were not, and under load runs grow, and with them
//! falls what a text costs in signatures, calls and syncs.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Most texts that wait; when one more comes, they are all written.
const MAX_WAITING: usize = 1_024;
/// Most bytes that wait, but for the last text: they go into one commit.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// How long members that are slow to take entries hold up writing.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Why a text may have to wait.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    /// An own run is on its way to the disk.
    pub(super) with_own: bool,
    /// Every other active member is taking entries of the own feed.
    pub(super) with_all: bool,
}

/// Texts that wait, in the order in which they came.
#[derive(Debug)]
pub(super) struct Batching<T> {
    waiting: VecDeque<T>,
    bytes: usize,
    until: Option<Instant>,
}

impl<T> Default for Batching<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, until: None }
    }
}

impl<T> Batching<T> {
    /// Whether a text that comes now has to wait.
    pub(super) fn wants(&self, busy: Busy) -> bool {
        let is_first = self.waiting.is_empty();
        let has_room = self.waiting.len() < MAX_WAITING && self.bytes < MAX_WAITING_BYTES;
        has_room && (!is_first || busy.with_own || busy.with_all)
    }

    /// Has a text wait that takes so many bytes.
    pub(super) fn hold(&mut self, text: T, bytes: usize, now: Instant) {
        self.until.get_or_insert(now + MAX_WAIT);
        self.bytes += bytes;
        self.waiting.push_back(text);
    }

    /// The texts whose turn has come: all that wait, or none.
    pub(super) fn ready(&mut self, busy: Busy, now: Instant) -> VecDeque<T> {
        let is_over = self.until.is_none_or(|until| now >= until);
        if busy.with_own || busy.with_all && !is_over { VecDeque::new() } else { self.take() }
    }

    /// All that wait.
    pub(super) fn take(&mut self) -> VecDeque<T> {
        (self.bytes, self.until) = (0, None);
        std::mem::take(&mut self.waiting)
    }

    /// Until when members hold up what waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Busy = Busy { with_own: false, with_all: false };
    const OWN: Busy = Busy { with_own: true, with_all: false };
    const ALL: Busy = Busy { with_own: false, with_all: true };

    #[test]
    fn a_text_that_comes_alone_does_not_wait() {
        let batching = Batching::<u8>::default();
        assert!(!batching.wants(FREE));
        assert!(batching.wants(OWN) && batching.wants(ALL));
    }

    #[test]
    fn texts_that_come_while_a_run_is_written_make_up_the_next_one_in_their_order() {
        let (mut batching, now) = (Batching::default(), Instant::now());
        batching.hold(1, 1, now);
        assert!(batching.wants(FREE), "none overtakes one that waits");
        batching.hold(2, 1, now);
        assert!(batching.ready(OWN, now + 2 * MAX_WAIT).is_empty(), "the disk takes as long as it takes");
        assert_eq!(batching.ready(FREE, now), [1, 2]);
        assert!(!batching.wants(FREE) && batching.due().is_none());
    }

    #[test]
    fn slow_members_hold_texts_up_for_a_moment_only() {
        let (mut batching, now) = (Batching::default(), Instant::now());
        batching.hold(1, 1, now);
        batching.hold(2, 1, now + MAX_WAIT / 2);
        assert_eq!(batching.due(), Some(now + MAX_WAIT));
        assert!(batching.ready(ALL, now + MAX_WAIT / 2).is_empty());
        assert_eq!(batching.ready(ALL, now + MAX_WAIT), [1, 2]);
    }

    #[test]
    fn only_so_many_wait() {
        let (mut batching, now) = (Batching::default(), Instant::now());
        (0..MAX_WAITING).for_each(|text| batching.hold(text, 1, now));
        assert!(!batching.wants(OWN));
        assert_eq!(batching.take().len(), MAX_WAITING);
    }

    #[test]
    fn only_so_much_waits() {
        let (mut batching, now) = (Batching::default(), Instant::now());
        for text in 0..4 {
            assert!(batching.wants(OWN));
            batching.hold(text, MAX_WAITING_BYTES / 4, now);
        }
        assert!(!batching.wants(OWN));
        assert_eq!(batching.take().len(), 4);
        assert!(batching.wants(OWN), "nothing waits any more");
    }
}
