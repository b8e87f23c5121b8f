//! The group engine of p2p-chat: one network, as seen by one node, as a pure state machine.
//!
//! It has no socket, no clock, no source of randomness and no payload bytes. Time, chance and everything that
//! happens come in as an [`Input`]; everything that is to be done goes out as an [`Output`], to be executed in order.
//! The same inputs give the same outputs, so a seed replays a whole network in the simulator.
//!
//! | module | what it decides |
//! |---|---|
//! | `founding`, `joining`, `admission`, `leaving` | joins, leaves, the numbering of members (DESIGN §4.1) |
//! | `liveness` | who is alive: timers, pings, pings by others (§4.2) |
//! | `election`, `voting` | the Bully election with the lowest id winning, fenced by epochs and votes (§4.3) |
//! | `reign` | which view and which leader is followed |
//! | `registration` | what the discovery services are told |
//! | `feeds` | what is stored, the causal hold-back and delivery (§4.4) |
//! | `delivery`, `relay` | the cursors that hand the own feed to every active member |
//! | `catchup` | anti-entropy: finding and fetching what is missing |
//! | `roster` | who is a member, folded from signed entries (§4.5) |

mod admission;
mod catchup;
mod config;
mod delivery;
mod durable;
mod election;
mod engine;
mod feeds;
mod fingerprint;
mod founding;
mod io;
mod joining;
mod leaving;
mod liveness;
mod registration;
mod reign;
mod relay;
mod roster;
mod snapshot;
mod start;
mod timers;
mod voting;

pub use config::Config;
pub use durable::{Durable, MAX_STATE_BYTES, Phase};
pub use engine::Engine;
pub use io::{
    CallError, CallId, Command, CommandError, CommandId, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Done,
    EntryFacts, Event, Input, LeaderHint, Moment, Output, PeerCall, Record, Refusal, Request, RequestId, Response,
    RunFacts, RunToken, Standing, Way, Write,
};
pub use roster::{Member, Roster};
pub use snapshot::{CursorState, Figures, Snapshot};
pub use start::{FeedLog, Setup, Start};
