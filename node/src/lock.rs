//! One data directory, one process.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs a node on it.
    #[error("another p2p-chat process uses the data directory {}; stop it, or choose another with --data-dir", .0.display())]
    Held(PathBuf),
    /// It can't be made or written.
    #[error("the data directory {} can't be used ({source}); make it writable, or choose another with --data-dir", .dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Holds the data directory for this process; gives it up when dropped, or when the process ends in any way.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if there is none (readable by its owner only), and takes it.
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { dir: dir.to_owned(), source };
        if !dir.exists() {
            fs::create_dir_all(dir).map_err(unusable)?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
            }
        }
        let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}
