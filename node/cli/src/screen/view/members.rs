//! Who is in the network.

use p2p_chat_proto::v1::Member;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{draw_border, draw_lines};
use crate::screen::{
    layout::wrap::{columns, squeezed},
    model::{Model, text::harmless_line},
    theme::Role,
};

/// Draws the pane.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let Some(width) = area.width.checked_sub(3) else { return };
    draw_border(model, frame, area.x, area);
    let mut shown = lines(model, width.into());
    let hidden = shown.len().saturating_sub(area.height.into());
    if hidden > 0 {
        shown.truncate(usize::from(area.height).saturating_sub(1));
        let more = format!("  … {} more", hidden + 1);
        shown.push(Line::styled(more, model.theme.style(Role::Dim)));
    }
    draw_lines(frame, Rect { x: area.x + 2, width, ..area }, shown);
}

/// One line a member, in `width` columns: those that are here, those that are away. Who has left is not listed.
pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let Some(network) = model.network() else { return Vec::new() };
    let standing = network.members.iter().filter(|member| member.state != "left");
    let (here, away): (Vec<&Member>, Vec<&Member>) = standing.partition(|member| member.state == "active");
    let mut lines = vec![heading(model, "here", here.len())];
    lines.extend(here.into_iter().map(|member| line(model, member, width)));
    if !away.is_empty() {
        lines.push(Line::default());
        lines.push(heading(model, "away", away.len()));
        lines.extend(away.into_iter().map(|member| line(model, member, width)));
    }
    lines
}

fn heading(model: &Model, what: &str, count: usize) -> Line<'static> {
    Line::from(vec![
        Span::styled(what.to_owned(), model.theme.style(Role::Title)),
        Span::styled(format!(" {count}"), model.theme.style(Role::Dim)),
    ])
}

fn line(model: &Model, member: &Member, width: usize) -> Line<'static> {
    let theme = &model.theme;
    let is_here = member.state == "active";
    let (sign, sign_role) = match (member.leader, is_here) {
        (true, _) => ("★ ", Role::Leader),
        (false, true) => ("● ", Role::Good),
        (false, false) => ("○ ", Role::Dim),
    };
    let note = match (member.me, is_here) {
        (true, _) => " you".to_owned(),
        (false, true) => String::new(),
        (false, false) => behind(model, member),
    };
    let id = if member.node_id == 0 { String::new() } else { format!(" {}", member.node_id) };
    let room = width.saturating_sub(2 + columns(&note) + columns(&id));
    let name = harmless_line(&member.name);
    let author = member.peer.parse().map(|peer| theme.author(&peer)).unwrap_or_default();
    let name_style = if is_here { author } else { theme.style(Role::Dim) };
    let short = squeezed(&name, room);
    let fill = " ".repeat(room.saturating_sub(columns(&short)));
    Line::from(vec![
        Span::styled(sign, theme.style(sign_role)),
        Span::styled(short, name_style),
        Span::styled(note, theme.style(Role::Dim)),
        Span::raw(fill),
        Span::styled(id, theme.style(Role::Dim)),
    ])
}

/// What a member that is away has still to get from this node.
fn behind(model: &Model, member: &Member) -> String {
    let owed = model.network().and_then(|network| {
        network.state.owed.iter().find(|owed| owed.member_peer == member.peer).map(|owed| owed.entries)
    });
    owed.map_or_else(String::new, |entries| format!(" lacks {entries}"))
}
