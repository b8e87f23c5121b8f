//! The record on disk: one SQLite file. What [`Store::write`] returned from survives any crash.

#[cfg(unix)]
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use p2p_chat_model::{
    Epoch, NetworkId, PeerId, View,
    codec::{Reader, Writer},
};
use rusqlite::{Connection, Error, ErrorCode, Row, Transaction, params};

use crate::registry::{Change, Record, Registry, Terms, Tombstone};

mod sum;

/// The database's name in the data directory.
pub const FILE_NAME: &str = "nds.db";
const LOCK_NAME: &str = "nds.lock";
/// "p2nd": marks the file as this program's.
const APPLICATION_ID: i64 = 0x7032_6e64;
/// 2: with checksums.
const VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE network (
        id       BLOB PRIMARY KEY,
        name     TEXT NOT NULL UNIQUE,
        view     BLOB NOT NULL,
        serial   INTEGER NOT NULL,
        heard_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tombstone (
        id       BLOB PRIMARY KEY,
        epoch    INTEGER NOT NULL,
        leader   BLOB NOT NULL,
        serial   INTEGER NOT NULL,
        since_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;";

/// Why the record could not be read or written. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory can't be made or used. The operator's to fix.
    #[error("can't use the data directory {}: {cause}; make it writable or choose another one", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Another discovery service runs on the directory.
    #[error("another discovery service is using {}; stop it or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// The file is damaged, or no database at all. It was left as it is.
    #[error("the database {} is damaged ({reason}); put a copy back, or move it away to start empty", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file is another program's. It was left as it is.
    #[error("{} is not a database of this discovery service; choose another data directory", .0.display())]
    Foreign(PathBuf),
    /// The file was written by a later version of this program. It was left as it is.
    #[error("the database {} has format {found}, this program reads up to {VERSION}; use a newer program", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The database failed.
    #[error("can't read or write the database {}: {cause}; check the disk", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Failed { cause, .. } if cause.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// The open database. It belongs to one writer.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    file: PathBuf,
    /// Whether rows have checksums; those of version 1 have none, until they are written anew.
    is_summed: bool,
    /// Held for as long as the store is open.
    _lock: Option<File>,
}

impl Store {
    /// Opens the database in `dir`, which is created if it is not there, and checks it. Takes time in proportion
    /// to the size of the file.
    ///
    /// # Errors
    /// Every [`StoreError`]. A file that is damaged or not this program's is never written to.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        let file = dir.join(FILE_NAME);
        // SQLite gives the files beside it the same mode.
        own_file(&file).map_err(|cause| StoreError::Directory { dir: dir.to_owned(), cause })?;
        let connection = Connection::open(&file).map_err(|cause| failed(&file, cause))?;
        let mut store = Self { connection, file, is_summed: true, _lock: Some(lock) };
        store.prepare()?;
        Ok(store)
    }

    /// A database in memory, gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Failed`] without memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        let file = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|cause| failed(&file, cause))?;
        let mut store = Self { connection, file, is_summed: true, _lock: None };
        store.prepare()?;
        Ok(store)
    }

    /// The database file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The registry as it was last written. Times after `now` (the clock was set back) count as `now`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] naming the row, [`StoreError::Failed`].
    pub fn load(&self, terms: Terms, now: Duration) -> Result<Registry, StoreError> {
        let mut registry = Registry::new(terms);
        for change in self.stored(now)? {
            registry.apply(now, change);
        }
        Ok(registry)
    }

    /// Everything that is stored, as the changes that bring it back.
    fn stored(&self, now: Duration) -> Result<Vec<Change>, StoreError> {
        let check = if self.is_summed { sum::check } else { sum::trust };
        let mut stored = self.rows("SELECT id, epoch, leader, serial, since_ms FROM tombstone", |row| {
            Ok(tombstone(row, now, check)?.map(Change::Remove))
        })?;
        stored.extend(self.rows("SELECT id, name, view, serial, heard_ms FROM network", |row| {
            Ok(record(row, now, check)?.map(Change::Put))
        })?);
        Ok(stored)
    }

    /// Writes all changes or, on an error, none. They are on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; [`StoreError::is_full`] tells a full disk.
    pub fn write<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), StoreError> {
        let file = &self.file;
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for change in changes {
                write_one(&transaction, change)?;
            }
            transaction.commit()
        };
        write(&mut self.connection).map_err(|cause| failed(file, cause))
    }

    /// Gives checksums to what an earlier version of this program wrote.
    fn add_sums(&mut self) -> Result<(), StoreError> {
        self.is_summed = false;
        let stored = self.stored(Duration::MAX)?;
        let rewrite = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for change in &stored {
                write_one(&transaction, change)?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()
        };
        rewrite(&mut self.connection).map_err(|cause| failed(&self.file, cause))?;
        self.is_summed = true;
        Ok(())
    }

    /// Checks whose file it is before anything is written to it.
    fn prepare(&mut self) -> Result<(), StoreError> {
        let found = self.number("PRAGMA application_id")?;
        let version = self.number("PRAGMA user_version")?;
        let tables = self.number("SELECT count(*) FROM sqlite_schema")?;
        let is_new = found == 0 && version == 0 && tables == 0;
        if !is_new && found != APPLICATION_ID {
            return Err(StoreError::Foreign(self.file.clone()));
        }
        if version > VERSION || version < 1 && !is_new {
            return Err(StoreError::Newer { file: self.file.clone(), found: version });
        }
        let verdict = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        let verdict = verdict.map_err(|cause| failed(&self.file, cause))?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt { file: self.file.clone(), reason: verdict });
        }
        self.configure(is_new).map_err(|cause| failed(&self.file, cause))?;
        if version == 1 { self.add_sums() } else { Ok(()) }
    }

    fn configure(&self, is_new: bool) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        if is_new {
            let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
            self.connection.execute_batch(&format!("BEGIN; {SCHEMA} {marks} COMMIT;"))?;
        }
        Ok(())
    }

    fn number(&self, query: &str) -> Result<i64, StoreError> {
        self.connection.query_row(query, [], |row| row.get(0)).map_err(|cause| failed(&self.file, cause))
    }

    /// All rows of a query; `None` for a row that is not what this program writes.
    fn rows<T>(
        &self,
        query: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map([], |row| read(row))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = rows().map_err(|cause| failed(&self.file, cause))?;
        let all: Option<Vec<T>> = rows.into_iter().collect();
        all.ok_or_else(|| StoreError::Corrupt { file: self.file.clone(), reason: format!("a bad row in: {query}") })
    }

    /// Lets the database grow no further, as a full disk would.
    #[cfg(test)]
    pub(crate) fn fill(&self) {
        let pages = self.number("PRAGMA page_count").unwrap();
        let most = self.number(&format!("PRAGMA max_page_count = {pages}")).unwrap();
        assert_eq!(most, pages);
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |cause| StoreError::Directory { dir: dir.to_owned(), cause };
    make(dir).map_err(unusable)?;
    let lock = own_file(&dir.join(LOCK_NAME)).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.to_owned())),
        Err(TryLockError::Error(cause)) => Err(unusable(cause)),
    }
}

