//! One data directory, one process.

#[cfg(unix)]
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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
    #[error(
        "the data directory {} can't be used ({source}); {}",
        .dir.display(),
        advice(.source, "make it writable, or choose another with --data-dir")
    )]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What helps against `error`: room on a full disk, else what is said `otherwise`.
pub(crate) fn advice<'a>(error: &io::Error, otherwise: &'a str) -> &'a str {
    if is_full(error) { "free some space" } else { otherwise }
}

/// Whether there is no room on the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
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
            make(dir).map_err(unusable)?;
        }
        #[cfg(unix)]
        if fs::metadata(dir).map_err(unusable)?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(dir = %dir.display(), "the data directory is open to other users; chmod 700 keeps them out");
        }
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        // Who can open it can lock it.
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(dir.join("lock")).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

/// Makes a directory, and those above it that are missing; a crash does not take them back.
fn make(dir: &Path) -> io::Result<()> {
    let parents = parents_of_missing(dir);
    fs::create_dir_all(dir)?;
    #[cfg(unix)]
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all())
}

/// The directories in which something has to be made, so that there is `dir`.
fn parents_of_missing(dir: &Path) -> Vec<&Path> {
    let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let parents = missing.filter_map(Path::parent);
    parents.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).collect()
}

#[cfg(test)]
mod tests {
    use p2p_chat_transport::IdentityFileError;

    use super::*;
    use crate::node::NodeError;

    #[test]
    fn every_directory_that_gets_an_entry_is_synced() {
        let here = tempfile::tempdir().expect("a temporary directory can be made");
        let (above, dir) = (here.path().join("a/b"), here.path().join("a/b/c"));
        assert_eq!(parents_of_missing(&dir), [&above, &here.path().join("a"), here.path()]);
        assert_eq!(parents_of_missing(Path::new("not-there/data")), [Path::new("not-there"), Path::new(".")]);
        let lock = DirLock::take(&dir).expect("it can be made");
        #[cfg(unix)]
        for (path, mode) in [(dir.clone(), 0o700), (dir.join("lock"), 0o600)] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        assert!(parents_of_missing(&dir).is_empty());
        assert!(matches!(DirLock::take(&dir), Err(LockError::Held(_))));
        drop(lock);
    }

    #[test]
    fn a_full_disk_is_not_taken_for_missing_rights() {
        let (dir, file) = (PathBuf::from("/data"), PathBuf::from("/data/node.json"));
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let of_lock = LockError::Unusable { dir: dir.clone(), source: full.into() }.to_string();
            let of_file = NodeError::File { file: file.clone(), source: full.into() }.to_string();
            let written = IdentityFileError::Write { path: file.clone(), source: full.into() };
            let of_identity = NodeError::from(written).to_string();
            for said in [of_lock, of_file, of_identity] {
                assert!(said.ends_with("); free some space"), "{said}");
            }
        }
        let denied = io::ErrorKind::PermissionDenied;
        let of_file = NodeError::File { file: file.clone(), source: denied.into() }.to_string();
        assert!(of_file.ends_with("; make it readable and writable"), "{of_file}");
        let of_identity = NodeError::from(IdentityFileError::Write { path: file, source: denied.into() }).to_string();
        assert!(of_identity.ends_with("; the data directory must exist and be writable"), "{of_identity}");
    }
}
