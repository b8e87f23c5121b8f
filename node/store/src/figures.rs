//! What the store counts of its work.

use std::{fs, path::Path};

use p2p_chat_metrics::{Counter, Histogram};

/// Bounds for the time of a transaction, microseconds: half a millisecond on a good disk, seconds on a sick one.
const TIMES_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];
/// Bounds for the size of a transaction, bytes: one short message to [`MAX_BATCH_BYTES`](crate::MAX_BATCH_BYTES).
const SIZES: [u64; 8] = [512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];

/// What the writer has done since the store was opened.
#[derive(Debug)]
pub struct Figures {
    /// How long transactions took, the sync included, those that failed too.
    pub transaction_time: Histogram,
    /// How large they were, in bytes, as [`MAX_BATCH_BYTES`](crate::MAX_BATCH_BYTES) counts them.
    pub transaction_bytes: Histogram,
    /// Commits that are on disk. Several share a transaction when the disk is slower than they come.
    pub commits: Counter,
    /// Commits that failed, those that were refused at once or with an earlier one among them.
    pub failures: Counter,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            transaction_time: Histogram::of_durations(&TIMES_US),
            transaction_bytes: Histogram::of_numbers(&SIZES),
            commits: Counter::default(),
            failures: Counter::default(),
        }
    }
}

/// What waits for the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many commits.
    pub commits: usize,
    /// How large they are together, in bytes; at most [`MAX_QUEUED_BYTES`](crate::MAX_QUEUED_BYTES).
    pub bytes: usize,
}

/// What the database takes on the disk, in bytes, with its write-ahead log.
pub(crate) fn size_on_disk(file: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    size(file) + size(Path::new(&log))
}
