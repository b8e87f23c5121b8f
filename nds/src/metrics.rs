//! What the service tells a monitor: `p2p_chat_nds_*`, each described in `docs/operations.md`.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use p2p_chat_metrics::{Counter, Histogram, Labels, Metric, Page, process};
use p2p_chat_traces::Traces;
use p2p_chat_transport::{Calls, Places, Traffic};

use crate::{
    error::{CallError, REASONS},
    registrar::{Command, Purpose, Registrar},
};

/// Bounds for probes and writes, microseconds.
const TIMES_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

const KINDS: [&str; 4] = ["create", "update", "renew", "close"];
const OUTCOMES: [&str; 4] = ["reached", "unreachable", "timed_out", "not_made"];

/// What came of calling a node back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probed {
    /// It answered.
    Reached,
    /// It can't be reached, or somebody else answers.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// Too many are called back already.
    NotMade,
}

/// The counters of one service. They outlive the service, so that one that is started again goes on counting.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) calls: Arc<Calls>,
    pub(crate) traffic: Arc<Traffic>,
    statements: [Counter; KINDS.len()],
    refusals: [Counter; REASONS.len()],
    probes: [Counter; OUTCOMES.len()],
    pub(crate) probe_time: Histogram,
    pub(crate) write_time: Histogram,
    pub(crate) write_failures: Counter,
    pub(crate) purged: Counter,
    running: Mutex<Option<Running>>,
}

/// To whom the service tells what it does. By default to nobody.
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    /// Counts it.
    pub metrics: Arc<Metrics>,
    /// Gets spans of the statements that it settles.
    pub traces: Traces,
}

/// What is looked up at each scrape.
struct Running {
    registrar: Registrar,
    watchers: Places,
    file: std::path::PathBuf,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: Arc::default(),
            traffic: Arc::default(),
            statements: Default::default(),
            refusals: std::array::from_fn(|_| Counter::default()),
            probes: Default::default(),
            probe_time: Histogram::of_durations(&TIMES_US),
            write_time: Histogram::of_durations(&TIMES_US),
            write_failures: Counter::default(),
            purged: Counter::default(),
            running: Mutex::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn on_accepted(&self, command: &Command) {
        let Command::Follow(statement) = command else { return };
        let index = match statement.purpose {
            Purpose::Create(_) => 0,
            Purpose::Update(_) => 1,
            Purpose::Renew => 2,
            Purpose::Close => 3,
        };
        self.statements[index].increment();
    }

    pub(crate) fn on_refused(&self, error: &CallError) {
        if let Some(counter) = self.refusals.get(error.reason()) {
            counter.increment();
        }
    }

    pub(crate) fn on_probed(&self, outcome: Probed) {
        self.probes[outcome as usize].increment();
    }

    pub(crate) fn on_started(&self, registrar: Registrar, watchers: Places, file: std::path::PathBuf) {
        let running = Running { registrar, watchers, file };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    pub(crate) fn on_stopped(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The whole page of a process that is a discovery service.
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        let none = &Labels::NONE;
        page.gauge(BUILD_INFO, &none.with("version", env!("CARGO_PKG_VERSION")), 1.0);
        page.gauge(START_TIME, none, process::start_time_seconds());
        page.gauge(MEMORY, none, process::resident_memory_bytes().unwrap_or(0) as f64);
        page.gauge(DESCRIPTORS, none, process::open_descriptors().unwrap_or(0) as f64);
        self.fill(&mut page);
        page
    }

    /// What is about the service, for the page of a process that also is something else.
    pub fn fill(&self, page: &mut Page) {
        let none = &Labels::NONE;
        page.counter(RECEIVED, none, self.traffic.received.value());
        page.counter(SENT, none, self.traffic.sent.value());
        page.counter(ACCEPTED, none, self.traffic.accepted.value());
        page.counter(REFUSED_CONNECTIONS, none, self.traffic.refused.value());
        self.calls.each(&["Discovery"], |service, method, code, count| {
            let labels = none.with("service", service).with("method", method).with("code", code);
            page.counter(CALLS, &labels, count);
        });
        for (kind, counter) in KINDS.iter().zip(&self.statements) {
            page.counter(STATEMENTS, &none.with("kind", kind), counter.value());
        }
        for (reason, counter) in REASONS.iter().zip(&self.refusals) {
            page.counter(REFUSALS, &none.with("reason", reason), counter.value());
        }
        for (outcome, counter) in OUTCOMES.iter().zip(&self.probes) {
            page.counter(PROBES, &none.with("outcome", outcome), counter.value());
        }
        page.histogram(PROBE_TIME, none, &self.probe_time);
        page.histogram(WRITE_TIME, none, &self.write_time);
        page.counter(WRITE_FAILURES, none, self.write_failures.value());
        page.counter(PURGED, none, self.purged.value());
        if let Some(running) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            running.fill(page);
        }
    }
}

