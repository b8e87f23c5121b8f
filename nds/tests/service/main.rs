//! The service over a real loopback port, as nodes and operators see it.

#![allow(clippy::unwrap_used)]

mod call_back;
mod calls;
mod refusals;
mod running;
mod support;
mod watching;
