//! The title above, and below what takes long, and how things stand.

use p2p_chat_proto::v1::{NetworkState, Phase};
use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use crate::{
    render::{message::zoned, text::count},
    screen::{
        keys::Action,
        layout::{
            said_rows, window,
            wrap::{columns, shortened},
        },
        model::{
            Link, Model,
            network::{Network, Scroll},
            text::harmless_line,
            timeline::Item,
        },
        theme::Role,
    },
};

/// What turns while something takes long.
const TURNS: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// How long each of them stands, milliseconds.
const TURN_MS: u64 = 100;

/// The line at the top: which network this is.
pub(super) fn title(model: &Model, width: u16) -> Line<'static> {
    let style = model.theme.style(Role::Status);
    let name = model.network().map_or_else(|| " p2p-chat".to_owned(), |network| format!(" {}", network.name));
    let mut parts = vec![(name, model.theme.in_bar(Role::Title))];
    if let Some(network) = model.network() {
        if network.state.phase() == Phase::Joining {
            parts.push(("joining".to_owned(), model.theme.in_bar(Role::Pending)));
        } else if network.is_joined() {
            let of = count(network.state.members, "member");
            parts.push((format!("{} of {of} here", network.state.active), Style::new()));
        } else {
            parts.push(("left; to be read only".to_owned(), Style::new()));
        }
        if !network.state.problem.is_empty() {
            parts.push((harmless_line(&network.state.problem), model.theme.in_bar(Role::Error)));
        }
        for frozen in &network.state.frozen {
            let author = harmless_line(&frozen.author_name);
            parts.push((format!("{author} has contradicted itself"), model.theme.in_bar(Role::Error)));
        }
        for unlisted in &network.state.unlisted {
            let text = format!("not listed at {}", harmless_line(&unlisted.url));
            parts.push((text, model.theme.in_bar(Role::Error)));
        }
    }
    line_of(parts, style, width)
}

/// The line at the bottom: what was just said to the user, in several where one is too short, else how things stand.
pub(super) fn lines(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let style = model.theme.style(Role::Status);
    let Some(said) = &model.said else { return vec![line_of(standing(model), style, area.width)] };
    let role = model.theme.in_bar(if said.is_error { Role::Error } else { Role::Text });
    let rows = said_rows(&said.text, area.width, area.height.into());
    rows.into_iter().map(|row| line_of(vec![(row, role)], style, area.width)).collect()
}

/// Line with what takes long, if anything does.
pub(super) fn activity(model: &Model, width: u16) -> Option<Line<'static>> {
    let turn = usize::try_from(model.steady_ms / TURN_MS).unwrap_or(0) % TURNS.len();
    let sign = TURNS.get(turn).copied().unwrap_or("…");
    let text = model.activity()?;
    let style = model.theme.style(Role::Pending);
    Some(Line::styled(shortened(&format!(" {sign} {text}"), width.into()), style))
}

/// What matters most comes first: the rest may be cut off.
fn standing(model: &Model) -> Vec<(String, Style)> {
    let role = |role| model.theme.in_bar(role);
    let mut parts = Vec::new();
    let me = model.me.as_ref().map_or_else(|| "…".to_owned(), |me| me.name.clone());
    match model.network() {
        Some(network) => {
            let id = match network.state.node_id {
                0 => String::new(),
                id => format!(" {id}"),
            };
            parts.push((format!(" {me}{id}"), role(Role::Title)));
            if let Some(reading) = reading(model, network) {
                parts.push(reading);
            }
            // What was true of a node that has gone need not be so any more.
            if model.link == Link::Lost {
                parts.push(("no node".to_owned(), role(Role::Error)));
            } else if network.is_joined() {
                parts.push(leader(model, &network.state));
                parts.push(missing(model, network));
                let (active, reachable) = network.others();
                let peers = if active == 1 { "peer" } else { "peers" };
                let calm = if reachable < active { Role::Pending } else { Role::Text };
                parts.push((format!("{reachable}/{active} {peers}"), role(calm)));
            }
        }
        None => parts.push((format!(" {me}"), role(Role::Title))),
    }
    parts.extend(discovery(model));
    parts
}

