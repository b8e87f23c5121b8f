//! How bytes come and go: one port for mutually authenticated TLS and plaintext HTTP/2, and dialling with pinned keys.
//!
//! - [`identity_file`]: the node's key on disk.
//! - [`tls`]: TLS 1.3 without a certificate authority. The key in a certificate *is* the [`PeerId`], and is compared.
//! - [`listen`]: accepted connections as a stream for tonic, and who is [calling](caller).
//! - [`dial`]: channels to peers, to a discovery service and to the local API.
//! - [`observe`], [`traffic`]: what is counted of calls and of sockets; [`exposition`]: the page that tells a monitor.
//! - [`bodies`], [`answers`]: what calls may hold on their way in and out; [`places`]: what hosts have to share.
//! - [`descriptors`]: how many connections the system allows.
//! - [`status`]: the real cause behind tonic's "transport error".
//! - [`server`]: the settings and the services that every server of p2p-chat has.
//!
//! [`PeerId`]: p2p_chat_model::PeerId

pub mod answers;
pub mod bodies;
mod connection;
mod cork;
pub mod descriptors;
pub mod dial;
pub mod exposition;
pub mod identity_file;
mod last_frame;
pub mod listen;
pub mod observe;
pub mod places;
pub mod server;
pub mod sizes;
pub mod status;
pub mod tls;
pub mod traffic;

pub use connection::{Caller, Connection, Hangup, caller, hangup};
pub use dial::{DialError, DialSettings, Dialer, UrlError};
pub use identity_file::IdentityFileError;
pub use listen::{Incoming, Limits, incoming};
pub use observe::{Calls, Line};
pub use places::{Place, Places};
pub use status::{describe, is_unanswered};
pub use tls::TlsError;
pub use traffic::Traffic;
