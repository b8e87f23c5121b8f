//! Sending, and waiting for others to have what was sent.

use std::{collections::BTreeMap, time::Duration};

use p2p_chat_engine::{Command, CommandError, Done, Event, Snapshot};
use p2p_chat_model::{MessageId, PeerId, Seq, limits::MAX_TEXT_BYTES};
use p2p_chat_proto::v1::{self, send_outcome};
use p2p_chat_traces::{Context, Span};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, metadata::MetadataValue};

use super::{EventStream, Local, hub_status, unmet_status, wait_of};
use crate::{
    bus::Happening,
    network::{Begun, Network, Outcome, Unmet},
};

/// Texts of one stream that may wait for their outcome.
const IN_FLIGHT: usize = 256;
/// Where a failure names the message that is safe all the same.
const MESSAGE_ID: &str = "message-id";

/// How long to wait for others, unless told otherwise.
const SEND_WAIT: Duration = Duration::from_secs(10);
/// How long a node that is busy with the network is asked again.
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// The other members, and up to where each has the own feed on disk.
fn holders(snapshot: &Snapshot, me: PeerId) -> BTreeMap<PeerId, Seq> {
    let others = snapshot.roster.iter().filter(|(peer, member)| **peer != me && member.stands());
    let held = |peer: &PeerId| snapshot.cursors.iter().find(|cursor| cursor.peer == *peer).map_or(0, |it| it.acked);
    others.map(|(peer, _)| (*peer, held(peer))).collect()
}

/// A text that is being written.
struct Sending {
    network: Network,
    text: String,
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
        self.finish_sending(sending).await
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
            while let Ok(Some(request)) = requests.message().await {
                if begun.send(local.begin_sending(request, cause.clone()).await).await.is_err() {
                    return;
                }
            }
        });
        let local = self.clone();
        tokio::spawn(async move {
            while let Some(sending) = under_way.recv().await {
                let sent = match sending {
                    Ok(sending) => local.finish_sending(sending).await,
                    Err(status) => Err(status),
                };
                if outcomes.send(Ok(outcome(sent))).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(ReceiverStream::new(stream))
    }

    async fn begin_sending(&self, request: v1::SendRequest, cause: Option<Context>) -> Result<Sending, Status> {
        if request.text.is_empty() {
            return Err(Status::invalid_argument("the text is empty"));
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
        let (text, span) = (request.text, self.span("send", &network.name, cause));
        let begun = timeout_at(deadline, network.begin(Command::Send, Some(text.clone()), span.context()));
        let begun = begun.await.map_err(|_| not_ready(&network))?;
        Ok(Sending { network, text, wait, deadline, begun, span })
    }

    async fn finish_sending(&self, sending: Sending) -> Result<v1::SendResponse, Status> {
        let Sending { network, text, wait, deadline, begun, span } = sending;
        let outcome = written(&network, (begun, text), deadline, span).await?;
        let (Done::Sent { seq, lamport }, Some(id)) = (outcome.done, outcome.message) else {
            return Err(Status::internal("bug: a message was sent as something else"));
        };
        if matches!(wait, v1::Wait::None | v1::Wait::Unspecified) {
            let members = network.others(&self.hub.identity.peer()) as u32;
            return Ok(v1::SendResponse { id: id.to_string(), seq, lamport, stored_by: 0, members });
        }
        let enough = |members: u32, stored: u32| stored >= if wait == v1::Wait::All { members } else { 1.min(members) };
        let (members, stored_by) =
            self.wait_for(&network, seq, deadline, enough).await.map_err(|(members, stored)| {
                late(
                    &format!(
                        "{stored} of {members} other members have the message yet; it is safe and still going out"
                    ),
                    id,
                )
            })?;
        // What the user is told of others is known after a crash, too.
        network.write_down().await;
        Ok(v1::SendResponse { id: id.to_string(), seq, lamport, stored_by, members })
    }

    /// Waits until enough members hold an entry. The numbers are of members, and of those who hold it.
    async fn wait_for(
        &self,
        network: &Network,
        seq: Seq,
        deadline: Instant,
        enough: impl Fn(u32, u32) -> bool,
    ) -> Result<(u32, u32), (u32, u32)> {
        let me = self.hub.identity.peer();
        let mut happenings = network.listen();
        loop {
            let Some(look) = network.look().await else { return Err((0, 0)) };
            let mut held = holders(&look.snapshot, me);
            loop {
                let stored = held.values().filter(|upto| **upto >= seq).count() as u32;
                let members = held.len() as u32;
                if enough(members, stored) {
                    return Ok((members, stored));
                }
                match timeout_at(deadline, happenings.recv()).await {
                    Ok(Ok(Happening::Event(Event::Acked { peer, upto }))) => {
                        held.entry(peer).and_modify(|held| *held = upto.max(*held));
                    }
                    Ok(Ok(Happening::Event(Event::Delivered { .. }))) => {}
                    // Who is a member may have changed.
                    Ok(Ok(_) | Err(RecvError::Lagged(_))) => break,
                    Err(_) | Ok(Err(RecvError::Closed)) => return Err((members, stored)),
                }
            }
        }
    }

    /// Waits until, in every network, another member holds all that this node wrote. Returns how many entries nobody
    /// else has when the wait ends.
    pub(crate) async fn wait_replicated(&self, wait: Duration) -> u64 {
        let deadline = Instant::now() + wait;
        let me = self.hub.identity.peer();
        let mut unreplicated = 0;
        for entry in self.hub.entries() {
            let Some(network) = entry.network else { continue };
            let Some(look) = network.look().await.filter(|look| look.problem.is_none()) else { continue };
            let written = look.snapshot.frontier.at(&me);
            let enough = |members: u32, stored: u32| members == 0 || stored >= 1;
            if self.wait_for(&network, written, deadline, enough).await.is_err() {
                let held = look.snapshot.cursors.iter().map(|cursor| cursor.acked).max().unwrap_or(0);
                unreplicated += written.saturating_sub(held);
            }
        }
        unreplicated
    }
}

/// Waits until the text is written, which ends its span.
async fn written(
    network: &Network,
    sent: (Begun, String),
    deadline: Instant,
    mut span: Span,
) -> Result<Outcome, Status> {
    let written = until_written(network, sent, deadline, span.context()).await;
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

/// A node that is still joining, or takes back its own feed, is asked again.
async fn until_written(
    network: &Network,
    (mut begun, text): (Begun, String),
    deadline: Instant,
    cause: Option<Context>,
) -> Result<Outcome, Status> {
    loop {
        match timeout_at(deadline, network.outcome(begun)).await {
            Ok(Err(Unmet::Command(CommandError::Busy))) if Instant::now() + BUSY_WAIT < deadline => {
                tokio::time::sleep(BUSY_WAIT).await;
                begun = network.begin(Command::Send, Some(text.clone()), cause.clone()).await;
            }
            Ok(result) => return result.map_err(|error| unmet_status(&error)),
            Err(_) => return Err(not_ready(network)),
        }
    }
}

fn not_ready(network: &Network) -> Status {
    let name = &network.name;
    Status::deadline_exceeded(format!(
        "the node was not ready to write to {name} in time; the message may go out later"
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

fn late(text: &str, id: MessageId) -> Status {
    let mut status = Status::deadline_exceeded(text);
    if let Ok(id) = MetadataValue::try_from(id.to_string()) {
        status.metadata_mut().insert(MESSAGE_ID, id);
    }
    status
}
