//! How often one caller may call.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use p2p_chat_model::host::{first_bits, host_of};

/// Most callers that are counted one by one. A further one takes the place, and what is left of the allowance, of the
/// one that has not called for longest: so a flood of addresses gains no more than this many allowances.
const MAX_CALLERS: usize = 10_000;
/// How many seconds' worth of calls may come at once.
const BURST_SECONDS: f64 = 10.0;
/// How many allowances the hosts of one IPv6 site have together: whoever is given a /48 could pose as 65,536 hosts.
const HOSTS_PER_SITE: f64 = 16.0;

/// A token bucket per caller's address (of IPv6 per /64, of which one host may own the whole), and one per IPv6 site,
/// a /48.
#[derive(Debug)]
pub(crate) struct Limiter {
    both: Mutex<(Buckets, Buckets)>,
}

impl Limiter {
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { both: Mutex::new((Buckets::new(per_second), Buckets::new(per_second * HOSTS_PER_SITE))) }
    }

    /// Whether a call by `caller` at the time `now` is within its allowance. Counts it if it is.
    pub(crate) fn admit(&self, caller: IpAddr, now: Instant) -> bool {
        let mut both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        let (hosts, sites) = &mut *both;
        hosts.take(host_of(caller), now) && site_of(caller).is_none_or(|site| sites.take(site, now))
    }
}

fn site_of(caller: IpAddr) -> Option<IpAddr> {
    match caller.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(first_bits(ip, 48)),
    }
}

/// Buckets that fill up at one rate.
#[derive(Debug)]
struct Buckets {
    per_second: f64,
    by_caller: BTreeMap<IpAddr, Bucket>,
    /// The same callers by their last call.
    by_time: BTreeSet<(Instant, IpAddr)>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    const fn new(per_second: f64) -> Self {
        Self { per_second, by_caller: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Takes a token of this caller's, if there is one.
    fn take(&mut self, caller: IpAddr, now: Instant) -> bool {
        let most = self.per_second * BURST_SECONDS;
        let bucket = self.take_out(caller).unwrap_or(Bucket { tokens: most, at: now });
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        let tokens = (bucket.tokens + earned).min(most);
        let is_there = tokens >= 1.0;
        self.by_caller.insert(caller, Bucket { tokens: if is_there { tokens - 1.0 } else { tokens }, at: now });
        self.by_time.insert((now, caller));
        is_there
    }

    /// The caller's bucket; of a new caller, where there is no room for one more, that of who called least lately.
    fn take_out(&mut self, caller: IpAddr) -> Option<Bucket> {
        if let Some(bucket) = self.by_caller.remove(&caller) {
            self.by_time.remove(&(bucket.at, caller));
            return Some(bucket);
        }
        if self.by_caller.len() < MAX_CALLERS {
            return None;
        }
        let (_, idle) = self.by_time.pop_first()?;
        self.by_caller.remove(&idle)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admitted(limiter: &Limiter, caller: &str, now: Instant, tries: u32) -> usize {
        (0..tries).filter(|_| limiter.admit(caller.parse().unwrap(), now)).count()
    }

    fn address(number: u32) -> IpAddr {
        (0x0a00_0000 + number).to_be_bytes().into()
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
    fn a_site_does_not_get_more_by_posing_as_many_hosts() {
        let (limiter, now) = (Limiter::new(5), Instant::now());
        let host = |site: u32, number: u32| format!("2001:db8:{site:x}:{number:x}::1");
        let of_site: usize = (0..1_000).map(|number| admitted(&limiter, &host(1, number), now, 60)).sum();
        assert_eq!(of_site, 16 * 50);
        assert_eq!(admitted(&limiter, &host(2, 0), now, 60), 50, "other sites are not affected");
    }

    #[test]
    fn a_caller_beyond_the_cap_takes_the_place_of_who_was_idle_for_longest() {
        let (limiter, begun) = (Limiter::new(5), Instant::now());
        let at = |number: u32| begun + Duration::from_nanos(number.into());
        for number in 0..MAX_CALLERS as u32 {
            assert!(limiter.admit(address(number), at(number)));
        }
        let later = at(MAX_CALLERS as u32);
        assert_eq!(admitted(&limiter, "192.0.2.1", later, 60), 49, "what was left of the first one's");
        assert_eq!(admitted(&limiter, "192.0.2.2", later, 60), 49, "newcomers don't share one allowance");
        assert_eq!(admitted(&limiter, "192.0.2.1", later, 60), 0);
        let both = limiter.both.lock().unwrap();
        assert_eq!((both.0.by_caller.len(), both.0.by_time.len()), (MAX_CALLERS, MAX_CALLERS));
    }

    #[test]
    fn a_flood_of_addresses_gains_no_more_than_the_allowances_there_are() {
        let (limiter, now) = (Limiter::new(1), Instant::now());
        let calls = (0..11 * MAX_CALLERS as u32).filter(|number| limiter.admit(address(*number), now)).count();
        assert_eq!(calls, 10 * MAX_CALLERS);
    }
}
