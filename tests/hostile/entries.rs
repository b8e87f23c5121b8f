//! Entries that must not be taken, delivered by a member.

use p2p_chat_model::{
    Entry, EntryHash, EntryKind, Identity, NetworkId, PeerId, Run, VectorClock,
    limits::{MAX_LAMPORT, MAX_RUN_ENTRIES},
};
use p2p_chat_proto::v1::Wait;
use tonic::Code;

use crate::{
    crafted::{admission, bad_names, founding},
    outlaw::Outlaw,
    support::{
        Cluster, Lines, eventually,
        wait::{ensure, secs},
    },
    table::{Expect, Row, calling, request, row, run},
};

const NAMES: [&str; 2] = ["alice", "bob"];
const REFUSED: Expect = Expect::Refused(&[Code::InvalidArgument, Code::Unauthenticated, Code::PermissionDenied]);
/// Sound in itself, and not for here and now: the answer does not have to be an error, but nothing is stored.
const NOT_TAKEN: Expect = Expect::RefusedOr(&[Code::InvalidArgument, Code::PermissionDenied], "acked");

const LATE: &str = "the last word for ever";

/// A name, what must come of it, and the encoded runs.
type Forgery = (String, Expect, Vec<Vec<u8>>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_are_forged_broken_or_out_of_bounds_are_not_stored() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let mut mallory = Outlaw::new(0x61).await;
    mallory.join(&cluster, cluster.node("alice"), "mallory").await;
    mallory.says(&NAMES.map(|name| cluster.node(name)), "hello").await;
    let alice = cluster.node("alice").peer.parse().expect("a peer id");
    let mut forgeries = signatures(&mallory, alice);
    forgeries.extend(places(&mallory));
    forgeries.extend(bodies(&mallory));
    forgeries.extend(clocks(&mallory));
    forgeries.extend(sizes(&mallory));
    run(&cluster, "forged and broken runs", rows(&cluster, &mallory, forgeries)).await;
}

/// In a cluster of its own: whoever contradicts itself once is not listened to any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_contradicts_itself_changes_nothing_that_was_stored() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let mut mallory = Outlaw::new(0x62).await;
    mallory.join(&cluster, cluster.node("alice"), "mallory").await;
    let (network, first) = (mallory.standing().network, mallory.text("another first word"));
    mallory.says(&NAMES.map(|name| cluster.node(name)), "first word").await;
    let sign = |seq, previous, entry| Run::sign(&mallory.identity, network, seq, previous, vec![entry]).encode();
    let forgeries = vec![
        ("a second entry 1".to_owned(), NOT_TAKEN, vec![sign(1, EntryHash::NONE, first)]),
        (
            "an entry 2 with a broken chain".to_owned(),
            NOT_TAKEN,
            vec![sign(2, EntryHash::new([5; 32]), mallory.text("from nowhere"))],
        ),
    ];
    run(&cluster, "a feed that contradicts itself", rows(&cluster, &mallory, forgeries)).await;
    let mallory = mallory.peer().to_string();
    for name in NAMES {
        let state = cluster.node(name).state().await.expect("it runs");
        let frozen: Vec<&str> = state.frozen.iter().map(|frozen| frozen.author_peer.as_str()).collect();
        assert_eq!(frozen, [mallory.as_str()], "{name} says whose feed it is");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lamport_time_at_the_end_of_all_numbers_is_refused() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let mut mallory = Outlaw::new(0x63).await;
    mallory.join(&cluster, cluster.node("alice"), "mallory").await;
    mallory.says(&NAMES.map(|name| cluster.node(name)), "soon it will be late").await;
    let mut forgeries = Vec::new();
    for lamport in [u64::MAX, u64::MAX - 1, MAX_LAMPORT + 1] {
        let run = mallory.run(vec![late(&mallory, lamport)]);
        forgeries.push(one(format!("lamport time {lamport}"), NOT_TAKEN, &run));
    }
    run(&cluster, "Lamport times at the end of all numbers", rows(&cluster, &mallory, forgeries)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lamport_time_from_the_far_future_is_not_shown_and_moves_nobody_elses() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    let mut mallory = Outlaw::new(0x65).await;
    mallory.join(&cluster, cluster.node("alice"), "mallory").await;
    mallory.says(&NAMES.map(|name| cluster.node(name)), "soon it will be late").await;
    let run = mallory.run(vec![late(&mallory, MAX_LAMPORT)]);
    for name in NAMES {
        // Whether it is refused or kept waiting is the node's choice.
        let _ = mallory.services(cluster.node(name)).chat.deliver(request(mallory.delivery([run.encode()]))).await;
    }
    for (name, other) in [("alice", "bob"), ("bob", "alice")] {
        let text = format!("{name} does not care");
        let sent = cluster.ledger.say_and_wait(cluster.node(name), &text, Wait::One).await.expect("it can be said");
        assert!(sent.lamport < 100, "the next message is at {}", sent.lamport);
        eventually(secs(30), format!("{text:?} at {other}"), async || {
            let history = cluster.node(other).history().await;
            ensure(!history.iter().any(|message| message.text == LATE), || panic!("it is shown: {history:?}"))?;
            ensure(history.iter().any(|message| message.text == text), || format!("{} messages", history.len()))
        })
        .await;
    }
}

fn late(mallory: &Outlaw, lamport: u64) -> Entry {
    let mut entry = mallory.text(LATE);
    entry.header.lamport = lamport;
    entry
}

fn rows(cluster: &Cluster, mallory: &Outlaw, forgeries: Vec<Forgery>) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in NAMES {
        let chat = mallory.services(cluster.node(name)).chat;
        for (what, expect, runs) in &forgeries {
            let delivery = mallory.delivery(runs.clone());
            rows.push(row(format!("to {name}: {what}"), *expect, calling!(chat, deliver, delivery.clone())));
        }
    }
    rows
}

