//! The networks of this node: those it is in, each with its task, and those it has left, whose log it keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use p2p_chat_engine::{CommandError, Config, EntryFacts, Record, Setup};
use p2p_chat_model::{Address, Genesis, Identity, Name, NetworkId, Run};
use p2p_chat_store::{Store, StoreError, Write};
use p2p_chat_traces::{Context, Traces};
use tokio::{sync::oneshot, task::JoinSet};

use crate::{
    directory::Directory,
    network::{Driver, Network, Outcome, Start, wall_ms},
    outbound::Outbound,
    wire,
};

/// Networks one node may be or have been in.
const MAX_NETWORKS: usize = 256;

/// A network of this node.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: NetworkId,
    pub(crate) name: Name,
    /// Its task; `None` after the node has left.
    pub(crate) network: Option<Network>,
}

/// Why a network of this node could not be found, or entered.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HubError {
    /// The node is not and was not in it.
    #[error("this node is in no network {0}; join it with `p2p-chat join`")]
    Unknown(String),
    /// The node has left it.
    #[error("this node has left the network {0}; join it again with `p2p-chat join`")]
    Left(Name),
    /// Two have the name.
    #[error("this node knows two networks named {0}; use the id from `p2p-chat networks --json`")]
    Ambiguous(Name),
    /// It is in already, or on its way.
    #[error("this node is in the network {0} already")]
    Member(Name),
    /// The log can't be deleted while the node is in.
    #[error("this node is in the network {0}; leave it before forgetting it")]
    StillIn(Name),
    /// As many as there may be.
    #[error("a node can be in at most {MAX_NETWORKS} networks; forget one with `p2p-chat forget`")]
    Full,
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine refuses.
    #[error(transparent)]
    Command(#[from] CommandError),
}

struct State {
    entries: BTreeMap<NetworkId, Entry>,
    /// Names of networks that are being created or joined.
    entering: BTreeSet<Name>,
    tasks: JoinSet<()>,
}

/// All networks of this node.
pub(crate) struct Hub {
    pub(crate) identity: Identity,
    pub(crate) name: Name,
    pub(crate) address: Address,
    pub(crate) store: Store,
    pub(crate) directory: Arc<Directory>,
    pub(crate) traces: Traces,
    outbound: Arc<Outbound>,
    config: Config,
    state: Mutex<State>,
}

