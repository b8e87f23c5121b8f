//! Durations, counted in buckets of 1.6 % width: what is kept does not grow with what is counted.

use std::time::Duration;

/// Buckets a power of two.
const PARTS: u64 = 64;
/// Enough for 2^46 ns, which is 19 hours.
const BUCKETS: usize = 41 * PARTS as usize;

/// How often which duration came.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&mut self, value: Duration) {
        let index = bucket(value.as_nanos() as u64);
        self.counts[index.min(BUCKETS - 1)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, exactly, in microseconds.
    pub(crate) fn max_us(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max.as_micros() as u64)
    }

    /// The duration that `share` of all do not exceed, in microseconds; nothing if nothing was counted.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<u64> {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut passed = 0;
        let index = self.counts.iter().position(|count| {
            passed += count;
            passed >= wanted
        })?;
        Some((middle(index) / 1_000).min(self.max.as_micros() as u64))
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let power = u64::from(nanos.ilog2() - PARTS.ilog2());
    (power * PARTS + (nanos >> power)) as usize
}

fn middle(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * PARTS {
        return index;
    }
    let power = index / PARTS - 1;
    let lower = (index - power * PARTS) << power;
    lower + (1 << power) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_true_within_two_per_cent() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        for micros in 1..=100_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, wanted) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.001, 100.0)] {
            let found = histogram.quantile_us(share).unwrap() as f64;
            assert!((found / wanted - 1.0).abs() < 0.02, "{found} instead of {wanted}");
        }
        assert_eq!((histogram.total(), histogram.max_us()), (100_000, Some(100_000)));
    }

    #[test]
    fn every_duration_has_its_bucket() {
        for nanos in [0, 1, 63, 64, 65, 127, 128, 1_000, 123_456_789, 10_000_000_000] {
            let found = middle(bucket(nanos)) as f64;
            assert!((found - nanos as f64).abs() <= nanos as f64 * 0.016, "{nanos} became {found}");
        }
    }
}
