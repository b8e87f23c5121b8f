//! The network between the nodes: what arrives, when, and what does not. Every leg of a call goes through
//! [`Net::leg`]; requests and replies fail on their own.

use std::collections::BTreeMap;

use crate::{rng::Rng, traffic::Traffic};

/// A party on the network: a node's number, or a discovery service as [`nds`] says.
pub(crate) type Who = usize;

/// A discovery service's number.
pub(crate) type Service = usize;

/// A discovery service, as a party.
pub(crate) const fn nds(service: Service) -> Who {
    usize::MAX - service
}

/// One way between two parties: from the first to the second.
pub(crate) type Link = (Who, Who);

/// How the weather is. Likelihoods are in permille.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    /// A request gets lost.
    pub(crate) request_loss: u64,
    /// A reply gets lost.
    pub(crate) reply_loss: u64,
    /// A request arrives twice.
    pub(crate) duplicate: u64,
    /// A leg takes up to `slow_ms`.
    pub(crate) slow: u64,
    /// How long a slow leg may take.
    pub(crate) slow_ms: u64,
}

/// Which way a leg goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    Request,
    Reply,
}

/// The links between all parties.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) weather: Weather,
    /// One-way cuts, counted: two faults may cut the same link.
    cuts: BTreeMap<Link, u32>,
    pub(crate) traffic: Traffic,
    /// The longest time of an ordinary leg.
    pub(crate) latency_ms: u64,
}

impl Net {
    /// A network without faults whose legs take up to `latency_ms`.
    pub(crate) fn new(latency_ms: u64) -> Self {
        Self { latency_ms, ..Self::default() }
    }

    /// Whether nothing that `from` sends reaches `to`.
    pub(crate) fn is_cut(&self, from: Who, to: Who) -> bool {
        self.cuts.contains_key(&(from, to))
    }

    /// Cuts these ways.
    pub(crate) fn cut(&mut self, links: &[Link]) {
        for link in links {
            *self.cuts.entry(*link).or_default() += 1;
        }
    }

    /// Takes a [`Net::cut`] back.
    pub(crate) fn mend(&mut self, links: &[Link]) {
        for link in links {
            if let Some(count) = self.cuts.get_mut(link) {
                *count -= 1;
                if *count == 0 {
                    self.cuts.remove(link);
                }
            }
        }
    }

    /// Cuts all links between the two sides.
    pub(crate) fn split(&mut self, left: &[Who], right: &[Who]) {
        self.cut(&both_ways(left, right));
    }

    /// Takes a [`Net::split`] back.
    pub(crate) fn join(&mut self, left: &[Who], right: &[Who]) {
        self.mend(&both_ways(left, right));
    }

    /// Ends every cut and all bad weather.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.weather = Weather::default();
    }

    /// How long this leg takes; `None` if it is lost.
    pub(crate) fn leg(&self, rng: &mut Rng, from: Who, to: Who, leg: Leg) -> Option<u64> {
        let loss = match leg {
            Leg::Request => self.weather.request_loss,
            Leg::Reply => self.weather.reply_loss,
        };
        if self.is_cut(from, to) || loss > 0 && rng.chance(loss) {
            return None;
        }
        let ordinary = rng.between(1, self.latency_ms.max(1));
        let is_slow = self.weather.slow > 0 && rng.chance(self.weather.slow);
        Some(ordinary + if is_slow { rng.below(self.weather.slow_ms) } else { 0 })
    }

    /// Whether this request arrives a second time.
    pub(crate) fn is_doubled(&self, rng: &mut Rng) -> bool {
        self.weather.duplicate > 0 && rng.chance(self.weather.duplicate)
    }
}

/// All links between two sides.
pub(crate) fn both_ways(left: &[Who], right: &[Who]) -> Vec<Link> {
    left.iter().flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)])).collect()
}

/// All links but those between neighbours, when the parties sit in a ring in this order.
pub(crate) fn ring(order: &[Who]) -> Vec<Link> {
    let count = order.len();
    let far = |a: usize, b: usize| a.abs_diff(b) > 1 && a.abs_diff(b) < count - 1;
    let places = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
    places.filter(|(a, b)| far(*a, *b)).map(|(a, b)| (order[a], order[b])).collect()
}
