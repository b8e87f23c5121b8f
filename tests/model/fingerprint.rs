//! Fingerprints of worlds, for telling which were seen before. Two worlds of different times, serials and call numbers
//! that go on alike have the same one: numbers of these kinds are known by their ranges and hashed by what they mean.

use std::{
    fmt::{self, Write},
    hash::{DefaultHasher, Hasher},
};

/// When the world begins, in milliseconds. Ranges of 2^40 numbers begin here,
pub(crate) const BEGINNING: u64 = 1 << 42;
/// with the wall clock, from which serials come,
pub(crate) const WALL_CLOCK: u64 = 1 << 44;
/// and with the numbers of requests.
pub(crate) const REQUESTS: u64 = 1 << 46;
const SPAN: u64 = 1 << 40;

/// A longer time ago is as good as any: nothing in the engine looks back further, while nothing is written.
const LONG_AGO_MS: u64 = 4_001;

/// A hasher that knows what time it is.
#[derive(Clone)]
pub(crate) struct Canonical<'a> {
    hasher: DefaultHasher,
    /// Now, and the time after which nothing is looked at any more.
    pub(crate) times: (u64, u64),
    /// The serial on record.
    pub(crate) serial: u64,
    /// The requests that wait for an answer of the node at hand, ascending.
    pub(crate) requests: &'a [u64],
}

impl<'a> Canonical<'a> {
    pub(crate) fn new(times: (u64, u64), serial: u64, requests: &'a [u64]) -> Self {
        Self { hasher: DefaultHasher::new(), times, serial, requests }
    }

    fn time(&self, time: u64) -> u64 {
        let (now, end) = self.times;
        if time > end { u64::MAX } else { (time + LONG_AGO_MS).saturating_sub(now) }
    }
}

impl Hasher for Canonical<'_> {
    fn finish(&self) -> u64 {
        self.hasher.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        let number = match number {
            _ if (BEGINNING..BEGINNING + SPAN).contains(&number) => self.time(number),
            _ if (WALL_CLOCK..WALL_CLOCK + SPAN).contains(&number) => number.wrapping_sub(self.serial),
            _ if (REQUESTS..REQUESTS + SPAN).contains(&number) => {
                REQUESTS + self.requests.binary_search(&number).unwrap_or(usize::MAX >> 20) as u64
            }
            _ => number,
        };
        self.hasher.write_u64(number);
    }
}

/// The hash of what a value shows of itself.
pub(crate) fn print_of(value: &impl fmt::Debug) -> u64 {
    struct Sink(DefaultHasher);
    impl Write for Sink {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    write!(sink, "{value:?}").expect("hashing never fails");
    sink.0.finish()
}