fn one(what: impl Into<String>, expect: Expect, run: &Run) -> Forgery {
    (what.into(), expect, vec![run.encode()])
}

/// Not the author's words.
fn signatures(mallory: &Outlaw, alice: PeerId) -> Vec<Forgery> {
    let sound = mallory.run(vec![mallory.text("sound"), later(mallory.text("and sound"), 1)]);
    let mut flipped = sound.encode();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let in_alices_name = Run { author: alice, ..sound.clone() };
    let mut altered = sound.clone();
    altered.entries[0].1.body = b"found".to_vec().into();
    let stranger = Identity::from_seed([0x64; 32]);
    let by_a_stranger = Run::sign(&stranger, sound.network, 1, EntryHash::NONE, vec![mallory.text("let me in")]);
    let elsewhere = NetworkId::new([0xab; 32]);
    let moved = Run::sign(&mallory.identity, elsewhere, sound.first, sound.previous, vec![mallory.text("hi")]);
    vec![
        ("a signature with a flipped bit".to_owned(), REFUSED, vec![flipped]),
        one("another's name over one's own signature", REFUSED, &in_alices_name),
        one("a body changed after signing", REFUSED, &altered),
        one("an author who is no member", NOT_TAKEN, &by_a_stranger),
        one("a run of another network", REFUSED, &moved),
        ("a good run beside a forged one".to_owned(), REFUSED, vec![sound.encode(), in_alices_name.encode()]),
    ]
}

/// Where no entry can stand.
fn places(mallory: &Outlaw) -> Vec<Forgery> {
    let network = mallory.standing().network;
    let sign =
        |seq, previous| Run::sign(&mallory.identity, network, seq, previous, vec![high(mallory.text("where?"), seq)]);
    let somewhere = EntryHash::new([5; 32]);
    let (_, genesis) = founding(&mallory.identity, b"coup");
    let mut second = genesis.entries[0].1.clone();
    second.header.lamport = mallory.standing().lamport + 1;
    vec![
        one("seq 0", REFUSED, &sign(0, EntryHash::NONE)),
        one("seq 1 after another entry", REFUSED, &sign(1, somewhere)),
        one("seq 9 after no entry", REFUSED, &sign(9, EntryHash::NONE)),
        one("a seq from the far future", NOT_TAKEN, &sign(1 << 40, somewhere)),
        one("a seq at the end of all numbers", REFUSED, &sign(u64::MAX - 1, somewhere)),
        one("a second genesis", REFUSED, &mallory.run(vec![second])),
        one("a genesis of another network", REFUSED, &genesis),
    ]
}