impl Running {
    fn fill(&self, page: &mut Page) {
        let none = &Labels::NONE;
        let (networks, stale) = self.registrar.read(|registry, now| (registry.len(), registry.stale(now)));
        page.gauge(NETWORKS, none, networks as f64);
        page.gauge(STALE, none, stale as f64);
        page.gauge(QUEUE, none, self.registrar.waiting() as f64);
        page.gauge(WATCHERS, none, self.watchers.taken_by_all() as f64);
        let size = fs::metadata(&self.file).map_or(0, |metadata| metadata.len());
        page.gauge(FILE, none, size as f64);
    }
}

const BUILD_INFO: Metric = Metric::gauge("p2p_chat_nds_build_info", "Always 1; the version is in the label");
const START_TIME: Metric =
    Metric::gauge("p2p_chat_nds_process_start_time_seconds", "When the process started, seconds since 1970");
const MEMORY: Metric = Metric::gauge("p2p_chat_nds_process_resident_memory_bytes", "Memory of the process in RAM");
const DESCRIPTORS: Metric =
    Metric::gauge("p2p_chat_nds_process_open_descriptors", "Files and sockets that the process has open");
const RECEIVED: Metric = Metric::counter("p2p_chat_nds_socket_received_bytes_total", "Bytes that came in");
const SENT: Metric = Metric::counter("p2p_chat_nds_socket_sent_bytes_total", "Bytes that went out");
const ACCEPTED: Metric = Metric::counter("p2p_chat_nds_connections_accepted_total", "Connections accepted");
const REFUSED_CONNECTIONS: Metric =
    Metric::counter("p2p_chat_nds_connections_refused_total", "Connections closed because there were too many");
const CALLS: Metric = Metric::counter("p2p_chat_nds_rpc_server_calls_total", "Calls answered, by method and code");
const STATEMENTS: Metric = Metric::counter(
    "p2p_chat_nds_statements_total",
    "Statements of leaders that were followed; renew is a lease renewal",
);
const REFUSALS: Metric = Metric::counter("p2p_chat_nds_refusals_total", "Calls refused, by reason");
const PROBES: Metric = Metric::counter("p2p_chat_nds_probes_total", "Nodes called back, by outcome");
const PROBE_TIME: Metric = Metric::histogram("p2p_chat_nds_probe_seconds", "How long calling a node back took");
const WRITE_TIME: Metric =
    Metric::histogram("p2p_chat_nds_store_write_seconds", "How long writing the record took, the sync included");
const WRITE_FAILURES: Metric =
    Metric::counter("p2p_chat_nds_store_write_failures_total", "Writes of the record that failed");
const PURGED: Metric =
    Metric::counter("p2p_chat_nds_purged_total", "Networks purged since nobody renewed them for long");
const NETWORKS: Metric = Metric::gauge("p2p_chat_nds_networks", "Networks on record, the stale ones too");
const STALE: Metric = Metric::gauge("p2p_chat_nds_networks_stale", "Networks on record whose lease has run out");
const QUEUE: Metric = Metric::gauge("p2p_chat_nds_queue_length", "Statements that wait for the writer");
const WATCHERS: Metric = Metric::gauge("p2p_chat_nds_watchers", "Open WatchNetworks calls");
const FILE: Metric = Metric::gauge("p2p_chat_nds_store_file_bytes", "Size of the database");
