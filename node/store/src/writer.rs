//! The thread that writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use p2p_chat_model::NetworkId;
use rusqlite::Connection;

use crate::{
    StoreError,
    apply::{Memo, apply},
    error::Fault,
    figures::Figures,
    queue::{Queue, Request, Work},
    recent::{Change, Recent},
    schema,
    write::Write,
};

pub(crate) struct Writer {
    db: Connection,
    file: PathBuf,
    queue: Arc<Queue>,
    recent: Arc<Recent>,
    transactions: Arc<AtomicU64>,
    figures: Arc<Figures>,
    memo: Memo,
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
        transactions: Arc<AtomicU64>,
        figures: Arc<Figures>,
    ) -> Self {
        Self { db, file: file.to_owned(), queue, recent, transactions, figures, memo: Memo::default() }
    }

    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _abandon = Abandon(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.take() {
            if batch.iter().any(|request| matches!(request.work, Work::Probe)) {
                self.probe(batch);
            } else {
                self.commit(batch);
            }
        }
    }

    fn probe(&self, batch: Vec<Request>) {
        let outcome = schema::probe(&self.db).map_err(|fault| fault.at(&self.file));
        if outcome.is_ok() {
            self.queue.lift(&batch.iter().map(|request| request.network).collect());
        }
        for request in batch {
            request.answer(outcome.clone());
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
                self.transactions.fetch_add(1, Ordering::Relaxed);
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
        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.figures.commits.add(stored as u64);
        self.figures.failures.add((outcomes.len() - stored) as u64);
        self.fence(&batch, &outcomes);
        for (request, outcome) in batch.into_iter().zip(outcomes) {
            request.answer(outcome);
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
        self.execute("BEGIN IMMEDIATE")?;
        let outcomes = self.apply_all(batch, changes).and_then(|outcomes| self.execute("COMMIT").map(|()| outcomes));
        // Where SQLite has rolled back by itself, nothing is left to be rolled back.
        if outcomes.is_err() && !self.db.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        outcomes
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
