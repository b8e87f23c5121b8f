//! The engine's decisions, one input at a time: each test compares the exact outputs of a step. What several nodes
//! do together is the simulator's business, not this one's.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing useful fails, as it should")]

mod admission;
mod anything;
mod catchup;
mod common;
mod deciding;
mod delivery;
mod election;
mod holdback;
mod joining;
mod leaving;
mod liveness;
mod registration;
mod relay;
mod resume;
mod views;
mod voting;
