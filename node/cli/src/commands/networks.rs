//! `networks`, `create`, `join`, `leave`, `forget`, and how to get into a network one way or another.

use std::time::Duration;

use p2p_chat_proto::v1;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    client::Client,
    console::{Console, one_line},
    failure::Failure,
    render::{json, text},
    values::is_network_id,
};

/// `p2p-chat networks`
pub(crate) async fn list(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let answer = client.networks().await?;
    for service in &answer.unreachable {
        let (url, why) = (one_line(&service.url), one_line(&service.error));
        console.note(format!("the discovery service {url} did not answer: {why}"));
    }
    let some_are_silent = !answer.unreachable.is_empty();
    if answer.networks.is_empty() && some_are_silent && all_are_silent(client, answer.unreachable.len()).await? {
        return Err(Failure::Unreachable(
            "no discovery service could be asked; start one with p2p-chat nds, or name another with --nds".to_owned(),
        ));
    }
    if answer.networks.is_empty() && !console.json {
        return console.line(match some_are_silent {
            true => "there are no networks where an answer came from",
            false => "there are no networks; found one with p2p-chat create NET",
        });
    }
    // The answer does not tell those that were left from those that others are in.
    let states = match answer.networks.iter().all(|network| network.joined) {
        true => Vec::new(),
        false => client.status().await?.networks,
    };
    let was_left = |id: &str| states.iter().any(|state| state.id == id && state.phase() == v1::Phase::Left);
    if console.json {
        let objects = answer.networks.iter().map(|network| json::Network::listed(network, was_left(&network.id)));
        return { objects }.try_for_each(|object| console.object(&object));
    }
    console.line(text::networks(&answer.networks, was_left))
}

/// Whether none of the discovery services answers, if so many don't.
async fn all_are_silent(client: &Client, silent: usize) -> Result<bool, Failure> {
    Ok(silent >= client.status().await?.discovery.len())
}

/// `p2p-chat create`
pub(crate) async fn create(client: &Client, console: &mut Console, network: &str) -> Result<(), Failure> {
    let founded = client.create(network).await?;
    if console.json {
        return console.object(&json::Network::from(&founded));
    }
    console.line(format!("founded {} ({})", one_line(&founded.name), one_line(&founded.id)))
}

/// `p2p-chat join`
pub(crate) async fn join(client: &Client, console: &mut Console, network: &str) -> Result<(), Failure> {
    let joined = client.join(network).await?;
    let network = joined.network.unwrap_or_default();
    if console.json {
        return console.object(&json::Joined { network: (&network).into(), node_id: joined.node_id });
    }
    let (name, leader) = (one_line(&network.name), one_line(&network.leader));
    console.line(format!("joined {name} as node {}; {leader} leads epoch {}", joined.node_id, network.epoch))
}

/// `p2p-chat leave`
pub(crate) async fn leave(
    client: &Client,
    console: &mut Console,
    network: &str,
    (patience, force): (Duration, bool),
) -> Result<(), Failure> {
    let left = client.leave(network, patience, force).await?;
    if left.unreplicated > 0 {
        console.note(format!("nobody else has {} of this node", text::count(left.unreplicated, "entry")));
    }
    if console.json {
        return console.object(&json::Left { network, unreplicated: left.unreplicated, closed: left.closed });
    }
    let closed = if left.closed { "; nobody else was in it, so it is closed" } else { "" };
    console.line(format!("left {network}{closed}"))
}

/// `p2p-chat forget`
pub(crate) async fn forget(client: &Client, console: &mut Console, network: &str) -> Result<(), Failure> {
    let mut forgetting = std::pin::pin!(client.forget(network));
    let entries = match timeout(console.waits.noticeable, &mut forgetting).await {
        Ok(entries) => entries?,
        Err(_) => {
            console.note(format!("deleting what is kept of {network}; a long log takes a while"));
            forgetting.await?
        }
    };
    if console.json {
        return console.object(&json::Forgotten { network, entries });
    }
    console.line(format!("forgot {network}: {} deleted", text::count(entries, "entry")))
}

/// How a network was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// The node was in it before.
    Already,
    /// Not yet: the node has begun to found or join it earlier, and nobody knows yet what comes of it.
    UnderWay,
    /// By joining it.
    Joined,
    /// By founding it.
    Founded,
}

/// Joins a network, unless the node is in it or on its way.
pub(crate) async fn ensure_joined(client: &Client, network: &str) -> Result<Entered, Status> {
    if let Some(entered) = entered_before(client, network).await? {
        return Ok(entered);
    }
    match client.join(network).await {
        Ok(_) => Ok(Entered::Joined),
        // Somebody else had this node do so in the meantime.
        Err(status) if is_entered(&status) => {
            entered_before(client, network).await?.ok_or_else(|| Status::aborted(status.message()))
        }
        Err(status) => Err(status),
    }
}

/// Founds a network, unless the node is in it or on its way.
pub(crate) async fn ensure_created(client: &Client, network: &str) -> Result<Entered, Status> {
    if let Some(entered) = entered_before(client, network).await? {
        return Ok(entered);
    }
    client.create(network).await.map(|_| Entered::Founded)
}

/// Joins a network, or founds it where there is none. An id never founds one.
pub(crate) async fn ensure_in(client: &Client, network: &str) -> Result<Entered, Status> {
    match ensure_joined(client, network).await {
        Err(status) if status.code() == Code::NotFound && !is_network_id(network) => {}
        result => return result,
    }
    match client.create(network).await {
        Ok(_) => Ok(Entered::Founded),
        // Somebody else founded it in the meantime, or had this node do so.
        Err(status) if is_entered(&status) => ensure_joined(client, network).await,
        Err(status) => Err(status),
    }
}

/// Where the node stands in a network that it is or was in.
pub(crate) fn state_of<'a>(status: &'a v1::StatusResponse, network: &str) -> Option<&'a v1::NetworkState> {
    let by_id = status.networks.iter().find(|state| state.id == network);
    by_id.or_else(|| status.networks.iter().find(|state| state.name == network && is_inside(state)))
}

/// Whether the network was found entered, or being entered.
fn is_entered(status: &Status) -> bool {
    matches!(status.code(), Code::AlreadyExists | Code::Aborted)
}

/// How the node has entered a network before; nothing if it has not, or has left.
async fn entered_before(client: &Client, network: &str) -> Result<Option<Entered>, Status> {
    let status = client.status().await?;
    let state = state_of(&status, network).filter(|state| is_inside(state));
    Ok(state.map(|state| match state.phase() {
        v1::Phase::Joining => Entered::UnderWay,
        _ => Entered::Already,
    }))
}

fn is_inside(state: &v1::NetworkState) -> bool {
    matches!(state.phase(), v1::Phase::Joining | v1::Phase::Joined | v1::Phase::Broken)
}
