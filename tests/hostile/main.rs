//! Bad input over the live ports of a discovery service and of nodes: it is refused with the right code, and nothing
//! is different afterwards.
//!
//! - [`table`]: a row is a name, a call and what must come of it; before and after each row the whole state is read.
//! - [`outlaw`]: members and strangers that this program plays itself, with keys, feeds and ports of their own.
//! - [`raw`]: bytes that no generated client would send.
//! - [`frames`], [`siege`]: HTTP/2 by hand, and honest clients that are to be served all the same.

mod broken;
mod callbacks;
mod crafted;
mod databases;
mod entries;
mod fetches;
mod floods;
mod frames;
mod local;
mod members;
mod outlaw;
mod raw;
mod registry;
mod siege;
mod state;
mod strangers;
mod table;
mod terminal;
mod traces;

// Shared with the other test programs, each of which uses its part.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
