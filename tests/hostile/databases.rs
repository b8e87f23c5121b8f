//! Databases that are not what they were.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use crate::support::{Cluster, Lines, Process, process::Finished, wait::secs};

/// SQLite's page size, unless a database asks for another.
const PAGE_BYTES: usize = 4_096;
const NAMES: [&str; 2] = ["alice", "bob"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_of_a_node_is_refused_by_name_and_never_overwritten() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    for number in 0..20 {
        cluster.ledger.say(cluster.node("bob"), &format!("kept {number}")).await.expect("the disk is fine");
    }
    cluster.rest(&NAMES).await;
    let finished = cluster.node_mut("bob").terminate().await;
    assert!(finished.status.success(), "{finished:?}");
    let databases = databases(&cluster.data_dir("bob"));
    assert!(!databases.is_empty(), "the node keeps no database");
    for file in databases {
        let sound = fs::read(&file).expect("the file can be read");
        for (how, damaged) in damages(&file, &sound) {
            fs::write(&file, &damaged).expect("the file can be written");
            let refused = cluster.node_mut("bob").try_start(&[]).await;
            let refused = refused.expect_err(&format!("{} was damaged: {how}", file.display()));
            is_refused(&refused, &file, &damaged);
        }
        fs::write(&file, &sound).expect("the file can be written");
    }
    cluster.node_mut("bob").restart().await;
    cluster.assert_histories(&NAMES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_of_a_discovery_service_is_refused_by_name_and_never_overwritten() {
    let mut cluster = Cluster::of(Lines::Direct, &NAMES).await;
    cluster.nds.process().signal(Signal::TERM);
    assert!(cluster.nds.process().end(secs(10)).await.status.success());
    let dir = cluster.nds.dir.clone();
    for file in databases(&dir) {
        let sound = fs::read(&file).expect("the file can be read");
        for (_, damaged) in damages(&file, &sound) {
            fs::write(&file, &damaged).expect("the file can be written");
            let args = ["nds", "--listen", "127.0.0.1:0", "--data-dir", &dir.display().to_string()].map(str::to_owned);
            let finished = Process::start("damaged-nds", &[], &args, &cluster.logs()).end(secs(15)).await;
            is_refused(&finished, &file, &damaged);
        }
        fs::write(&file, &sound).expect("the file can be written");
    }
    cluster.nds.restart().await;
    cluster.nds.record("lab").await.expect("nothing was lost");
    cluster.assert_histories(&NAMES).await;
}

/// The files that hold data: not keys, locks, sockets, nor what SQLite makes anew.
fn databases(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).expect("the directory can be listed").flatten().map(|entry| entry.path());
    let is_database = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
    files.filter(is_database).collect()
}

/// Ways in which a disk, or somebody, can damage a file.
fn damages(file: &Path, sound: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut header = sound.to_vec();
    header[..100].fill(0x5a);
    let mut damages = vec![
        ("its beginning is overwritten", header),
        ("it is something else", b"this was a text all along\n".repeat(40)),
    ];
    // While there is a write-ahead log, newer pages in it stand in for those in the file, and nothing is lost.
    if !file.with_extension("db-wal").exists() {
        damages.push(("it is cut in the middle of its first page", sound[..sound.len().min(2_000)].to_vec()));
        let mut rest = sound.to_vec();
        rest[PAGE_BYTES.min(sound.len())..].fill(0xa5);
        damages.push(("all but its first page is overwritten", rest));
    }
    damages
}

fn is_refused(finished: &Finished, file: &Path, damaged: &[u8]) {
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&file.display().to_string()), "{} is not named: {finished:?}", file.display());
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    assert!(fs::read(file).is_ok_and(|bytes| bytes == damaged), "{} was overwritten", file.display());
}