/// What nobody may say.
fn bodies(mallory: &Outlaw) -> Vec<Forgery> {
    let mut forgeries = Vec::new();
    let texts = [
        ("an empty text", Vec::new()),
        ("a text of 65,537 bytes", vec![b'a'; 65_537]),
        ("a text that is not UTF-8", vec![b'a', 0xff]),
    ];
    for (what, text) in texts {
        forgeries.push(one(what, REFUSED, &mallory.run(vec![mallory.text(text)])));
    }
    for (what, name) in bad_names() {
        let admits = mallory.entry(EntryKind::Admit, admission(&name));
        forgeries.push(one(format!("an admission under a name with {what}"), REFUSED, &mallory.run(vec![admits])));
    }
    let cut_short = mallory.entry(EntryKind::Admit, vec![9; 20]);
    let surplus = mallory.entry(EntryKind::Leave, vec![1]);
    forgeries.push(one("an admission that is cut short", REFUSED, &mallory.run(vec![cut_short])));
    forgeries.push(one("a leave that says more", REFUSED, &mallory.run(vec![surplus])));
    forgeries
}

/// Times that can't be.
fn clocks(mallory: &Outlaw) -> Vec<Forgery> {
    let with = |clock: &[(PeerId, u64)]| {
        let mut entry = mallory.text("what time is it?");
        entry.header.clock = clock.iter().copied().collect::<VectorClock>();
        entry
    };
    let mut timeless = mallory.text("no time");
    timeless.header.lamport = 0;
    let backwards = vec![later(mallory.text("late"), 5), mallory.text("early")];
    let mut stopped = mallory.text("at the time of the one before");
    stopped.header.lamport = mallory.standing().lamport;
    vec![
        one("a clock that names unknown authors", NOT_TAKEN, &mallory.run(vec![with(&[(PeerId::new([0x77; 32]), 5)])])),
        one("a clock that names its own author", REFUSED, &mallory.run(vec![with(&[(mallory.peer(), 1)])])),
        one("a Lamport time of 0", REFUSED, &mallory.run(vec![timeless])),
        one("Lamport times that run backwards", REFUSED, &mallory.run(backwards)),
        one("a Lamport time that is not above the run before it", NOT_TAKEN, &mallory.run(vec![stopped])),
    ]
}

/// Too little and too much.
fn sizes(mallory: &Outlaw) -> Vec<Forgery> {
    let many = (0..=MAX_RUN_ENTRIES as u64).map(|number| later(mallory.text("again"), number)).collect();
    let large = (0..5).map(|number| later(mallory.text(vec![b'a'; 65_536]), number)).collect();
    let sound = mallory.run(vec![mallory.text("sound")]).encode();
    let frame = Expect::Refused(&[Code::OutOfRange, Code::ResourceExhausted, Code::InvalidArgument]);
    vec![
        one("a run of no entries", REFUSED, &mallory.run(Vec::new())),
        one("a run of 257 entries", REFUSED, &mallory.run(many)),
        one("a run of more than 256 KiB", REFUSED, &mallory.run(large)),
        ("an empty run".to_owned(), REFUSED, vec![Vec::new()]),
        ("noise".to_owned(), REFUSED, vec![vec![0xff; 300]]),
        ("a run that is cut short".to_owned(), REFUSED, vec![sound[..sound.len() - 1].to_vec()]),
        ("a run with something behind it".to_owned(), REFUSED, vec![[&sound[..], b"x"].concat()]),
        ("an unknown format".to_owned(), REFUSED, vec![[&[9][..], &sound[1..]].concat()]),
        ("more than 2 MiB of runs".to_owned(), REFUSED, vec![vec![0; 1 << 20]; 3]),
        ("a frame of more than 4 MiB".to_owned(), frame, vec![vec![0; 5 << 20]]),
    ]
}

fn later(mut entry: Entry, by: u64) -> Entry {
    entry.header.lamport += by;
    entry
}

/// At least as high a Lamport time as the number wants.
fn high(mut entry: Entry, seq: u64) -> Entry {
    entry.header.lamport = entry.header.lamport.max(seq);
    entry
}
