//! How the service is run.

use std::{path::PathBuf, time::Duration};

use crate::registry::Terms;

/// How the service is run. [`Config::new`] gives what fits nearly always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the record is kept, in the file `nds.db`. Created if it is not there; one service at a time.
    pub data_dir: PathBuf,
    /// How long after its last statement a leader counts as alive; default 30 s. Leaders renew every 10 s: less than
    /// three times that lists healthy networks as stale, more lists dead ones as alive for longer.
    pub lease: Duration,
    /// How long after its leader's last statement a network is purged and its name is free again; default 7 days.
    /// At least `lease`. Where the service runs out of room, stale networks go earlier.
    pub purge_after: Duration,
    /// How long a node that is called back may take to answer, connecting included; default 1 s. An election waits
    /// that long for a dead leader; too short refuses nodes behind slow lines.
    pub probe_timeout: Duration,
    /// Calls a second that one caller's address (IPv6: /64) may make in the long run (ten times that at once); default
    /// 500. 1,000 leaders behind one address make 100. All of an IPv6 site (/48) may make sixteen times that.
    pub calls_per_second: u32,
    /// Calls a second from one caller's address that may make this service call nodes back (ten times that at once, and
    /// sixteen times that from all of an IPv6 site); default 20. Low, so that it can't serve to scan or flood others.
    pub probing_calls_per_second: u32,
}

/// A setting that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The setting has to be above zero.
    #[error("{0} of the discovery service must be above zero; leave it out for the default")]
    Zero(&'static str),
    /// Networks would be purged before they are stale.
    #[error("purge_after of the discovery service must not be below its lease; the default is 7 days")]
    PurgeBeforeLease,
}

impl Config {
    /// The defaults, with the record kept in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let Terms { lease, purge_after, .. } = Terms::default();
        Self {
            data_dir: data_dir.into(),
            lease,
            purge_after,
            probe_timeout: Duration::from_secs(1),
            calls_per_second: 500,
            probing_calls_per_second: 20,
        }
    }

    /// The same for the internet: a node that is called back may take 4 s. Nodes with `--preset wan` wait longer for the
    /// answer, others do not: they would not hear that a silent leader may be replaced.
    #[must_use]
    pub fn wan(self) -> Self {
        Self { probe_timeout: Duration::from_secs(4), ..self }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`ConfigError`] naming the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let settings = [
            ("lease", self.lease.is_zero()),
            ("probe_timeout", self.probe_timeout.is_zero()),
            ("calls_per_second", self.calls_per_second == 0),
            ("probing_calls_per_second", self.probing_calls_per_second == 0),
        ];
        match settings.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None if self.purge_after < self.lease => Err(ConfigError::PurgeBeforeLease),
            None => Ok(()),
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms { lease: self.lease, purge_after: self.purge_after, ..Terms::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let config = Config::new("data");
        assert_eq!(config.check(), Ok(()));
        assert_eq!(Config { lease: Duration::ZERO, ..config.clone() }.check(), Err(ConfigError::Zero("lease")));
        let purged_early = Config { purge_after: Duration::from_secs(29), ..config };
        assert_eq!(purged_early.check(), Err(ConfigError::PurgeBeforeLease));
    }
}
