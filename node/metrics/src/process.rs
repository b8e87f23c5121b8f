//! What the system says of this process, as far as it says it the way Linux does.

use std::{
    fs,
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

static STARTED: OnceLock<(Instant, f64)> = OnceLock::new();

/// When the process began to count its uptime: at the first call of anything here, so call it at the start.
pub fn start() -> Instant {
    started().0
}

/// The same, in seconds since 1970.
pub fn start_time_seconds() -> f64 {
    started().1
}

fn started() -> (Instant, f64) {
    *STARTED.get_or_init(|| {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        (Instant::now(), since_1970)
    })
}

/// Memory of this process that is in RAM, in bytes; `None` where the system does not say.
pub fn resident_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// Files, sockets and the like that this process has open; `None` where the system does not say.
pub fn open_descriptors() -> Option<u64> {
    // One of them is the directory that is being read.
    fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}
