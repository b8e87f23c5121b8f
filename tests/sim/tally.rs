//! "Sometimes" counters: what a sweep has to have seen, or it proves nothing.

use std::collections::BTreeMap;

/// How often each of the named things happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Adds the counts of another run.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// The named things that never happened.
    pub(crate) fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().filter(|what| self.of(what) == 0).copied().collect()
    }

    pub(crate) fn lines(&self) -> String {
        self.0.iter().map(|(what, count)| format!("  {count:>9}  {what}\n")).collect()
    }
}
