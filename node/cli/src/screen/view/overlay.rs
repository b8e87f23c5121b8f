//! What lies over the timeline: help, members, where the node stands, who has a message.

use p2p_chat_proto::v1::InspectResponse;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Clear, Padding},
};

use super::{draw_lines, members};
use crate::{
    chat::words::{self, Mode},
    console::one_line,
    render::{message::local_time, text},
    screen::{
        layout::{
            panes,
            wrap::{columns, fitted, line_columns, wrap},
        },
        model::{Content, Model, text::harmless_line},
        theme::Role,
    },
};

/// Rows and columns that the frame takes.
const FRAME_ROWS: u16 = 2;
const FRAME_COLUMNS: u16 = 4;
/// Widest content.
const MAX_WIDTH: u16 = 92;
/// Rows of a message that an inspection shows.
const MAX_MESSAGE_ROWS: usize = 400;

/// Draws it, if there is one.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let Some(overlay) = &model.overlay else { return };
    let lines = content(model, &overlay.content, inner_width(area));
    let place = place(area, &lines);
    let hint = if usize::from(place.height) < lines.len() + usize::from(FRAME_ROWS) { " ↑↓ Esc " } else { " Esc " };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(model.theme.style(Role::Border))
        .title(Span::styled(format!(" {} ", title(&overlay.content)), model.theme.style(Role::Title)))
        .title_bottom(Line::styled(hint, model.theme.style(Role::Dim)).right_aligned())
        .padding(Padding::horizontal(1));
    let inner = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    draw_lines(frame, inner, lines.into_iter().skip(overlay.scroll.into()));
}

/// How many rows can be scrolled out at the top.
pub(crate) fn furthest(model: &Model) -> u16 {
    let panes = panes(model);
    let area = panes.timeline.union(panes.networks).union(panes.members);
    let lines = model.overlay.as_ref().map(|overlay| content(model, &overlay.content, inner_width(area)).len());
    u16::try_from(lines.unwrap_or(0)).unwrap_or(u16::MAX).saturating_sub(area.height.saturating_sub(FRAME_ROWS))
}

fn inner_width(area: Rect) -> usize {
    area.width.saturating_sub(FRAME_COLUMNS).min(MAX_WIDTH).into()
}

/// In the middle, as large as the content.
fn place(area: Rect, lines: &[Line<'_>]) -> Rect {
    let widest = lines.iter().map(line_columns).max().unwrap_or(0).max(24);
    let width = u16::try_from(widest).unwrap_or(MAX_WIDTH).min(MAX_WIDTH).saturating_add(FRAME_COLUMNS).min(area.width);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(FRAME_ROWS).min(area.height);
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

fn title(content: &Content) -> &'static str {
    match content {
        Content::Help => "help",
        Content::Members => "members",
        Content::Status => "status",
        Content::Networks(_) => "networks",
        Content::Inspection { .. } => "who has it",
    }
}

fn content(model: &Model, content: &Content, width: usize) -> Vec<Line<'static>> {
    let style = model.theme.style(Role::Text);
    match content {
        Content::Help => help(model, width),
        Content::Members => members::lines(model, width.min(48)),
        Content::Status => paragraphs(&text::status(&model.status), width, style),
        Content::Networks(lines) => paragraphs(lines, width, style),
        Content::Inspection { answer: None, .. } => vec![Line::styled("asking the node …", style)],
        Content::Inspection { answer: Some(inspection), .. } => inspected(model, inspection, width),
    }
}

/// Lines, broken where they are too long.
fn paragraphs(text: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    let rows = wrap(text, 0, width).into_iter().filter_map(|range| text.get(range));
    rows.map(|row| Line::styled(row.to_owned(), style)).collect()
}

