//! Timers as a table: one row a timer, overwritten when it is set anew, so that no timer ever goes stale.

use std::collections::BTreeMap;

use p2p_chat_model::PeerId;

/// What can come due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// The leader has been silent for the drawn time.
    Silence,
    /// The leader looks after its members.
    Members,
    /// A member that is away is called on.
    ProbeAway,
    /// Frontiers are compared with a random member.
    AntiEntropy,
    /// What is missing is fetched.
    CatchUp,
    /// A fetch takes so long that somebody else gets a turn.
    FetchTurn,
    /// The own feed is handed to a peer again.
    Push(PeerId),
    /// The stage of an election ends.
    Election,
    /// A registration is due at a discovery service.
    Lease,
    /// The way into the view is tried again.
    Seek,
    /// The join takes too long.
    JoinDeadline,
    /// A joiner waits for its answer long enough.
    Admission,
    /// The leave goes on, whoever has what.
    Leave,
    /// Nobody has said since the start how much of the own feed there is, and it is waited for no longer.
    OwnWord,
}

#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Timers(BTreeMap<Timer, u64>);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: u64) {
        self.0.insert(timer, at);
    }

    /// Sets the timer unless it comes due sooner already.
    pub(crate) fn hasten(&mut self, timer: Timer, at: u64) {
        let due = self.0.entry(timer).or_insert(at);
        *due = at.min(*due);
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    pub(crate) fn clear_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.0.contains_key(&timer)
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.0.values().min().copied()
    }

    /// Takes one timer that is due at `now`, the longest due first.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<Timer> {
        let (timer, due) = self.0.iter().map(|(timer, due)| (*timer, *due)).min_by_key(|(_, due)| *due)?;
        if due > now {
            return None;
        }
        self.0.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_anew_comes_due_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Silence, 5);
        timers.set(Timer::Silence, 9);
        timers.hasten(Timer::Lease, 7);
        timers.hasten(Timer::Lease, 8);
        assert_eq!(timers.next(), Some(7));
        assert_eq!(timers.take_due(6), None);
        assert_eq!(timers.take_due(10), Some(Timer::Lease));
        assert_eq!(timers.take_due(10), Some(Timer::Silence));
        assert_eq!(timers.next(), None);
    }
}
