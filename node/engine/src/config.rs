//! The engine's settings: every time and every bound has its name here.

/// Times and bounds. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Least time of silence after which a follower pings the leader. Shorter finds a dead leader sooner and costs more pings.
    pub silence_min_ms: u64,
    /// Most time of that silence; above `silence_min_ms`, or all followers ping at once.
    pub silence_max_ms: u64,
    /// How long a ping may take. Well below `silence_min_ms`.
    pub ping_timeout_ms: u64,
    /// How long other members may take to ping somebody on this node's behalf: two pings in a row at least.
    pub indirect_timeout_ms: u64,
    /// How many other members are asked to ping a suspect (SWIM's k).
    pub indirect_pings: usize,
    /// After this silence the leader looks after a member. Above `silence_max_ms`, or it pings members that are about to ping it.
    pub member_silence_ms: u64,
    /// How long the answer to ELECTION may take: the asked one pings the leader first.
    pub elect_timeout_ms: u64,
    /// How long to wait for COORDINATOR from one that took over.
    pub coordinator_timeout_ms: u64,
    /// First wait after an election that failed; doubles up to `election_backoff_max_ms`.
    pub election_backoff_ms: u64,
    /// Longest wait between elections. Bounds how long a healed network stays without a leader.
    pub election_backoff_max_ms: u64,
    /// How often the leader renews its registration; a third of the service's lease of 30 s.
    pub lease_renewal_ms: u64,
    /// How soon a registration that failed is tried again.
    pub lease_retry_ms: u64,
    /// How long an answer of the discovery service may take; it pings somebody first.
    pub discovery_timeout_ms: u64,
    /// How often a node compares frontiers with a random member.
    pub anti_entropy_ms: u64,
    /// The same, while entries are held back for others that are not here: then who wrote them is asked, too.
    pub missing_retry_ms: u64,
    /// How long missing entries may be under way from their author before they are fetched.
    pub fetch_grace_ms: u64,
    /// How long a member is not asked again that did not have what it said it has.
    pub fruitless_ms: u64,
    /// How long the word of a member that it has more of the own feed can hold up writing.
    pub own_claim_ms: u64,
    /// How long writing waits after a start for the first word of another member on how much of the own feed there is.
    pub own_word_ms: u64,
    /// How long each chunk of a fetch may take.
    pub fetch_timeout_ms: u64,
    /// How long a fetch may take in all before another member that has something gets a turn.
    pub fetch_turn_ms: u64,
    /// How long the acknowledgement of handed-over entries may take, the receiver's fsync included.
    pub deliver_timeout_ms: u64,
    /// First wait before handing over again; doubles up to `deliver_backoff_max_ms`.
    pub deliver_backoff_ms: u64,
    /// Longest wait before handing over again.
    pub deliver_backoff_max_ms: u64,
    /// How long entries go by a relay before the direct way is tried again.
    pub direct_retry_ms: u64,
    /// How often a leader, or a node without one, calls on a member that is away.
    pub probe_away_ms: u64,
    /// How long a joiner may take to answer the leader that calls it back; one that is silent is called twice. A connection
    /// is made for it first, and nobody tries again for the user whose join fails: longer than a connection may take, so that
    /// the second call makes one of its own.
    pub call_back_timeout_ms: u64,
    /// How long a leader waits for one other member to store an admission before it answers the joiner.
    pub admission_wait_ms: u64,
    /// How long a join may take in all, tries at other leaders included.
    pub join_timeout_ms: u64,
    /// Wait between tries to join or to be let in again.
    pub join_retry_ms: u64,
    /// How long the last steps of a leave may take: the hand-over, or the leader's answer.
    pub leave_timeout_ms: u64,
    /// How late the engine may be called before it takes itself for the sick one and starts its timers anew.
    pub stall_ms: u64,
    /// Entries handed over in one call to one peer: as many as a run may have. Who lacks more is not waiting for its authors only.
    pub window_entries: u64,
    /// A peer that lacks more of the own feed than this is left to fetch.
    pub push_gap: u64,
    /// Entries of one author that may wait for what they depend on.
    pub max_held_per_feed: usize,
    /// Entries that may wait for what they depend on.
    pub max_held: usize,
    /// Texts that may wait while the node is not ready to write. Whoever drives the engine keeps what they say, bounds
    /// that, and hands over no more than these at a time: a text that is refused here is overtaken by those behind it.
    pub max_waiting_texts: usize,
    /// Joins that a leader handles at a time; half of them of those who are no members.
    pub max_pending_joins: usize,
    /// Relays and elections that may wait for an answer, each.
    pub max_pending_requests: usize,
}

impl Config {
    /// For machines in one building: latencies below some 50 ms.
    pub const LAN: Self = Self {
        silence_min_ms: 1_000,
        silence_max_ms: 2_000,
        ping_timeout_ms: 500,
        indirect_timeout_ms: 1_000,
        indirect_pings: 2,
        member_silence_ms: 4_000,
        elect_timeout_ms: 1_200,
        coordinator_timeout_ms: 3_000,
        election_backoff_ms: 500,
        election_backoff_max_ms: 4_000,
        lease_renewal_ms: 10_000,
        lease_retry_ms: 2_000,
        discovery_timeout_ms: 3_000,
        anti_entropy_ms: 10_000,
        missing_retry_ms: 2_000,
        fetch_grace_ms: 300,
        fruitless_ms: 10_000,
        own_claim_ms: 10_000,
        own_word_ms: 1_000,
        fetch_timeout_ms: 5_000,
        fetch_turn_ms: 30_000,
        deliver_timeout_ms: 2_000,
        deliver_backoff_ms: 100,
        deliver_backoff_max_ms: 5_000,
        direct_retry_ms: 5_000,
        probe_away_ms: 3_000,
        call_back_timeout_ms: 1_250,
        admission_wait_ms: 1_000,
        join_timeout_ms: 14_000,
        join_retry_ms: 500,
        leave_timeout_ms: 6_000,
        stall_ms: 1_000,
        window_entries: 256,
        push_gap: 2_048,
        max_held_per_feed: 1_024,
        max_held: 4_096,
        max_waiting_texts: 1_024,
        max_pending_joins: 64,
        max_pending_requests: 256,
    };

    /// For the internet: the detection of failures takes four times as long.
    pub const WAN: Self = Self {
        silence_min_ms: 4_000,
        silence_max_ms: 8_000,
        ping_timeout_ms: 2_000,
        indirect_timeout_ms: 4_000,
        member_silence_ms: 16_000,
        elect_timeout_ms: 4_800,
        coordinator_timeout_ms: 12_000,
        discovery_timeout_ms: 6_000,
        fetch_grace_ms: 1_200,
        own_word_ms: 4_000,
        fetch_timeout_ms: 15_000,
        fetch_turn_ms: 90_000,
        deliver_timeout_ms: 8_000,
        deliver_backoff_ms: 400,
        call_back_timeout_ms: 3_500,
        leave_timeout_ms: 24_000,
        stall_ms: 4_000,
        ..Self::LAN
    };
}
