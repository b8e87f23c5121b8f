//! The way to the writer: commits in the order in which they were handed in, and the fence that keeps the order true
//! when one of them fails.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use p2p_chat_model::NetworkId;
use tokio::sync::oneshot;

use crate::{Figures, StoreError, Waiting, Write};

/// Most that may wait for the writer, in bytes (64 MiB). A commit beyond fails with [`StoreError::Overloaded`].
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Most that goes into one transaction, in bytes (4 MiB), unless one commit alone is larger.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
/// Most writes that go into one transaction, unless one commit alone has more.
pub const MAX_BATCH_WRITES: usize = 4_096;

type Outcome = Result<(), StoreError>;

/// The outcome of a commit, to be awaited. The commit takes place whether it is awaited or not.
#[derive(Debug)]
#[must_use = "without the outcome nobody knows whether it is on disk"]
pub struct Pending {
    outcome: oneshot::Receiver<Outcome>,
    file: PathBuf,
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.outcome)
            .poll(context)
            .map(|received| received.unwrap_or_else(|_| Err(StoreError::Closed { file: self.file.clone() })))
    }
}

impl Pending {
    /// Waits on this thread, for code outside of an async runtime.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn wait(self) -> Outcome {
        self.outcome.blocking_recv().unwrap_or(Err(StoreError::Closed { file: self.file }))
    }
}

pub(crate) enum Work {
    Commit(Vec<Write>),
    Probe,
}

pub(crate) struct Request {
    pub(crate) network: NetworkId,
    pub(crate) work: Work,
    reply: oneshot::Sender<Outcome>,
    pub(crate) weight: usize,
}

impl Request {
    fn writes(&self) -> usize {
        if let Work::Commit(writes) = &self.work { writes.len() } else { 1 }
    }
}

/// Commits on their way to the writer.
pub(crate) struct Queue {
    file: PathBuf,
    figures: Arc<Figures>,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    weight: usize,
    /// Networks of which a commit failed, and why. What was handed in after it was made in the belief that it
    /// succeeded, so it must fail too.
    fenced: BTreeMap<NetworkId, StoreError>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(file: &Path, figures: Arc<Figures>) -> Self {
        Self { file: file.to_owned(), figures, state: Mutex::default(), filled: Condvar::new() }
    }

    pub(crate) fn push(&self, network: NetworkId, work: Work) -> Pending {
        let (reply, outcome) = oneshot::channel();
        let weight = match &work {
            Work::Commit(writes) => size_of::<Request>() + writes.iter().map(Write::weight).sum::<usize>(),
            Work::Probe => size_of::<Request>(),
        };
        let request = Request { network, work, reply, weight };
        let mut state = self.state();
        match self.refusal(&mut state, &request) {
            Some(error) => self.answer(request, Err(error)),
            None => {
                state.weight += weight;
                state.requests.push_back(request);
                self.filled.notify_one();
            }
        }
        Pending { outcome, file: self.file.clone() }
    }

    /// Tells what became of it, and counts it if it was a commit.
    pub(crate) fn answer(&self, request: Request, outcome: Outcome) {
        if let Work::Commit(_) = &request.work {
            let counter = if outcome.is_ok() { &self.figures.commits } else { &self.figures.failures };
            counter.increment();
        }
        // Nobody waits for it: then nobody needs it.
        let _ = request.reply.send(outcome);
    }

    fn refusal(&self, state: &mut State, request: &Request) -> Option<StoreError> {
        let file = || self.file.clone();
        if state.closed {
            return Some(StoreError::Closed { file: file() });
        }
        if let Work::Commit(writes) = &request.work
            && !matches!(writes.first(), Some(Write::Forget))
        {
            if let Some(error) = state.fenced.get(&request.network) {
                return Some(error.clone());
            }
            if state.weight + request.weight > MAX_QUEUED_BYTES && !state.requests.is_empty() {
                let error = StoreError::Overloaded { file: file() };
                state.fenced.insert(request.network, error.clone());
                return Some(error);
            }
        }
        None
    }

    /// Takes what fits into one transaction; a probe comes alone. Where there is nothing it waits for it, if it may.
    /// `None` when the queue is closed and empty.
    pub(crate) fn take(&self, may_wait: bool) -> Option<Vec<Request>> {
        let state = self.state();
        let mut state = self
            .filled
            .wait_while(state, |state| may_wait && state.requests.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut weight, mut writes) = (Vec::new(), 0, 0);
        while let Some(next) = state.requests.front() {
            let fits = weight + next.weight <= MAX_BATCH_BYTES && writes + next.writes() <= MAX_BATCH_WRITES;
            let alone = matches!(next.work, Work::Probe);
            if !batch.is_empty() && (!fits || alone) {
                break;
            }
            weight += next.weight;
            writes += next.writes();
            batch.extend(state.requests.pop_front());
            if alone {
                break;
            }
        }
        state.weight = state.weight.saturating_sub(weight);
        (!batch.is_empty() || !state.closed).then_some(batch)
    }

    /// Fences the networks, and fails all their commits that wait.
    pub(crate) fn fence(&self, networks: &BTreeMap<NetworkId, StoreError>) {
        let mut failed = Vec::new();
        let mut state = self.state();
        for request in std::mem::take(&mut state.requests) {
            let exempt = match &request.work {
                Work::Commit(writes) => matches!(writes.first(), Some(Write::Forget)),
                Work::Probe => true,
            };
            match networks.get(&request.network) {
                Some(error) if !exempt => {
                    state.weight = state.weight.saturating_sub(request.weight);
                    failed.push((request, error.clone()));
                }
                _ => state.requests.push_back(request),
            }
        }
        state.fenced.extend(networks.iter().map(|(network, error)| (*network, error.clone())));
        drop(state);
        for (request, error) in failed {
            self.answer(request, Err(error));
        }
    }

    /// Takes commits of the networks again.
    pub(crate) fn lift(&self, networks: &BTreeSet<NetworkId>) {
        self.state().fenced.retain(|network, _| !networks.contains(network));
    }

    /// Takes nothing more. What waits is still written.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// Takes nothing more and drops what waits.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.closed = true;
        state.weight = 0;
        state.requests.clear();
    }

    /// What the writer has not taken.
    pub(crate) fn waiting(&self) -> Waiting {
        let state = self.state();
        Waiting { commits: state.requests.len(), bytes: state.weight }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
