//! What can go wrong, as callers see it, and how SQLite's codes become that.

use std::{
    io,
    path::{Path, PathBuf},
};

use p2p_chat_model::NetworkId;
use rusqlite::{ErrorCode, ffi};

/// Why something was not stored or can't be read. Each variant says what the file is like now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room. Nothing of the failed commit is stored, everything before it is.
    #[error("the disk that holds {} is full, so nothing new is stored; free some space", .file.display())]
    Full {
        /// The database.
        file: PathBuf,
    },
    /// The file or its file system can't be written. It is unchanged.
    #[error("{} can't be written; make the file and its directory writable, or use another --data-dir", .file.display())]
    ReadOnly {
        /// The database.
        file: PathBuf,
    },
    /// The file is damaged. It is left as it is.
    #[error("{} is damaged ({what}); nothing was changed: restore it from a backup, or move it away to start empty", .file.display())]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// What is stored of one network is not what was written. It is left as it is, and other networks are not concerned.
    #[error("what {} has of network {} is damaged ({what}); nothing was changed: restore the file from a backup, or delete this network alone with `p2p-chat forget` and join it again", .file.display(), .network.short())]
    Damaged {
        /// The database.
        file: PathBuf,
        /// The network.
        network: NetworkId,
        /// What was found.
        what: String,
    },
    /// The file was made by something else. It is left as it is.
    #[error("{} is not a p2p-chat database ({what}); nothing was changed: move it away, or use another --data-dir", .file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The file was made by a later version of this program. It is left as it is.
    #[error("{} has format {version}, which this version of p2p-chat does not know; install a later one", .file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// The format of the file.
        version: i64,
    },
    /// Another process has held the database for longer than [`crate::BUSY_TIMEOUT`].
    #[error("{} is in use by another process; stop that process", .file.display())]
    Locked {
        /// The database.
        file: PathBuf,
    },
    /// The operating system failed. Where the failure was in syncing a commit, it is open whether a restart will find
    /// that commit; until then it is not visible.
    #[error("reading or writing {} failed ({what}); check that the directory is there and the disk sound", .file.display())]
    Io {
        /// The database.
        file: PathBuf,
        /// What the operating system or SQLite said.
        what: String,
    },
    /// More than [`crate::MAX_QUEUED_BYTES`] wait for the disk. Nothing of the commit is stored.
    #[error("{} is written too slowly, too much waits for it; send less, or use a faster disk", .file.display())]
    Overloaded {
        /// The database.
        file: PathBuf,
    },
    /// The commit contradicts what is stored: a mistake of the caller. Nothing of it is stored.
    #[error("bug: a commit to network {} was refused ({what}); please report this", .network.short())]
    Refused {
        /// The network of the commit.
        network: NetworkId,
        /// The contradiction.
        what: String,
    },
    /// The store has been closed.
    #[error("{} is closed because the node is stopping; start it again", .file.display())]
    Closed {
        /// The database.
        file: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(file: &Path, error: &io::Error) -> Self {
        let file = file.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { file },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly { file },
            _ => Self::Io { file, what: error.to_string() },
        }
    }
}

/// A failure inside the database, before it is known by which file and network the caller shall know it.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Corrupt(String),
    Refused(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// Whether the fault is in one network's data or call, while the database as such works.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Refused(_))
    }

    pub(crate) fn of(self, file: &Path, network: NetworkId) -> StoreError {
        match self {
            Self::Refused(what) => StoreError::Refused { network, what },
            Self::Corrupt(what) => StoreError::Damaged { file: file.to_owned(), network, what },
            other => other.at(file),
        }
    }

    pub(crate) fn at(self, file: &Path) -> StoreError {
        let file = file.to_owned();
        match self {
            Self::Corrupt(what) => StoreError::Corrupt { file, what },
            Self::Refused(what) => StoreError::Io { file, what },
            Self::Sql(rusqlite::Error::SqliteFailure(code, what)) => {
                let what = what.unwrap_or_else(|| code.to_string());
                match code.code {
                    ErrorCode::DiskFull => StoreError::Full { file },
                    // The file of the WAL index could not grow.
                    _ if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE => StoreError::Full { file },
                    ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::ReadOnly { file },
                    ErrorCode::DatabaseCorrupt => StoreError::Corrupt { file, what },
                    ErrorCode::NotADatabase => StoreError::Foreign { file, what },
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked { file },
                    _ => StoreError::Io { file, what },
                }
            }
            Self::Sql(
                error @ (rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)),
            ) => StoreError::Corrupt { file, what: error.to_string() },
            Self::Sql(error) => StoreError::Io { file, what: error.to_string() },
        }
    }
}
