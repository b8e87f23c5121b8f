//! The node's private key on disk: `identity.key` in the data directory, the 32-byte seed as 64 hexadecimal digits.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use p2p_chat_model::Identity;
use rand::{TryRng, rngs::SysRng};
use tempfile::NamedTempFile;

/// The file's name inside the data directory.
pub const FILE_NAME: &str = "identity.key";

/// The digits and a line end; one byte more would be another file.
const FILE_BYTES: usize = 65;

/// Why the identity could not be had. A file that is there is never written to.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    /// The file is there but can't be read.
    #[error("could not read the identity file {path}: {source}; make it a file that this user can read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else than 64 hexadecimal digits.
    #[error(
        "the identity file {path} does not hold 64 hexadecimal digits; restore it from a backup, or move it, \
         p2p-chat.db and p2p-chat.db-wal away to start as a new peer"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Others can read or write the file, so the key may be known.
    #[error("the identity file {path} is open to other users (mode {mode:03o}); run `chmod 600` on it")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A new file could not be written; nothing is left behind.
    #[error("could not write the identity file {path}: {source}; the data directory must exist and be writable")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no identity where something of it is.
    #[error(
        "the identity file {path} is gone, but {log} is there: restore it from a backup, or move {log} and {log}-wal away to begin as somebody new"
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// What was written under the identity.
        log: PathBuf,
    },
    /// The operating system gave no random bytes.
    #[error("could not make a key for the identity file {path}: the system's random source failed ({reason})")]
    Random {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// The identity kept in `data_dir`; at the first start it is made, and is on disk (mode 0600) before this returns.
///
/// `data_dir` must exist. Two processes that start at once get the same identity: the file appears whole or not at
/// all, and the second never replaces the first's. Blocks on the disk.
///
/// # Errors
/// A file that can't be read, is malformed, or is open to other users is an error and stays as it is.
pub fn load_or_create(data_dir: &Path) -> Result<Identity, IdentityFileError> {
    let path = data_dir.join(FILE_NAME);
    match load(&path) {
        Err(IdentityFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    let identity = Identity::from_seed(seed(&path)?);
    let taken =
        create(data_dir, &path, &identity).map_err(|source| IdentityFileError::Write { path: path.clone(), source })?;
    if taken { load(&path) } else { Ok(identity) }
}

/// Makes sure that no new identity is made beside what was written under another.
///
/// # Errors
/// [`IdentityFileError::Lost`] where there is a `log`, but no identity file.
pub fn check_not_lost(data_dir: &Path, log: &Path) -> Result<(), IdentityFileError> {
    let path = data_dir.join(FILE_NAME);
    let is_there = |file: &Path| file.symlink_metadata().is_ok();
    if !is_there(&path) && is_there(log) { Err(IdentityFileError::Lost { path, log: log.to_owned() }) } else { Ok(()) }
}

fn load(path: &Path) -> Result<Identity, IdentityFileError> {
    let read = |source| IdentityFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() {
        return Err(read(io::Error::other("it is not a regular file")));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityFileError::TooOpen { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(read)?;
    let digits = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let mut seed = [0; 32];
    hex::decode_to_slice(digits, &mut seed).map_err(|_| IdentityFileError::Malformed { path: path.to_owned() })?;
    Ok(Identity::from_seed(seed))
}

fn seed(path: &Path) -> Result<[u8; 32], IdentityFileError> {
    let mut seed = [0; 32];
    let random = |error: <SysRng as TryRng>::Error| IdentityFileError::Random {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    SysRng.try_fill_bytes(&mut seed).map_err(random)?;
    Ok(seed)
}

/// Puts the identity there, durably. True: somebody else's file was there first, and stays.
fn create(data_dir: &Path, path: &Path, identity: &Identity) -> io::Result<bool> {
    let mut draft = NamedTempFile::with_prefix_in(".identity.key.", data_dir)?;
    draft.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(draft, "{}", hex::encode(identity.seed()))?;
    draft.as_file().sync_all()?;
    let taken = match draft.persist_noclobber(path) {
        Ok(_) => false,
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => true,
        Err(failed) => return Err(failed.error),
    };
    File::open(data_dir)?.sync_all()?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn put(dir: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.join(FILE_NAME);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_first_start_makes_a_private_file_and_the_next_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", hex::encode(made.seed())));
        assert_eq!(load_or_create(dir.path()).unwrap().peer(), made.peer());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn two_first_starts_at_once_agree_on_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(8);
        let start = || {
            barrier.wait();
            load_or_create(dir.path()).unwrap().peer()
        };
        let peers: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
    }

    #[test]
    fn no_new_identity_is_made_beside_the_log_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("p2p-chat.db");
        check_not_lost(directory.path(), &log).unwrap();
        fs::write(&log, b"").unwrap();
        let lost = check_not_lost(directory.path(), &log).unwrap_err();
        assert!(matches!(&lost, IdentityFileError::Lost { .. }) && lost.to_string().contains("identity.key"), "{lost}");
        fs::remove_file(&log).unwrap();
        load_or_create(directory.path()).unwrap();
        fs::write(&log, b"").unwrap();
        check_not_lost(directory.path(), &log).unwrap();
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = put(dir.path(), format!("{}\n", hex::encode([7; 32])).as_bytes(), 0o600);
        assert!(create(dir.path(), &path, &Identity::from_seed([8; 32])).unwrap());
        assert_eq!(load(&path).unwrap().seed(), [7; 32]);
    }

    #[test]
    fn malformed_files_are_refused_by_name_and_stay_untouched() {
        let digits = "ab".repeat(32);
        let bad =
            ["", "\n", "abc\n", &digits[..63], &format!("{digits}\n\n"), &format!("{digits}00\n"), &"zz".repeat(32)];
        for content in bad {
            let dir = tempfile::tempdir().unwrap();
            let path = put(dir.path(), content.as_bytes(), 0o600);
            let error = load_or_create(dir.path()).unwrap_err();
            assert!(matches!(error, IdentityFileError::Malformed { .. }), "{content:?}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_file_open_to_others_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let content = "ab".repeat(32);
        let path = put(dir.path(), content.as_bytes(), 0o644);
        let error = load_or_create(dir.path()).unwrap_err();
        let shown = format!("the identity file {} is open to other users (mode 644)", path.display());
        assert!(error.to_string().starts_with(&shown), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(load_or_create(dir.path()).unwrap().seed(), [0xab; 32]);
    }

    #[test]
    fn what_can_not_be_read_or_written_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        let error = load_or_create(&absent).unwrap_err();
        assert!(matches!(error, IdentityFileError::Write { .. }), "{error}");
        fs::create_dir_all(absent.join(FILE_NAME)).unwrap();
        let error = load_or_create(&absent).unwrap_err();
        assert!(error.to_string().contains("absent/identity.key"), "{error}");
        assert!(absent.join(FILE_NAME).is_dir());
    }
}
