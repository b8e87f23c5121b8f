//! The record of all networks: a pure state machine.
//!
//! There is no IO and no clock here. A caller hands in what it was told and the time since 1970, and goes on like this:
//!
//! 1. `decide_*` looks at a statement and the present record and changes nothing. [`Verdict::AskFirst`] names nodes
//!    that have to be pinged; the caller does so and decides again with the answers, against the record as it is
//!    *then*. That second look is the compare-and-set: of two candidates that were asked about at the same time, the
//!    later one finds the epoch of the earlier.
//! 2. [`Verdict::Accept`] holds the changes as values. The caller makes them durable,
//! 3. gives them to [`Registry::apply`],
//! 4. and only then answers.
//!
//! Between a decision and the application of its changes no other change of the same network, and no two
//! registrations or removals, may come: one task decides and applies.

mod decide;
mod founding;
mod record;
mod refusal;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Bound,
    time::Duration,
};

use p2p_chat_model::{Address, Name, NetworkId, host::host_of};

pub use founding::Founding;
pub use record::{Answer, Answers, Change, Probe, Record, Terms, Tombstone, Verdict};
pub use refusal::Refusal;

/// Most networks that one [`Registry::upkeep`] purges.
pub const MAX_PURGED_AT_ONCE: usize = 1_000;

/// Above every network id, for ranges over `(time, network)`.
const LAST_NETWORK: NetworkId = NetworkId::new([0xff; 32]);

/// Which networks exist, and who leads each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    terms: Terms,
    listening_since: Duration,
    records: BTreeMap<NetworkId, Record>,
    names: BTreeMap<Name, NetworkId>,
    heard: BTreeSet<(Duration, NetworkId)>,
    tombstones: BTreeMap<NetworkId, Tombstone>,
    buried: BTreeSet<(Duration, NetworkId)>,
    members: usize,
    shares: BTreeMap<String, Share>,
}

/// What the networks whose leaders are of one site take of the room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    networks: usize,
    members: usize,
}

impl Registry {
    /// A registry that knows no network. A stored one is brought back by applying its records and tombstones, and told
    /// with [`Self::listening_since`] since when it has been listening again.
    pub const fn new(terms: Terms) -> Self {
        Self {
            terms,
            listening_since: Duration::ZERO,
            records: BTreeMap::new(),
            names: BTreeMap::new(),
            heard: BTreeSet::new(),
            tombstones: BTreeMap::new(),
            buried: BTreeSet::new(),
            members: 0,
            shares: BTreeMap::new(),
        }
    }

    /// The same, but nobody can have been heard before `started` (since 1970): a silence counts from then on at the
    /// earliest, so that leaders that outlived a rest of the service get the chance to say so.
    #[must_use]
    pub fn listening_since(self, started: Duration) -> Self {
        Self { listening_since: started, ..self }
    }

    /// How it is run.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How many networks are on record.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no network is on record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is on record of a network.
    pub fn record(&self, network: &NetworkId) -> Option<&Record> {
        self.records.get(network)
    }

    /// What is on record of the network of that name.
    pub fn named(&self, name: &Name) -> Option<&Record> {
        self.names.get(name).and_then(|network| self.record(network))
    }

    /// What is remembered of a network that was closed or purged.
    pub fn tombstone(&self, network: &NetworkId) -> Option<&Tombstone> {
        self.tombstones.get(network)
    }

    /// Whether the lease of a record has run out: nothing was heard of its leader for so long, while there was somebody
    /// to hear it.
    pub fn is_stale(&self, record: &Record, now: Duration) -> bool {
        now.saturating_sub(record.heard().max(self.listening_since)) >= self.terms.lease
    }

    /// How many records have a lease that has run out.
    pub fn stale(&self, now: Duration) -> usize {
        self.silent_until(now).map_or(0, |until| self.heard.range(..=(until, LAST_NETWORK)).count())
    }

    /// Whoever was last heard then or before has a lease that has run out; `None` if nobody has.
    fn silent_until(&self, now: Duration) -> Option<Duration> {
        now.checked_sub(self.terms.lease).filter(|until| *until >= self.listening_since)
    }

