//! What a node tells a monitor: `p2p_chat_*`, each described in `docs/operations.md`.
//!
//! What happens is counted where it happens, by atomics. What a network's engine knows is asked of its task when somebody
//! scrapes, at most once a second.

mod names;
mod network;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use p2p_chat_metrics::{Labels, Page, process};
use p2p_chat_model::NetworkId;
use p2p_chat_store::Store;
use p2p_chat_transport::{Calls, Traffic};
use tokio::{sync::Mutex, task::JoinSet, time::timeout};

pub(crate) use self::network::{Counts, Pinged};
use crate::{
    directory::Directory,
    hub::Hub,
    network::{Figures, Network},
};

/// How long the task of a network may take to say how it stands; a busy one is shown as it was before.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long an answer of a network's task holds.
const FRESH: Duration = Duration::from_secs(1);

/// What is counted of the whole node.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Calls that this node answers, of peers and of its own user.
    pub(crate) answered: Arc<Calls>,
    /// Calls that this node makes, to peers and to discovery services.
    pub(crate) made: Arc<Calls>,
    /// The sockets to peers and to discovery services.
    pub(crate) traffic: Arc<Traffic>,
    /// A discovery service in this process, if there may be one.
    pub(crate) embedded: Option<Arc<p2p_chat_nds::Metrics>>,
}

/// Puts the page together.
pub(crate) struct Exporter {
    metrics: Arc<Metrics>,
    hub: Weak<Hub>,
    known: Mutex<BTreeMap<NetworkId, (Instant, Figures)>>,
}

impl Exporter {
    pub(crate) fn new(metrics: Arc<Metrics>, hub: &Arc<Hub>) -> Self {
        Self { metrics, hub: Arc::downgrade(hub), known: Mutex::default() }
    }

    /// The text of one scrape.
    pub(crate) async fn page(&self) -> String {
        let mut page = Page::default();
        process(&mut page);
        self.sockets_and_calls(&mut page);
        if let Some(hub) = self.hub.upgrade() {
            store(&mut page, &hub.store);
            discovery(&mut page, &hub.directory);
            let networks = hub.entries().into_iter().filter_map(|entry| entry.network);
            self.networks(&mut page, networks.collect()).await;
        }
        if let Some(embedded) = &self.metrics.embedded {
            embedded.fill(&mut page);
        }
        page.text()
    }

    fn sockets_and_calls(&self, page: &mut Page) {
        let none = &Labels::NONE;
        let traffic = &self.metrics.traffic;
        page.counter(names::SOCKET_RECEIVED, none, traffic.received.value());
        page.counter(names::SOCKET_SENT, none, traffic.sent.value());
        page.counter(names::CONNECTIONS_ACCEPTED, none, traffic.accepted.value());
        page.counter(names::CONNECTIONS_REFUSED, none, traffic.refused.value());
        let labels = |service: &str, method: &str, code: &str| {
            none.with("service", service).with("method", method).with("code", code)
        };
        self.metrics.answered.each(
            &["Chat", "Election", "Liveness", "Membership", "Node"],
            |service, method, code, n| {
                page.counter(names::SERVER_CALLS, &labels(service, method, code), n);
            },
        );
        self.metrics.made.each(
            &["Chat", "Discovery", "Election", "Liveness", "Membership"],
            |service, method, code, n| {
                page.counter(names::CLIENT_CALLS, &labels(service, method, code), n);
            },
        );
    }

    async fn networks(&self, page: &mut Page, networks: Vec<Network>) {
        let mut known = self.known.lock().await;
        known.retain(|id, _| networks.iter().any(|network| network.id == *id));
        let is_fresh = |id: &NetworkId| known.get(id).is_some_and(|(at, _)| at.elapsed() < FRESH);
        // All at once: many that are busy take no longer than one.
        let mut asked = JoinSet::new();
        for network in networks.iter().filter(|network| !is_fresh(&network.id)).cloned() {
            asked.spawn(async move { (network.id, timeout(PATIENCE, network.figures()).await) });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((id, Ok(Some(figures)))) = answer {
                known.insert(id, (Instant::now(), figures));
            }
        }
        for network in networks {
            let labels = Labels::NONE.with("network", &network.name).with("network_id", network.id.short());
            network.counts.fill(page, &labels);
            page.gauge(names::INBOX_LENGTH, &labels, network.waiting() as f64);
            if let Some((_, figures)) = known.get(&network.id) {
                network::standing(page, &labels, figures);
            }
        }
    }
}

fn process(page: &mut Page) {
    let none = &Labels::NONE;
    page.gauge(names::BUILD_INFO, &none.with("version", env!("CARGO_PKG_VERSION")), 1.0);
    page.gauge(names::START_TIME, none, process::start_time_seconds());
    page.gauge(names::MEMORY, none, process::resident_memory_bytes().unwrap_or(0) as f64);
    page.gauge(names::DESCRIPTORS, none, process::open_descriptors().unwrap_or(0) as f64);
}

fn store(page: &mut Page, store: &Store) {
    let none = &Labels::NONE;
    let figures = store.figures();
    page.histogram(names::TRANSACTION_TIME, none, &figures.transaction_time);
    page.histogram(names::TRANSACTION_BYTES, none, &figures.transaction_bytes);
    page.counter(names::COMMITS, none, figures.commits.value());
    page.counter(names::COMMIT_FAILURES, none, figures.failures.value());
    let waiting = store.waiting();
    page.gauge(names::STORE_QUEUE, none, waiting.commits as f64);
    page.gauge(names::STORE_QUEUE_BYTES, none, waiting.bytes as f64);
    page.gauge(names::STORE_FILE, none, store.size_on_disk() as f64);
}

/// One series a configured service: their number is the user's choice.
fn discovery(page: &mut Page, directory: &Directory) {
    for state in directory.states() {
        let labels = Labels::NONE.with("url", &state.url);
        page.gauge(names::DISCOVERY_REACHABLE, &labels, f64::from(u8::from(state.trouble.is_none())));
        if let Some(age) = state.last_answer_age {
            page.gauge(names::DISCOVERY_AGE, &labels, age.as_secs_f64());
        }
    }
}
