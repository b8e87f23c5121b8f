//! The networks, with what is new in them.

use p2p_chat_proto::v1::Phase;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{draw_border, draw_lines};
use crate::screen::{
    layout::wrap::{columns, fitted},
    model::{Model, network::Network},
    theme::Role,
};

/// The first of the networks that is in view: the current one always is.
pub(crate) fn first_shown(model: &Model, height: u16) -> usize {
    let current = model.current.as_ref();
    let at = current.and_then(|current| model.order.iter().position(|id| id == current)).unwrap_or(0);
    at.saturating_sub(usize::from(height).saturating_sub(1))
}

/// Draws the pane.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let Some(width) = area.width.checked_sub(1) else { return };
    let first = first_shown(model, area.height);
    let known = model.order.iter().enumerate().skip(first).take(area.height.into());
    let lines = known.filter_map(|(at, id)| Some(line(model, at, model.networks.get(id)?, width.into())));
    draw_lines(frame, Rect { width, ..area }, lines.collect::<Vec<_>>());
    draw_border(model, frame, area.x + width, area);
}

fn line(model: &Model, at: usize, network: &Network, width: usize) -> Line<'static> {
    let theme = &model.theme;
    let is_current = model.current.as_ref() == Some(&network.id);
    let is_over = !network.is_joined();
    let count = match network.unread {
        _ if is_over => String::new(),
        0 => String::new(),
        1..=999 => network.unread.to_string(),
        _ => "999+".to_owned(),
    };
    let count = if network.is_mentioned { format!("@{count}") } else { count };
    let sign = match network.state.phase() {
        Phase::Joining => "…",
        Phase::Leaving => "←",
        Phase::Broken => "!",
        Phase::Joined if network.state.leader_peer.is_empty() || !network.state.leader_alive => "?",
        _ => " ",
    };
    let number = if at < 9 { (at + 1).to_string() } else { " ".to_owned() };
    let tail = if count.is_empty() { String::new() } else { format!(" {count}") };
    let name = fitted(&network.name, width.saturating_sub(4 + columns(&tail) + 1));
    let role = match (is_current, is_over, network.unread > 0) {
        (true, ..) => Role::Current,
        (_, true, _) => Role::Dim,
        (.., true) => Role::Unread,
        _ => Role::Text,
    };
    let count_role = if network.is_mentioned { Role::Mention } else { Role::Unread };
    let mark = if is_current { "▌" } else { " " };
    Line::from(vec![
        Span::styled(mark, theme.style(Role::Current)),
        Span::styled(format!("{number} "), theme.style(Role::Dim)),
        Span::styled(name, theme.style(role)),
        Span::styled(sign, theme.style(Role::Pending)),
        Span::styled(tail, theme.style(count_role)),
    ])
}
