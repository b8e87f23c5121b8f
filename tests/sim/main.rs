//! The deterministic simulator: whole networks of engines and the discovery service's own registry under seeded
//! faults, in virtual time. No threads, no sockets, no clock; the same seed gives the same trace, byte for byte.
//!
//! | module | what it models |
//! |---|---|
//! | `world` | virtual time, the queue of events, what a run consists of |
//! | `node`, `edge`, `calls` | a process: the driver around an engine, and its calls to others |
//! | `disk` | what survives a crash |
//! | `net` | what arrives, when, and what does not |
//! | `discovery` | the Node Discovery Service around its real registry |
//! | `faults`, `users` | what goes wrong, and what people do meanwhile |
//! | `oracle` | one file an invariant; shares no code with the engine |
//! | `scenario` | named stories |
//! | `sweep` | random seeds: `SEEDS=1..5000 cargo test --release -p p2p-chat --test sim sweep -- --nocapture` |

mod calls;
mod describe;
mod discovery;
mod disk;
mod edge;
mod faults;
mod net;
mod node;
mod oracle;
mod rng;
mod scenario;
mod sweep;
mod tally;
mod trace;
mod users;
mod world;
