//! How often one caller may call.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most callers that are counted one by one; further ones share one allowance.
const MAX_CALLERS: usize = 10_000;
/// How many seconds' worth of calls may come at once.
const BURST_SECONDS: u32 = 10;

/// A token bucket per caller's address; IPv6 callers count by their /64, of which one host may own the whole.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_second: f64,
    callers: Mutex<BTreeMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), callers: Mutex::default() }
    }

    /// Whether a call by `caller` at the time `now` is within its allowance. Counts it if it is.
    pub(crate) fn admit(&self, caller: IpAddr, now: Instant) -> bool {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = network_of(caller);
        if callers.len() >= MAX_CALLERS && !callers.contains_key(&key) {
            // A bucket that has filled up again says no more than none at all.
            let refill = Duration::from_secs(u64::from(BURST_SECONDS));
            callers.retain(|_, bucket| now.saturating_duration_since(bucket.at) < refill);
            if callers.len() >= MAX_CALLERS {
                key = IpAddr::from([0; 4]);
            }
        }
        let most = self.per_second * f64::from(BURST_SECONDS);
        let bucket = callers.entry(key).or_insert(Bucket { tokens: most, at: now });
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.tokens = (bucket.tokens + earned).min(most);
        bucket.at = now;
        let is_admitted = bucket.tokens >= 1.0;
        if is_admitted {
            bucket.tokens -= 1.0;
        }
        is_admitted
    }
}

fn network_of(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) >> 64 << 64).to_be_bytes()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(limiter: &Limiter, caller: &str, now: Instant, tries: u32) -> usize {
        (0..tries).filter(|_| limiter.admit(caller.parse().unwrap(), now)).count()
    }

    #[test]
    fn a_caller_gets_its_burst_and_then_its_rate() {
        let (limiter, now) = (Limiter::new(5), Instant::now());
        assert_eq!(admitted(&limiter, "10.0.0.1", now, 60), 50);
        assert_eq!(admitted(&limiter, "10.0.0.2", now, 60), 50, "others are not affected");
        assert_eq!(admitted(&limiter, "10.0.0.1", now + Duration::from_secs(2), 60), 10);
    }

    #[test]
    fn a_host_is_counted_once_whatever_address_it_takes() {
        let (limiter, now) = (Limiter::new(5), Instant::now());
        assert_eq!(admitted(&limiter, "2001:db8::1", now, 60), 50);
        assert_eq!(admitted(&limiter, "2001:db8::2:1", now, 60), 0);
        assert_eq!(admitted(&limiter, "::ffff:10.0.0.1", now, 60), 50);
        assert_eq!(admitted(&limiter, "10.0.0.1", now, 60), 0);
    }

    #[test]
    fn callers_beyond_the_cap_share_one_allowance() {
        let (limiter, now) = (Limiter::new(5), Instant::now());
        for number in 0..MAX_CALLERS as u32 {
            assert!(limiter.admit(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), now));
        }
        assert_eq!(admitted(&limiter, "192.0.2.1", now, 60), 50);
        assert_eq!(admitted(&limiter, "192.0.2.2", now, 60), 0);
        assert_eq!(limiter.callers.lock().unwrap().len(), MAX_CALLERS + 1);
        let later = now + Duration::from_secs(10);
        assert_eq!(admitted(&limiter, "192.0.2.2", later, 60), 50);
        assert_eq!(limiter.callers.lock().unwrap().len(), 1);
    }
}
