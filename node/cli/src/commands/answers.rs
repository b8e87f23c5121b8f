//! `members`, `status`, `inspect`: what the node knows.

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
    let inspection = client.inspect(network, message).await?;
    if console.json {
        return console.object(&json::Inspection::from(&inspection));
    }
    let zone = console.zone.clone();
    console.line(text::inspection(&inspection, &zone))
}
