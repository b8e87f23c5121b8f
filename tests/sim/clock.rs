//! A node's two clocks: the monotonic one, which may run fast or slow and leap ahead when a machine wakes up, and the
//! wall clock, which may show anything.

/// What 1970 and the beginning of a run are apart, in milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// A clock without drift, in thousandths.
const TRUE_PACE: u64 = 1_000;

/// The clocks of a node. `now` is always the world's time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// What the monotonic clock showed at the world's time `since`.
    shown: u64,
    since: u64,
    /// How much it advances in a second of the world, in thousandths.
    pace: u64,
    /// What the wall clock is wrong by.
    wall_error: i64,
}

impl Clock {
    pub(crate) const fn new(shown: u64) -> Self {
        Self { shown, since: 0, pace: TRUE_PACE, wall_error: 0 }
    }

    /// What the monotonic clock shows.
    pub(crate) const fn monotonic(&self, now: u64) -> u64 {
        self.shown + now.saturating_sub(self.since) * self.pace / TRUE_PACE
    }

    /// What the wall clock shows, since 1970.
    pub(crate) const fn wall(&self, now: u64) -> u64 {
        (EPOCH_MS + now).saturating_add_signed(self.wall_error)
    }

    /// How long it is, in the world's time, until the monotonic clock shows `deadline`.
    pub(crate) const fn until(&self, now: u64, deadline: u64) -> u64 {
        let ahead = deadline.saturating_sub(self.shown);
        (self.since + (ahead * TRUE_PACE).div_ceil(self.pace)).saturating_sub(now)
    }

    /// From now on the monotonic clock gains, or loses, so many thousandths.
    pub(crate) const fn drift(&mut self, now: u64, thousandths: i64) {
        self.leap(now, 0);
        self.pace = TRUE_PACE.saturating_add_signed(thousandths);
    }

    /// The monotonic clock advances by that much at once.
    pub(crate) const fn leap(&mut self, now: u64, ms: u64) {
        self.shown = self.monotonic(now) + ms;
        self.since = now;
    }

    /// The machine, or the program, starts: the monotonic clock shows anything.
    pub(crate) const fn restart(&mut self, now: u64, shown: u64) {
        self.shown = shown;
        self.since = now;
    }

    /// Somebody sets the wall clock.
    pub(crate) const fn set_wall(&mut self, error_ms: i64) {
        self.wall_error = error_ms;
    }
}

#[test]
fn deadline_is_reached_when_the_clock_shows_it() {
    for drift in [-30, -7, 0, 3, 30] {
        let mut clock = Clock::new(5_000);
        clock.drift(100, drift);
        for deadline in [5_000, 5_101, 9_999, 123_456] {
            let wait = clock.until(200, deadline);
            assert!(clock.monotonic(200 + wait) >= deadline);
            assert!(wait == 0 || clock.monotonic(199 + wait) < deadline);
        }
    }
}
