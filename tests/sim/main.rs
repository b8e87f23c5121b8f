//! The deterministic simulator: whole networks of engines and the discovery services' own registry under seeded
//! faults, in virtual time. No threads, no sockets, no clock; the same seed gives the same trace, byte for byte.
//!
//! | module | what it models |
//! |---|---|
//! | `world` | virtual time, the queue of events, what a run consists of |
//! | `node`, `edge`, `calls` | a process: the driver around an engine, and its calls to others |
//! | `life`, `clock` | crashes, pauses, failing disks; what a node takes for the time |
//! | `disk`, `commit` | what survives a crash; what is written in one go |
//! | `net` | what arrives, when, and what does not |
//! | `discovery`, `founding` | the Node Discovery Services around their real registry: one, or up to three in some seeds |
//! | `faults`, `users` | what goes wrong, and what people do meanwhile |
//! | `gaps` | which of it the product does not bear yet |
//! | `notice`, `tally`, `traffic` | what a sweep has to have seen; what it costs |
//! | `bad` | a member that lies |
//! | `oracle` | one file an invariant; shares no code with the engine |
//! | `scenario` | named stories |
//! | `sweep` | random seeds: `SEEDS=1..5000 cargo test --release -p p2p-chat --test sim sweep -- --nocapture` |

mod bad;
mod calls;
mod clock;
mod commit;
mod describe;
mod discovery;
mod disk;
mod edge;
mod faults;
mod founding;
mod gaps;
mod life;
mod net;
mod node;
mod notice;
mod oracle;
mod rng;
mod scenario;
mod sweep;
mod tally;
mod trace;
mod traffic;
mod users;
mod world;
