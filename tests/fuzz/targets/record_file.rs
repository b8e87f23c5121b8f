//! The record of a discovery service whose file is damaged: an error that says so, or what was written.

use std::{sync::LazyLock, time::Duration};

use p2p_chat_model::{Epoch, NetworkId};
use p2p_chat_nds::{
    registry::{Change, Record, Registry, Terms, Tombstone},
    store::{FILE_NAME, Store, StoreError},
};

use super::{
    choices::Choices,
    damage::{self, Files},
    limits, valid,
};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const HEARD: Duration = Duration::from_secs(1_799_999_000);

/// A record as it lies on the disk, and what it was after each change.
struct Pristine {
    images: Vec<Files>,
    shown: Vec<Shown>,
}

/// What must not change: who leads in which epoch, and what is over. Serials and times are renewed all the time.
type Shown =
    (Vec<(NetworkId, p2p_chat_model::Name, p2p_chat_model::View)>, Vec<Option<(Epoch, p2p_chat_model::PeerId)>>);

static PRISTINE: LazyLock<Pristine> = LazyLock::new(pristine);

pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices(input);
    let images = &PRISTINE.images;
    let mut files = images[choices.below(images.len())].clone();
    let rows = choices.flag();
    if !rows {
        for _ in 0..=choices.below(4) {
            damage::bytes(&mut files, &mut choices);
        }
    }
    let directory = damage::write(&files);
    if rows {
        damage::rows(&directory.path().join(FILE_NAME), &mut choices);
    }
    let loaded =
        Store::open(directory.path()).and_then(|store| store.load(Terms::default(), NOW).map(|it| (store, it)));
    match loaded {
        Ok((mut store, registry)) => {
            let shown = look(&registry);
            assert!(PRISTINE.shown.contains(&shown), "this was never written: {shown:?}");
            let change = Change::Put(record(9, "new", 1));
            if store.write([&change]).is_ok()
                && let Ok(again) = store.load(Terms::default(), NOW)
            {
                assert!(again.record(&network(9)).is_some(), "what was just written is not there");
            }
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &StoreError) {
    let text = error.to_string();
    assert!(text.contains(FILE_NAME) && !text.contains("bug"), "{text}");
}

fn look(registry: &Registry) -> Shown {
    let records = registry.list(None).map(|record| {
        limits::view(record.view());
        (record.network(), record.name().clone(), record.view().clone())
    });
    let mut records: Vec<_> = records.collect();
    records.sort_by_key(|(network, ..)| *network);
    let buried = |number| registry.tombstone(&network(number)).map(|tombstone| (tombstone.epoch, tombstone.leader));
    assert_eq!(records.len(), registry.len());
    (records, (0..9).map(buried).collect())
}

fn network(number: u8) -> NetworkId {
    NetworkId::new([number + 1; 32])
}

fn record(number: u8, name: &str, epoch: u64) -> Record {
    let view = valid::view(epoch, 9, 1, &[1, 2, 3]);
    Record::new(network(number), valid::name(name), view, 3, HEARD).expect("it has a leader")
}

fn pristine() -> Pristine {
    let directory = tempfile::tempdir().expect("a directory");
    let mut registry = Registry::new(Terms::default());
    let (mut shown, mut images) = (vec![look(&registry)], Vec::new());
    let tombstone = |number, epoch| Tombstone {
        network: network(number),
        epoch: Epoch(epoch),
        leader: valid::peer(2),
        serial: 8,
        since: HEARD,
    };
    let changes = [
        Change::Put(record(0, "lab", 1)),
        Change::Put(record(1, "den", 1)),
        Change::Put(record(0, "lab", 300)),
        Change::Remove(tombstone(1, 70_000)),
        Change::Put(record(2, "hall", u64::MAX - 5)),
        Change::Touch { network: network(2), serial: 9, heard: HEARD },
        Change::Remove(tombstone(3, u64::MAX)),
        Change::Put(record(4, "attic", 2)),
    ];
    let mut store = Store::open(directory.path()).expect("an empty directory");
    for (number, change) in changes.into_iter().enumerate() {
        if number == 4 {
            drop(store);
            store = Store::open(directory.path()).expect("it is sound");
        }
        store.write([&change]).expect("the disk is fine");
        registry.apply(NOW, change);
        shown.push(look(&registry));
    }
    images.push(damage::read(directory.path()));
    drop(store);
    images.insert(0, damage::read(directory.path()));
    assert!(images[0].len() == 1 && images[1].len() == 2, "a file, and a file with its log");
    Pristine { images, shown }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0, 1], vec![1, 1]];
    for kind in 0..10u8 {
        for image in 0..2u8 {
            for page in [0u8, 1, 2, 3] {
                let place = u16::from(kind) * 397 + u16::from(page) * 61;
                let [low, high] = place.to_le_bytes();
                seeds.push(vec![image, 0, 0, image, 0x55, 3, 0, 0, 0, 0, 0, 0, page, low, high, kind, page, 7]);
            }
        }
    }
    for table in 0..2u8 {
        for column in 0..5u8 {
            seeds.push(vec![0, 1, table, column, column, 1 + column % 4, 200, 1, 0, 0, 0, 0, 0, 0, 0, column, 3]);
        }
    }
    seeds
}
