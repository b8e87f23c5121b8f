//! The port, the channels and the common services over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

mod dialling;
mod exposition;
mod hostile;
mod identities;
mod services;
mod support;
