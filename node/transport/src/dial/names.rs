//! Look-ups of hosts' names, bounded: each takes a thread until the system's resolver has an answer, which can be long after
//! nobody waits for it any more. The same threads read files; so names that others have chosen must not take all of them.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use p2p_chat_model::Address;
use tokio::{
    sync::{Mutex, Semaphore},
    task::{JoinHandle, spawn_blocking},
};

use super::DialError;

/// Most look-ups at one time of one [`Dialer`](super::Dialer) and its clones.
pub const MAX_LOOKUPS: usize = 64;
/// The same where strangers say which names.
pub const MAX_LOOKUPS_FOR_STRANGERS: usize = 16;

type Found = io::Result<Vec<SocketAddr>>;

/// Looks up names for those who share the places of its clones.
#[derive(Debug, Clone)]
pub(super) struct Names {
    places: Arc<Semaphore>,
    look_up: fn(&str) -> Found,
}

impl Names {
    /// At most so many at one time.
    pub(super) fn new(most: usize) -> Self {
        let look_up = |address: &str| address.to_socket_addrs().map(Iterator::collect);
        Self { places: Arc::new(Semaphore::new(most)), look_up }
    }

    /// The look-ups of one channel.
    pub(super) fn of(&self, address: Address) -> Lookup {
        Lookup { names: self.clone(), address, under_way: Mutex::default() }
    }
}

/// The look-ups of one name, one at a time: who asks while one is under way waits for that one.
#[derive(Debug)]
pub(crate) struct Lookup {
    names: Names,
    address: Address,
    under_way: Mutex<Option<JoinHandle<Found>>>,
}

impl Lookup {
    /// What is looked up.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Where it is. Whoever stops waiting leaves the look-up to the next one.
    ///
    /// # Errors
    /// [`DialError::Connect`] if the name is unknown, [`DialError::Lookups`] without a place.
    pub(super) async fn found(&self) -> Result<Vec<SocketAddr>, DialError> {
        // Numbers have to be looked up nowhere.
        if let Ok(literal) = self.address.as_str().parse() {
            return Ok(vec![literal]);
        }
        let mut under_way = self.under_way.lock().await;
        let looking = match &mut *under_way {
            Some(looking) => looking,
            none => none.insert(self.begin()?),
        };
        let found = looking.await;
        *under_way = None;
        let found = found.map_err(io::Error::other).flatten();
        found.map_err(|source| DialError::Connect { address: self.address.to_string(), source })
    }

    fn begin(&self) -> Result<JoinHandle<Found>, DialError> {
        let place = Arc::clone(&self.names.places).try_acquire_owned();
        let place = place.map_err(|_| DialError::Lookups { address: self.address.to_string() })?;
        let (address, look_up) = (self.address.clone(), self.names.look_up);
        Ok(spawn_blocking(move || {
            let found = look_up(address.as_str());
            // Not before: the thread is taken until here.
            drop(place);
            found
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;

    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static ANSWERS: AtomicBool = AtomicBool::new(false);

    /// A resolver that does not answer before it is let.
    fn stuck(_: &str) -> Found {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        while !ANSWERS.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        Ok(vec![([127, 0, 0, 1], 1).into()])
    }

    fn lookup(names: &Names, address: &str) -> Lookup {
        names.of(address.parse().unwrap())
    }

    #[tokio::test]
    async fn names_that_resolve_slowly_take_no_more_threads_than_there_are_places() {
        let names = Names { look_up: stuck, ..Names::new(2) };
        let stuck_ones = ["a.example:1", "b.example:1"].map(|name| lookup(&names, name));
        for name in &stuck_ones {
            for _ in 0..3 {
                timeout(Duration::from_millis(1), name.found()).await.expect_err("the resolver answers nothing");
            }
        }
        let refused = lookup(&names, "c.example:1").found().await;
        assert!(matches!(refused, Err(DialError::Lookups { .. })), "{refused:?}");
        assert_eq!(lookup(&names, "[::1]:7").found().await.unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(!Names::new(1).of("localhost:7".parse().unwrap()).found().await.unwrap().is_empty(), "others go on");

        ANSWERS.store(true, Ordering::SeqCst);
        for name in stuck_ones {
            name.found().await.expect("the one that was given up has an answer");
        }
        assert_eq!(BEGUN.load(Ordering::SeqCst), 2, "who asks again waits for the same");
        lookup(&names, "c.example:1").found().await.expect("a place was freed");
    }
}
