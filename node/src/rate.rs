//! How much one peer may ask for: a token bucket a peer (RFC 2698 in its simplest form).

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use p2p_chat_model::PeerId;

/// Calls a peer may make in one second, on average and at once.
pub(crate) const CALLS_PER_SECOND: f64 = 2_000.0;
/// Peers that are remembered; when there are more, those with a full bucket are forgotten.
const MAX_PEERS: usize = 4_096;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// The buckets of all peers.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    buckets: Mutex<BTreeMap<PeerId, Bucket>>,
}

impl RateLimit {
    /// Takes one call out of the peer's bucket. Returns whether there was one.
    pub(crate) fn allows(&self, peer: PeerId, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_PEERS && !buckets.contains_key(&peer) {
            buckets.retain(|_, bucket| bucket.level(now) < CALLS_PER_SECOND);
            if buckets.len() >= MAX_PEERS {
                return false;
            }
        }
        let bucket = buckets.entry(peer).or_insert(Bucket { tokens: CALLS_PER_SECOND, filled: now });
        bucket.tokens = bucket.level(now);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}

impl Bucket {
    fn level(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens + passed * CALLS_PER_SECOND).min(CALLS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_peer_can_use_up_its_own_calls_only() {
        let limit = RateLimit::default();
        let now = Instant::now();
        let (alice, bob) = (PeerId::new([1; 32]), PeerId::new([2; 32]));
        let allowed = (0..3_000).filter(|_| limit.allows(alice, now)).count();
        assert_eq!(allowed, 2_000);
        assert!(limit.allows(bob, now));
        assert!(limit.allows(alice, now + Duration::from_millis(1)));
    }
}
