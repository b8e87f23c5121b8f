//! A p2p-chat node: what stands between the engine, which decides, and the world.
//!
//! ```text
//! local API --------+
//! peer services ----+-> network (one task each) -> engine (pure)
//! outbound ---------+          |-> store (one writer, group commit) -> bus -> local API
//!                              +-> outbound -> peers, discovery services
//! ```
//!
//! The task of a network executes what its engine says, in order: what is written is on disk before anything that
//! follows it is done. Nothing here decides about membership, leaders or delivery.

mod bus;
mod directory;
mod embedded;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod hub;
mod local;
mod lock;
mod metrics;
mod network;
mod node;
mod outbound;
mod rate;
mod services;
mod wire;

pub use host::ProcessHost;
pub use node::{Node, NodeError};
