//! Sending, and waiting for others to have what was sent.

use std::{collections::BTreeMap, time::Duration};

use p2p_chat_engine::{Command, Done, Event, Snapshot};
use p2p_chat_model::{MessageId, PeerId, Seq, limits::MAX_TEXT_BYTES};
use p2p_chat_proto::v1::{self, send_outcome};
use p2p_chat_traces::{Context, Span};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, metadata::MetadataValue};

use super::{EventStream, Local, hub_status, unmet_status, wait_of};
use crate::{
    bus::Happening,
    network::{Begun, Network, Outcome},
};

/// Texts of one stream that may wait for their outcome.
const IN_FLIGHT: usize = 256;
/// Where a failure names the message that is safe all the same.
const MESSAGE_ID: &str = "message-id";

/// How long to wait for others, unless told otherwise.
const SEND_WAIT: Duration = Duration::from_secs(10);
/// How long a node that is about to end may take to say how things stand.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The other members, and up to where each has the own feed on disk.
fn holders(snapshot: &Snapshot, me: PeerId) -> BTreeMap<PeerId, Seq> {
    let others = snapshot.roster.iter().filter(|(peer, member)| **peer != me && member.stands());
    let held = |peer: &PeerId| snapshot.cursors.iter().find(|cursor| cursor.peer == *peer).map_or(0, |it| it.acked);
    others.map(|(peer, _)| (*peer, held(peer))).collect()
}

/// How many members there are, and how many of them have the entry.
fn count(held: &BTreeMap<PeerId, Seq>, seq: Seq) -> (u32, u32) {
    (held.len() as u32, held.values().filter(|upto| **upto >= seq).count() as u32)
}

/// Why it can't be said in time that others have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Late {
    #[error("{stored} of {members} other members have the message yet")]
    NotYet { members: u32, stored: u32 },
    /// The network's task does not answer, or the node has left.
    #[error("the node could not tell who has the message yet")]
    Unknown,
    /// The disk is slow.
    #[error("{stored} of {members} other members have the message, but the node could not note that in time")]
    NotNoted { members: u32, stored: u32 },
}

/// A text that is being written.
struct Sending {
    network: Network,
    wait: v1::Wait,
    deadline: Instant,
    begun: Begun,
    /// Until it is on disk.
    span: Span,
}

impl Local {
    /// `cause` is what the caller says that it is part of, here and below.
    pub(super) async fn send_text(
        &self,
        request: v1::SendRequest,
        cause: Option<Context>,
    ) -> Result<v1::SendResponse, Status> {
        let sending = self.begin_sending(request, cause).await?;
        finish_sending(sending, self.hub.identity.peer()).await
    }

