//! Files that are not ours, and disks that are full or can't be written.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod support;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use p2p_chat_store::{FILE_NAME, Store, StoreError, Write};
use support::{Author, deliver, downgrade, open, write, write_and_deliver};

/// A small file system in memory, as long as this lives. `None`, said loudly, where it can't be mounted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(directory.path()).output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        if !mounted {
            let warning = "\nSKIPPED: a full and a read-only disk are not tested, because mounting one needs root\n";
            std::io::stderr().write_all(warning.as_bytes()).unwrap();
        }
        mounted.then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }

    /// Leaves no more than `bytes` free.
    fn fill(&self, bytes: u64) -> PathBuf {
        let filler = self.path().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(bytes)).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failed test may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_keeps_what_is_old_and_recovers() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = Store::open(disk.path()).unwrap();
    let (mut alice, _, found) = Author::found(1, "lab");
    let (bob, _, other) = Author::found(2, "den");
    store.commit(alice.network, found).await.unwrap();
    store.commit(bob.network, other).await.unwrap();
    let filler = disk.fill(256 << 10);

    let text = "x".repeat(40_000);
    let (mut kept, mut lost) = (alice.head, None);
    while lost.is_none() {
        let run = alice.texts(&[&text]);
        match store.commit(alice.network, vec![write(&run), Write::State(run.head().as_bytes().to_vec())]).await {
            Ok(()) => kept = run.head(),
            Err(error) => lost = Some((run, error)),
        }
    }
    let (run, error) = lost.unwrap();
    assert_eq!(error, StoreError::Full { file: store.file().to_owned() });
    assert!(error.to_string().contains(store.file().to_str().unwrap()));
    assert_eq!(store.check_writable(alice.network).await, Err(error.clone()));
    let stored = store.feeds(alice.network).await.unwrap();
    assert_eq!((stored[0].head, stored[0].last), (kept, run.first - 1), "nothing of the failed commit, all before it");
    assert!(matches!(Store::open(disk.path()), Err(StoreError::Full { .. })), "a node does not start on a full disk");

    fs::remove_file(filler).unwrap();
    assert_eq!(store.commit(alice.network, vec![write(&run)]).await, Err(error), "until it is checked");
    store.check_writable(alice.network).await.unwrap();
    store.commit(alice.network, vec![write(&run)]).await.unwrap();
    drop(store);
    let store = Store::open(disk.path()).unwrap();
    assert_eq!(store.feeds(alice.network).await.unwrap()[0].head, run.head());
    assert_eq!(store.entry_count(bob.network).await, Ok(1));
}

#[tokio::test]
async fn a_large_network_is_forgotten_on_a_full_disk_and_makes_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = Store::open(disk.path()).unwrap();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    store.commit(alice.network, [found, deliver(&genesis)].concat()).await.unwrap();
    let text = "x".repeat(50_000);
    for _ in 0..20 {
        store.commit(alice.network, write_and_deliver(&alice.texts(&[&text]))).await.unwrap();
    }
    drop(store);
    let store = Store::open(disk.path()).unwrap();
    disk.fill(768 << 10);
    store.commit(alice.network, vec![Write::Forget]).await.unwrap();
    let (mut bob, _, other) = Author::found(2, "den");
    store.commit(bob.network, other).await.unwrap();
    for _ in 0..8 {
        store.commit(bob.network, vec![write(&bob.texts(&[&text]))]).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_of_the_first_format_waits_until_there_is_room_to_take_it_over() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = Store::open(disk.path()).unwrap();
    let (mut alice, genesis, found) = Author::found(1, "lab");
    store.commit(alice.network, [found, deliver(&genesis)].concat()).await.unwrap();
    for _ in 0..60 {
        store.commit(alice.network, write_and_deliver(&alice.texts(&["x"; 50]))).await.unwrap();
    }
    drop(store);
    let file = disk.path().join(FILE_NAME);
    let rows = || {
        let db = rusqlite::Connection::open(&file).unwrap();
        db.query_row("SELECT count(*) FROM timeline", [], |row| row.get::<_, i64>(0))
    };
    downgrade(&rusqlite::Connection::open(&file).unwrap());
    let filler = disk.fill(96 << 10);
    assert_eq!(Store::open(disk.path()).unwrap_err(), StoreError::Full { file: file.clone() });
    fs::remove_file(filler).unwrap();
    assert_eq!(rows(), Ok(3_001), "all of it is as it was");
    let store = Store::open(disk.path()).unwrap();
    assert_eq!(store.last_position(alice.network).await, Ok(3_001));
    assert!(rows().is_err(), "taken over");
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_told_with_the_file() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.fill(0);
    let error = Store::open(disk.path()).unwrap_err();
    assert_eq!(error, StoreError::Full { file: disk.path().join(FILE_NAME) });
}

