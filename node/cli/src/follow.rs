//! Following a network: a subscription that survives the loss of the node it was made at.

use p2p_chat_proto::v1;
use tonic::{Code, Status};

use crate::{
    client::Incoming,
    failure::Failure,
    holder::Mode,
    host::{Host, Running},
    session::Session,
};

/// A network that is being followed.
pub(crate) struct Follower<N> {
    pub(crate) session: Session<N>,
    network: String,
    start: v1::Start,
    /// After which position the node has begun, once it has said so.
    begun_after: Option<u64>,
    /// The highest position seen; 0 before the first message.
    position: u64,
    incoming: Incoming<v1::Event>,
}

/// What comes next.
pub(crate) enum Next {
    /// Something happened in the network.
    Event(v1::event::Event),
    /// The subscription broke: go on with [`Follower::recover`].
    Lost,
}

impl<N: Running> Follower<N> {
    /// Goes on with a subscription to `network` from `start` on, just made at the node of `session`.
    pub(crate) fn new(session: Session<N>, network: &str, start: v1::Start, incoming: Incoming<v1::Event>) -> Self {
        Self { session, network: network.to_owned(), start, begun_after: None, position: 0, incoming }
    }

    /// The highest position seen; 0 before the first message.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Waits for what comes next. Cancelling is harmless.
    pub(crate) async fn next(&mut self) -> Result<Next, Failure> {
        loop {
            match self.incoming.next().await {
                Ok(Some(v1::Event { event: Some(v1::event::Event::BeginsAfter(position)) })) => {
                    self.begun_after.get_or_insert(position);
                }
                Ok(Some(v1::Event { event: Some(event) })) => {
                    if let v1::event::Event::Message(message) = &event {
                        self.position = self.position.max(message.position);
                    }
                    return Ok(Next::Event(event));
                }
                // An event of a kind that this version does not know.
                Ok(Some(v1::Event { event: None })) => {}
                Ok(None) => return Ok(Next::Lost),
                Err(status) if is_passing(&status) => return Ok(Next::Lost),
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// Finds a node again and goes on after the last message, or where it began if none has come. What takes
    /// long is handed to `say` as a sentence. Not to be cancelled, unless all is given up.
    pub(crate) async fn recover<H: Host<Node = N>>(
        &mut self,
        host: &H,
        mode: Mode,
        say: impl FnOnce(String),
    ) -> Result<(), Failure> {
        self.session.recover(host, mode, say).await?;
        let (start, after) = self.resumption();
        self.incoming = self.session.client.subscribe(&self.network, start, after).await?;
        Ok(())
    }

    fn resumption(&self) -> (v1::Start, u64) {
        if self.begun_after.is_none() && self.position == 0 {
            // Nothing has come at all: what was asked for has not begun.
            return (self.start, 0);
        }
        (v1::Start::Position, self.begun_after.unwrap_or(0).max(self.position))
    }
}

/// Whether it helps to subscribe again: the node has gone, or cut a reader off that was too slow.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Aborted | Code::Cancelled)
}
