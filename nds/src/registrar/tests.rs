use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;
use crate::{
    registry::{Record, Terms},
    store::FILE_NAME,
    testing::{answers, claim, found, founding, lab, reached, update, view, votes},
};

fn start(dir: &Path) -> (Registrar, Running) {
    let (store, clock) = (Store::open(dir).unwrap(), Clock::start());
    let registry = store.load(Terms::default(), clock.now()).unwrap();
    Registrar::start(store, registry, clock, Arc::default())
}

fn create(serial: u64) -> Arc<Command> {
    let claim = claim(serial, view(1, serial, &[1]));
    let founding = founding(&claim);
    follow(claim, Purpose::Create(founding))
}

fn follow(claim: Registration, purpose: Purpose) -> Arc<Command> {
    Arc::new(Command::Follow(Box::new(Statement { claim, purpose })))
}

fn everybody() -> Answers {
    answers(&[(1, reached(1)), (2, reached(0))])
}

/// What a service that is killed now finds when it starts again.
fn after_a_kill(dir: &Path) -> Registry {
    let copy = TempDir::new().unwrap();
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
        fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    Store::open(copy.path()).unwrap().load(Terms::default(), Clock::start().now()).unwrap()
}

#[tokio::test]
async fn whatever_was_answered_survives_a_kill() {
    let dir = TempDir::new().unwrap();
    let (registrar, _running) = start(dir.path());
    let mut closing = claim(5, view(2, 13, &[2]));
    closing.view.next_id = p2p_chat_model::NodeId(3);
    let story = [
        create(1),
        follow(claim(2, view(1, 1, &[1])), Purpose::Renew),
        follow(claim(3, view(1, 11, &[1, 2])), Purpose::Renew),
        follow(update(1, view(2, 12, &[2, 1])), Purpose::Update(votes(2, 2, &[1]))),
        follow(claim(4, view(2, 13, &[2, 1])), Purpose::Renew),
        follow(closing, Purpose::Close),
    ];
    for command in story {
        let outcome = registrar.submit(command.clone(), everybody()).await;
        assert!(matches!(outcome, Ok(Verdict::Accept(_))), "{command:?}: {outcome:?}");
        let in_memory = registrar.read(|registry, _| registry.clone());
        assert_eq!(after_a_kill(dir.path()), in_memory);
    }
    let left = registrar.read(|registry, _| (registry.len(), registry.tombstone(&lab()).map(|last| last.serial)));
    assert_eq!(left, (0, Some(5)));
}

#[tokio::test]
async fn a_full_disk_fails_the_call_and_changes_nothing() {
    let (mut store, clock) = (Store::in_memory().unwrap(), Clock::start());
    let record = Record::new(lab(), "lab".parse().unwrap(), view(1, 1, &[1]), 1, clock.now()).unwrap();
    let mut registry = Registry::new(Terms::default());
    store.write(&[Change::Put(record.clone())]).unwrap();
    registry.apply(clock.now(), Change::Put(record));
    store.fill();
    let before = registry.clone();
    let (registrar, _running) = Registrar::start(store, registry, clock, Arc::default());
    let many: Vec<u8> = (1..=250).collect();
    let outcome = registrar.submit(follow(claim(2, view(1, 2, &many)), Purpose::Renew), Answers::new()).await;
    let error = outcome.unwrap_err();
    assert_eq!(tonic::Status::from(error.clone()).code(), tonic::Code::ResourceExhausted, "{error}");
    assert_eq!(registrar.read(|registry, _| registry.clone()), before);
    let small = registrar.submit(follow(claim(2, view(1, 2, &[1])), Purpose::Renew), Answers::new()).await;
    assert!(matches!(small, Ok(Verdict::Accept(_))), "the service goes on: {small:?}");
}

#[tokio::test]
async fn the_store_is_closed_when_the_writer_has_stopped() {
    let dir = TempDir::new().unwrap();
    let (registrar, mut running) = start(dir.path());
    assert!(Store::open(dir.path()).is_err());
    running.jobs.send(Message::Stop).await.map_err(drop).unwrap();
    running.ended().await;
    running.stop().await;
    assert!(Store::open(dir.path()).is_ok());
    assert!(matches!(registrar.submit(create(1), everybody()).await, Err(CallError::Stopping)));
}

#[tokio::test]
async fn watchers_hear_of_what_is_visible_only() {
    let dir = TempDir::new().unwrap();
    let (registrar, _running) = start(dir.path());
    let mut changes = registrar.changes();
    registrar.submit(create(1), everybody()).await.unwrap();
    registrar.submit(follow(claim(2, view(1, 1, &[1])), Purpose::Renew), Answers::new()).await.unwrap();
    assert_eq!(changes.recv().await, Ok(lab()));
    assert!(changes.try_recv().is_err(), "a mere renewal is not listed");
}

fn waiting(commands: Vec<Arc<Command>>) -> VecDeque<Job> {
    commands.into_iter().map(|command| Job { command, answers: Answers::new(), reply: oneshot::channel().0 }).collect()
}

#[test]
fn a_batch_holds_only_what_can_be_decided_upon_one_record() {
    let renew = |network, serial| follow(Registration { network, ..claim(serial, view(1, 1, &[1])) }, Purpose::Renew);
    let (one, two, three) = (lab(), found(2, "two").0, found(3, "three").0);
    let four = found(4, "four").0;
    let close = |network| follow(Registration { network, ..claim(3, view(1, 1, &[1])) }, Purpose::Close);
    let mut jobs = waiting(vec![
        renew(one, 1),
        renew(two, 1),
        renew(one, 2),
        create(9),
        close(two),
        close(three),
        close(four),
        Arc::new(Command::Upkeep),
        renew(one, 3),
    ]);
    let mut batches = Vec::new();
    while !jobs.is_empty() {
        let batch = take_batch(&mut jobs);
        batches.push(batch.iter().map(|job| (job.command.network(), job.command.is_structural())).collect::<Vec<_>>());
    }
    let expected = [
        vec![(Some(one), false), (Some(two), false), (Some(three), true)],
        vec![(Some(one), false), (Some(two), true)],
        vec![(Some(one), true)],
        vec![(Some(four), true), (Some(one), false)],
        vec![(None, true)],
    ];
    assert_eq!(batches, expected);
}
