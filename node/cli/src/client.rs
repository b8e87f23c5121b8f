//! The client of a node's local API: `proto/node.proto` over the Unix socket in the data directory.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use p2p_chat_proto::v1::{self, node_client::NodeClient};
use tokio::{net::UnixStream, time::timeout};
use tonic::{
    Code, Response, Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

use crate::{failure::Failure, values::millis};

/// How long a node may take for what it can answer by itself.
const QUICK: Duration = Duration::from_secs(10);
/// How long a node may take for what involves others; it promises 15 s.
const SLOW: Duration = Duration::from_secs(20);

/// Largest answer that is taken. 10,000 networks with long names make more than the usual 4 MiB, and the node is the
/// user's own.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection to a node. Cheap to clone; clones share it.
///
/// A call fails with `UNAVAILABLE` if the node goes away, or takes far longer than it promises.
#[derive(Debug, Clone)]
pub struct Client {
    node: NodeClient<Channel>,
    socket: PathBuf,
}

impl Client {
    /// Connects to the node that listens at `socket`; nothing if there is none.
    ///
    /// # Errors
    /// [`Failure::NotAllowed`] if the socket belongs to somebody else, [`Failure::Failed`] if it is unusable.
    pub async fn attach(socket: &Path) -> Result<Option<Self>, Failure> {
        match UnixStream::connect(socket).await {
            Ok(_) => {}
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Failure::NotAllowed(format!(
                    "the node at {} belongs to another user; name a data directory of yours with --data-dir",
                    socket.display()
                )));
            }
            Err(error) => {
                return Err(Failure::Failed(format!(
                    "cannot connect to the node at {}: {error}; check the data directory",
                    socket.display()
                )));
            }
        }
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://node.invalid").connect_with_connector_lazy(connector);
        let node = NodeClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Some(Self { node, socket: socket.to_owned() }))
    }

    /// Where the node stands.
    pub async fn status(&self) -> Result<v1::StatusResponse, Status> {
        self.limited(QUICK, self.node.clone().status(v1::StatusRequest {})).await
    }

    /// Founds a network.
    pub async fn create(&self, network: &str) -> Result<v1::NetworkInfo, Status> {
        let request = v1::CreateRequest { network: network.to_owned() };
        let response = self.limited(SLOW, self.node.clone().create(request)).await?;
        Ok(response.network.unwrap_or_default())
    }

    /// Joins a network.
    pub async fn join(&self, network: &str) -> Result<v1::JoinNetworkResponse, Status> {
        let request = v1::JoinNetworkRequest { network: network.to_owned() };
        self.limited(SLOW, self.node.clone().join(request)).await
    }

    /// Leaves a network; `patience` is how long another member may take to store what is here, `force` whether to leave
    /// then all the same.
    pub async fn leave(
        &self,
        network: &str,
        patience: Duration,
        force: bool,
    ) -> Result<v1::LeaveNetworkResponse, Status> {
        let request = v1::LeaveNetworkRequest { network: network.to_owned(), timeout_ms: millis(patience), force };
        self.limited(patience + SLOW, self.node.clone().leave(request)).await
    }

    /// Deletes what is kept of a network that was left; says how many entries there were. Has no deadline: how long it
    /// takes grows with the log.
    pub async fn forget(&self, network: &str) -> Result<u64, Status> {
        let request = v1::ForgetRequest { network: network.to_owned() };
        let forgotten = self.node.clone().forget(request).await;
        let forgotten = forgotten.map_err(|status| in_plain_words(status, &self.socket))?;
        Ok(forgotten.into_inner().entries)
    }

    /// The networks that exist, and those the node is or was in.
    pub async fn networks(&self) -> Result<v1::NetworksResponse, Status> {
        self.limited(SLOW, self.node.clone().networks(v1::NetworksRequest {})).await
    }

    /// The members of a network.
    pub async fn members(&self, network: &str) -> Result<Vec<v1::Member>, Status> {
        let request = v1::MembersRequest { network: network.to_owned() };
        Ok(self.limited(QUICK, self.node.clone().members(request)).await?.members)
    }

    /// Says something and waits as told, for at most `patience`.
    pub async fn send(
        &self,
        network: &str,
        text: String,
        wait: v1::Wait,
        patience: Duration,
    ) -> Result<v1::SendResponse, Status> {
        let request =
            v1::SendRequest { network: network.to_owned(), text, wait: wait.into(), timeout_ms: millis(patience) };
        self.limited(patience + QUICK, self.node.clone().send(request)).await
    }

    /// Messages and notices as they come. The stream itself has no deadline.
    pub async fn subscribe(&self, network: &str, start: v1::Start, after: u64) -> Result<Incoming<v1::Event>, Status> {
        let request = v1::SubscribeRequest { network: network.to_owned(), start: start.into(), after };
        let stream = self.limited(QUICK, self.node.clone().subscribe(request)).await?;
        Ok(Incoming { stream, socket: self.socket.clone() })
    }

    /// The newest messages, oldest first; all with `limit` 0.
    pub async fn history(&self, network: &str, limit: u64) -> Result<Incoming<v1::Message>, Status> {
        let request = v1::HistoryRequest { network: network.to_owned(), limit, ..Default::default() };
        self.history_page(request).await
    }

    /// Messages from the log, oldest first: a page before or after a place in everybody's order, or what a search
    /// finds. A search in a long log can take seconds until the first one comes; dropping the answer ends it.
    pub async fn history_page(&self, request: v1::HistoryRequest) -> Result<Incoming<v1::Message>, Status> {
        let stream = self.limited(QUICK, self.node.clone().history(request)).await?;
        Ok(Incoming { stream, socket: self.socket.clone() })
    }

    /// Who has a message.
    pub async fn inspect(&self, network: &str, message: &str) -> Result<v1::InspectResponse, Status> {
        let request = v1::InspectRequest { network: network.to_owned(), message: message.to_owned() };
        self.limited(QUICK, self.node.clone().inspect(request)).await
    }

    /// Remembers that everything up to `position` has been read.
    pub async fn mark_read(&self, network: &str, position: u64) -> Result<(), Status> {
        let request = v1::MarkReadRequest { network: network.to_owned(), position };
        self.limited(QUICK, self.node.clone().mark_read(request)).await.map(|_| ())
    }

    async fn limited<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        match timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(in_plain_words(status, &self.socket)),
            Err(_) => Err(Status::unavailable(format!(
                "the node at {} did not answer within {} s; look at its log",
                self.socket.display(),
                limit.as_secs()
            ))),
        }
    }
}

/// What a node streams.
#[derive(Debug)]
pub struct Incoming<T> {
    stream: Streaming<T>,
    socket: PathBuf,
}

impl<T> Incoming<T> {
    /// The next item; nothing at the end. Cancelling is harmless.
    pub async fn next(&mut self) -> Result<Option<T>, Status> {
        self.stream.message().await.map_err(|status| in_plain_words(status, &self.socket))
    }
}

/// What the transport reports in its own jargon when the node goes away, as a sentence. What a node says stays.
fn in_plain_words(status: Status, socket: &Path) -> Status {
    let is_of_the_transport = status.source().is_some() || status.code() == Code::Cancelled;
    if is_of_the_transport {
        tracing::debug!(%status, "the connection to the node broke");
        Status::unavailable(format!("the node at {} has gone; start it again", socket.display()))
    } else {
        status
    }
}

fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | NotADirectory)
}