/// Makes the directory if there is none, for its owner only: whoever can open what is in it can lock it, too.
fn make(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        fs::create_dir_all(dir)?;
        #[cfg(unix)]
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700))?;
    }
    #[cfg(unix)]
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(dir = %dir.display(), "the data directory is open to other users; chmod 700 keeps them out");
    }
    Ok(())
}

/// Opens a file, which is made for its owner only if it is not there.
fn own_file(file: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(file)
}

fn failed(file: &Path, cause: rusqlite::Error) -> StoreError {
    let file = file.to_owned();
    let is_damaged = match &cause {
        Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) => true,
        other => matches!(other.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)),
    };
    if is_damaged {
        StoreError::Corrupt { file, reason: cause.to_string() }
    } else {
        StoreError::Failed { file, cause }
    }
}

fn write_one(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Put(record) => put(transaction, record),
        Change::Touch { network, serial, heard } => {
            let sql = "UPDATE network SET serial = ?2, heard_ms = ?3 WHERE id = ?1";
            run(transaction, sql, params![network.as_bytes(), serial.cast_signed(), millis(*heard)])
        }
        Change::Remove(tombstone) => remove(transaction, tombstone),
        Change::Forget(network) => run(transaction, "DELETE FROM tombstone WHERE id = ?1", [network.as_bytes()]),
    }
}

