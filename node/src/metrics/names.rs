//! The metrics of a node. A name and its meaning are a promise to dashboards: they only ever get company.

use p2p_chat_metrics::Metric;

pub(super) const BUILD_INFO: Metric = Metric::gauge("p2p_chat_build_info", "Always 1; the version is in the label");
pub(super) const START_TIME: Metric =
    Metric::gauge("p2p_chat_process_start_time_seconds", "When the process started, seconds since 1970");
pub(super) const MEMORY: Metric =
    Metric::gauge("p2p_chat_process_resident_memory_bytes", "Memory of the process in RAM");
pub(super) const DESCRIPTORS: Metric =
    Metric::gauge("p2p_chat_process_open_descriptors", "Files and sockets that the process has open");

pub(super) const SOCKET_RECEIVED: Metric = Metric::counter(
    "p2p_chat_socket_received_bytes_total",
    "Bytes that came in from peers and discovery services, TLS included",
);
pub(super) const SOCKET_SENT: Metric = Metric::counter(
    "p2p_chat_socket_sent_bytes_total",
    "Bytes that went out to peers and discovery services, TLS included",
);
pub(super) const CONNECTIONS_ACCEPTED: Metric =
    Metric::counter("p2p_chat_connections_accepted_total", "Connections accepted on the port for peers");
pub(super) const CONNECTIONS_REFUSED: Metric =
    Metric::counter("p2p_chat_connections_refused_total", "Connections closed because there were too many");
pub(super) const SERVER_CALLS: Metric =
    Metric::counter("p2p_chat_rpc_server_calls_total", "Calls answered, of peers and of the local API, by their code");
pub(super) const CLIENT_CALLS: Metric = Metric::counter(
    "p2p_chat_rpc_client_calls_total",
    "Calls made to peers and discovery services, by their code; DEADLINE_EXCEEDED is no answer in time",
);

pub(super) const TRANSACTION_TIME: Metric =
    Metric::histogram("p2p_chat_store_transaction_seconds", "How long a transaction took, the sync included");
pub(super) const TRANSACTION_BYTES: Metric =
    Metric::histogram("p2p_chat_store_transaction_bytes", "How large a transaction was");
pub(super) const COMMITS: Metric =
    Metric::counter("p2p_chat_store_commits_total", "Commits on disk; several share a transaction when they pile up");
pub(super) const COMMIT_FAILURES: Metric =
    Metric::counter("p2p_chat_store_commit_failures_total", "Commits that failed");
pub(super) const STORE_QUEUE: Metric = Metric::gauge("p2p_chat_store_queue_length", "Commits that wait for the writer");
pub(super) const STORE_QUEUE_BYTES: Metric =
    Metric::gauge("p2p_chat_store_queue_bytes", "How large the commits are that wait for the writer; at most 64 MiB");
pub(super) const STORE_FILE: Metric =
    Metric::gauge("p2p_chat_store_file_bytes", "Size of the database, with its write-ahead log");

pub(super) const DISCOVERY_REACHABLE: Metric = Metric::gauge(
    "p2p_chat_discovery_reachable",
    "Whether the last call to a discovery service was answered (1) or not",
);
pub(super) const DISCOVERY_AGE: Metric =
    Metric::gauge("p2p_chat_discovery_last_answer_age_seconds", "How long ago a discovery service last answered");

pub(super) const MESSAGES_SENT: Metric =
    Metric::counter("p2p_chat_messages_sent_total", "Texts of this node that are on its disk");
pub(super) const MESSAGES_DELIVERED: Metric =
    Metric::counter("p2p_chat_messages_delivered_total", "Texts of others that were stored and shown here");
pub(super) const ENTRIES_RECEIVED: Metric = Metric::counter(
    "p2p_chat_entries_received_total",
    "Entries of others that were stored, handed_over by somebody or fetched by this node",
);
pub(super) const ENTRIES_DUPLICATE: Metric =
    Metric::counter("p2p_chat_entries_duplicate_total", "Entries that came again");
