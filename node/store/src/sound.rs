//! Whether the tables agree with each other. What SQLite checks is that the file is a database; that no entry is missing
//! in the middle, that a feed ends where its table says, and that the timeline has everything once, is checked here.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_model::{EntryKind, NetworkId, Seq};
use rusqlite::Connection;

use crate::{
    error::Fault,
    number::{Id, Number},
    read::{StoredFeed, feeds},
    stored::{NetworkKey, StoredRun},
    stretch::{COLUMNS, Stretch},
};

/// Checks all networks. Takes about two microseconds for each run and each stretch of the timeline.
pub(crate) fn check(db: &Connection) -> Result<(), Fault> {
    let (mut feeds_seen, mut runs_seen, mut stretches_seen) = (0, 0, 0);
    for network in networks(db)? {
        let feeds = feeds(db, network)?;
        feeds_seen += feeds.len() as i64;
        for (author, feed) in &feeds {
            runs_seen += check_feed(db, network, *author, feed)?;
        }
        stretches_seen += check_timeline(db, network, &feeds)?;
    }
    for (table, seen) in [("feed", feeds_seen), ("run", runs_seen), ("stretch", stretches_seen)] {
        // What is left of forgotten networks is in no order.
        let sql = format!("SELECT count(*) FROM {table} WHERE network NOT IN (SELECT key FROM network WHERE read < 0)");
        let stored: i64 = db.query_row(&sql, [], |row| row.get(0))?;
        if stored != seen {
            return Err(Fault::Corrupt(format!("{} rows of {table} belong to nothing", stored - seen)));
        }
    }
    Ok(())
}

fn networks(db: &Connection) -> Result<Vec<NetworkKey>, Fault> {
    let mut query = db.prepare("SELECT id, key FROM network WHERE read >= 0")?;
    let rows =
        query.query_map([], |row| Ok(NetworkKey { id: NetworkId::from(row.get::<_, Id>(0)?), key: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// That the runs of a feed follow each other up to its end. Says how many there are.
fn check_feed(db: &Connection, network: NetworkKey, author: i64, feed: &StoredFeed) -> Result<i64, Fault> {
    let damage = |what: &str| {
        let (network, author) = (network.id.short(), feed.author.short());
        Fault::Corrupt(format!("the feed of {author} in network {network} {what}"))
    };
    let mut query =
        db.prepare_cached("SELECT first, last FROM run WHERE network = ?1 AND author = ?2 ORDER BY first")?;
    let mut rows = query.query((network.key, author))?;
    let (mut runs, mut end): (i64, Seq) = (0, 0);
    while let Some(row) = rows.next()? {
        let (first, last) = (row.get::<_, Number>(0)?.0, row.get::<_, Number>(1)?.0);
        if end.checked_add(1) != Some(first) || last < first {
            return Err(damage(&format!("has no entry after {end}")));
        }
        (runs, end) = (runs + 1, last);
    }
    let newest = StoredRun::key_at(db, network, author, end)?.ok_or_else(|| damage("has no entries"))?;
    let run = match StoredRun::of_key(db, network, newest) {
        Ok(newest) => newest.run,
        // A run that is damaged in itself is told when it is wanted; everything else goes on without it. One that is not
        // belongs to somebody else than the feed.
        Err(Fault::Corrupt(_)) if StoredRun::is_sound(db, newest)? => {
            return Err(damage("is not whose its index says"));
        }
        Err(Fault::Corrupt(_)) => return Ok(runs),
        Err(fault) => return Err(fault),
    };
    let lamport = run.entries.last().map(|(_, entry)| entry.header.lamport);
    let ends_there = (run.author, run.last(), run.head()) == (feed.author, feed.last, feed.head);
    if !ends_there || lamport != Some(feed.last_lamport) || feed.delivered > feed.last {
        return Err(damage("does not end where its index says"));
    }
    Ok(runs)
}

/// That everything delivered is in the timeline, once and in the order of its feed. Says how many stretches there are.
fn check_timeline(db: &Connection, network: NetworkKey, feeds: &[(i64, StoredFeed)]) -> Result<i64, Fault> {
    let damage = |position: u64| {
        Fault::Corrupt(format!(
            "the timeline of network {} is not what was delivered at {position}",
            network.id.short()
        ))
    };
    // Up to where each feed is delivered, and the Lamport time there: an author's times grow.
    let mut delivered: BTreeMap<i64, (Seq, u64)> = feeds.iter().map(|(author, _)| (*author, (0, 0))).collect();
    let sql = format!(
        "SELECT {COLUMNS} FROM stretch s LEFT JOIN peer p ON p.key = s.author
                       WHERE s.network = ?1 ORDER BY s.position"
    );
    let mut query = db.prepare(&sql)?;
    let mut rows = query.query([network.key])?;
    let (mut end, mut stretches) = (0, 0);
    let mut roster = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let stretch = Stretch::of_row(row)?;
        let (first, last) = (stretch.first(), stretch.last());
        let continues =
            |(seq, lamport): &&mut (Seq, u64)| seq.checked_add(1) == Some(first.seq) && first.lamport > *lamport;
        let before = delivered.get_mut(&first.author).filter(continues);
        let Some(before) = before.filter(|_| first.position == end + 1) else { return Err(damage(end + 1)) };
        (*before, end, stretches) = ((last.seq, last.lamport), last.position, stretches + 1);
        if matches!(first.kind, EntryKind::Genesis | EntryKind::Admit | EntryKind::Leave) {
            roster.extend((first.seq..=last.seq).map(|seq| (first.author, seq)));
        }
    }
    if roster != delivered_roster(db, network, feeds)? {
        let network = network.id.short();
        return Err(Fault::Corrupt(format!("the roster of network {network} is not what was delivered")));
    }
    let ends_there = |(author, feed): &(i64, StoredFeed)| {
        delivered.get(author).is_some_and(|(seq, lamport)| *seq == feed.delivered && *lamport <= feed.last_lamport)
    };
    let all = feeds.iter().all(ends_there);
    if all { Ok(stretches) } else { Err(damage(end + 1)) }
}

/// Where the roster has its delivered entries. One that belongs to no feed is among them.
fn delivered_roster(
    db: &Connection,
    network: NetworkKey,
    feeds: &[(i64, StoredFeed)],
) -> Result<BTreeSet<(i64, Seq)>, Fault> {
    let mut query = db.prepare("SELECT author, seq FROM roster WHERE network = ?1")?;
    let rows = query.query_map([network.key], |row| Ok((row.get(0)?, row.get::<_, Number>(1)?.0)))?;
    let waits = |(author, seq): &(i64, Seq)| {
        let feed = feeds.iter().find(|(key, _)| key == author);
        feed.is_some_and(|(_, feed)| (feed.delivered + 1..=feed.last).contains(seq))
    };
    let all: BTreeSet<(i64, Seq)> = rows.collect::<Result<_, _>>()?;
    Ok(all.into_iter().filter(|place| !waits(place)).collect())
}
