//! The connections that read.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use p2p_chat_model::NetworkId;
use rusqlite::Connection;
use tokio::{sync::Semaphore, task};

use crate::{StoreError, error::Fault, schema};

/// Most reads at a time. Others wait.
pub const MAX_READERS: usize = 4;

/// Connections for reading, opened when first needed. Reads see what is committed and never wait for the writer.
pub(crate) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), idle: Mutex::default(), permits: Arc::new(Semaphore::new(MAX_READERS)) }
    }

    /// Runs `query`, which asks about one network or about all, on a thread where blocking is allowed, all of it on one
    /// snapshot.
    pub(crate) async fn read<T, Q>(self: &Arc<Self>, of: Option<NetworkId>, query: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let closed = || StoreError::Closed { file: self.file.clone() };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let readers = Arc::clone(self);
        let answer = task::spawn_blocking(move || {
            let answer = readers.query(query);
            drop(permit);
            answer
        });
        answer.await.map_err(|_| closed())?.map_err(|fault| match of {
            Some(network) => fault.of(&self.file, network),
            None => fault.at(&self.file),
        })
    }

    fn query<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle().pop();
        let mut db = match idle {
            Some(db) => db,
            None => schema::open_reader(&self.file)?,
        };
        let snapshot = db.transaction()?;
        let answer = query(&snapshot);
        drop(snapshot);
        if !self.permits.is_closed() {
            self.idle().push(db);
        }
        answer
    }

    /// Closes the connections; later reads fail.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
