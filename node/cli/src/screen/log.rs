//! Where the log goes while the screen is up, which it would tear.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    args::{Cli, Command},
    settings::{Env, Settings},
    surroundings::has_screen,
};

const FILE: &str = "screen.log";

/// The data directory of the profile that the chat of this process uses, once that is known. The log is set up before.
static PROFILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The log's file in the data directory of whichever profile the chat uses.
#[derive(Debug)]
pub struct LogFile {
    first: PathBuf,
}

impl LogFile {
    /// Where it is now: to be asked for each event.
    pub fn path(&self) -> PathBuf {
        let profile = PROFILE.lock().unwrap_or_else(PoisonError::into_inner);
        profile.as_deref().unwrap_or(&self.first).join(FILE)
    }
}

/// Where the log has to go because the screen is up. Nothing for commands without a screen.
pub fn log_file(cli: &Cli, env: &Env) -> Option<LogFile> {
    let Command::Chat { node, monitor, plain: false, .. } = &cli.command else { return None };
    if cli.global.json || !has_screen(env) {
        return None;
    }
    // What is wrong with the settings is said by the command itself.
    let settings = Settings::resolve(&cli.global, node, monitor, env).ok()?;
    Some(LogFile { first: settings.data_dir })
}

/// From now on the chat uses the profile with this data directory, or tries to.
pub(super) fn goes_with(data_dir: &Path) {
    *PROFILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(data_dir.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_goes_with_the_profile() {
        let file = LogFile { first: "/data".into() };
        assert_eq!(file.path(), Path::new("/data/screen.log"));
        goes_with(Path::new("/data-2"));
        assert_eq!(file.path(), Path::new("/data-2/screen.log"));
    }
}
