//! What the system knows of processes, of the loopback device and of the disk.

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// The kernel counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What processes have used so far, and what passed the loopback device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time, in seconds.
    pub(crate) cpu_s: f64,
    /// Bytes that were sent to the disk.
    pub(crate) written_bytes: u64,
    /// Bytes on the loopback device, TCP and IP headers included.
    pub(crate) wire_bytes: u64,
}

impl Usage {
    /// Of these processes, until now.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut usage = Self { wire_bytes: loopback_bytes()?, ..Self::default() };
        for pid in pids {
            usage.cpu_s += cpu_s(*pid)?;
            usage.written_bytes += written_bytes(*pid)?;
        }
        Ok(usage)
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - before.cpu_s,
            written_bytes: self.written_bytes - before.written_bytes,
            wire_bytes: self.wire_bytes - before.wire_bytes,
        }
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("can't read {file} of process {pid}"))
}

fn cpu_s(pid: u32) -> Result<f64> {
    let stat = read(pid, "stat")?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let sum = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    Ok(sum.context("the processor time of a process is not where it used to be")? as f64 / TICKS_PER_SECOND)
}

fn written_bytes(pid: u32) -> Result<u64> {
    let io = read(pid, "io")?;
    field(&io, "write_bytes:").context("what a process wrote is not where it used to be")
}

/// Resident memory now and at its highest, in MiB.
pub(crate) fn memory_mb(pid: u32) -> Result<(f64, f64)> {
    let status = read(pid, "status")?;
    let now = field(&status, "VmRSS:").context("the memory of a process is not where it used to be")?;
    let most = field(&status, "VmHWM:").unwrap_or(now);
    Ok((now as f64 / 1024.0, most as f64 / 1024.0))
}

/// Memory of a process that it shares with no other, in MB: what one more of them costs.
pub(crate) fn private_mb(pid: u32) -> Result<f64> {
    let map = read(pid, "smaps_rollup")?;
    let kinds = ["Private_Clean:", "Private_Dirty:"].map(|kind| field(&map, kind));
    let kb = kinds.into_iter().sum::<Option<u64>>().context("the memory of a process is not where it used to be")?;
    Ok(kb as f64 / 1024.0)
}

fn loopback_bytes() -> Result<u64> {
    let devices = fs::read_to_string("/proc/net/dev").context("can't read /proc/net/dev")?;
    field(&devices, "lo:").context("there is no loopback device")
}

/// The number after a word at the beginning of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes of all files below a directory.
pub(crate) fn bytes_below(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}

/// The median duration of an fdatasync after a small append to a file in `dir`.
pub(crate) fn fdatasync(dir: &Path) -> Result<Duration> {
    const TIMES: usize = 51;
    let mut file = tempfile::tempfile_in(dir)?;
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        file.write_all(&[0x55; 512])?;
        let began = Instant::now();
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[TIMES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_and_time_goes_up() {
        let me = [std::process::id()];
        let before = Usage::of(&me).unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert!(fdatasync(dir.path()).unwrap() > Duration::ZERO);
        fs::write(dir.path().join("a"), [0; 100]).unwrap();
        assert_eq!(bytes_below(dir.path()).unwrap(), 100);
        assert!(Usage::of(&me).unwrap().since(before).cpu_s >= 0.0);
        assert!(memory_mb(me[0]).unwrap().0 > 0.1);
        assert!(private_mb(me[0]).unwrap() > 0.1);
    }
}
