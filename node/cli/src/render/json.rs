//! The objects that `--json` prints, one a line. Their field names are a contract (DESIGN §7).
//!
//! Times are RFC 3339 in UTC with milliseconds, or null where there is none. Identifiers are hexadecimal,
//! message ids UUIDs.

use jiff::Timestamp;
use p2p_chat_proto::v1;
use serde::Serialize;

/// A message: `history`, `listen`, `chat`, and within [`Inspection`].
#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    network: &'a str,
    id: &'a str,
    author: &'a str,
    author_name: &'a str,
    seq: u64,
    lamport: u64,
    time: Option<String>,
    kind: &'a str,
    text: &'a str,
}

impl<'a> From<&'a v1::Message> for Message<'a> {
    fn from(from: &'a v1::Message) -> Self {
        Self {
            network: &from.network,
            id: &from.id,
            author: &from.author,
            author_name: &from.author_name,
            seq: from.seq,
            lamport: from.lamport,
            time: time(from.time_ms),
            kind: &from.kind,
            text: &from.text,
        }
    }
}

/// A member: `members`. `node_id` is 0 while it is away.
#[derive(Debug, Serialize)]
pub(crate) struct Member<'a> {
    name: &'a str,
    peer: &'a str,
    node_id: u64,
    role: &'a str,
    state: &'a str,
    address: &'a str,
    leader: bool,
}

impl<'a> From<&'a v1::Member> for Member<'a> {
    fn from(from: &'a v1::Member) -> Self {
        Self {
            name: &from.name,
            peer: &from.peer,
            node_id: from.node_id,
            role: &from.role,
            state: &from.state,
            address: &from.address,
            leader: from.leader,
        }
    }
}

/// A network: `networks`, `create`. `left` means that the node was in it and keeps its log.
#[derive(Debug, Serialize)]
pub(crate) struct Network<'a> {
    name: &'a str,
    id: &'a str,
    leader: &'a str,
    leader_address: &'a str,
    epoch: u64,
    members: u32,
    joined: bool,
    stale: bool,
    left: bool,
}

impl<'a> Network<'a> {
    pub(crate) fn listed(from: &'a v1::NetworkInfo, left: bool) -> Self {
        Self { left, ..from.into() }
    }
}

impl<'a> From<&'a v1::NetworkInfo> for Network<'a> {
    fn from(from: &'a v1::NetworkInfo) -> Self {
        Self {
            name: &from.name,
            id: &from.id,
            leader: &from.leader,
            leader_address: &from.leader_address,
            epoch: from.epoch,
            members: from.members,
            joined: from.joined,
            stale: from.stale,
            left: false,
        }
    }
}

/// `join`: the network, and the id the node got in it.
#[derive(Debug, Serialize)]
pub(crate) struct Joined<'a> {
    #[serde(flatten)]
    pub(crate) network: Network<'a>,
    pub(crate) node_id: u64,
}

/// `leave`.
#[derive(Debug, Serialize)]
pub(crate) struct Left<'a> {
    pub(crate) network: &'a str,
    pub(crate) unreplicated: u64,
    pub(crate) closed: bool,
}

/// `forget`.
#[derive(Debug, Serialize)]
pub(crate) struct Forgotten<'a> {
    pub(crate) network: &'a str,
    pub(crate) entries: u64,
}

/// `send`. Where the wait timed out (exit code 5), only `network` and `id` are known.
#[derive(Debug, Serialize)]
pub(crate) struct Sent<'a> {
    pub(crate) network: &'a str,
    pub(crate) id: &'a str,
    #[serde(flatten)]
    pub(crate) receipt: Option<Receipt>,
}

/// The rest of [`Sent`]. `stored_by` counts the other members that have it on disk, of `members` others.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    pub(crate) seq: u64,
    pub(crate) lamport: u64,
    pub(crate) stored_by: u32,
    pub(crate) members: u32,
}

/// `health`.
#[derive(Debug, Serialize)]
pub(crate) struct Health<'a> {
    pub(crate) address: &'a str,
    pub(crate) status: &'a str,
}

/// `serve` and `nds`, once they accept calls.
#[derive(Debug, Serialize)]
pub(crate) struct Listening<'a> {
    pub(crate) listening: &'a str,
}

/// `inspect`: `{"message":{...},"custody":[{"member_name","member_peer","state","time","way","active"}]}`.
#[derive(Debug, Serialize)]
pub(crate) struct Inspection<'a> {
    message: Option<Message<'a>>,
    custody: Vec<Custody<'a>>,
}

#[derive(Debug, Serialize)]
struct Custody<'a> {
    member_name: &'a str,
    member_peer: &'a str,
    state: &'a str,
    time: Option<String>,
    way: &'a str,
    active: bool,
}