impl Hub {
    pub(crate) fn new(outbound: Arc<Outbound>, config: Config, traces: Traces) -> Self {
        let state = State { entries: BTreeMap::new(), entering: BTreeSet::new(), tasks: JoinSet::new() };
        Self {
            identity: outbound.identity.clone(),
            name: outbound.name.clone(),
            address: outbound.address.clone(),
            store: outbound.store.clone(),
            directory: Arc::clone(&outbound.directory),
            traces,
            outbound,
            config,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up every network on the disk.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), HubError> {
        for stored in self.store.networks().await? {
            let state = stored.state.as_deref().map(p2p_chat_engine::Durable::decode);
            let corrupt = |error: p2p_chat_model::DecodeError| StoreError::Corrupt {
                file: self.store.file().to_owned(),
                what: format!("state of network {}: {error}", stored.name),
            };
            let phase = state.transpose().map_err(corrupt)?.map(|state| state.phase);
            match phase {
                Some(p2p_chat_engine::Phase::Left) => {
                    self.state().entries.insert(stored.id, Entry { id: stored.id, name: stored.name, network: None });
                }
                // Nothing came of it before the node ended.
                None => self.discard(stored.id).await?,
                Some(_) => self.start(stored.id, stored.name, Start::Resume),
            }
        }
        Ok(())
    }

    /// The task of a network the node is in.
    pub(crate) fn active(&self, id: &NetworkId) -> Option<Network> {
        self.state().entries.get(id).and_then(|entry| entry.network.clone())
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.state().entries.values().cloned().collect()
    }

    /// A network of this node by name or id.
    pub(crate) fn find(&self, wanted: &str) -> Result<Entry, HubError> {
        let state = self.state();
        if let Ok(id) = wanted.parse::<NetworkId>()
            && let Some(entry) = state.entries.get(&id)
        {
            return Ok(entry.clone());
        }
        let named = || state.entries.values().filter(|entry| entry.name.as_str() == wanted);
        // One that the node is in goes before those it has left.
        let mut found = named().filter(|entry| entry.network.is_some()).peekable();
        let mut found: Vec<&Entry> = if found.peek().is_some() { found.collect() } else { named().collect() };
        match (found.pop(), found.is_empty()) {
            (Some(entry), true) => Ok(entry.clone()),
            (Some(entry), false) => Err(HubError::Ambiguous(entry.name.clone())),
            (None, _) => Err(HubError::Unknown(p2p_chat_model::name::printable(wanted))),
        }
    }

    /// A network the node is in, by name or id.
    pub(crate) fn joined(&self, wanted: &str) -> Result<Network, HubError> {
        let entry = self.find(wanted)?;
        entry.network.ok_or(HubError::Left(entry.name))
    }

    /// Founds a network and registers it; `cause` is the span of the wish, here and below.
    pub(crate) async fn create(self: &Arc<Self>, name: Name, cause: Option<Context>) -> Result<NetworkId, HubError> {
        let _entering = self.enter(&name, None)?;
        let genesis = Genesis { salt: rand::random(), name: name.clone(), creator: self.name.clone() };
        let (id, run) = Run::found(&self.identity, &genesis, wall_ms());
        let facts = first_entry(&run);
        let bytes = bytes::Bytes::from(run.encode());
        let deliver = Write::Deliver { author: run.author, first: 1, last: 1, arrived_ms: wall_ms(), late: false };
        let writes = vec![Write::Network { name: name.clone() }, Write::Run { run, bytes }, deliver];
        self.store.commit(id, writes).await?;
        let (reply, answer) = oneshot::channel();
        if let Some(genesis) = facts {
            self.start(id, name.clone(), Start::Found { genesis, cause, reply });
        }
        let result = self.entered(answer).await;
        if result.is_err() {
            self.discard(id).await?;
        }
        result.map(|_| id)
    }

    /// Joins a network that a discovery service lists.
    pub(crate) async fn join(
        self: &Arc<Self>,
        (id, name): (NetworkId, Name),
        record: Record,
        cause: Option<Context>,
    ) -> Result<Outcome, HubError> {
        let _entering = self.enter(&name, Some(id))?;
        let new = self.store.entry_count(id).await? == 0;
        self.store.commit(id, vec![Write::Network { name: name.clone() }]).await?;
        let (reply, answer) = oneshot::channel();
        self.start(id, name, Start::Join { record, cause, reply });
        let result = self.entered(answer).await;
        if result.is_err() && new {
            self.discard(id).await?;
        }
        result
    }

    async fn entered(&self, answer: oneshot::Receiver<Result<Outcome, CommandError>>) -> Result<Outcome, HubError> {
        answer.await.unwrap_or(Err(CommandError::Left)).map_err(HubError::Command)
    }

    /// Nothing came of it: what was written goes.
    async fn discard(&self, id: NetworkId) -> Result<(), HubError> {
        self.state().entries.remove(&id);
        Ok(self.store.commit(id, vec![Write::Forget]).await?)
    }

    /// Deletes the log of a network that the node has left. Returns how many entries it had.
    pub(crate) async fn forget(&self, wanted: &str) -> Result<u64, HubError> {
        let entry = self.find(wanted)?;
        if entry.network.is_some() {
            return Err(HubError::StillIn(entry.name));
        }
        let count = self.store.entry_count(entry.id).await?;
        self.discard(entry.id).await?;
        Ok(count)
    }

    /// Marks a network as being entered, until the mark is dropped.
    fn enter(self: &Arc<Self>, name: &Name, id: Option<NetworkId>) -> Result<Entering, HubError> {
        let mut state = self.state();
        let is_in = |entry: &Entry| entry.network.is_some();
        let member = match id {
            Some(id) => state.entries.get(&id).is_some_and(is_in),
            None => state.entries.values().any(|entry| entry.name == *name && is_in(entry)),
        };
        if member || state.entering.contains(name) {
            return Err(HubError::Member(name.clone()));
        }
        if state.entries.len() >= MAX_NETWORKS {
            return Err(HubError::Full);
        }
        state.entering.insert(name.clone());
        Ok(Entering { hub: Arc::clone(self), name: name.clone() })
    }

    fn start(self: &Arc<Self>, id: NetworkId, name: Name, start: Start) {
        let (network, messages, shared) = Network::new(id, name.clone(), self.traces.clone());
        let setup = self.setup(id);
        let (store, outbound) = (self.store.clone(), Arc::clone(&self.outbound));
        let driver = Driver { setup, store, outbound, network: network.clone(), messages, shared };
        let hub = Arc::downgrade(self);
        let mut state = self.state();
        state.entries.insert(id, Entry { id, name, network: Some(network) });
        state.tasks.spawn(async move {
            let left = driver.run(start).await;
            if let Some(hub) = hub.upgrade().filter(|_| left) {
                hub.on_left(id).await;
            }
        });
    }

    /// The node is in the network no more: its log stays, if there is one.
    async fn on_left(&self, id: NetworkId) {
        if let Some(entry) = self.state().entries.get_mut(&id) {
            entry.network = None;
        }
        let gone = match self.store.entry_count(id).await {
            Ok(0) => self.discard(id).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = gone {
            tracing::warn!(network = %id.short(), %error, "what is left of the network stays");
        }
    }

    /// Ends every task. What they have in hand is on disk or was never acknowledged.
    pub(crate) async fn stop(&self) {
        let mut tasks = {
            let mut state = self.state();
            state.entries.clear();
            std::mem::take(&mut state.tasks)
        };
        tasks.shutdown().await;
    }

    pub(crate) fn setup(&self, id: NetworkId) -> Setup {
        Setup {
            identity: self.identity.clone(),
            network: id,
            name: self.name.clone(),
            address: self.address.clone(),
            services: self.directory.len(),
            config: self.config.clone(),
        }
    }
}

fn first_entry(run: &Run) -> Option<EntryFacts> {
    run.entries.first().map(|(hash, entry)| wire::entry_facts(entry, *hash))
}

/// A network that is being created or joined; nobody else enters it meanwhile.
struct Entering {
    hub: Arc<Hub>,
    name: Name,
}

impl Drop for Entering {
    fn drop(&mut self) {
        self.hub.state().entering.remove(&self.name);
    }
}