pub(super) const ENTRIES_NOT_TAKEN: Metric = Metric::counter(
    "p2p_chat_entries_not_taken_total",
    "Entries that came too early, or that can't be taken; they come again if they are wanted",
);
pub(super) const ENTRIES_ACKNOWLEDGED: Metric = Metric::counter(
    "p2p_chat_entries_acknowledged_total",
    "Own entries that a member has on disk, once for each member, by the way they took: direct, relayed or fetched",
);
pub(super) const ACK_LATENCY: Metric = Metric::histogram(
    "p2p_chat_ack_latency_seconds",
    "From an own entry on this disk to the ack of one member, once for each member",
);
pub(super) const DELIVERY_LATENCY: Metric = Metric::histogram(
    "p2p_chat_delivery_latency_seconds",
    "From the author's wall clock when it wrote a text to its delivery here; both clocks and all absences included",
);
pub(super) const ELECTIONS: Metric =
    Metric::counter("p2p_chat_elections_total", "Elections in which this node stood, one for each epoch");
pub(super) const LEADER_CHANGES: Metric =
    Metric::counter("p2p_chat_leader_changes_total", "New leaders that this node followed, or became");
pub(super) const LEADER_LOSSES: Metric =
    Metric::counter("p2p_chat_leader_losses_total", "How often the leader could not be reached by anybody asked");
pub(super) const JOINS: Metric =
    Metric::counter("p2p_chat_joins_total", "Members that became active for the first time");
pub(super) const LEAVES: Metric = Metric::counter("p2p_chat_leaves_total", "Members that left");
pub(super) const DROP_OUTS: Metric =
    Metric::counter("p2p_chat_drop_outs_total", "Members that dropped out of the view, not reachable");
pub(super) const RETURNS: Metric = Metric::counter("p2p_chat_returns_total", "Members that came back into the view");
pub(super) const PINGS: Metric =
    Metric::counter("p2p_chat_pings_total", "Pings of members by this node, answered or unanswered");
pub(super) const EQUIVOCATIONS: Metric =
    Metric::counter("p2p_chat_equivocations_total", "Feeds found with two entries under one number");
pub(super) const BROKEN: Metric = Metric::gauge(
    "p2p_chat_storage_broken",
    "Whether the network stands still because its data can't be written, or is damaged (1)",
);
pub(super) const INBOX_LENGTH: Metric =
    Metric::gauge("p2p_chat_inbox_length", "Inputs that wait for the task of the network; at most 1,024");
pub(super) const INBOX_REFUSALS: Metric =
    Metric::counter("p2p_chat_inbox_refusals_total", "Requests of peers refused because the inbox was full");

pub(super) const EPOCH: Metric = Metric::gauge("p2p_chat_epoch", "The reign that is followed");
pub(super) const VIEW_VERSION: Metric = Metric::gauge("p2p_chat_view_version", "The version of the view");
pub(super) const VIEW_MEMBERS: Metric = Metric::gauge("p2p_chat_view_members", "Members that are active");
pub(super) const MEMBERS: Metric = Metric::gauge("p2p_chat_members", "Members, active or away");
pub(super) const LEADING: Metric = Metric::gauge("p2p_chat_leading", "Whether this node leads (1)");
pub(super) const LEADER_ALIVE: Metric =
    Metric::gauge("p2p_chat_leader_alive", "Whether there is a leader that answered lately, or this node leads (1)");
pub(super) const IN_VIEW: Metric = Metric::gauge("p2p_chat_in_view", "Whether this node is in the view (1)");
pub(super) const ENTRIES: Metric = Metric::gauge("p2p_chat_entries", "Entries on disk, of all authors");
pub(super) const ENTRIES_HELD_BACK: Metric =
    Metric::gauge("p2p_chat_entries_held_back", "Entries on disk that wait for what they depend on");
pub(super) const ENTRIES_MISSING: Metric =
    Metric::gauge("p2p_chat_entries_missing", "Entries that others are known to have and this node lacks");
pub(super) const ACKS_OUTSTANDING: Metric = Metric::gauge(
    "p2p_chat_acks_outstanding",
    "Own entries that members have not acknowledged, summed over members that are active, or away",
);
pub(super) const FROZEN_FEEDS: Metric =
    Metric::gauge("p2p_chat_frozen_feeds", "Authors that contradicted themselves; nothing more is taken of them");
pub(super) const COMMITS_IN_FLIGHT: Metric =
    Metric::gauge("p2p_chat_commits_in_flight", "Commits of the network that are on their way to the disk; at most 64");