    /// Sends what comes, up to [`IN_FLIGHT`] texts at a time. What was begun goes out, whether anybody waits for it or not.
    pub(super) fn send_texts(
        &self,
        mut requests: Streaming<v1::SendRequest>,
        cause: Option<Context>,
    ) -> EventStream<v1::SendOutcome> {
        let (begun, mut under_way) = mpsc::channel(IN_FLIGHT);
        let (outcomes, stream) = mpsc::channel(IN_FLIGHT);
        let local = self.clone();
        tokio::spawn(async move {
            loop {
                let next = match requests.message().await {
                    Ok(Some(request)) => Ok(local.begin_sending(request, cause.clone()).await),
                    Ok(None) => return,
                    // A request that can't be read, or a connection that is lost: nothing comes after it.
                    Err(status) => Err(status),
                };
                let is_last = next.is_err();
                if begun.send(next).await.is_err() || is_last {
                    return;
                }
            }
        });
        let me = self.hub.identity.peer();
        tokio::spawn(async move {
            while let Some(sending) = under_way.recv().await {
                let sent = match sending {
                    Ok(Ok(sending)) => Ok(outcome(finish_sending(sending, me).await)),
                    Ok(Err(status)) => Ok(outcome(Err(status))),
                    Err(status) => Err(status),
                };
                if outcomes.send(sent).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(ReceiverStream::new(stream))
    }

    async fn begin_sending(&self, request: v1::SendRequest, cause: Option<Context>) -> Result<Sending, Status> {
        if request.text.trim().is_empty() {
            return Err(Status::invalid_argument("the text is empty, or nothing but white space"));
        }
        if request.text.len() > MAX_TEXT_BYTES {
            let len = request.text.len();
            return Err(Status::invalid_argument(format!(
                "the text has {len} bytes, at most {MAX_TEXT_BYTES} are allowed"
            )));
        }
        let deadline = Instant::now() + wait_of(request.timeout_ms, SEND_WAIT);
        let wait = request.wait();
        let network = self.hub.joined(&request.network).map_err(hub_status)?;
        let span = self.span("send", &network.name, cause);
        let begun = timeout_at(deadline, network.begin(Command::Send, Some(request.text), span.context()));
        let begun = begun.await.map_err(|_| not_taken(&network))?;
        Ok(Sending { network, wait, deadline, begun, span })
    }

    /// Waits until, in every network, another member holds all that this node wrote. Returns how many entries nobody
    /// else has when the wait ends.
    pub(crate) async fn wait_replicated(&self, wait: Duration) -> u64 {
        let deadline = Instant::now() + wait;
        let me = self.hub.identity.peer();
        let mut unreplicated = 0;
        for entry in self.hub.entries() {
            if let Some(network) = entry.network {
                unreplicated += unreplicated_in(&network, me, deadline).await;
            }
        }
        unreplicated
    }
}

/// Waits until another member holds all that this node wrote. Returns how many entries nobody else has then, or when the
/// wait ends.
async fn unreplicated_in(network: &Network, me: PeerId, deadline: Instant) -> u64 {
    // A task whose disk hangs does not answer either.
    let Ok(Some(mut look)) = timeout_at(deadline.max(Instant::now() + LAST_LOOK), network.look()).await else {
        return 0;
    };
    // Where the disk fails nothing changes any more.
    if look.problem.is_none() {
        let written = look.snapshot.frontier.at(&me);
        let enough = |members: u32, stored: u32| members == 0 || stored >= 1;
        let _ = wait_for(network, me, written, deadline, enough).await;
        if let Ok(Some(now)) = timeout(LAST_LOOK, network.look()).await {
            look = now;
        }
    }
    let snapshot = look.snapshot;
    // Who has left has taken along what it had: only who stays counts, and where nobody does nobody will ask for it.
    let held = holders(&snapshot, me).into_values().max();
    held.map_or(0, |held| snapshot.frontier.at(&me).saturating_sub(held))
}

async fn finish_sending(sending: Sending, me: PeerId) -> Result<v1::SendResponse, Status> {
    let Sending { network, wait, deadline, begun, span } = sending;
    let outcome = written(&network, begun, deadline, span).await?;
    let (Done::Sent { seq, lamport }, Some(id)) = (outcome.done, outcome.message) else {
        return Err(Status::internal("bug: a message was sent as something else"));
    };
    if matches!(wait, v1::Wait::None | v1::Wait::Unspecified) {
        let members = network.others(&me) as u32;
        return Ok(v1::SendResponse { id: id.to_string(), seq, lamport, stored_by: 0, members });
    }
    let enough = |members: u32, stored: u32| stored >= if wait == v1::Wait::All { members } else { 1.min(members) };
    let held = wait_for(&network, me, seq, deadline, enough).await;
    let (members, stored_by) = held.map_err(|why| late(&why, id))?;
    // What the user is told of others is known after a crash, too.
    let noted = timeout_at(deadline, network.write_down()).await;
    noted.map_err(|_| late(&Late::NotNoted { members, stored: stored_by }, id))?;
    Ok(v1::SendResponse { id: id.to_string(), seq, lamport, stored_by, members })
}

/// Waits until enough members hold an entry. The numbers are of members, and of those who hold it.
async fn wait_for(
    network: &Network,
    me: PeerId,
    seq: Seq,
    deadline: Instant,
    enough: impl Fn(u32, u32) -> bool,
) -> Result<(u32, u32), Late> {
    let mut happenings = network.listen();
    let mut so_far = Late::Unknown;
    loop {
        let look = timeout_at(deadline, network.look()).await;
        let Ok(Some(look)) = look else { return Err(so_far) };
        let mut held = holders(&look.snapshot, me);
        loop {
            let (members, stored) = count(&held, seq);
            if enough(members, stored) {
                return Ok((members, stored));
            }
            so_far = Late::NotYet { members, stored };
            match timeout_at(deadline, happenings.recv()).await {
                Ok(Ok(Happening::Event(Event::Acked { peer, upto }))) => {
                    held.entry(peer).and_modify(|held| *held = upto.max(*held));
                }
                Ok(Ok(Happening::Event(Event::Delivered { .. }))) => {}
                // Who is a member may have changed.
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => break,
                Err(_) | Ok(Err(RecvError::Closed)) => return Err(so_far),
            }
        }
    }
}

/// Waits until the text is written, which ends its span.
async fn written(network: &Network, begun: Begun, deadline: Instant, mut span: Span) -> Result<Outcome, Status> {
    let written = match timeout_at(deadline, network.outcome(begun)).await {
        Ok(result) => result.map_err(|error| unmet_status(&error)),
        Err(_) => Err(not_written(network)),
    };
    match &written {
        Ok(outcome) if span.is_recorded() => {
            if let (Done::Sent { seq, .. }, Some(id)) = (&outcome.done, outcome.message) {
                span.set("message_id", id.to_string());
                span.set("seq", seq.to_string());
            }
        }
        Ok(_) => {}
        Err(status) => span.fail(&status.message()),
    }
    written
}

/// The text has not got as far as the network's task.
fn not_taken(network: &Network) -> Status {
    let name = &network.name;
    Status::aborted(format!("the node was not ready to write to {name} in time; the message is not sent, try again"))
}

/// The task has the text, and may write it yet.
fn not_written(network: &Network) -> Status {
    let name = &network.name;
    Status::deadline_exceeded(format!(
        "the node was not ready to write to {name} in time; the message is not safe yet, and may still go out later"
    ))
}

/// The outcome of one text of several.
fn outcome(sent: Result<v1::SendResponse, Status>) -> v1::SendOutcome {
    let outcome = match sent {
        Ok(sent) => send_outcome::Outcome::Sent(sent),
        Err(status) => {
            let id = status.metadata().get(MESSAGE_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
            let (code, message) = (status.code().into(), status.message().to_owned());
            send_outcome::Outcome::Failed(v1::SendFailure { code, message, id })
        }
    };
    v1::SendOutcome { outcome: Some(outcome) }
}

fn late(why: &Late, id: MessageId) -> Status {
    let mut status = Status::deadline_exceeded(format!("{why}; it is safe and still going out"));
    if let Ok(id) = MetadataValue::try_from(id.to_string()) {
        status.metadata_mut().insert(MESSAGE_ID, id);
    }
    status
}

#[cfg(test)]
mod tests;
