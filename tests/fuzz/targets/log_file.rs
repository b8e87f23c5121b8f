//! A node's log whose file is damaged: an error that says so, or what was written and nothing else. Never a panic, a
//! hang, or something that nobody wrote.

use std::{
    collections::BTreeMap,
    sync::{
        LazyLock, Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use p2p_chat_engine::{Durable, Phase};
use p2p_chat_model::{NetworkId, Run, Seq, VectorClock};
use p2p_chat_store::{FILE_NAME, RosterEntry, Store, StoreError, StoredFeed, StoredMessage, Way, Write};

use super::{
    choices::Choices,
    damage::{self, Files},
    valid,
};

const ARRIVED_MS: u64 = 1_800_000_000_000;

/// A log as it lies on the disk, and what it showed after each commit.
struct Pristine {
    /// After a clean end, and after a crash with much in the write-ahead log.
    images: Vec<Files>,
    shown: Vec<Shown>,
}

/// What a log shows. `None` for what it says it can't read.
#[derive(Debug, Clone, PartialEq, Default)]
struct Shown {
    networks: Option<Vec<(NetworkId, Option<Vec<u8>>)>>,
    feeds: Option<Vec<StoredFeed>>,
    undelivered: Option<Vec<Run>>,
    roster: Option<Vec<RosterEntry>>,
    history: Option<Vec<StoredMessage>>,
    arrivals: Option<Vec<StoredMessage>>,
    beyond: Option<Vec<Bytes>>,
    runs: BTreeMap<usize, Vec<Bytes>>,
    /// A proof against somebody who contradicted himself. Without it he is taken for honest again: no harm to the rest.
    fork: Option<Bytes>,
}

static PRISTINE: LazyLock<Pristine> = LazyLock::new(pristine);

pub(crate) fn check(input: &[u8]) {
    count_panics();
    let panics = PANICS.load(Ordering::SeqCst);
    let mut choices = Choices(input);
    let mut files = choices_of_image(&mut choices);
    let file = files.keys().next().cloned().unwrap_or_default();
    assert_eq!(file, FILE_NAME);
    let rows = choices.flag();
    if !rows {
        for _ in 0..=choices.below(4) {
            damage::bytes(&mut files, &mut choices);
        }
    }
    let directory = damage::write(&files);
    if rows {
        for _ in 0..=choices.below(2) {
            damage::rows(&directory.path().join(FILE_NAME), &mut choices);
        }
    }
    match Store::open(directory.path()) {
        Ok(store) => {
            let runtime = runtime();
            let shown = runtime.block_on(look(&store));
            assert!(
                PRISTINE.shown.iter().any(|written| shown.is_part_of(written)),
                "this was never written: {}",
                PRISTINE.shown.last().map(|last| shown.differs_from(last)).unwrap_or_default()
            );
            runtime.block_on(go_on(&store));
            store.close();
        }
        Err(error) => refused(&error),
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), panics, "a thread of the store panicked");
}

fn choices_of_image(choices: &mut Choices<'_>) -> Files {
    let images = &PRISTINE.images;
    images[choices.below(images.len())].clone()
}

fn refused(error: &StoreError) {
    let text = error.to_string();
    assert!(text.contains(FILE_NAME) && !text.contains("bug"), "{text}");
}

impl Shown {
    /// Whether everything that is shown here is shown there.
    fn is_part_of(&self, all: &Self) -> bool {
        self.differs_from(all).is_empty()
    }

    fn differs_from(&self, all: &Self) -> String {
        fn same<T: PartialEq>(here: &Option<T>, there: &Option<T>) -> bool {
            here.is_none() || here == there
        }
        let parts = [
            ("networks", same(&self.networks, &all.networks)),
            ("feeds", same(&self.feeds, &all.feeds)),
            ("undelivered", same(&self.undelivered, &all.undelivered)),
            ("roster", same(&self.roster, &all.roster)),
            ("history", same(&self.history, &all.history)),
            ("arrivals", same(&self.arrivals, &all.arrivals)),
            ("beyond", same(&self.beyond, &all.beyond)),
            ("runs", self.runs.iter().all(|(who, runs)| all.runs.get(who) == Some(runs))),
            ("fork", same(&self.fork, &all.fork)),
        ];
        parts.iter().filter(|(_, same)| !same).map(|(part, _)| *part).collect::<Vec<_>>().join(", ")
    }
}

/// The networks with their states. The name is a label that nothing vouches for, and a state that the engine refuses is
/// not used.
async fn networks(store: &Store) -> Option<Vec<(NetworkId, Option<Vec<u8>>)>> {
    let mut networks = Vec::new();
    for stored in given(store.networks().await)? {
        let state = given(store.state(stored.id).await)?;
        if state.as_ref().is_some_and(|state| Durable::decode(state).is_err()) {
            return None;
        }
        networks.push((stored.id, state));
    }
    Some(networks)
}

/// Everything that can be read.
async fn look(store: &Store) -> Shown {
    let network = valid::network();
    let messages = |found: Result<Vec<StoredMessage>, StoreError>| given(found).map(plain);
    let mut shown = Shown {
        networks: networks(store).await,
        feeds: given(store.feeds(network).await),
        undelivered: given(store.undelivered(network).await),
        roster: given(store.roster_entries(network).await),
        history: messages(store.history_after(network, None, 10_000).await),
        arrivals: messages(store.arrivals_after(network, 0, 10_000).await),
        beyond: given(store.runs_beyond(network, &VectorClock::new(), None, 1 << 20).await).map(|(runs, _)| runs),
        fork: given(store.fork(network, valid::peer(3)).await).flatten(),
        ..Shown::default()
    };
    for who in 0..4 {
        if let Some(runs) = given(store.runs(network, valid::peer(who), 1, 1 << 20).await) {
            shown.runs.insert(who, runs);
        }
    }
    if let (Some(newest_first), Some(all)) = (messages(store.history(network, None, 3).await), &shown.history) {
        assert!(all.ends_with(&newest_first), "the newest messages are others");
    }
    for message in shown.history.iter().flatten() {
        given(store.by_id(network, &message.id.to_string()).await);
    }
    // What rests on nothing that was signed need not be true, but must be readable or refused.
    given(store.custody(network, 1).await);
    given(store.acked(network).await);
    given(store.entry_count(network).await);
    given(store.last_position(network).await);
    given(store.read_position(network).await);
    given(store.unread_count(network, valid::peer(0)).await);
    given(store.before_newest(network, None, 2).await);
    shown
}

/// Writing goes on, or is refused.
async fn go_on(store: &Store) {
    let network = valid::network();
    let author = valid::identity(0);
    let Ok(feeds) = store.feeds(network).await else { return };
    let Some(feed) = feeds.iter().find(|feed| feed.author == author.peer()) else { return };
    let run = Run::sign(author, network, feed.last + 1, feed.head, vec![valid::text(1_000, "on", &[])]);
    let bytes = run.encode().into();
    let deliver =
        Write::Deliver { author: run.author, first: run.first, last: run.first, arrived_ms: ARRIVED_MS, late: false };
    let ack = Write::Ack { peer: valid::peer(1), upto: run.first, way: Way::Direct, time_ms: 1 };
    let written = store.commit(network, vec![Write::Run { run: run.clone(), bytes }, deliver, ack]).await;
    if written.is_ok() {
        let runs = store.runs(network, run.author, run.first, 1 << 20).await;
        assert_eq!(runs, Ok(vec![run.encode().into()]), "what was just written is not there");
    }
}

/// The answer, if there is one. What is refused must name the file, and not be taken for a bug.
fn given<T>(answer: Result<T, StoreError>) -> Option<T> {
    answer.inspect_err(refused).ok()
}

/// Without this node's own notes, which nothing vouches for.
fn plain(mut messages: Vec<StoredMessage>) -> Vec<StoredMessage> {
    for message in &mut messages {
        (message.arrived_ms, message.late) = (0, false);
    }
    messages
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Writes a log commit by commit.
fn pristine() -> Pristine {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = runtime();
    let (mut shown, mut images) = (vec![Shown::default()], Vec::new());
    let network = valid::network();
    let commits = commits();
    let mut store = Store::open(directory.path()).expect("an empty directory");
    let half = commits.len() / 2;
    for (number, writes) in commits.into_iter().enumerate() {
        if number == half {
            // What is so far goes into the file itself, and what follows is in the write-ahead log.
            store.close();
            store = Store::open(directory.path()).expect("it is sound");
        }
        runtime.block_on(async { store.commit(network, writes).await }).expect("the disk is fine");
        shown.push(runtime.block_on(look(&store)));
    }
    // A network that is not stored shows nothing of anything.
    shown[0] = Shown {
        networks: Some(Vec::new()),
        feeds: Some(Vec::new()),
        undelivered: Some(Vec::new()),
        roster: Some(Vec::new()),
        history: Some(Vec::new()),
        arrivals: Some(Vec::new()),
        beyond: Some(Vec::new()),
        runs: (0..4).map(|who| (who, Vec::new())).collect(),
        fork: None,
    };
    images.push(damage::read(directory.path()));
    store.close();
    images.insert(0, damage::read(directory.path()));
    assert!(images[0].len() == 1 && images[1].len() == 2, "a file, and a file with its log");
    Pristine { images, shown }
}

fn commits() -> Vec<Vec<Write>> {
    let write = |run: &Run| Write::Run { run: run.clone(), bytes: run.encode().into() };
    let deliver = |run: &Run| {
        let author = run.author;
        let late = run.first == 2;
        // In one go, or one by one.
        let portion = if run.first.is_multiple_of(2) { run.entries.len() } else { 1 };
        let firsts = (run.first..=run.last()).step_by(portion);
        let deliver = |first: Seq| {
            let last = run.last().min(first + portion as Seq - 1);
            Write::Deliver { author, first, last, arrived_ms: ARRIVED_MS + first, late }
        };
        firsts.map(deliver).collect::<Vec<_>>()
    };
    let state = |serial| Write::State(Durable::new(Phase::Joined, serial).encode());
    let (alice, bob) = (valid::alices_feed(), valid::bobs_feed());
    let mut commits = vec![vec![Write::Network { name: valid::name("lab") }, write(&alice[0])]];
    commits[0].extend(deliver(&alice[0]));
    for (number, run) in alice[1..].iter().chain(&bob).enumerate() {
        commits.push([vec![write(run)], deliver(run), vec![state(number as u64)]].concat());
    }
    // carol's wait for something that is not there yet.
    let waiting: Vec<_> = (0..9).map(|number| valid::text(12 + number, "later", &[(3, 7)])).collect();
    for run in valid::feed(2, None, waiting.chunks(3).map(<[_]>::to_vec).collect()) {
        commits.push(vec![write(&run)]);
    }
    let forked = valid::feed(3, None, vec![vec![valid::text(3, "one", &[])]]);
    commits.push(vec![Write::Fork { run: forked[0].clone(), bytes: forked[0].encode().into() }]);
    let ack = |who: usize, upto, way| Write::Ack { peer: valid::peer(who), upto, way, time_ms: ARRIVED_MS };
    commits.push(vec![
        ack(1, 3, Way::Direct),
        ack(2, 4, Way::Relayed(valid::peer(1))),
        ack(2, 5, Way::Fetched),
        Write::MarkRead { position: 3 },
        state(99),
    ]);
    commits
}

/// Panics of other threads than the one that checks.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_none_or(|name| name.starts_with("store") || name.starts_with("tokio")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Damage of every kind, here and there; the first is none.
    let mut seeds = vec![vec![0, 1], vec![1, 1]];
    for kind in 0..10u8 {
        for image in 0..2u8 {
            for page in [0u8, 1, 2, 5, 9] {
                let place = u16::from(kind) * 397 + u16::from(page) * 61;
                let [low, high] = place.to_le_bytes();
                seeds.push(vec![image, 0, 0, image, 0x55, 3, 0, 0, 0, 0, 0, 0, page, low, high, kind, page, 7]);
            }
        }
    }
    for table in 0..11u8 {
        for column in 0..9u8 {
            seeds.push(vec![0, 1, 0, table, column, column, 1 + column % 4, 200, 1, 0, 0, 0, 0, 0, 0, 0, column, 3]);
        }
    }
    seeds
}
