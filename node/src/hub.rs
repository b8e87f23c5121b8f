//! The networks of this node: those it is in, each with its task, and those it has left, whose log it keeps.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use p2p_chat_engine::{CommandError, Config, EntryFacts, Phase, Record, Setup};
use p2p_chat_model::{Address, Genesis, Identity, Name, NetworkId, Run};
use p2p_chat_store::{Pending, Store, StoreError, Write};
use p2p_chat_traces::{Context, Traces};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    directory::Directory,
    network::{Driver, Network, Outcome, Start, dormant, stored_state, wall_ms},
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
    #[error("this node is in no network {0}; see `p2p-chat networks` for those there are")]
    Unknown(String),
    /// The node has left it.
    #[error("this node has left the network {0}; join it again with `p2p-chat join`")]
    Left(Name),
    /// Two have the name.
    #[error("this node knows two networks named {0}; use the id from `p2p-chat networks --json`")]
    Ambiguous(Name),
    /// It is in already.
    #[error("this node is in the network {0} already")]
    Member(Name),
    /// It is on its way, and nothing is certain yet.
    #[error(
        "the network {0} is being created or joined by this node; see `p2p-chat status` whether it is in, or give it up with `p2p-chat leave`"
    )]
    Entering(Name),
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
    /// The network's task can't store, or read, its data.
    #[error("{0}")]
    Unable(String),
}

#[derive(Default)]
struct State {
    entries: BTreeMap<NetworkId, Entry>,
    /// Names of networks that are being created or joined; the id of one that is joined.
    entering: BTreeMap<Name, Option<NetworkId>>,
    tasks: BTreeMap<NetworkId, Task>,
    /// How many entries those had that could not be deleted altogether: nobody finds them any more to count them.
    undeleted: BTreeMap<NetworkId, u64>,
}

