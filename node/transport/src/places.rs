//! Places that callers have to share, so that no single host can have them all.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use p2p_chat_model::host::host_of;

/// So many places, and their fair use: half of them are there for anybody; of the others nobody gets one who has an
/// eighth of all. So many callers behind one address are served while there is room, and to keep everybody else out
/// takes five addresses. Clones share the places.
#[derive(Debug, Clone)]
pub struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_host: BTreeMap<IpAddr, usize>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The caller's address has its share.
    Address,
}

impl Places {
    /// `most` places.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place for a caller at this address; see [`host_of`] for what counts as one.
    ///
    /// # Errors
    /// [`Full`], and nothing is taken.
    pub fn take(&self, caller: IpAddr) -> Result<Place, Full> {
        let host = host_of(caller);
        let mut taken = self.taken();
        let of_host = taken.by_host.get(&host).copied().unwrap_or(0);
        if taken.all >= self.most {
            return Err(Full::All);
        }
        if taken.all >= self.most.div_ceil(2) && of_host >= self.most.div_ceil(8) {
            return Err(Full::Address);
        }
        taken.all += 1;
        taken.by_host.insert(host, of_host + 1);
        Ok(Place { places: self.clone(), host })
    }

    /// How many are taken.
    pub fn taken_by_all(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken. Dropping it frees it.
#[derive(Debug)]
pub struct Place {
    places: Places,
    host: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        let left = taken.by_host.remove(&self.host).unwrap_or(0).saturating_sub(1);
        if left > 0 {
            taken.by_host.insert(self.host, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    fn fill(places: &Places, caller: IpAddr) -> Vec<Place> {
        std::iter::from_fn(|| places.take(caller).ok()).collect()
    }

    #[test]
    fn one_address_gets_half_of_the_places_and_others_an_eighth_of_what_is_left() {
        let places = Places::new(64);
        let first = fill(&places, host(1));
        let second = fill(&places, host(2));
        assert_eq!((first.len(), second.len()), (32, 8));
        assert_eq!(places.take(host(2)).err(), Some(Full::Address));
        let third = places.take(host(3));
        assert!(third.is_ok(), "two addresses keep nobody out");
        let others: Vec<_> =
            (4..).map(|number| fill(&places, host(number))).take_while(|got| !got.is_empty()).collect();
        assert_eq!((others.len(), places.take(host(9)).err()), (3, Some(Full::All)));
        drop((first, second));
        assert!(places.take(host(3)).is_ok(), "what is freed is there for anybody");
        drop((third, others));
        assert_eq!(places.taken_by_all(), 0);
        assert!(places.taken().by_host.is_empty());
    }
}
