//! The Node Discovery Service: which networks exist, and who leads each.
//!
//! ```text
//! gRPC -> service -> registrar -> registry (pure: the rules)
//!            |           +------> store    (SQLite, one writer, group commit)
//!            +-> pinger (calls nodes back)
//! ```
//!
//! - [`registry`] decides, without IO and without a clock, so that a simulator can run it too.
//! - [`store`] makes what it decided durable, before it is answered.
//! - [`probe`] calls nodes back.
//! - [`serve`] runs all of it on a listener, until its caller says stop. It binds no port and handles no signal.

mod clock;
mod config;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod limiter;
mod metrics;
pub mod probe;
mod registrar;
pub mod registry;
mod server;
mod service;
pub mod store;
#[cfg(test)]
mod testing;
mod watch;
mod wire;

pub use config::{Config, ConfigError};
pub use error::NdsError;
pub use metrics::{Metrics, Monitor};
pub use server::{serve, serve_with};