    /// The records whose names come after `after`, by name.
    pub fn list(&self, after: Option<&Name>) -> impl Iterator<Item = &Record> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range::<Name, _>((start, Bound::Unbounded)).filter_map(|(_, network)| self.record(network))
    }

    /// The networks whose lease ran out after the time `since` and not after `now`.
    pub fn lapsed(&self, since: Duration, now: Duration) -> Vec<NetworkId> {
        let Some(until) = self.silent_until(now) else { return Vec::new() };
        let from = self.silent_until(since).map_or(Bound::Unbounded, |from| Bound::Excluded((from, LAST_NETWORK)));
        if since > now {
            return Vec::new();
        }
        self.heard.range((from, Bound::Included((until, LAST_NETWORK)))).map(|(_, network)| *network).collect()
    }

    /// What is due without anybody asking: networks that nobody renewed for too long go, at most
    /// [`MAX_PURGED_AT_ONCE`] of them, and so do the oldest of too many tombstones. Where room runs out
    /// ([`Terms::is_crowded`]) the networks that were silent for longest go earlier, but none whose lease has not run out.
    pub fn upkeep(&self, now: Duration) -> Vec<Change> {
        let purged = self.due(now);
        let surplus = (self.tombstones.len() + purged.len()).saturating_sub(self.terms.max_tombstones);
        let forgotten = self.buried.iter().take(surplus).map(|(_, network)| Change::Forget(*network));
        let removed = purged.iter().map(|record| Change::Remove(bury(record, record.serial(), now)));
        forgotten.chain(removed).collect()
    }

    /// The records that are to be purged, those that were silent for longest first: what is overdue, and, where room
    /// runs out, whatever is stale, until there is some again.
    fn due(&self, now: Duration) -> Vec<&Record> {
        let Some(until) = self.silent_until(now) else { return Vec::new() };
        let overdue = now.checked_sub(self.terms.purge_after);
        let (mut networks, mut members) = (self.records.len(), self.members);
        let stale = self.heard.range(..=(until, LAST_NETWORK)).filter_map(|(_, network)| self.record(network));
        let due = stale.take_while(|record| {
            let goes =
                overdue.is_some_and(|overdue| record.heard() <= overdue) || self.terms.is_crowded(networks, members);
            networks -= 1;
            members -= record.view().active.len();
            goes
        });
        due.take(MAX_PURGED_AT_ONCE).collect()
    }

    /// Carries a durable change out. Says whether anything that is listed became different.
    pub fn apply(&mut self, now: Duration, change: Change) -> bool {
        match change {
            Change::Put(record) => self.put(now, record),
            Change::Touch { network, serial, heard } => self.touch(now, network, serial, heard),
            Change::Remove(tombstone) => {
                let removed = self.take_out(&tombstone.network).is_some();
                self.forget(&tombstone.network);
                self.buried.insert((tombstone.since, tombstone.network));
                self.tombstones.insert(tombstone.network, tombstone);
                removed
            }
            Change::Forget(network) => {
                self.forget(&network);
                false
            }
        }
    }

    fn put(&mut self, now: Duration, record: Record) -> bool {
        let before = self.take_out(&record.network());
        self.forget(&record.network());
        let differs = before.is_none_or(|before| before.view() != record.view() || self.is_stale(&before, now));
        self.members += record.view().active.len();
        let share = self.shares.entry(site(&record.leader().address)).or_default();
        *share = Share { networks: share.networks + 1, members: share.members + record.view().active.len() };
        self.heard.insert((record.heard(), record.network()));
        self.names.insert(record.name().clone(), record.network());
        self.records.insert(record.network(), record);
        differs
    }

    fn touch(&mut self, now: Duration, network: NetworkId, serial: u64, heard: Duration) -> bool {
        let Some(was_stale) = self.record(&network).map(|record| self.is_stale(record, now)) else { return false };
        let Some(record) = self.records.get_mut(&network) else { return false };
        self.heard.remove(&(record.heard(), network));
        self.heard.insert((heard, network));
        record.touch(serial, heard);
        was_stale
    }

    fn take_out(&mut self, network: &NetworkId) -> Option<Record> {
        let record = self.records.remove(network)?;
        self.members -= record.view().active.len();
        self.give_back(&record);
        self.heard.remove(&(record.heard(), *network));
        self.names.remove(record.name());
        Some(record)
    }

    fn give_back(&mut self, record: &Record) {
        let site = site(&record.leader().address);
        let share = self.share(&site);
        let left = Share { networks: share.networks - 1, members: share.members - record.view().active.len() };
        if left == Share::default() {
            self.shares.remove(&site);
        } else {
            self.shares.insert(site, left);
        }
    }

    fn share(&self, site: &str) -> Share {
        self.shares.get(site).copied().unwrap_or_default()
    }

    fn forget(&mut self, network: &NetworkId) {
        if let Some(tombstone) = self.tombstones.remove(network) {
            self.buried.remove(&(tombstone.since, *network));
        }
    }
}

/// What counts as one party that founds networks: an IPv4 address, the first 64 bits of an IPv6 address, or the last two labels
/// of a name, below which whoever has it can make as many others as they like. Leaders were called back there.
fn site(address: &Address) -> String {
    if let Ok(socket) = address.as_str().parse::<SocketAddr>() {
        return host_of(socket.ip()).to_string();
    }
    let host = address.as_str().rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let labels: Vec<_> = host.trim_end_matches('.').rsplit('.').take(2).collect();
    // Resolvers know an IPv4 address in many spellings, and no name's last label begins with a digit.
    if labels.first().is_some_and(|last| last.starts_with(|first: char| first.is_ascii_digit())) {
        return "numbers".to_owned();
    }
    labels.join(".").to_ascii_lowercase()
}

/// The tombstone of a network whose leader used `serial` last.
fn bury(record: &Record, serial: u64, now: Duration) -> Tombstone {
    Tombstone { network: record.network(), epoch: record.epoch(), leader: record.leader().peer, serial, since: now }
}

#[cfg(test)]
mod tests;
