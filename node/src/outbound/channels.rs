//! Connections to peers that are kept for the next call.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use p2p_chat_model::{Address, PeerId};

/// Connections that are kept; one more takes the place of the one that was idle for longest.
const MAX_KEPT: usize = 2_048;
/// How long one is kept that nobody uses: of a network that was left, or of a member that has gone.
const MAX_IDLE: Duration = Duration::from_secs(600);

/// By whom and where.
type To = (PeerId, Address);

/// Connections, and when each was last used.
#[derive(Debug)]
pub(super) struct Channels<T>(BTreeMap<To, (T, Instant)>);

impl<T> Default for Channels<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone> Channels<T> {
    /// The connection to a peer; a new one if there is none.
    pub(super) fn to(&mut self, to: To, now: Instant, dial: impl FnOnce() -> T) -> T {
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(&to) {
            let idle = self.0.iter().min_by_key(|(_, (_, used))| *used).map(|(to, _)| to.clone());
            idle.map(|to| self.0.remove(&to));
        }
        let (channel, used) = self.0.entry(to).or_insert_with(|| (dial(), now));
        *used = now;
        channel.clone()
    }

    /// Gives up those that were idle for too long.
    pub(super) fn drop_idle(&mut self, now: Instant) {
        self.0.retain(|_, (_, used)| now.saturating_duration_since(*used) < MAX_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> To {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        (PeerId::new(id), "127.0.0.1:1".parse().expect("an address"))
    }

    #[test]
    fn a_connection_is_made_once_and_kept_while_it_is_used() {
        let (mut channels, start) = (Channels::default(), Instant::now());
        assert_eq!(channels.to(peer(1), start, || "first"), "first");
        assert_eq!(channels.to(peer(2), start, || "other"), "other");
        let later = start + MAX_IDLE / 2;
        assert_eq!(channels.to(peer(1), later, || "second"), "first");
        channels.drop_idle(start + MAX_IDLE);
        assert_eq!(channels.to(peer(1), start + MAX_IDLE, || "second"), "first");
        assert_eq!(channels.to(peer(2), start + MAX_IDLE, || "second"), "second", "it was idle");
    }

    #[test]
    fn one_too_many_takes_the_place_of_the_one_that_was_idle_for_longest() {
        let (mut channels, start) = (Channels::default(), Instant::now());
        let at = |number: usize| start + Duration::from_millis(number as u64);
        (0..MAX_KEPT).for_each(|number| _ = channels.to(peer(number), at(number), || "kept"));
        channels.to(peer(0), at(MAX_KEPT), || "new");
        channels.to(peer(MAX_KEPT), at(MAX_KEPT), || "new");
        assert_eq!(channels.0.len(), MAX_KEPT);
        assert!(channels.0.contains_key(&peer(0)) && !channels.0.contains_key(&peer(1)));
    }
}
