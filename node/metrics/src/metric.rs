//! What is counted with: one atomic operation, or three.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that grows and shrinks.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something took how long, or was how large. Buckets are fixed when it is made.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds (inclusive) of all buckets but the last, ascending, in the unit that is observed.
    bounds: &'static [u64],
    /// One more than bounds: what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How many of the unit that is observed make one of the unit that is exported.
    scale: u64,
}

/// Microseconds in a second.
const MICROS: u64 = 1_000_000;

impl Histogram {
    /// A histogram of durations, exported in seconds, with these bounds in microseconds.
    pub fn of_durations(bounds_us: &'static [u64]) -> Self {
        Self::new(bounds_us, MICROS)
    }

    /// A histogram of numbers, exported as they are.
    pub fn of_numbers(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1)
    }

    fn new(bounds: &'static [u64], scale: u64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0), scale }
    }

    /// It took this long. For histograms of durations.
    pub fn observe(&self, duration: Duration) {
        self.observe_number(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2));
    }

    /// It was this large. For histograms of numbers.
    pub fn observe_number(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The sum of all observations, in the unit that is exported.
    pub(crate) fn sum(&self) -> f64 {
        self.sum.load(Ordering::Relaxed) as f64 / self.scale as f64
    }

    /// Upper bound, in the unit that is exported, and count of each bucket, not cumulative; the last is unbounded.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.scale as f64).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket_and_one_beyond_all_to_the_last() {
        let histogram = Histogram::of_durations(&[1_000, 500_000]);
        histogram.observe(Duration::from_millis(1));
        histogram.observe(Duration::from_micros(1_001));
        histogram.observe(Duration::from_secs(2));
        assert_eq!(histogram.buckets(), [(0.001, 1), (0.5, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.count(), 3);
        assert!((histogram.sum() - 2.002_001).abs() < 1e-9);
    }
}
