//! The thread that writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use p2p_chat_model::NetworkId;
use rusqlite::Connection;

use crate::{
    StoreError,
    apply::{Memo, apply},
    error::Fault,
    figures::Figures,
    forget,
    queue::{Queue, Request, Work},
    recent::{Change, Recent},
    schema,
    write::Write,
};

/// For how long a disk that kept something from being deleted is left alone: trying costs what commits need, too.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Writer {
    db: Connection,
    file: PathBuf,
    queue: Arc<Queue>,
    recent: Arc<Recent>,
    figures: Arc<Figures>,
    memo: Memo,
    /// Networks of which something may be left to be deleted.
    hidden: Vec<i64>,
    /// Whose these were, of those that were hidden since the start.
    whose: BTreeMap<i64, NetworkId>,
    /// Commits that succeed when nothing is left of these.
    forgetting: Vec<(Request, BTreeSet<i64>)>,
    /// When the disk kept a slice from being deleted, until that is tried again.
    stalled: Option<Instant>,
}

/// If the writer panics, nobody shall wait for it.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    pub(crate) fn new(
        db: Connection,
        file: &Path,
        (queue, recent): (Arc<Queue>, Arc<Recent>),
        figures: Arc<Figures>,
    ) -> Self {
        let (file, memo) = (file.to_owned(), Memo::default());
        let (hidden, whose, forgetting) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { db, file, queue, recent, figures, memo, hidden, whose, forgetting, stalled: None }
    }

    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _abandon = Abandon(Arc::clone(&self.queue));
        let _ = self.find_hidden();
        while let Some(batch) = self.queue.take(self.hidden.is_empty() || self.stalled.is_some()) {
            if batch.iter().any(|request| matches!(request.work, Work::Probe)) {
                self.probe(batch);
            } else if !batch.is_empty() {
                self.commit(batch);
            }
            self.delete_some();
        }
    }

    /// Looks for what is left of forgotten networks, to go on with it.
    fn find_hidden(&mut self) -> Result<(), StoreError> {
        // So the file need not grow when the log has to be taken into it to make room. What fails here fails there.
        let _ = schema::checkpoint(&self.db);
        let hidden = forget::hidden(&self.db).map_err(|fault| self.stall(fault))?;
        // Another network may have got the key of one that is not there any more.
        self.whose.retain(|key, _| hidden.contains(key));
        (self.hidden, self.stalled) = (hidden, None);
        Ok(())
    }

    /// Deletes a slice of what is left of forgotten networks.
    fn delete_some(&mut self) {
        if self.stalled.is_some() {
            return;
        }
        // What somebody waits for comes first.
        let awaited = self.forgetting.iter().find_map(|(_, networks)| networks.first());
        if let Some(network) = awaited.or(self.hidden.last()).copied() {
            let begun = Instant::now();
            let deleted = self.delete_slice(network).or_else(|_| {
                // On a full disk the log can't grow: what was taken into the file makes room in it.
                schema::checkpoint(&self.db)?;
                self.delete_slice(network)
            });
            self.figures.transaction_time.observe(begun.elapsed());
            match deleted {
                Ok(true) => {
                    // Its key and those of its members may be given to others.
                    self.memo = Memo::default();
                    self.is_gone(network);
                }
                Ok(false) => {}
                Err(fault) => drop(self.stall(fault)),
            }
        }
    }

    /// Nothing is left of a network.
    fn is_gone(&mut self, network: i64) {
        self.hidden.retain(|hidden| *hidden != network);
        self.whose.remove(&network);
        for (_, networks) in &mut self.forgetting {
            networks.remove(&network);
        }
        let (done, open) = std::mem::take(&mut self.forgetting).into_iter().partition(|(_, left)| left.is_empty());
        self.forgetting = open;
        if !done.is_empty() {
            // The room is there for others at once.
            let _ = schema::checkpoint(&self.db);
        }
        done.into_iter().for_each(|(request, _)| self.queue.answer(request, Ok(())));
    }

    fn delete_slice(&mut self, network: i64) -> Result<bool, Fault> {
        self.in_transaction(|writer| forget::delete_slice(&writer.db, network))
    }

    fn stall(&mut self, fault: Fault) -> StoreError {
        let error = fault.at(&self.file);
        tracing::warn!(%error, "what is left of forgotten networks stays for now");
        self.stalled = Some(Instant::now());
        self.forgetting.drain(..).for_each(|(request, _)| self.queue.answer(request, Err(error.clone())));
        error
    }

    /// Something could be stored: so what could not be deleted is tried again.
    fn go_on_deleting(&mut self) {
        if self.stalled.is_some_and(|since| since.elapsed() >= RETRY) {
            let _ = self.find_hidden();
        }
    }

    fn probe(&mut self, batch: Vec<Request>) {
        let outcome = schema::probe(&self.db).map_err(|fault| fault.at(&self.file));
        if outcome.is_ok() {
            self.queue.lift(&batch.iter().map(|request| request.network).collect());
            let _ = self.find_hidden();
        }
        for request in batch {
            self.queue.answer(request, outcome.clone());
        }
    }

    fn commit(&mut self, batch: Vec<Request>) {
        let mut changes = Vec::new();
        let begun = Instant::now();
        let transacted = self.transact(&batch, &mut changes);
        self.figures.transaction_time.observe(begun.elapsed());
        self.figures.transaction_bytes.observe_number(batch.iter().map(|request| request.weight as u64).sum());
        let outcomes = match transacted {
            Ok(outcomes) => {
                self.whose.extend(changes.iter().filter_map(Change::hidden));
                // Before anybody hears of it: whoever does may ask for the run at once.
                self.recent.apply(changes);
                outcomes
            }
            Err(fault) => {
                self.memo = Memo::default();
                let error = fault.at(&self.file);
                tracing::warn!(commits = batch.len(), %error, "nothing of a transaction is stored");
                batch.iter().map(|_| Err(error.clone())).collect()
            }
        };
        self.fence(&batch, &outcomes);
        let is_stored = outcomes.iter().any(Result::is_ok);
        let mut forgetting = Vec::new();
        for (request, outcome) in batch.into_iter().zip(outcomes) {
            if outcome.is_ok() && begins_anew(&request) {
                forgetting.push(request);
            } else {
                self.queue.answer(request, outcome);
            }
        }
        if !forgetting.is_empty() {
            self.delete_for(forgetting);
        } else if is_stored {
            self.go_on_deleting();
        }
    }

    /// Networks have been hidden: their commits are answered when nothing is left of them, nor of what was hidden of them
    /// earlier.
    fn delete_for(&mut self, forgetting: Vec<Request>) {
        let found = self.find_hidden();
        for request in forgetting {
            let is_its = |(_, network): &(&i64, &NetworkId)| **network == request.network;
            let left: BTreeSet<i64> = self.whose.iter().filter(is_its).map(|(key, _)| *key).collect();
            if found.is_err() || left.is_empty() {
                self.queue.answer(request, found.clone());
            } else {
                self.forgetting.push((request, left));
            }
        }
    }

    fn fence(&self, batch: &[Request], outcomes: &[Result<(), StoreError>]) {
        let mut failed = BTreeMap::new();
        let mut forgotten = BTreeSet::new();
        for (request, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Err(error) => drop(failed.entry(request.network).or_insert_with(|| error.clone())),
                Ok(()) if begins_anew(request) => {
                    failed.remove(&request.network);
                    forgotten.insert(request.network);
                }
                Ok(()) => {}
            }
        }
        // Where nothing is left, nothing can be missing.
        if !forgotten.is_empty() {
            self.queue.lift(&forgotten);
        }
        if !failed.is_empty() {
            self.queue.fence(&failed);
        }
    }

    /// All commits in one transaction. One that contradicts what is stored fails alone; any other failure is everybody's.
    fn transact(&mut self, batch: &[Request], changes: &mut Vec<Change>) -> Result<Vec<Result<(), StoreError>>, Fault> {
        self.in_transaction(|writer| writer.apply_all(batch, changes))
    }

    fn in_transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.execute("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| self.execute("COMMIT").map(|()| done));
        // Where SQLite has rolled back by itself, nothing is left to be rolled back.
        if done.is_err() && !self.db.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        done
    }

    fn apply_all(
        &mut self,
        batch: &[Request],
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Result<(), StoreError>>, Fault> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut failed: BTreeMap<NetworkId, StoreError> = BTreeMap::new();
        for request in batch {
            let Work::Commit(writes) = &request.work else { continue };
            if begins_anew(request) {
                failed.remove(&request.network);
            }
            if let Some(error) = failed.get(&request.network) {
                outcomes.push(Err(error.clone()));
                continue;
            }
            self.execute("SAVEPOINT one")?;
            let before = changes.len();
            match apply(&self.db, &mut self.memo, request.network, writes, changes) {
                Ok(()) => outcomes.push(Ok(())),
                Err(fault) if fault.is_local() => {
                    self.execute("ROLLBACK TO one")?;
                    self.memo = Memo::default();
                    changes.truncate(before);
                    let error = fault.of(&self.file, request.network);
                    tracing::error!(network = %request.network.short(), %error, "a commit is refused");
                    failed.insert(request.network, error.clone());
                    outcomes.push(Err(error));
                }
                Err(fault) => return Err(fault),
            }
            self.execute("RELEASE one")?;
        }
        Ok(outcomes)
    }

    /// Carries out a statement that is parsed once only.
    fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.db.prepare_cached(sql)?.execute(())?;
        Ok(())
    }
}

fn begins_anew(request: &Request) -> bool {
    matches!(&request.work, Work::Commit(writes) if matches!(writes.first(), Some(Write::Forget)))
}
