//! What an exploration is bounded by.

use crate::cast::{NAMES, NDS, Who};

/// Everything that bounds an exploration. Crashes come at any moment; restarts, cuts and their ends when nothing is under
/// way that is not late.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) name: &'static str,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// How long is looked at, in milliseconds.
    pub(crate) horizon_ms: u64,
    /// How late a timer may fire: those of so many milliseconds fire in any order. Below the engine's `stall_ms`.
    pub(crate) drift_ms: u64,
    /// Epochs above this one are not explored.
    pub(crate) epochs: u64,
    /// How many faults of each kind.
    pub(crate) faults: Left,
    /// Which cuts there are.
    pub(crate) cuts: Vec<Cut>,
    /// It is left out where time is short.
    pub(crate) is_long: bool,
}

/// How many faults may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Left {
    /// Messages that are under way while a timer fires, and from then on for as long as they like, for ever included.
    pub(crate) late: u8,
    pub(crate) crashes: u8,
    pub(crate) cuts: u8,
    /// Messages that arrive before one that was sent earlier (delay-bounded search: Emmi, Qadeer and Rakamaric 2011);
    /// [`ANY`] if they arrive in every order.
    pub(crate) overtakes: u8,
}

/// No bound.
pub(crate) const ANY: u8 = u8::MAX;

/// Links that are cut: a bit for each pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Cut(u32);

impl Cut {
    fn of(pairs: impl IntoIterator<Item = (Who, Who)>) -> Self {
        Self(pairs.into_iter().fold(0, |bits, (one, other)| bits | bit(one, other)))
    }

    /// Nothing passes between the two sides.
    fn between(left: &[Who], right: &[Who]) -> Self {
        Self::of(left.iter().flat_map(|one| right.iter().map(|other| (*one, *other))))
    }

    pub(crate) const fn cuts(self, one: Who, other: Who) -> bool {
        self.0 & bit(one, other) != 0
    }

    /// Each pair of nodes; each node from the others, with and without the service; the service from all.
    pub(crate) fn usual(nodes: usize) -> Vec<Self> {
        let all: Vec<Who> = (0..nodes).collect();
        let mut cuts = Vec::new();
        for one in &all {
            let others: Vec<Who> = all.iter().filter(|other| *other != one).copied().collect();
            cuts.extend(others.iter().filter(|other| *other > one).map(|other| Self::of([(*one, *other)])));
            let rest: Vec<Who> = others.iter().copied().chain([NDS]).collect();
            cuts.push(Self::between(&[*one], &rest));
            cuts.push(Self::between(&[*one, NDS], &others));
        }
        cuts.push(Self::between(&[NDS], &all));
        cuts
    }
}

const fn bit(one: Who, other: Who) -> u32 {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    1 << (low * (NDS + 1) + high)
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = (0..NDS).flat_map(|one| (one + 1..=NDS).map(move |other| (one, other)));
        let cut = pairs.filter(|(one, other)| self.cuts(*one, *other));
        let names: Vec<String> = cut.map(|(one, other)| format!("{}-{}", NAMES[one], NAMES[other])).collect();
        f.write_str(&names.join(", "))
    }
}
