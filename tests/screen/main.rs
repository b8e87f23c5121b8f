//! The full-screen chat at real terminals: what a person sees and types, in tmux.
//!
//! Where tmux is not installed these tests are skipped, and say so.

mod editor;
mod restored;
mod scene;
mod talk;
mod terminal;
mod trouble;

// Shared with the other test programs, each of which uses its part.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
