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
    /// Subscribes. On failure the session is handed back, to be closed.
    pub(crate) async fn subscribe(
        session: Session<N>,
        network: &str,
        start: v1::Start,
    ) -> Result<Self, (Session<N>, Failure)> {
        match session.client.subscribe(network, start, 0).await {
            Ok(incoming) => Ok(Self { session, network: network.to_owned(), start, position: 0, incoming }),
            Err(status) => Err((session, status.into())),
        }
    }

    /// The highest position seen; 0 before the first message.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Waits for what comes next. Cancelling is harmless.
    pub(crate) async fn next(&mut self) -> Result<Next, Failure> {
        loop {
            match self.incoming.next().await {
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

    /// Finds a node again and goes on after the last message. Not to be cancelled, unless all is given up.
    pub(crate) async fn recover<H: Host<Node = N>>(&mut self, host: &H, mode: Mode) -> Result<(), Failure> {
        self.session.recover(host, mode).await?;
        let start = if self.position > 0 { v1::Start::Position } else { self.start };
        self.incoming = self.session.client.subscribe(&self.network, start, self.position).await?;
        Ok(())
    }
}

/// Whether it helps to subscribe again: the node has gone, or cut a reader off that was too slow.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Aborted | Code::Cancelled)
}
