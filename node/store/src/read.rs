//! What can be read. Every answer comes from one snapshot of what is committed; of a network that is not stored, all
//! answers are empty.

mod custody;
mod feeds;
mod order;
mod runs;
mod timeline;
mod unread;

use p2p_chat_model::NetworkId;
use rusqlite::Connection;

use crate::{
    Store, StoreError,
    error::Fault,
    stored::{NetworkKey, network_key},
};

pub use custody::Custody;
pub(crate) use feeds::feeds;
pub use feeds::{RosterEntry, StoredFeed, StoredNetwork};
pub use runs::RunCursor;
pub(crate) use timeline::last_position;
pub use timeline::{Lookup, PAGE_BYTES, StoredMessage, TimelineKey};
pub(crate) use unread::Tallies;

impl Store {
    /// Asks something about one network.
    async fn read<T, Q>(&self, network: NetworkId, query: Q) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        Q: FnOnce(&Connection, NetworkKey) -> Result<T, Fault> + Send + 'static,
    {
        let query = move |db: &Connection| match network_key(db, network)? {
            Some(network) => query(db, network),
            None => Ok(T::default()),
        };
        self.inner.readers.read(Some(network), query).await
    }
}