fn put(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    let mut view = Writer::default();
    record.view().encode(&mut view);
    let (id, name) = (record.network(), record.name().as_str());
    let view = sum::add(&view.0, &[id.as_bytes(), name.as_bytes()]);
    run(transaction, "DELETE FROM tombstone WHERE id = ?1", [id.as_bytes()])?;
    let sql = "INSERT OR REPLACE INTO network (id, name, view, serial, heard_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    let serial = record.serial().cast_signed();
    run(transaction, sql, params![id.as_bytes(), name, view, serial, millis(record.heard())])
}

fn remove(transaction: &Transaction<'_>, tombstone: &Tombstone) -> rusqlite::Result<()> {
    let Tombstone { network, epoch, leader, serial, since } = tombstone;
    run(transaction, "DELETE FROM network WHERE id = ?1", [network.as_bytes()])?;
    let sql = "INSERT OR REPLACE INTO tombstone (id, epoch, leader, serial, since_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    let numbers = (epoch.0.cast_signed(), serial.cast_signed(), millis(*since));
    let leader = sum::add(leader.as_bytes(), &[network.as_bytes(), &epoch.0.to_be_bytes(), &serial.to_be_bytes()]);
    run(transaction, sql, params![network.as_bytes(), numbers.0, leader, numbers.1, numbers.2])
}

fn run(transaction: &Transaction<'_>, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    transaction.prepare_cached(sql)?.execute(params).map(|_| ())
}

/// How a column gives its content.
type Check = for<'a> fn(&'a [u8], &[&[u8]]) -> Option<&'a [u8]>;

fn record(row: &Row<'_>, now: Duration, check: Check) -> rusqlite::Result<Option<Record>> {
    let (network, heard) = (NetworkId::new(row.get("id")?), time(row.get("heard_ms")?, now));
    let name: String = row.get("name")?;
    let view: Vec<u8> = row.get("view")?;
    let serial = row.get::<_, i64>("serial")?.cast_unsigned();
    let Some(view) = check(&view, &[network.as_bytes(), name.as_bytes()]) else { return Ok(None) };
    let mut reader = Reader(view);
    let view = View::decode(&mut reader).ok().filter(|_| reader.end().is_ok());
    Ok(view.zip(name.parse().ok()).and_then(|(view, name)| Record::new(network, name, view, serial, heard)))
}

fn tombstone(row: &Row<'_>, now: Duration, check: Check) -> rusqlite::Result<Option<Tombstone>> {
    let (network, since) = (NetworkId::new(row.get("id")?), time(row.get("since_ms")?, now));
    let [epoch, serial] = ["epoch", "serial"].map(|column| row.get::<_, i64>(column).map(i64::cast_unsigned));
    let (epoch, serial) = (epoch?, serial?);
    let leader: Vec<u8> = row.get("leader")?;
    let leader = check(&leader, &[network.as_bytes(), &epoch.to_be_bytes(), &serial.to_be_bytes()]);
    let leader = leader.and_then(|leader| PeerId::try_from(leader).ok());
    Ok(leader.map(|leader| Tombstone { network, epoch: Epoch(epoch), leader, serial, since }))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64, now: Duration) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(now)
}

#[cfg(test)]
mod tests;