impl<'a> From<&'a v1::InspectResponse> for Inspection<'a> {
    fn from(from: &'a v1::InspectResponse) -> Self {
        let custody = from.custody.iter().map(|custody| Custody {
            member_name: &custody.member_name,
            member_peer: &custody.member_peer,
            state: &custody.state,
            time: time(custody.time_ms).filter(|_| custody.time_ms > 0),
            way: &custody.way,
            active: custody.active,
        });
        Self { message: from.message.as_ref().map(Message::from), custody: custody.collect() }
    }
}

/// `status`.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    peer: &'a str,
    name: &'a str,
    address: &'a str,
    data_dir: &'a str,
    version: &'a str,
    pid: u32,
    uptime_ms: u64,
    discovery: Vec<Discovery<'a>>,
    networks: Vec<NetworkState<'a>>,
}

#[derive(Debug, Serialize)]
struct Discovery<'a> {
    url: &'a str,
    reachable: bool,
    error: &'a str,
    embedded: bool,
    last_answer_age_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct NetworkState<'a> {
    name: &'a str,
    id: &'a str,
    phase: &'static str,
    node_id: u64,
    epoch: u64,
    view_version: u64,
    leader_name: &'a str,
    leader_peer: &'a str,
    leader_address: &'a str,
    leading: bool,
    leader_alive: bool,
    members: u32,
    active: u32,
    entries: u64,
    held_back: u64,
    unread: u64,
    read_position: u64,
    missing: Vec<Missing<'a>>,
    owed: Vec<Owed<'a>>,
    frozen: Vec<Frozen<'a>>,
    unlisted: Vec<Unlisted<'a>>,
    problem: &'a str,
}

#[derive(Debug, Serialize)]
struct Missing<'a> {
    author_name: &'a str,
    author_peer: &'a str,
    entries: u64,
    asking: &'a str,
}

#[derive(Debug, Serialize)]
struct Owed<'a> {
    member_name: &'a str,
    member_peer: &'a str,
    entries: u64,
    way: &'a str,
}

#[derive(Debug, Serialize)]
struct Frozen<'a> {
    author_name: &'a str,
    author_peer: &'a str,
}

#[derive(Debug, Serialize)]
struct Unlisted<'a> {
    url: &'a str,
    reason: &'a str,
}

impl<'a> From<&'a v1::StatusResponse> for Status<'a> {
    fn from(from: &'a v1::StatusResponse) -> Self {
        let discovery = from.discovery.iter().map(|service| Discovery {
            url: &service.url,
            reachable: service.reachable,
            error: &service.error,
            embedded: service.embedded,
            last_answer_age_ms: service.last_answer_age_ms,
        });
        Self {
            peer: &from.peer,
            name: &from.name,
            address: &from.address,
            data_dir: &from.data_dir,
            version: &from.version,
            pid: from.pid,
            uptime_ms: from.uptime_ms,
            discovery: discovery.collect(),
            networks: from.networks.iter().map(NetworkState::from).collect(),
        }
    }
}

impl<'a> From<&'a v1::NetworkState> for NetworkState<'a> {
    fn from(from: &'a v1::NetworkState) -> Self {
        let missing = from.missing.iter().map(|missing| Missing {
            author_name: &missing.author_name,
            author_peer: &missing.author_peer,
            entries: missing.entries,
            asking: &missing.asking,
        });
        let owed = from.owed.iter().map(|owed| Owed {
            member_name: &owed.member_name,
            member_peer: &owed.member_peer,
            entries: owed.entries,
            way: &owed.way,
        });
        let frozen = from
            .frozen
            .iter()
            .map(|frozen| Frozen { author_name: &frozen.author_name, author_peer: &frozen.author_peer });
        let unlisted = from.unlisted.iter().map(|it| Unlisted { url: &it.url, reason: &it.reason });
        Self {
            name: &from.name,
            id: &from.id,
            phase: phase(from.phase()),
            node_id: from.node_id,
            epoch: from.epoch,
            view_version: from.view_version,
            leader_name: &from.leader_name,
            leader_peer: &from.leader_peer,
            leader_address: &from.leader_address,
            leading: from.leading,
            leader_alive: from.leader_alive,
            members: from.members,
            active: from.active,
            entries: from.entries,
            held_back: from.held_back,
            unread: from.unread,
            read_position: from.read_position,
            missing: missing.collect(),
            owed: owed.collect(),
            frozen: frozen.collect(),
            unlisted: unlisted.collect(),
            problem: &from.problem,
        }
    }
}

/// The word for what a node does in a network.
pub(crate) fn phase(phase: v1::Phase) -> &'static str {
    match phase {
        v1::Phase::Unspecified => "unknown",
        v1::Phase::Joining => "joining",
        v1::Phase::Joined => "joined",
        v1::Phase::Leaving => "leaving",
        v1::Phase::Left => "left",
        v1::Phase::Broken => "broken",
    }
}

fn time(time_ms: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(time_ms).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}
