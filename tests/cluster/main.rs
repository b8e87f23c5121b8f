//! Clusters of real processes over real gRPC, and the faults they must survive. After each fault: nothing that was
//! acknowledged is lost, doubled or shown out of order, and everybody sees the same.
//!
//! Figures and skipped tests are printed past the harness. With `P2P_CHAT_TEST_KEEP` set, the directory of a
//! failed test is kept.

mod checks;
mod cuts;
mod discovery;
mod disk;
mod flood;
mod foreign;
mod history;
mod leader;
mod lifecycle;
mod lines;
mod logs;
mod member;
mod metrics;
mod sending;
mod slow;
mod starting;
mod traces;

// Shared with the other test programs, each of which uses its part.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
