//! File descriptors: each connection needs one, and most systems give a process 1,024 unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most that are asked for: more than all connections of a node and a discovery service together.
pub const ENOUGH: u64 = 1 << 16;

/// Lets this process have more file descriptors, as far as the system allows. Call it before it serves anybody.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        tracing::warn!(%error, ?current, "can't have more file descriptors, and so not more connections");
    }
}
