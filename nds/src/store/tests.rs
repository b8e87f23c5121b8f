use tempfile::TempDir;

use super::*;
use crate::{
    registry::Change,
    testing::{at, found, lab, person, view},
};

fn record(serial: u64, active: &[u8]) -> Record {
    Record::new(lab(), "lab".parse().unwrap(), view(3, 7, active), serial, at(5)).unwrap()
}

fn bury(network: NetworkId) -> Change {
    Change::Remove(Tombstone { network, epoch: Epoch(u64::MAX), leader: person(1).peer(), serial: 8, since: at(6) })
}

fn refused(dir: &TempDir) -> (String, Vec<u8>) {
    let before = fs::read(dir.path().join(FILE_NAME)).unwrap();
    let error = Store::open(dir.path()).expect_err("it is not a good database");
    assert!(error.to_string().contains(FILE_NAME), "{error}");
    assert_eq!(fs::read(dir.path().join(FILE_NAME)).unwrap(), before, "it was left as it is");
    (format!("{error:?}"), before)
}

#[cfg(unix)]
#[test]
fn what_is_made_is_its_owners_only() {
    let here = TempDir::new().unwrap();
    let dir = here.path().join("new/data");
    let mut store = Store::open(&dir).unwrap();
    store.write(&[Change::Put(record(1, &[1]))]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 3, "the database, its log and the lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    let mut registry = Registry::new(Terms::default());
    let other = found(2, "other").0;
    let steps = [
        vec![Change::Put(record(u64::MAX, &[1, 2]))],
        vec![bury(other), Change::Touch { network: lab(), serial: 12, heard: at(9) }],
        vec![bury(lab()), Change::Forget(other)],
        vec![Change::Put(record(13, &[2, 3, 4]))],
    ];
    for step in steps {
        let mut store = Store::open(dir.path()).unwrap();
        store.write(&step).unwrap();
        crate::testing::apply(&mut registry, at(10), step);
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().load(Terms::default(), at(10)).unwrap(), registry);
    }
    assert_eq!(registry.len(), 1);
}

#[test]
fn times_in_the_future_count_as_now() {
    let mut store = Store::in_memory().unwrap();
    store.write(&[Change::Put(record(1, &[1]))]).unwrap();
    let registry = store.load(Terms::default(), at(2)).unwrap();
    assert_eq!(registry.record(&lab()).unwrap().heard(), at(2));
}

#[test]
fn a_second_store_on_the_directory_is_told_so() {
    let dir = TempDir::new().unwrap();
    let first = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked(locked)) if locked == dir.path()));
    drop(first);
    assert!(Store::open(dir.path()).is_ok());
}

#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(FILE_NAME), "my diary, which happens to have this name\n".repeat(100)).unwrap();
    assert!(refused(&dir).0.starts_with("Corrupt"));
}

#[test]
fn a_damaged_database_is_refused_and_kept() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let many: Vec<_> = (1..=200u8).map(|n| bury(NetworkId::new([n; 32]))).collect();
    store.write(&many).unwrap();
    drop(store);
    let file = dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    assert!(refused(&dir).0.starts_with("Corrupt"));
}

#[test]
fn a_row_that_this_program_never_wrote_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let sql = "INSERT INTO network VALUES (zeroblob(32), 'lab', x'0102', 1, 1)";
    store.connection.execute(sql, []).unwrap();
    let error = store.load(Terms::default(), at(0)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    store.connection.execute("DELETE FROM network", []).unwrap();
    store.connection.execute("INSERT INTO tombstone VALUES (x'01', 1, zeroblob(32), 1, 1)", []).unwrap();
    let error = store.load(Terms::default(), at(0)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_row_in_which_a_number_has_become_another_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Change::Put(record(1, &[1])), bury(found(2, "other").0)]).unwrap();
    for (damage, mend) in [
        ("UPDATE tombstone SET epoch = epoch - 1", "UPDATE tombstone SET epoch = epoch + 1"),
        ("UPDATE network SET name = 'lap'", "UPDATE network SET name = 'lab'"),
    ] {
        store.connection.execute(damage, []).unwrap();
        let error = store.load(Terms::default(), at(9)).expect_err(damage);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        store.connection.execute(mend, []).unwrap();
    }
    assert!(store.load(Terms::default(), at(9)).is_ok());
}

#[test]
fn a_database_from_before_there_were_checksums_gets_them() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Change::Put(record(1, &[1])), bury(found(2, "other").0)]).unwrap();
    let before = store.load(Terms::default(), at(9)).unwrap();
    let without = "UPDATE network SET view = substr(view, 9); UPDATE tombstone SET leader = substr(leader, 9);
        PRAGMA user_version = 1";
    store.connection.execute_batch(without).unwrap();
    drop(store);
    for _ in 0..2 {
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load(Terms::default(), at(9)).unwrap(), before);
        assert_eq!(store.number("PRAGMA user_version").unwrap(), VERSION);
        assert_eq!(store.number("SELECT length(leader) FROM tombstone").unwrap(), 40);
    }
}

#[test]
fn the_database_of_another_program_is_refused_and_kept() {
    let dir = TempDir::new().unwrap();
    let other = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    other.execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
    drop(other);
    assert!(refused(&dir).0.starts_with("Foreign"));
}

#[test]
fn a_database_from_the_future_is_refused_and_kept() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
    drop(store);
    assert!(refused(&dir).0.starts_with("Newer"));
}

#[test]
fn a_full_disk_changes_nothing_and_is_told() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Change::Put(record(1, &[1]))]).unwrap();
    let before = store.load(Terms::default(), at(9)).unwrap();
    store.fill();
    let many: Vec<_> = (1..=200u8).map(|n| bury(NetworkId::new([n; 32]))).collect();
    let error = store.write(&many).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(store.load(Terms::default(), at(9)).unwrap(), before);
}

#[test]
fn commits_wait_for_the_disk() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mode: String = store.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), store.number("PRAGMA synchronous").unwrap()), ("wal", 2));
}