/// The task of a network. Dropping this tells it to stop.
struct Task {
    _stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Task {
    /// Tells it to stop. Once it has ended it hands nothing more to the store.
    fn stop(self) -> JoinHandle<()> {
        self.ended
    }
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
        Self {
            identity: outbound.identity.clone(),
            name: outbound.name.clone(),
            address: outbound.address.clone(),
            store: outbound.store.clone(),
            directory: Arc::clone(&outbound.directory),
            traces,
            outbound,
            config,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up every network on the disk.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), HubError> {
        for stored in self.store.networks().await? {
            let (id, state) = (stored.id, stored_state(&self.store, stored.id).await);
            let left = Entry { id, name: stored.name.clone(), network: None };
            match state.map(|state| state.map(|state| state.phase)) {
                Ok(Some(Phase::Left)) => {
                    self.state().entries.insert(id, left);
                }
                // Nothing came of it before the node ended.
                Ok(None) => {
                    self.state().entries.insert(id, left);
                    if let Err(error) = self.discard(id).await {
                        tracing::warn!(network = %stored.name, %error, "what is left of the network stays");
                    }
                }
                // One that can't be read says so in its place, and the others go on.
                Ok(Some(_)) | Err(_) => {
                    self.start(id, stored.name, Start::Resume);
                }
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
        let entering = self.enter(&name, None)?;
        // Whether the caller waits for the end or not: what comes of nothing goes.
        let founding = tokio::spawn(Arc::clone(self).found(name, entering, cause));
        founding.await.unwrap_or_else(|error| Err(HubError::Unable(format!("the creation was broken off: {error}"))))
    }

    async fn found(
        self: Arc<Self>,
        name: Name,
        _entering: Entering,
        cause: Option<Context>,
    ) -> Result<NetworkId, HubError> {
        let genesis = Genesis { salt: rand::random(), name: name.clone(), creator: self.name.clone() };
        let (id, run) = Run::found(&self.identity, &genesis, wall_ms());
        let facts = first_entry(&run);
        let bytes = bytes::Bytes::from(run.encode());
        let deliver = Write::Deliver { author: run.author, first: 1, last: 1, arrived_ms: wall_ms(), late: false };
        let writes = vec![Write::Network { name: name.clone() }, Write::Run { run, bytes }, deliver];
        self.store.commit(id, writes).await?;
        let (reply, answer) = oneshot::channel();
        let network = facts.map(|genesis| self.start(id, name, Start::Found { genesis, cause, reply }));
        let result = self.entered(id, answer).await;
        if result.is_err() && network.is_some_and(|network| self.has_nothing_later(&network)) {
            self.discard(id).await?;
        }
        result.map(|_| id)
    }

    /// Whether a network is still listed, and no later task is in the place of this one.
    fn has_nothing_later(&self, network: &Network) -> bool {
        let state = self.state();
        let is_it = |entry: &Entry| entry.network.as_ref().is_none_or(|current| current.is(network));
        state.entries.get(&network.id).is_some_and(is_it)
    }

    /// Joins a network that a discovery service lists, trying for no longer than `limit`.
    pub(crate) async fn join(
        self: &Arc<Self>,
        (id, name): (NetworkId, Name),
        record: Record,
        limit: Duration,
        cause: Option<Context>,
    ) -> Result<Outcome, HubError> {
        let entering = self.enter(&name, Some(id))?;
        // Whether the caller waits for the end or not, as above.
        let joining = tokio::spawn(Arc::clone(self).joined_by((id, name), entering, record, (limit, cause)));
        joining.await.unwrap_or_else(|error| Err(HubError::Unable(format!("the join was broken off: {error}"))))
    }

    async fn joined_by(
        self: Arc<Self>,
        (id, name): (NetworkId, Name),
        _entering: Entering,
        record: Record,
        (limit, cause): (Duration, Option<Context>),
    ) -> Result<Outcome, HubError> {
        let new = self.store.entry_count(id).await? == 0;
        self.state().undeleted.remove(&id);
        // No task has this network: a commit that failed here earlier says nothing of the next one.
        self.store.check_writable(id).await?;
        self.store.commit(id, vec![Write::Network { name: name.clone() }]).await?;
        let (reply, answer) = oneshot::channel();
        let mut setup = self.setup(id);
        setup.config.join_timeout_ms = setup.config.join_timeout_ms.min(limit.as_millis() as u64);
        let network = self.start_with(setup, name, Start::Join { record, cause, reply });
        let result = self.entered(id, answer).await;
        // Nothing is listed any more where the node ends meanwhile: then the join goes on when it runs again.
        if result.is_err() && new && self.has_nothing_later(&network) {
            self.discard(id).await?;
        }
        result
    }

    async fn entered(
        &self,
        id: NetworkId,
        answer: oneshot::Receiver<Result<Outcome, CommandError>>,
    ) -> Result<Outcome, HubError> {
        if let Ok(result) = answer.await {
            return Ok(result?);
        }
        let look = match self.active(&id) {
            Some(network) => network.look().await,
            None => None,
        };
        let problem = look.and_then(|look| look.problem);
        Err(problem.map_or(HubError::Command(CommandError::Left), HubError::Unable))
    }

    /// Nothing came of it: the task ends, and what was written goes.
    async fn discard(&self, id: NetworkId) -> Result<(), HubError> {
        self.end(id).await;
        self.erase(id).await
    }

    /// Ends the task of a network, as if the node had left it.
    async fn end(&self, id: NetworkId) {
        let task = {
            let mut state = self.state();
            state.entries.entry(id).and_modify(|entry| entry.network = None);
            state.tasks.remove(&id)
        };
        if let Some(task) = task {
            let _ = task.stop().await;
        }
    }

    /// Deletes what is stored of a network whose task is over. Where that fails it counts as left, and can be forgotten
    /// later.
    async fn erase(&self, id: NetworkId) -> Result<(), HubError> {
        let begun = self.begin_to_erase(&mut self.state(), id);
        self.erased(id, begun).await
    }

    fn begin_to_erase(&self, state: &mut State, id: NetworkId) -> (Option<Entry>, Pending) {
        state.tasks.remove(&id);
        (state.entries.remove(&id), self.store.commit(id, vec![Write::Forget]))
    }

    async fn erased(&self, id: NetworkId, (entry, erased): (Option<Entry>, Pending)) -> Result<(), HubError> {
        let result = erased.await;
        if let (Err(_), Some(entry)) = (&result, entry) {
            self.state().entries.entry(id).or_insert(Entry { network: None, ..entry });
        }
        Ok(result?)
    }

    /// Deletes the log of a network that the node has left, or that is damaged so that it can't even be left. Returns how
    /// many entries it had.
    pub(crate) async fn forget(&self, wanted: &str) -> Result<u64, HubError> {
        let Entry { id, name, network } = self.find(wanted)?;
        if let Some(network) = network
            && self.is_damaged(&network).await
        {
            self.end(id).await;
        }
        let count = match self.store.entry_count(id).await {
            Err(StoreError::Damaged { .. }) => 0,
            count => count?,
        };
        let begun = {
            let mut state = self.state();
            // It may be joined again by now.
            let is_in = state.entries.get(&id).is_some_and(|entry| entry.network.is_some());
            if is_in || state.entering.get(&name) == Some(&Some(id)) {
                return Err(HubError::StillIn(name));
            }
            self.begin_to_erase(&mut state, id)
        };
        let erased = self.erased(id, begun).await;
        let undeleted = &mut self.state().undeleted;
        let count = undeleted.remove(&id).map_or(count, |before| before.max(count));
        if erased.is_err() {
            undeleted.insert(id, count);
        }
        erased.map(|()| count)
    }

    /// Whether the node can't take part in a network because what is stored of it is damaged: no disk that fails for a
    /// while, and nothing that its task could do without.
    async fn is_damaged(&self, network: &Network) -> bool {
        let takes_no_part = network.look().await.is_some_and(|look| look.problem.is_some());
        let setup = self.setup(network.id);
        takes_no_part && matches!(dormant(&setup, &self.store).await, Err(StoreError::Damaged { .. }))
    }

    /// Marks a network as being entered, until the mark is dropped.
    fn enter(self: &Arc<Self>, name: &Name, id: Option<NetworkId>) -> Result<Entering, HubError> {
        let mut state = self.state();
        let is_in = |entry: &Entry| entry.network.is_some();
        let member = match id {
            Some(id) => state.entries.get(&id).is_some_and(is_in),
            None => state.entries.values().any(|entry| entry.name == *name && is_in(entry)),
        };
        if state.entering.contains_key(name) {
            return Err(HubError::Entering(name.clone()));
        }
        if member {
            return Err(HubError::Member(name.clone()));
        }
        let is_known = id.is_some_and(|id| state.entries.contains_key(&id));
        if !is_known && state.entries.len() >= MAX_NETWORKS {
            return Err(HubError::Full);
        }
        state.entering.insert(name.clone(), id);
        Ok(Entering { hub: Arc::clone(self), name: name.clone() })
    }

    pub(crate) fn start(self: &Arc<Self>, id: NetworkId, name: Name, start: Start) -> Network {
        self.start_with(self.setup(id), name, start)
    }

    fn start_with(self: &Arc<Self>, setup: Setup, name: Name, start: Start) -> Network {
        let id = setup.network;
        let (network, messages, shared) = Network::new(id, name.clone(), self.traces.clone());
        let (store, outbound) = (self.store.clone(), Arc::clone(&self.outbound));
        let driver = Driver::new(setup, store, outbound, (network.clone(), messages, shared));
        let (stop, stopped) = oneshot::channel();
        let (hub, left) = (Arc::downgrade(self), network.clone());
        let mut state = self.state();
        state.entries.insert(id, Entry { id, name, network: Some(network.clone()) });
        let ended = tokio::spawn(async move {
            let is_over = driver.run(start, stopped).await;
            if let Some(hub) = hub.upgrade().filter(|_| is_over) {
                hub.on_left(&left).await;
            }
        });
        state.tasks.insert(id, Task { _stop: stop, ended });
        network
    }

    /// The node is in the network no more: its log stays, if there is one.
    async fn on_left(&self, network: &Network) {
        let id = network.id;
        match self.state().entries.get_mut(&id) {
            Some(entry) if entry.network.as_ref().is_some_and(|current| current.is(network)) => entry.network = None,
            // It is gone, or has been entered anew.
            _ => return,
        }
        let gone = match self.store.entry_count(id).await {
            Ok(0) => self.erase_unless_entered(network).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = gone {
            tracing::warn!(network = %id.short(), %error, "what is left of the network stays");
        }
    }

    /// Deletes a network that was left, unless it is being entered again, or has been.
    async fn erase_unless_entered(&self, network: &Network) -> Result<(), HubError> {
        let begun = {
            let mut state = self.state();
            let is_in = |entry: &Entry| entry.network.is_some();
            if state.entering.contains_key(&network.name) || state.entries.get(&network.id).is_some_and(is_in) {
                return Ok(());
            }
            self.begin_to_erase(&mut state, network.id)
        };
        self.erased(network.id, begun).await
    }

    /// Ends every task. What they have in hand is on disk once the store is closed, or was never acknowledged.
    pub(crate) async fn stop(&self) {
        let tasks = {
            let mut state = self.state();
            state.entries.clear();
            std::mem::take(&mut state.tasks)
        };
        let ending: Vec<_> = tasks.into_values().map(Task::stop).collect();
        for ended in ending {
            let _ = ended.await;
        }
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

#[cfg(test)]
pub(crate) mod tests;
