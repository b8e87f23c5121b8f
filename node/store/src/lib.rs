//! The durable log of a p2p-chat node: the runs of every network as they came, what is derived from them for reading,
//! and what the engine must not forget.
//!
//! One SQLite file, one thread that writes, a few connections that read. The writer takes everything that waits into
//! one transaction and syncs it before it answers (group commit), so a resolved [`Pending`] is on disk. This is what
//! an acknowledgement rests on.
//!
//! A commit that fails leaves no trace, and neither does any later one of the same network, until
//! [`Store::check_writable`] has succeeded: it was made in the belief that the first one is stored.

mod apply;
mod error;
mod figures;
mod forget;
mod number;
mod queue;
mod read;
mod readers;
mod recent;
mod schema;
mod sound;
mod stored;
mod stretch;
mod sum;
mod undelivered;
mod upgrade;
mod write;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use p2p_chat_model::NetworkId;

use crate::{queue::Queue, queue::Work, readers::Readers, recent::Recent};

pub use apply::MAX_ACKS;
pub use error::StoreError;
pub use figures::{Figures, Waiting};
pub use queue::{MAX_BATCH_BYTES, MAX_BATCH_WRITES, MAX_QUEUED_BYTES, Pending};
pub use read::{
    Custody, Lookup, PAGE_BYTES, RosterEntry, RunCursor, StoredFeed, StoredMessage, StoredNetwork, TimelineKey,
};
pub use readers::MAX_READERS;
pub use recent::RECENT_BYTES;
pub use schema::{BUSY_TIMEOUT, FILE_NAME};
pub use write::{Way, Write};

/// The log of one data directory. Clones share it. One process may have it open at a time; the caller sees to that.
///
/// When the last clone is dropped, what waits is written and the file is closed, on the dropping thread.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    file: PathBuf,
    queue: Arc<Queue>,
    recent: Arc<Recent>,
    readers: Arc<Readers>,
    figures: Arc<Figures>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the log in `data_dir`, a directory that exists; makes one if there is none. Checks the whole file, which
    /// takes about a second a gigabyte.
    ///
    /// # Errors
    /// A file that is damaged, not ours, too new, or not writable is refused, and stays as it is.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_capped(data_dir, None)
    }

    fn open_capped(data_dir: &Path, max_pages: Option<u32>) -> Result<Self, StoreError> {
        let file = data_dir.join(FILE_NAME);
        let db = schema::open_writer(&file, max_pages)?;
        let recent = Arc::new(Recent::default());
        let figures = Arc::new(Figures::default());
        let queue = Arc::new(Queue::new(&file, Arc::clone(&figures)));
        let shared = (Arc::clone(&queue), Arc::clone(&recent));
        let writer = writer::Writer::new(db, &file, shared, Arc::clone(&figures));
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::io(&file, &error))?;
        let readers = Arc::new(Readers::new(&file));
        let writer = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { file, queue, recent, readers, figures, writer }) })
    }

    /// Hands in a commit. Its place among all others is taken when this returns; it is on disk, as a whole, when the
    /// result resolves. It fails as a whole, and with it everything that shares its transaction if the disk fails.
    pub fn commit(&self, network: NetworkId, writes: Vec<Write>) -> Pending {
        self.inner.queue.push(network, Work::Commit(writes))
    }

    /// Writes something and deletes it again. Where that succeeds, later commits of a network of which one failed are
    /// taken again; so call it when none of the network's commits is under way, and what was known before the failure
    /// is read anew.
    pub fn check_writable(&self, network: NetworkId) -> Pending {
        self.inner.queue.push(network, Work::Probe)
    }

    /// Writes what waits and closes the file, whoever else still holds the store: later commits and reads fail with
    /// [`StoreError::Closed`]. Blocks until it is done.
    pub fn close(&self) {
        self.inner.close();
    }

    /// The database's file.
    pub fn file(&self) -> &Path {
        &self.inner.file
    }

    /// What the writer has done so far.
    pub fn figures(&self) -> &Figures {
        &self.inner.figures
    }

    /// What waits for the writer now.
    pub fn waiting(&self) -> Waiting {
        self.inner.queue.waiting()
    }

    /// What the database takes on the disk, in bytes.
    pub fn size_on_disk(&self) -> u64 {
        figures::size_on_disk(self.file())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("file", &self.inner.file).finish_non_exhaustive()
    }
}

impl Inner {
    fn close(&self) {
        // The last connection to close takes the write-ahead log into the file: the writer's.
        self.readers.close();
        self.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(file = %self.file.display(), "bug: the store's writer panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
