//! Answers of the node for people.

use std::fmt::Write;

use jiff::tz::TimeZone;
use p2p_chat_proto::v1;

use crate::{
    console::{one_line, several_lines},
    render::{json, message::local_time, table::Table},
};

/// How many characters of an identity are shown to people.
const SHORT: usize = 8;

/// The beginning of an identity.
pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// `1 message`, `2 messages`.
pub(crate) fn count(number: impl Into<u64>, what: &str) -> String {
    let number = number.into();
    let plural = match what.strip_suffix('y') {
        _ if number == 1 => what.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    };
    format!("{number} {plural}")
}

/// The members of a network.
pub(crate) fn members(members: &[v1::Member]) -> String {
    let mut table = Table::new(["ID", "NAME", "ROLE", "STATE", "ADDRESS", "PEER", ""]);
    for member in members {
        let id = if member.node_id == 0 { "-".to_owned() } else { member.node_id.to_string() };
        let remark = match (member.leader, member.me) {
            (true, true) => "leader, this node",
            (true, false) => "leader",
            (false, true) => "this node",
            (false, false) => "",
        };
        let peer = short(&member.peer);
        table.row([&id, &member.name, &member.role, &member.state, &member.address, peer, remark]);
    }
    table.to_string()
}

/// The networks there are; `was_left` tells by the id which of them the node is out of again.
pub(crate) fn networks(networks: &[v1::NetworkInfo], was_left: impl Fn(&str) -> bool) -> String {
    let mut table = Table::new(["NAME", "LEADER", "ADDRESS", "EPOCH", "MEMBERS", "ID", ""]);
    for network in networks {
        let place = if network.joined { "joined" } else { "" };
        let place = if was_left(&network.id) { "left" } else { place };
        let remark = match (place, network.stale) {
            ("", true) => "stale".to_owned(),
            (place, true) => format!("{place}, stale"),
            (place, false) => place.to_owned(),
        };
        let (epoch, members) = (network.epoch.to_string(), network.members.to_string());
        let (leader, address) = (network.leader.as_str(), network.leader_address.as_str());
        table.row([&network.name, leader, address, &epoch, &members, short(&network.id), &remark]);
    }
    table.to_string()
}

/// Who has a message; `members` tells of those that are not active.
pub(crate) fn inspection(inspection: &v1::InspectResponse, members: &[v1::Member], zone: &TimeZone) -> String {
    let has_left = |peer: &str| members.iter().any(|member| member.peer == peer && member.state == "left");
    let mut text = String::new();
    if let Some(message) = &inspection.message {
        let (author, id) = (one_line(&message.author_name), one_line(&message.id));
        let (time, body) = (local_time(message.time_ms, zone), several_lines(&message.text, "  "));
        let _ = writeln!(text, "message {id}: entry {} of {author}, {time}\n  {body}", message.seq);
    }
    let mut table = Table::new(["MEMBER", "STATE", "SINCE", "WAY", ""]);
    for custody in &inspection.custody {
        let since = if custody.time_ms == 0 { "-".to_owned() } else { local_time(custody.time_ms, zone) };
        let way = if custody.way.is_empty() { "-" } else { &custody.way };
        let remark = match custody.active {
            _ if has_left(&custody.member_peer) => "left",
            true => "",
            false => "away",
        };
        table.row([&custody.member_name, &custody.state, &since, way, remark]);
    }
    text + &table.to_string()
}

/// Where the node stands.
pub(crate) fn status(status: &v1::StatusResponse) -> String {
    let name = one_line(&status.name);
    let mut text = format!(
        "node       {name} ({}) at {}, pid {}, version {}\ndata       {}",
        one_line(&status.peer),
        one_line(&status.address),
        status.pid,
        one_line(&status.version),
        one_line(&status.data_dir)
    );
    for service in &status.discovery {
        let state = match (service.reachable, service.embedded) {
            (true, true) => "hosted by this node".to_owned(),
            (true, false) => "reachable".to_owned(),
            (false, _) if service.error.is_empty() => "not reachable".to_owned(),
            (false, _) => format!("not reachable: {}", one_line(&service.error)),
        };
        let _ = write!(text, "\ndiscovery  {}, {state}", one_line(&service.url));
    }
    for network in &status.networks {
        text.push('\n');
        text.push_str(&network_state(network));
    }
    text
}

/// One line: who leads.
pub(crate) fn leadership(network: &v1::NetworkState) -> String {
    if network.leading && network.leader_alive {
        format!("this node leads epoch {}", network.epoch)
    } else if network.leading {
        format!("this node led epoch {}; nobody has confirmed yet that it still does", network.epoch)
    } else if network.leader_peer.is_empty() {
        format!("no leader (last epoch {})", network.epoch)
    } else {
        let silent = if network.leader_alive { "" } else { ", silent at the moment" };
        let (name, peer) = (one_line(&network.leader_name), one_line(short(&network.leader_peer)));
        format!("{name} ({peer}) leads epoch {}{silent}", network.epoch)
    }
}

fn network_state(network: &v1::NetworkState) -> String {
    let (name, id) = (one_line(&network.name), one_line(short(&network.id)));
    let phase = json::phase(network.phase());
    let mut text = format!("network    {name} ({id}), {phase}");
    if network.node_id > 0 {
        let _ = write!(text, " as node {}", network.node_id);
    }
    if !network.problem.is_empty() {
        let _ = write!(text, "\n  problem  {}", one_line(&network.problem));
    }
    if network.phase() != v1::Phase::Left {
        let _ = write!(text, "\n  leader   {}", leadership(network));
        let (active, members) = (network.active, network.members);
        let _ = write!(text, "\n  members  {active} of {members} active, view version {}", network.view_version);
    }
    let (stored, waiting) = (count(network.entries, "entry"), network.held_back);
    let _ = write!(text, "\n  log      {stored}, {waiting} held back, {} unread", network.unread);
    for unlisted in &network.unlisted {
        let (url, reason) = (one_line(&unlisted.url), one_line(&unlisted.reason));
        let _ = write!(text, "\n  unlisted {url}: {reason}");
    }
    for frozen in &network.frozen {
        let author = one_line(&frozen.author_name);
        let _ = write!(text, "\n  frozen   {author} has contradicted itself; nothing more is taken of it");
    }
    for missing in &network.missing {
        let author = one_line(&missing.author_name);
        let _ = write!(text, "\n  missing  {} from {author}", count(missing.entries, "entry"));
        if !missing.asking.is_empty() {
            let _ = write!(text, ", asking {}", one_line(&missing.asking));
        }
    }
    for owed in &network.owed {
        let (member, way) = (one_line(&owed.member_name), one_line(&owed.way));
        let _ = write!(text, "\n  owed     {} to {member} ({way})", count(owed.entries, "entry"));
    }
    text
}
