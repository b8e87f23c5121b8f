//! `members`, `status`, `inspect`: what the node knows.

use jiff::tz::TimeZone;
use tonic::Status;

use crate::{
    client::Client,
    console::Console,
    failure::Failure,
    render::{json, text},
};

/// `p2p-chat members`
pub(crate) async fn members(client: &Client, console: &mut Console, network: &str) -> Result<(), Failure> {
    let members = client.members(network).await?;
    if console.json {
        return members.iter().try_for_each(|member| console.object(&json::Member::from(member)));
    }
    console.line(text::members(&members))
}

/// `p2p-chat status`
pub(crate) async fn status(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let status = client.status().await?;
    if console.json { console.object(&json::Status::from(&status)) } else { console.line(text::status(&status)) }
}

/// `p2p-chat inspect`
pub(crate) async fn inspect(
    client: &Client,
    console: &mut Console,
    network: &str,
    message: &str,
) -> Result<(), Failure> {
    if console.json {
        let inspection = client.inspect(network, message).await?;
        return console.object(&json::Inspection::from(&inspection));
    }
    let text = inspection(client, network, message, &console.zone).await?;
    console.line(text)
}

/// Who has a message, for people.
pub(crate) async fn inspection(
    client: &Client,
    network: &str,
    message: &str,
    zone: &TimeZone,
) -> Result<String, Status> {
    let inspection = client.inspect(network, message).await?;
    // Of those that are not active, who is expected to come back.
    let members = match inspection.custody.iter().all(|custody| custody.active) {
        true => Vec::new(),
        false => client.members(network).await?,
    };
    Ok(text::inspection(&inspection, &members, zone))
}
