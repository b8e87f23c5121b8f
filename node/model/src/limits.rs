//! The caps of DESIGN §8 that are part of the contract between nodes. Every one is enforced where input arrives.

/// Longest text of a message, in bytes (64 KiB).
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Longest body of any entry, in bytes: a text plus room for its framing.
pub const MAX_BODY_BYTES: usize = MAX_TEXT_BYTES + 1024;
/// Longest name of a network or a member, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Longest address (`HOST:PORT`), in bytes.
pub const MAX_ADDRESS_BYTES: usize = 262;
/// Most members a view, a clock or a certificate may name.
pub const MAX_MEMBERS: usize = 1_000;
/// Most members whose addresses a discovery service gives of a network.
pub const MAX_CONTACTS: usize = 16;
/// Most entries in one run.
pub const MAX_RUN_ENTRIES: usize = 256;
/// Largest encoded run, in bytes (256 KiB), unless it is a single entry.
pub const MAX_RUN_BYTES: usize = 256 * 1024;
/// Largest encoded run of a single entry, in bytes: the body and a header that names every member.
pub const MAX_SINGLE_RUN_BYTES: usize = MAX_BODY_BYTES + MAX_MEMBERS * 48 + 1024;
/// Largest message on the wire, in bytes (4 MiB).
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// Highest Lamport time of an entry: half of what its number can hold, so that there is always a next one.
pub const MAX_LAMPORT: u64 = u64::MAX / 2;
/// How far above all Lamport times before it an entry's may be. One beyond waits, so that nobody can use the numbers up.
pub const MAX_LAMPORT_JUMP: u64 = 1 << 20;
/// How far ahead of its own epoch a node follows a claim. More is refused, so that nobody can use the numbers up.
pub const MAX_EPOCH_JUMP: u64 = 1 << 20;
/// The same for the version of a view and for the next node id in it: more than a busy network counts in a century.
pub const MAX_VIEW_JUMP: u64 = 1 << 32;
/// The highest epoch, version and node id with which a network is joined: there is always a next one.
pub const MAX_NUMBER_JOINED: u64 = 1 << 62;
