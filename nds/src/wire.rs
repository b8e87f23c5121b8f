//! The registry's values to the wire and back. Encoding can't fail; decoding checks sizes and signatures and names
//! the field that is wrong.

use p2p_chat_model::{Name, NetworkId, Run, limits::MAX_CONTACTS, registration::Action};
use p2p_chat_proto::{
    convert::{self, FieldError, ToWire},
    v1,
};
use prost::Message;

use crate::{
    error::CallError,
    registrar::{Purpose, Statement},
    registry::{Founding, Record, Refusal, Registry},
};

/// Largest genesis run, in bytes.
const MAX_GENESIS_BYTES: usize = 4 * 1024;
/// Largest run of an admission, in bytes.
const MAX_ADMISSION_BYTES: usize = 320 * 1024;
/// Largest sum of all runs of an admission, in bytes.
const MAX_ADMISSIONS_BYTES: usize = 2 * 1024 * 1024;
/// Longest chain of admissions: every one of it costs the checking of a signature.
const MAX_ADMISSIONS: usize = p2p_chat_model::limits::MAX_MEMBERS;
/// Records in a page where the caller names no size.
const PAGE_SIZE: usize = 100;
/// Most records in a page.
const MAX_PAGE_SIZE: usize = 1_000;
/// Most bytes in a page, well below the largest frame.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

pub(crate) fn record(record: &Record, stale: bool) -> v1::NetworkRecord {
    let (view, leader) = (record.view(), record.leader());
    let others = view.active.iter().filter(|member| member.node != leader.node);
    v1::NetworkRecord {
        network: record.network().to_wire(),
        name: record.name().to_string(),
        epoch: view.epoch.0,
        leader: leader.peer.to_wire(),
        leader_node_id: leader.node.0,
        leader_address: leader.address.to_string(),
        members: view.active.len() as u32,
        stale,
        view_version: view.version,
        contacts: std::iter::once(leader).chain(others).take(MAX_CONTACTS).map(Into::into).collect(),
    }
}

/// How the answers of `UpdateLeader` and `RenewLease` name a refusal; `None` for one that is an error there too.
pub(crate) const fn refusal(refusal: &Refusal) -> Option<v1::Refusal> {
    match refusal {
        Refusal::Epoch { .. } => Some(v1::Refusal::Epoch),
        Refusal::LeaderAlive { .. } => Some(v1::Refusal::LeaderAlive),
        Refusal::Outdated { .. } => Some(v1::Refusal::Outdated),
        Refusal::NotLeader { .. } => Some(v1::Refusal::NotLeader),
        Refusal::Unreachable { .. } => Some(v1::Refusal::Unreachable),
        Refusal::NotActive(_) => Some(v1::Refusal::NotActive),
        _ => None,
    }
}

pub(crate) fn create(request: &v1::CreateNetworkRequest) -> Result<Statement, CallError> {
    let claim = registration(request.registration.as_ref())?.verified(Action::Create)?;
    let genesis = run(&request.genesis, "genesis", MAX_GENESIS_BYTES)?;
    let bytes: usize = request.admission.iter().map(|run| run.len()).sum();
    if bytes > MAX_ADMISSIONS_BYTES || request.admission.len() > MAX_ADMISSIONS {
        let reason = format!("more than {MAX_ADMISSIONS} runs or {MAX_ADMISSIONS_BYTES} bytes");
        return Err(FieldError::bad("admission", reason).into());
    }
    let admissions = request.admission.iter().map(|bytes| run(bytes, "admission", MAX_ADMISSION_BYTES));
    let admissions = admissions.collect::<Result<Vec<_>, _>>()?;
    let founding = Founding::prove(&genesis, &admissions, &claim)?;
    Ok(Statement { claim, purpose: Purpose::Create(founding) })
}

pub(crate) fn update(request: &v1::UpdateLeaderRequest) -> Result<Statement, CallError> {
    let claim = registration(request.registration.as_ref())?.verified(Action::Update)?;
    Ok(Statement { claim, purpose: Purpose::Update(convert::votes(&request.votes)?) })
}

pub(crate) fn renew(request: &v1::RenewLeaseRequest) -> Result<Statement, CallError> {
    let claim = registration(request.registration.as_ref())?.verified(Action::Renew)?;
    Ok(Statement { claim, purpose: Purpose::Renew })
}

pub(crate) fn close(request: &v1::CloseNetworkRequest) -> Result<Statement, CallError> {
    let claim = registration(request.registration.as_ref())?.verified(Action::Close)?;
    Ok(Statement { claim, purpose: Purpose::Close })
}

fn registration(registration: Option<&v1::Registration>) -> Result<&v1::Registration, FieldError> {
    registration.ok_or(FieldError::missing("registration"))
}

fn run(bytes: &[u8], field: &'static str, most: usize) -> Result<Run, FieldError> {
    if bytes.len() > most {
        return Err(FieldError::bad(field, format!("more than {most} bytes")));
    }
    Run::decode(bytes).map_err(|error| match error {
        p2p_chat_model::RunError::Forged(reason) => FieldError::Forged { field, reason },
        other => FieldError::bad(field, other),
    })
}

/// Which network is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Name(Name),
    Network(NetworkId),
}

pub(crate) fn key(request: v1::GetNetworkRequest) -> Result<Key, FieldError> {
    match request.key {
        Some(v1::get_network_request::Key::Name(name)) => Ok(Key::Name(self::name(&name, "name")?)),
        Some(v1::get_network_request::Key::Network(id)) => Ok(Key::Network(convert::network(&id, "network")?)),
        None => Err(FieldError::missing("name or network")),
    }
}

fn name(text: &str, field: &'static str) -> Result<Name, FieldError> {
    text.parse().map_err(|error| FieldError::bad(field, error))
}

/// One page of the list. A token is the last name of the page before: it survives a restart, and a network that is
/// created or removed between two pages moves no other.
pub(crate) fn page(
    registry: &Registry,
    now: std::time::Duration,
    request: &v1::ListNetworksRequest,
) -> Result<v1::ListNetworksResponse, FieldError> {
    let after = after(&request.page_token)?;
    let size = match request.page_size as usize {
        0 => PAGE_SIZE,
        size => size.min(MAX_PAGE_SIZE),
    };
    let mut response = v1::ListNetworksResponse::default();
    let (mut last, mut bytes) = (None, 0);
    for found in registry.list(after.as_ref()) {
        let record = record(found, registry.is_stale(found, now));
        bytes += record.encoded_len();
        if response.records.len() == size || bytes > MAX_PAGE_BYTES {
            response.next_page_token = last.map(token).unwrap_or_default();
            break;
        }
        response.records.push(record);
        last = Some(found.name());
    }
    Ok(response)
}

fn token(last: &Name) -> String {
    hex::encode(last.as_str())
}

fn after(token: &str) -> Result<Option<Name>, FieldError> {
    if token.is_empty() {
        return Ok(None);
    }
    let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let name = text.and_then(|text| text.parse().ok());
    name.map(Some).ok_or_else(|| FieldError::bad("page_token", "is not a next_page_token of this service"))
}
