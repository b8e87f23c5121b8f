//! The vocabulary of p2p-chat, shared by the engine, the node and the Node Discovery Service.
//!
//! Everything here is a value: identities and signatures, the entries of a feed and the runs in which they
//! travel, vector clocks, views, votes and registrations. There is no IO, no clock and no randomness; what is
//! random (a key, a salt) comes in as bytes.

pub mod clock;
pub mod codec;
pub mod entry;
pub mod host;
pub mod id;
pub mod key;
pub mod limits;
pub mod name;
pub mod registration;
pub mod run;
pub mod view;
pub mod vote;

pub use clock::VectorClock;
pub use codec::DecodeError;
pub use entry::{Entry, EntryKind, Genesis, Header, RosterOp};
pub use id::{EntryHash, Epoch, MessageId, NetworkId, NodeId, PeerId, Seq};
pub use key::{BadSignature, Identity, Signature};
pub use name::{Name, NameError};
pub use registration::Registration;
pub use run::{Run, RunError};
pub use view::{ActiveMember, Address, AddressError, View, ViewError};
pub use vote::{Certificate, Rank, Vote};
