//! Commits on their way to the disk, in their order, and what is to be done once each is there.

use std::collections::VecDeque;

use p2p_chat_engine::{Event, Output};
use p2p_chat_store::{Pending, StoreError};
use tokio::sync::oneshot;

use super::observe::Batch;

/// Something to be done once everything before it is on disk.
pub(super) enum Effect {
    Observed(Box<Batch>),
    Output(Box<Output>),
    Stored(oneshot::Sender<()>),
}

impl Effect {
    pub(super) fn tells_of_deliveries(&self) -> bool {
        matches!(self, Self::Output(output) if matches!(**output, Output::Event(Event::Delivered { .. })))
    }
}

struct Commit {
    pending: Pending,
    effects: Vec<Effect>,
    /// Whether it holds a run of the own feed.
    is_own: bool,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Commits(VecDeque<Commit>);

impl Commits {
    pub(super) fn push(&mut self, pending: Pending, effects: Vec<Effect>, is_own: bool) {
        self.0.push_back(Commit { pending, effects, is_own });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a run of the own feed is under way.
    pub(super) fn has_own(&self) -> bool {
        self.0.iter().any(|commit| commit.is_own)
    }

    /// Waits until the oldest is on disk and gives what follows from it; for ever, if there is none. May be dropped and
    /// called again. After a failure only [`Commits::settle`] makes sense.
    pub(super) async fn next(&mut self) -> Result<Vec<Effect>, StoreError> {
        match self.0.front_mut() {
            Some(commit) => (&mut commit.pending).await?,
            None => std::future::pending().await,
        }
        Ok(self.0.pop_front().map_or_else(Vec::new, |commit| commit.effects))
    }

    /// After the failure of the oldest: the ones behind it fail too, and nothing that would have followed is done.
    pub(super) async fn settle(&mut self) {
        self.0.pop_front();
        while let Some(commit) = self.0.pop_front() {
            let _ = commit.pending.await;
        }
    }

    /// Puts effects behind all that is under way; gives them back if nothing is.
    pub(super) fn append(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        match self.0.back_mut() {
            Some(last) => {
                last.effects.append(&mut effects);
                Vec::new()
            }
            None => effects,
        }
    }
}