fn help(model: &Model, width: usize) -> Vec<Line<'static>> {
    let heading = |text: &'static str| Line::styled(text, model.theme.style(Role::Title));
    let commands: Vec<(String, &str)> = words::help(Mode::Screen).collect();
    let keys: Vec<(String, &str)> = model.keys.help().collect();
    let signs = [
        ("queued", "on this disk only, and going out"),
        ("1/2", "on the disk of one of two others"),
        ("✓", "on the disks of all others"),
        ("~09:30", "came late, or while you were away: put where it belongs"),
        ("★ ● ○", "leads, is here, is away"),
    ];
    let signs: Vec<(String, &str)> = signs.into_iter().map(|(sign, what)| (sign.to_owned(), what)).collect();
    let mut lines = vec![heading("Commands")];
    lines.extend(table(model, &commands, width));
    lines.extend([Line::default(), heading("Signs")]);
    lines.extend(table(model, &signs, width));
    lines.extend([Line::default(), heading("Keys, as the configuration file may change them under [keys]")]);
    lines.extend(table(model, &keys, width));
    lines
}

/// Two columns: what, and what it is.
fn table(model: &Model, rows: &[(String, &str)], width: usize) -> Vec<Line<'static>> {
    let style = model.theme.style(Role::Text);
    let name_style = style.add_modifier(Modifier::BOLD);
    let widest = rows.iter().map(|(name, _)| columns(name)).max().unwrap_or(0).min(width / 2);
    let mut lines = Vec::new();
    for (name, what) in rows {
        let room = width.saturating_sub(widest + 4);
        for (number, range) in wrap(what, 0, room).into_iter().enumerate() {
            let name = if number == 0 { fitted(name, widest) } else { " ".repeat(widest) };
            let what = what.get(range).unwrap_or_default().to_owned();
            lines.push(Line::from(vec![
                Span::raw("  "),
                Span::styled(name, name_style),
                Span::raw("  "),
                Span::styled(what, style),
            ]));
        }
    }
    lines
}

/// Who has a message, and by which way it got there.
fn inspected(model: &Model, inspection: &InspectResponse, width: usize) -> Vec<Line<'static>> {
    let role = |role| model.theme.style(role);
    let mut lines = Vec::new();
    if let Some(message) = &inspection.message {
        let (author, id) = (harmless_line(&message.author_name), harmless_line(&message.id));
        let head = format!("{author}, {}, entry {}", local_time(message.time_ms, &model.zone), message.seq);
        lines.push(Line::styled(head, role(Role::Title)));
        lines.push(Line::styled(id, role(Role::Dim)));
        let body = crate::screen::model::text::harmless(&message.text);
        let rows = paragraphs(&body, width.saturating_sub(2), role(Role::Text)).into_iter().take(MAX_MESSAGE_ROWS);
        lines.extend(rows.map(|row| {
            let mut spans = vec![Span::styled("▏ ", role(Role::Border))];
            spans.extend(row.spans.into_iter().map(|span| span.style(role(Role::Text))));
            Line::from(spans)
        }));
        lines.push(Line::default());
    }
    let stored = inspection.custody.iter().filter(|custody| custody.state == "stored").count();
    let known = format!("known to be on {stored} of {}", text::count(inspection.custody.len() as u64, "disk"));
    lines.push(Line::styled(known, role(Role::Text)));
    let names = inspection.custody.iter().map(|custody| columns(&one_line(&custody.member_name)));
    let widest = names.max().unwrap_or(0).min(20);
    for custody in &inspection.custody {
        let (sign, style) = match custody.state.as_str() {
            "stored" => ("✓", role(Role::Good)),
            "not yet" => ("…", role(Role::Pending)),
            _ => ("?", role(Role::Dim)),
        };
        let since = match custody.time_ms {
            0 => String::new(),
            time_ms => format!(" since {}", local_time(time_ms, &model.zone)),
        };
        let way = match custody.way.as_str() {
            "" => String::new(),
            "author" => ", wrote it".to_owned(),
            way => format!(", {}", harmless_line(way)),
        };
        let away = if custody.active { "" } else { ", away" };
        let name = fitted(&harmless_line(&custody.member_name), widest);
        lines.push(Line::from(vec![
            Span::styled(format!("{sign} "), style),
            Span::styled(name, role(Role::Text)),
            Span::styled(format!("  {}{since}{way}{away}", harmless_line(&custody.state)), role(Role::Dim)),
        ]));
    }
    lines
}
