//! The disk is full, or can't be written.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use p2p_chat_proto::v1::{NoticeKind, Phase, Wait};
use tonic::Code;

use crate::support::{
    Cluster, LAB, Lines, Recorder,
    disk::{FailingDisk, SmallDisk},
    eventually, figure, history, let_pass,
    report::skip,
    wait::{ensure, secs},
};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// A disk that failed is tried again every 5 s.
const TRIED_TWICE: Duration = secs(12);
const DISK_MEBIBYTES: u32 = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_acknowledgements_and_harms_nothing() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let disk = match SmallDisk::mount(&cluster.data_dir("carol"), DISK_MEBIBYTES) {
        Ok(disk) => disk,
        Err(reason) => return skip("a full disk stops acknowledgements and harms nothing", reason),
    };
    cluster.found(&NAMES).await;
    let writers = cluster.talk(&NAMES[..2], 10);
    let recorder = Recorder::start(cluster.node("carol"), LAB);
    cluster.ledger.say(cluster.node("carol"), "the disk is still fine").await.expect("it is");
    let_pass(secs(1)).await;

    disk.fill();
    let carol = cluster.node("carol");
    let refused = {
        let mut number = 0;
        // Some space may have been set aside before: what fits in there is acknowledged, and has to stay.
        eventually(secs(20), "the refusal of a message", async || {
            number += 1;
            let text = format!("{number} {}", "into the full disk ".repeat(2_000));
            match cluster.ledger.say(carol, &text).await {
                Err(refused) if refused.code() == Code::ResourceExhausted => Ok(refused),
                said => Err(format!("message {number}: {said:?}")),
            }
        })
        .await
    };
    assert!(refused.message().contains("full") || refused.message().contains("space"), "{refused}");
    let state = eventually(secs(30), "carol's knowledge of her state", async || {
        let state = carol.state().await?;
        ensure(state.phase() == Phase::Broken, || format!("{state:?}"))?;
        Ok(state)
    })
    .await;
    assert!(!state.problem.is_empty(), "{state:?}");
    recorder.notice(NoticeKind::Broken, "").await;
    use_up_the_rest(&cluster, "carol").await;
    let alice = cluster.node("alice");
    let unmet = cluster.ledger.say_and_wait(alice, "carol can't store this", Wait::All).await;
    assert_eq!(unmet.map_err(|status| status.code()), Err(Code::DeadlineExceeded));
    let said = alice.history().await.into_iter().find(|message| message.text == "carol can't store this");
    let said = said.expect("alice's own disk is fine");
    assert_eq!(alice.custody(&said.id, "carol").await.map(|custody| custody.state).as_deref(), Ok("not yet"));
    let readable = carol.history().await;
    assert!(readable.iter().any(|message| message.text == "the disk is still fine"));

    let mended = recorder.notices(NoticeKind::Mended);
    disk.free();
    recorder.another_notice(NoticeKind::Mended, mended).await;
    cluster.agree(&NAMES, secs(45)).await;
    cluster.conclude(writers, &NAMES).await;
    let after = carol.history().await;
    let kept = readable.iter().all(|message| after.iter().any(|later| later.id == message.id));
    assert!(kept, "what could be read while the disk was full is gone");
    recorder.check().unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_data_directory_is_refused_by_name_and_left_as_it_is() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let dir = cluster.data_dir("carol");
    let disk = match SmallDisk::mount(&dir, DISK_MEBIBYTES) {
        Ok(disk) => disk,
        Err(reason) => return skip("a read-only data directory is refused by name and left as it is", reason),
    };
    cluster.found(&NAMES).await;
    cluster.ledger.say(cluster.node("carol"), "written before").await.expect("the disk is fine");
    cluster.rest(&NAMES).await;
    cluster.node_mut("carol").terminate().await;

    disk.set_read_only(true);
    let before = contents(&dir);
    let finished = cluster.node_mut("carol").try_start(&[]).await.expect_err("it can't write");
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&dir.display().to_string()), "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    assert!(contents(&dir) == before, "a file was changed");

    disk.set_read_only(false);
    cluster.node_mut("carol").restart().await;
    cluster.assert_histories(&NAMES).await;
    let history = cluster.node("carol").history().await;
    history::check(&history, &cluster.ledger.lock()).unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_is_replaced_and_returns_as_a_member_when_there_is_room() {
    let mut cluster = Cluster::patient(Lines::Direct).await;
    let disk = match SmallDisk::mount(&cluster.data_dir("alice"), DISK_MEBIBYTES) {
        Ok(disk) => disk,
        Err(reason) => return skip("a leader whose disk is full is replaced and returns as a member", reason),
    };
    cluster.found(&NAMES).await;
    let writers = cluster.talk(&NAMES, 10);
    let_pass(secs(1)).await;

    disk.fill();
    let full = Instant::now();
    // What was set aside before is used up by large messages of the others, too.
    let mut number = 0;
    let broken = eventually(secs(30), "alice's knowledge of her state", async || {
        number += 1;
        let text = format!("{number} {}", "for the full disk ".repeat(2_000));
        let said = cluster.ledger.say(cluster.node("bob"), &text).await;
        said.map_err(|status| status.to_string())?;
        let state = cluster.node("alice").state().await?;
        ensure(state.phase() == Phase::Broken, || format!("{state:?}"))?;
        Ok(state)
    });
    let broken = broken.await;
    assert!(broken.problem.contains("full") && !broken.leading, "{broken:?}");
    let reign = cluster.agree(&NAMES[1..], secs(90)).await;
    figure(format!("leader's disk full: the others agree on the next after {:.1?}", full.elapsed()));
    assert_eq!(reign.leader, "bob");
    let bob = hex::decode(&cluster.node("bob").peer).expect("a peer id");
    cluster.nds.lists(LAB, "bob leads", |record| record.leader == bob && record.epoch == reign.epoch).await;
    let text = "the leader's disk is full";
    cluster.ledger.say(cluster.node("carol"), text).await.expect("carol's disk is fine");
    writers[1].recorder().shows(text).await;

    let mended = writers[0].recorder().notices(NoticeKind::Mended);
    disk.free();
    let freed = Instant::now();
    writers[0].recorder().another_notice(NoticeKind::Mended, mended).await;
    let after = cluster.agree(&NAMES, secs(90)).await;
    figure(format!("leader's disk has room again: in everybody's view after {:.1?}", freed.elapsed()));
    assert_eq!((after.leader.as_str(), after.epoch), ("bob", reign.epoch), "her return caused an election");
    cluster.conclude(writers, &NAMES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_in_use_stops_acknowledgements_and_loses_nothing() {
    let mut cluster = Cluster::new(Lines::Direct).await;
    let image = cluster.logs().join("carol.img");
    let mut disk = match FailingDisk::mount(&cluster.data_dir("carol"), &image, DISK_MEBIBYTES.into()) {
        Ok(disk) => disk,
        Err(reason) => return skip("a disk that turns read-only in use stops acknowledgements", reason),
    };
    cluster.found(&NAMES).await;
    let writers = cluster.talk(&NAMES, 10);
    let_pass(secs(2)).await;

    disk.fail();
    let refused = eventually(secs(20), "the refusal of a message", async || {
        let carol = cluster.node("carol");
        let text = format!("carol, number {}", cluster.ledger.lock().attempted.len());
        cluster.ledger.say(carol, &text).await.err().ok_or_else(|| "it was taken".to_owned())
    })
    .await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains(&cluster.data_dir("carol").display().to_string()), "{refused}");
    let state = cluster.node("carol").state().await.expect("she can still be asked");
    assert_eq!(state.phase(), Phase::Broken, "{state:?}");
    let readable = cluster.node("carol").history().await;
    assert!(!readable.is_empty(), "what is on the disk can still be read");
    cluster.agree(&NAMES[..2], secs(20)).await;

    // Such a disk comes back with a check of the file system only.
    let finished = cluster.node_mut("carol").terminate().await;
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    disk.repair();
    cluster.node_mut("carol").restart().await;
    cluster.agree(&NAMES, secs(30)).await;
    cluster.conclude(writers, &NAMES).await;
    let after = cluster.node("carol").history().await;
    let kept = readable.iter().all(|message| after.iter().any(|later| later.id == message.id));
    assert!(kept, "what could be read before the repair is gone");
}

/// Where a large message does not fit, a small one may, and the node takes part again until that is used up.
async fn use_up_the_rest(cluster: &Cluster, name: &str) {
    let mut taken = Instant::now();
    let mut number = 0;
    eventually(secs(120), format!("the end of the space at {name}"), async || {
        number += 1;
        match cluster.ledger.say(cluster.node(name), &format!("crumb {number}")).await {
            Err(refused) if refused.code() == Code::ResourceExhausted => {}
            _ => taken = Instant::now(),
        }
        ensure(taken.elapsed() > TRIED_TWICE, || format!("message {number} was the last"))
    })
    .await;
}

/// Every file and its bytes.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("the directory can be listed").flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let read = |path| fs::read(path).expect("the file can be read");
    files.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(entry.path()))).collect()
}
