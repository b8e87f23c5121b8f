//! The limit of file descriptors is the process's, so this is a program of its own.

#![allow(clippy::expect_used, reason = "a test ends where something is not as expected")]

use p2p_chat_transport::descriptors::{ENOUGH, raise_limit};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn as_many_as_the_system_allows_are_to_be_had() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let little = maximum.unwrap_or(256).min(256);
    setrlimit(Resource::Nofile, Rlimit { current: Some(little), maximum }).expect("less is always allowed");
    raise_limit();
    let limit = getrlimit(Resource::Nofile);
    assert_eq!((limit.current, limit.maximum), (Some(maximum.unwrap_or(ENOUGH).min(ENOUGH)), maximum));
}
