//! Doors for the fuzz targets in `tests/fuzz`: what a call of the service decides, as a function of its body. For
//! nothing else.

use std::time::Duration;

use p2p_chat_proto::v1;
use prost::Message;
use tonic::Status;

use crate::{
    error::CallError,
    registrar::{Command, Statement},
    registry::{Answers, Registry, Verdict},
    wire,
};

/// The calls that change the record, by the names in the contract.
pub const STATEMENTS: [&str; 4] = ["CreateNetwork", "UpdateLeader", "RenewLease", "CloseNetwork"];

/// What becomes of the body of a call. `None` if it is no message at all: that is refused before the service sees it.
pub fn decide(
    call: &str,
    body: &[u8],
    registry: &Registry,
    now: Duration,
    answers: &Answers,
) -> Option<Result<Verdict, Status>> {
    let statement = match call {
        "CreateNetwork" => wire::create(&message(body)?),
        "UpdateLeader" => wire::update(&message(body)?),
        "RenewLease" => wire::renew(&message(body)?),
        "CloseNetwork" => wire::close(&message(body)?),
        _ => return None,
    };
    Some(follow(statement, registry, now, answers).map_err(Status::from))
}

fn follow(
    statement: Result<Statement, CallError>,
    registry: &Registry,
    now: Duration,
    answers: &Answers,
) -> Result<Verdict, CallError> {
    let command = Command::Follow(Box::new(statement?));
    Ok(command.decide(registry, now, answers)?)
}

/// A page of the list. `None` if the body is no message at all.
pub fn page(body: &[u8], registry: &Registry, now: Duration) -> Option<Result<v1::ListNetworksResponse, Status>> {
    Some(wire::page(registry, now, &message(body)?).map_err(Status::from))
}

/// Which network is asked for, in the words of this program. `None` if the body is no message at all.
pub fn key(body: &[u8]) -> Option<Result<String, Status>> {
    Some(wire::key(message(body)?).map(|key| format!("{key:?}")).map_err(Status::from))
}

fn message<T: Message + Default>(body: &[u8]) -> Option<T> {
    T::decode(body).ok()
}