#[tokio::test]
async fn a_read_only_disk_is_told_and_unharmed() {
    let Some(disk) = SmallDisk::mount() else { return };
    let file = disk.path().join(FILE_NAME);
    disk.remount("ro");
    assert_eq!(Store::open(disk.path()).unwrap_err(), StoreError::ReadOnly { file: file.clone() }, "no file");
    disk.remount("rw");
    let store = Store::open(disk.path()).unwrap();
    let (alice, _, found) = Author::found(1, "lab");
    store.commit(alice.network, found).await.unwrap();
    drop(store);
    let before = fs::read(&file).unwrap();
    disk.remount("ro");
    assert_eq!(Store::open(disk.path()).unwrap_err(), StoreError::ReadOnly { file: file.clone() });
    assert_eq!(fs::read(&file).unwrap(), before);
    disk.remount("rw");
    let store = Store::open(disk.path()).unwrap();
    assert_eq!(store.entry_count(alice.network).await, Ok(1));
}

#[test]
fn files_of_others_and_damaged_ones_are_refused_and_left_as_they_are() {
    let (directory, store) = open();
    let (mut alice, _, found) = Author::found(1, "lab");
    store.commit(alice.network, found).wait().unwrap();
    for _ in 0..50 {
        store.commit(alice.network, vec![write(&alice.texts(&[&"x".repeat(500)]))]).wait().unwrap();
    }
    drop(store);
    let file = directory.path().join(FILE_NAME);
    let sound = fs::read(&file).unwrap();

    let mut torn = sound.clone();
    torn.truncate(sound.len() / 2);
    let mut scribbled = sound.clone();
    scribbled[4096..3 * 4096].fill(0xa5);
    let mut later = sound.clone();
    later[60..64].copy_from_slice(&3u32.to_be_bytes());
    let mut foreign = sound.clone();
    foreign[68..72].copy_from_slice(&1u32.to_be_bytes());
    let mut no_database = sound.clone();
    no_database[16..100].fill(0xff);
    type Expected = fn(&StoreError) -> bool;
    let corrupt: Expected = |error| matches!(error, StoreError::Corrupt { .. });
    let not_ours: Expected = |error| matches!(error, StoreError::Foreign { .. });
    let cases: [(&str, Vec<u8>, Expected); 7] = [
        ("torn", torn, corrupt),
        ("scribbled", scribbled, corrupt),
        ("later", later, |error| matches!(error, StoreError::Newer { version: 3, .. })),
        ("foreign database", foreign, not_ours),
        ("header", no_database, not_ours),
        ("a text", b"shopping list: milk, bread, more bread".to_vec(), not_ours),
        ("a short text", b"x".to_vec(), not_ours),
    ];
    for (case, bytes, expected) in cases {
        fs::write(&file, &bytes).unwrap();
        let error = Store::open(directory.path()).expect_err(case);
        assert!(expected(&error), "{case}: {error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{case}: {error}");
        assert!(fs::read(&file).unwrap() == bytes, "{case}: the file was changed");
    }
    fs::write(&file, sound).unwrap();
    assert_eq!(Store::open(directory.path()).map(|_| ()), Ok(()));
}

#[test]
fn the_log_of_a_strangers_database_is_left_as_it_is() {
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = rusqlite::Connection::open(theirs.path().join("x")).unwrap();
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    db.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1)").unwrap();
    // As another program leaves it when it is killed: the table is in the log only.
    let pairs = ["", "-wal"].map(|end| {
        let to = ours.path().join(format!("{FILE_NAME}{end}"));
        fs::copy(theirs.path().join(format!("x{end}")), &to).unwrap();
        (to.clone(), fs::read(&to).unwrap())
    });
    let error = Store::open(ours.path()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    for (path, before) in pairs {
        assert!(fs::read(&path).unwrap() == before, "{} was changed", path.display());
    }
}

#[test]
fn a_file_that_a_crash_left_empty_is_laid_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE_NAME);
    fs::write(&file, b"").unwrap();
    drop(Store::open(directory.path()).unwrap());
    fs::remove_file(&file).unwrap();
    // As after a crash between switching to the write-ahead log and the layout.
    let db = rusqlite::Connection::open(&file).unwrap();
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    drop(db);
    assert_eq!(Store::open(directory.path()).map(|_| ()), Ok(()));
}

#[test]
fn only_the_owner_can_read_the_log() {
    let (directory, store) = open();
    let (alice, _, found) = Author::found(1, "lab");
    store.commit(alice.network, found).wait().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        seen += 1;
    }
    assert_eq!(seen, 3, "the file, its log and the index of the log");
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open(&directory.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}
