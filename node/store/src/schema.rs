//! The file: how it is opened, checked and laid out.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use crate::{StoreError, error::Fault, sound, upgrade};

/// Name of the database in the data directory.
pub const FILE_NAME: &str = "p2p-chat.db";
/// How long to wait for another process that holds the database.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// "p2pc" in the file's header (<https://sqlite.org/fileformat.html#application_id>).
const APPLICATION_ID: i64 = 0x7032_7063;
pub(crate) const FORMAT: i64 = 2;
/// With a row for each delivered entry: see [`upgrade`].
const FORMAT_OF_ROWS: i64 = 1;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The WAL is cut to this after a checkpoint, in bytes.
const WAL_KEPT_BYTES: u32 = 16 << 20;
/// What the probe for a working disk writes, in bytes: more than any page that happens to be free.
const PROBE_BYTES: u32 = 64 << 10;

// Networks and peers are named by small integers everywhere but in their own tables. `ANY` columns hold `Number`s.
// run.rank: lamport time of the run's first entry, and 0 for the genesis: the order in which runs are caught up with.
// run.digest: a checksum; see `sum`. network.state has one in front.
// integrity_check, not quick_check: an index that points elsewhere would show one entry twice and another never.
// fork.bytes: a run that contradicts what is stored of its author.
// network.read: -1 where the network is forgotten and not all of it is deleted yet; its id means nothing then.
// ack.number counts a peer's acks, so that the oldest can be dropped.
const LAYOUT: &str = "
CREATE TABLE network (key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    read INTEGER NOT NULL DEFAULT 0, state BLOB) STRICT;
CREATE TABLE peer (key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE feed (network INTEGER NOT NULL, author INTEGER NOT NULL, last ANY NOT NULL, head BLOB NOT NULL,
    lamport ANY NOT NULL, delivered ANY NOT NULL, PRIMARY KEY (network, author)) STRICT, WITHOUT ROWID;
CREATE TABLE run (key INTEGER PRIMARY KEY, network INTEGER NOT NULL, author INTEGER NOT NULL, first ANY NOT NULL,
    last ANY NOT NULL, rank ANY NOT NULL, digest INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX run_feed ON run (network, author, first);
CREATE INDEX run_rank ON run (network, rank, author, last);
CREATE TABLE roster (network INTEGER NOT NULL, author INTEGER NOT NULL, seq ANY NOT NULL,
    PRIMARY KEY (network, author, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE ack (network INTEGER NOT NULL, peer INTEGER NOT NULL, upto ANY NOT NULL, number INTEGER NOT NULL,
    time_ms ANY NOT NULL, way INTEGER NOT NULL, relay INTEGER, PRIMARY KEY (network, peer, upto)) STRICT, WITHOUT ROWID;
CREATE TABLE fork (network INTEGER NOT NULL, author INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (network, author)) STRICT, WITHOUT ROWID;
CREATE TABLE probe (bytes BLOB NOT NULL) STRICT;
";

// The timeline: see `stretch`. Each row begins with what its first entry has.
// tags: the first 48 bits of each message id. Without an index: ids are random, so each message would change another page
// of it, for the sake of searches that take half a second in a million entries.
pub(crate) const STRETCHES: &str = "
CREATE TABLE stretch (network INTEGER NOT NULL, position INTEGER NOT NULL, author INTEGER NOT NULL,
    seq ANY NOT NULL, lamport ANY NOT NULL, kind INTEGER NOT NULL, arrived_ms ANY NOT NULL, late INTEGER NOT NULL,
    tags BLOB NOT NULL, PRIMARY KEY (network, position)) STRICT, WITHOUT ROWID;
CREATE INDEX stretch_lamport ON stretch (network, lamport);
";

/// What a file is.
enum Found {
    /// Empty.
    Nothing,
    /// Sound, as far as SQLite can tell, and of format [`FORMAT_OF_ROWS`].
    Rows,
    /// Sound, and of this format.
    Current,
}

/// Opens the connection that writes, after checking that the file is ours, sound and writable. `max_pages` caps the
/// file's size, for tests of a full disk.
pub(crate) fn open_writer(file: &Path, max_pages: Option<u32>) -> Result<Connection, StoreError> {
    create(file)?;
    let connect = || -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(file, flags)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.set_prepared_statement_cache_capacity(64);
        keep_plans(&db)?;
        // Else closing would move a stranger's log into his file.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(db)
    };
    let mut db = connect().map_err(|fault| fault.at(file))?;
    // Nothing is written before the file is known to be ours: a stranger's stays byte for byte the same.
    let found = check(&db, file)?;
    if let Some(pages) = max_pages {
        db.pragma_update(None, "max_page_count", pages).map_err(|error| Fault::from(error).at(file))?;
    }
    if let Found::Rows = found {
        tracing::info!(file = %file.display(), "taking over a log of an earlier format; older programs can't read it then");
        upgrade::from_rows(&mut db).map_err(|fault| fault.at(file))?;
    }
    let prepared = configure(&db).and_then(|()| if let Found::Nothing = found { lay_out(&db) } else { Ok(()) });
    prepared.map_err(|fault| fault.at(file))?;
    probe(&db).map_err(|fault| fault.at(file))?;
    Ok(db)
}

/// Opens a connection that only reads. The writer's must be open.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "query_only", true)?;
    db.set_prepared_statement_cache_capacity(32);
    keep_plans(&db)?;
    Ok(db)
}

/// Plans queries for any values, once: otherwise most are planned anew each time they are run.
fn keep_plans(db: &Connection) -> Result<(), Fault> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Writes and deletes [`PROBE_BYTES`], synced: whether the disk takes data.
pub(crate) fn probe(db: &Connection) -> Result<(), Fault> {
    // Two transactions: in one, SQLite would never write what is deleted again.
    db.execute("INSERT INTO probe VALUES (zeroblob(?1))", [PROBE_BYTES])?;
    db.execute("DELETE FROM probe", [])?;
    Ok(())
}

/// Takes what the write-ahead log has into the file, as far as nobody reads what was before.
pub(crate) fn checkpoint(db: &Connection) -> Result<(), Fault> {
    Ok(db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}

/// Makes the file, readable by its owner alone, unless it is there; checks that it can be written and is SQLite's.
fn create(file: &Path) -> Result<(), StoreError> {
    let mut header = Vec::new();
    let mut open = || -> std::io::Result<()> {
        let exists = file.try_exists()?;
        let mut opened = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)?;
        opened.by_ref().take(MAGIC.len() as u64).read_to_end(&mut header)?;
        match file.parent() {
            Some(directory) if !exists => fs::File::open(directory)?.sync_all(),
            _ => Ok(()),
        }
    };
    open().map_err(|error| StoreError::io(file, &error))?;
    if header.is_empty() || header == MAGIC {
        Ok(())
    } else {
        Err(StoreError::Foreign { file: file.to_owned(), what: "it does not begin like one".to_owned() })
    }
}

/// What the file is. Refuses what is not ours, not known, or not sound.
fn check(db: &Connection, file: &Path) -> Result<Found, StoreError> {
    let number = |sql: &str| -> Result<i64, StoreError> {
        db.query_row(sql, [], |row| row.get(0)).map_err(|error| Fault::from(error).at(file))
    };
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    if application == 0 && version == 0 && empty {
        return Ok(Found::Nothing);
    }
    if application != APPLICATION_ID {
        let what = format!("its application id is {application}");
        return Err(StoreError::Foreign { file: file.to_owned(), what });
    }
    if ![FORMAT_OF_ROWS, FORMAT].contains(&version) {
        return Err(StoreError::Newer { file: file.to_owned(), version });
    }
    let verdict: Option<String> = db
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .optional()
        .map_err(|error| Fault::from(error).at(file))?;
    match verdict {
        Some(verdict) if verdict != "ok" => Err(StoreError::Corrupt { file: file.to_owned(), what: verdict }),
        _ if version == FORMAT_OF_ROWS => Ok(Found::Rows),
        _ => sound::check(db).map(|()| Found::Current).map_err(|fault| fault.at(file)),
    }
}

fn configure(db: &Connection) -> Result<(), Fault> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Refused("the file system can't share memory between connections".to_owned()));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    // On macOS only this reaches the disk.
    db.pragma_update(None, "fullfsync", true)?;
    db.pragma_update(None, "checkpoint_fullfsync", true)?;
    // What is forgotten is overwritten.
    db.pragma_update(None, "secure_delete", true)?;
    db.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))?;
    Ok(())
}

fn lay_out(db: &Connection) -> Result<(), Fault> {
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {LAYOUT} {STRETCHES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    ))
    .inspect_err(|_| drop(db.execute_batch("ROLLBACK")))?;
    Ok(())
}

/// How SQLite would run a query, one step a line.
#[cfg(test)]
pub(crate) fn plan(db: &Connection, sql: &str) -> String {
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = statement.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan += &(row.get::<_, String>(3).unwrap() + "\n");
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_syncs_the_log_before_a_commit_returns() {
        let directory = tempfile::tempdir().unwrap();
        let db = open_writer(&directory.path().join(FILE_NAME), None).unwrap();
        let text = |sql| db.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(text("PRAGMA journal_mode"), "wal");
        assert_eq!(number("PRAGMA synchronous"), 2);
        assert_eq!(number("PRAGMA secure_delete"), 1);
    }
}