/// Where the reader is, if not at the end.
fn reading(model: &Model, network: &Network) -> Option<(String, Style)> {
    if let Some(search) = model.search.as_ref().filter(|search| search.network == network.id) {
        let more = if search.is_complete { "" } else { "+" };
        let at = if search.matches.is_empty() { 0 } else { search.at + 1 };
        let text = format!("{:?} {at}/{}{more}: n N Esc", search.text, search.matches.len());
        return Some((text, model.theme.in_bar(Role::Match)));
    }
    let Scroll::Top { place, .. } = network.scroll else { return late(model, network) };
    let time_ms = network.timeline.from(place).next().map(|(_, item)| match item {
        Item::Message(message) => message.time_ms,
        Item::Notice(notice) => notice.time_ms,
    });
    let day = time_ms.and_then(|time_ms| zoned(time_ms, &model.zone));
    let day = day.map_or_else(String::new, |time| time.strftime(" to %a, %-d %b").to_string());
    let text = match network.unread {
        0 => format!("scrolled back{day}"),
        unread => format!("scrolled back{day}, {unread} new below"),
    };
    Some((text, model.theme.in_bar(Role::Unread)))
}

/// What has come above the end that is looked at.
fn late(model: &Model, network: &Network) -> Option<(String, Style)> {
    let count = window::late_above(model, network);
    let key = model.keys.first(Action::FirstUnread).map_or_else(String::new, |key| format!(": {key}"));
    (count > 0).then(|| (format!("{count} came late above{key}"), model.theme.in_bar(Role::Unread)))
}

fn leader(model: &Model, state: &NetworkState) -> (String, Style) {
    let epoch = state.epoch;
    let (text, role) = match (state.phase(), state.leading, state.leader_peer.is_empty(), state.leader_alive) {
        (Phase::Joining, ..) => ("joining".to_owned(), Role::Pending),
        (_, true, _, true) => (format!("★ you lead, epoch {epoch}"), Role::Leader),
        (_, true, _, false) => (format!("you led epoch {epoch}, unconfirmed"), Role::Pending),
        (_, _, true, _) => (format!("no leader since epoch {epoch}"), Role::Error),
        (.., true) => (format!("★ {} leads, epoch {epoch}", harmless_line(&state.leader_name)), Role::Text),
        (.., false) => (format!("{} is silent, epoch {epoch}", harmless_line(&state.leader_name)), Role::Pending),
    };
    (text, model.theme.in_bar(role))
}

fn missing(model: &Model, network: &Network) -> (String, Style) {
    let Some(first) = network.state.missing.first() else {
        return ("all caught up".to_owned(), model.theme.in_bar(Role::Text));
    };
    let who = match network.state.missing.len() {
        1 => harmless_line(&first.author_name),
        authors => format!("{authors} authors"),
    };
    let asking = network.state.missing.iter().find(|missing| !missing.asking.is_empty());
    let asking = asking.map_or_else(String::new, |missing| format!(", asking {}", harmless_line(&missing.asking)));
    (format!("{} missing from {who}{asking}", network.missing()), model.theme.in_bar(Role::Pending))
}

fn discovery(model: &Model) -> Option<(String, Style)> {
    if model.link != Link::Up || model.status.discovery.is_empty() {
        return None;
    }
    let reachable = model.status.discovery.iter().filter(|service| service.reachable).count();
    let all = model.status.discovery.len();
    let is_own = model.status.discovery.iter().any(|service| service.embedded && service.reachable);
    let (text, role) = match reachable {
        0 => ("discovery down".to_owned(), Role::Error),
        _ if is_own => ("discovery here".to_owned(), Role::Text),
        _ if all == 1 => ("discovery ok".to_owned(), Role::Text),
        _ => (format!("discovery {reachable}/{all}"), Role::Text),
    };
    Some((text, model.theme.in_bar(role)))
}

/// The parts beside each other, as far as there is room.
fn line_of(parts: Vec<(String, Style)>, style: Style, width: u16) -> Line<'static> {
    let mut room = usize::from(width);
    let mut spans: Vec<Span<'static>> = Vec::new();
    for (text, own) in parts {
        let separator = if spans.is_empty() { "" } else { " · " };
        let taken = columns(separator) + columns(&text);
        if taken > room && !spans.is_empty() {
            break;
        }
        spans.push(Span::raw(separator));
        spans.push(Span::styled(text, own));
        room = room.saturating_sub(taken);
    }
    spans.push(Span::raw(" ".repeat(room)));
    Line::from(spans).style(style)
}
