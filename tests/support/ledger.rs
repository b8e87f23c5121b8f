//! What was said in a test: every text that was tried, and every one that was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use p2p_chat_proto::v1;
use tonic::{Request, Status};

use super::{LAB, NodeProcess, node::CALL_DEADLINE, wait::secs};

/// The record of one network. Texts are unique in it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) network: Arc<str>,
    book: Arc<Mutex<Book>>,
}

/// What the ledger holds.
#[derive(Default)]
pub(crate) struct Book {
    /// Text to who tried to say it, and when. A try that failed may still have been stored.
    pub(crate) attempted: BTreeMap<String, Attempt>,
    /// Text to what the author's node answered.
    pub(crate) acknowledged: BTreeMap<String, v1::SendResponse>,
}

/// One try to say something.
pub(crate) struct Attempt {
    pub(crate) author: String,
    pub(crate) at: Instant,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::of(LAB)
    }
}

impl Ledger {
    /// An empty one.
    pub(crate) fn of(network: &str) -> Self {
        Self { network: network.into(), book: Arc::default() }
    }

    /// Says something at a node, waiting for its own disk only.
    pub(crate) async fn say(&self, node: &NodeProcess, text: &str) -> Result<v1::SendResponse, Status> {
        self.say_and_wait(node, text, v1::Wait::None).await
    }

    /// Says something at a node, and waits for the disks of others.
    pub(crate) async fn say_and_wait(
        &self,
        node: &NodeProcess,
        text: &str,
        wait: v1::Wait,
    ) -> Result<v1::SendResponse, Status> {
        self.send(node.client(), &node.name, text, wait).await
    }

    /// As [`Self::say_and_wait`], over a channel that is kept.
    pub(crate) async fn send(
        &self,
        client: v1::node_client::NodeClient<tonic::transport::Channel>,
        author: &str,
        text: &str,
        wait: v1::Wait,
    ) -> Result<v1::SendResponse, Status> {
        let (patience, limit) =
            if wait == v1::Wait::None { (secs(5), CALL_DEADLINE) } else { (secs(20), CALL_DEADLINE * 3) };
        self.send_within((patience, limit), client, author, text, wait).await
    }

    /// As [`Self::send`]: the node may take `patience`, and the whole call `limit`.
    pub(crate) async fn send_within(
        &self,
        (patience, limit): (Duration, Duration),
        mut client: v1::node_client::NodeClient<tonic::transport::Channel>,
        author: &str,
        text: &str,
        wait: v1::Wait,
    ) -> Result<v1::SendResponse, Status> {
        let attempt = Attempt { author: author.to_owned(), at: Instant::now() };
        let before = self.lock().attempted.insert(text.to_owned(), attempt);
        assert!(before.is_none(), "the test says {text:?} twice");
        let network = self.network.to_string();
        let timeout_ms = patience.as_millis() as u32;
        let mut request =
            Request::new(v1::SendRequest { network, text: text.to_owned(), wait: wait.into(), timeout_ms });
        request.set_timeout(limit);
        let response = client.send(request).await?.into_inner();
        self.lock().acknowledged.insert(text.to_owned(), response.clone());
        Ok(response)
    }

    /// How many messages were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.lock().acknowledged.len()
    }

    /// The record.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
