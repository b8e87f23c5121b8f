//! Pages of the log in the order in which everybody sees it, and search in it.

use p2p_chat_engine::Roster;
use p2p_chat_model::{EntryKind, id::IdError};
use p2p_chat_proto::v1;
use p2p_chat_store::{Store, StoreError, StoredMessage, TimelineKey};
use tonic::Status;

use super::{
    EventStream, Local, hub_status,
    pages::{PageSender, pages},
    show::{PAGE, is_shown, message},
    store_status,
};
use crate::hub::Entry as Known;

/// What is wanted of the log.
struct Wanted {
    after: Option<TimelineKey>,
    before: Option<TimelineKey>,
    /// 0: all.
    limit: u64,
    /// In lower case; empty: everything that users see.
    contains: String,
}

/// One answer on its way.
struct Answer {
    store: Store,
    network: Known,
    roster: Roster,
    wanted: Wanted,
    messages: PageSender<v1::Message>,
}

impl Local {
    pub(super) async fn history_of(&self, request: v1::HistoryRequest) -> Result<EventStream<v1::Message>, Status> {
        let network = self.hub.find(&request.network).map_err(hub_status)?;
        let wanted = Wanted::of(&request)?;
        let roster = self.snapshot(&network).await?.roster;
        let (messages, stream) = pages();
        let answer = Answer { store: self.hub.store.clone(), network, roster, wanted, messages };
        tokio::spawn(async move {
            if let Err(error) = answer.give().await {
                // Whoever has gone needs no error.
                let _ = answer.messages.send(Err(store_status(&error))).await;
            }
        });
        Ok(Box::pin(stream))
    }
}

impl Wanted {
    fn of(request: &v1::HistoryRequest) -> Result<Self, Status> {
        if request.before.is_some() && request.after.is_some() {
            return Err(Status::invalid_argument("`before` and `after` exclude each other; give one of them"));
        }
        Ok(Self {
            after: request.after.as_ref().map(|cursor| place(cursor, "after")).transpose()?,
            before: request.before.as_ref().map(|cursor| place(cursor, "before")).transpose()?,
            limit: request.limit,
            contains: lower_case(&request.contains),
        })
    }

    fn takes(&self, stored: &StoredMessage) -> bool {
        if self.contains.is_empty() {
            return is_shown(stored.kind);
        }
        stored.kind == EntryKind::Text && lower_case(&String::from_utf8_lossy(&stored.body)).contains(&self.contains)
    }
}

fn place(cursor: &v1::Cursor, field: &str) -> Result<TimelineKey, Status> {
    let refused = |error: IdError| Status::invalid_argument(format!("the author in `{field}` is refused: {error}"));
    let author = cursor.author.parse().map_err(refused)?;
    Ok(TimelineKey { lamport: cursor.lamport, author, seq: cursor.seq })
}

/// Each character by itself: what a letter becomes must not depend on where the searched text ends.
fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

impl Answer {
    async fn give(&self) -> Result<(), StoreError> {
        let Wanted { after, before, limit, .. } = self.wanted;
        if limit == 0 {
            return self.stream(after, before, u64::MAX).await;
        }
        if after.is_some() {
            return self.stream(after, before, limit).await;
        }
        if self.wanted.contains.is_empty() {
            let start = self.store.before_newest(self.network.id, before, limit).await?;
            return self.stream(start, before, u64::MAX).await;
        }
        match self.newest_found().await? {
            Some((oldest, newest)) => {
                // Entry numbers begin at 1: these are the places right before the one and right behind the other.
                let start = TimelineKey { seq: oldest.seq.saturating_sub(1), ..oldest };
                let end = TimelineKey { seq: newest.seq.saturating_add(1), ..newest };
                self.stream(Some(start), Some(end), u64::MAX).await
            }
            None => Ok(()),
        }
    }

    /// The oldest and the newest of the messages that are wanted, looked for from the newest on. Keeps none of them:
    /// whatever the limit, a search needs the memory of a page.
    async fn newest_found(&self) -> Result<Option<(TimelineKey, TimelineKey)>, StoreError> {
        let mut found: Option<(TimelineKey, TimelineKey)> = None;
        let (mut before, mut left) = (self.wanted.before, self.wanted.limit);
        while left > 0 && !self.messages.is_closed() {
            let page = self.store.history(self.network.id, before, PAGE).await?;
            let Some(first) = page.first() else { break };
            before = Some(first.key());
            for stored in page.iter().rev().filter(|stored| self.wanted.takes(stored)) {
                let newest = found.map_or(stored.key(), |(_, newest)| newest);
                found = Some((stored.key(), newest));
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Streams what is wanted after `start` and before `end`, the oldest `limit`.
    async fn stream(&self, start: Option<TimelineKey>, end: Option<TimelineKey>, limit: u64) -> Result<(), StoreError> {
        let (mut after, mut left) = (start, limit);
        // With the message behind the page, so that its end is seen at once.
        let few = self.wanted.limit > 0 && self.wanted.contains.is_empty();
        let size = if few { self.wanted.limit.saturating_add(1).min(PAGE.into()) as u32 } else { PAGE };
        while left > 0 && !self.messages.is_closed() {
            let page = self.store.history_after(self.network.id, after, size).await?;
            let Some(last) = page.last().map(StoredMessage::key) else { break };
            after = Some(last);
            let wanted = page.iter().take_while(|stored| end.is_none_or(|end| stored.key() < end));
            let wanted =
                wanted.filter(|stored| self.wanted.takes(stored)).take(usize::try_from(left).unwrap_or(usize::MAX));
            let shown: Vec<_> =
                wanted.map(|stored| message(self.network.name.as_str(), &self.roster, stored)).collect();
            left -= shown.len() as u64;
            let is_over = end.is_some_and(|end| last >= end);
            // Not kept while a slow reader is waited for.
            drop(page);
            if self.messages.send(Ok(shown)).await.is_err() || is_over {
                break;
            }
        }
        Ok(())
    }
}
