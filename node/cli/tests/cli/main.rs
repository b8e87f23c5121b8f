//! The command line against a node that exists in memory only, behind a real Unix socket.

mod answers;
mod chat;
mod health;
mod messages;
mod profiles;
mod servers;
mod support;
