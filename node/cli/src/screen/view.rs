//! The model on the screen. Draws, and changes nothing.

mod input;
mod members;
pub(crate) mod networks;
pub(crate) mod overlay;
mod status;
mod timeline;

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::Style,
    text::Line,
};

use super::{
    layout::{panes, wrap::line_columns},
    model::Model,
    theme::Role,
};

/// Draws everything.
pub(crate) fn view(model: &Model, frame: &mut Frame<'_>) {
    let panes = panes(model);
    let area = frame.area();
    // A size that has just changed is known here first.
    let visible = |pane: Rect| pane.intersection(area);
    draw_lines(frame, visible(panes.title), [status::title(model, panes.title.width)]);
    networks::draw(model, frame, visible(panes.networks));
    timeline::draw(model, frame, visible(panes.timeline));
    members::draw(model, frame, visible(panes.members));
    if let Some(activity) = status::activity(model, panes.activity.width) {
        draw_lines(frame, visible(panes.activity), [activity]);
    }
    draw_lines(frame, visible(panes.status), status::lines(model, panes.status));
    input::draw(model, frame, visible(panes.input));
    overlay::draw(model, frame, visible(panes.timeline.union(panes.networks).union(panes.members)));
}

/// Draws `lines` from the top of `area`, and what is left of it empty.
fn draw_lines(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'static>>) {
    for (line, row) in lines.into_iter().zip(area.rows()) {
        draw_line(frame, row, &line);
    }
}

/// Draws each span where the one before it has ended. (`Line::render` takes its width by Unicode, which is less than it is
/// drawn with for some letters of Arabic, and draws over their last ones.)
fn draw_line(frame: &mut Frame<'_>, row: Rect, line: &Line<'_>) {
    let row = row.intersection(frame.area());
    if row.is_empty() {
        return;
    }
    let free = row.width.saturating_sub(u16::try_from(line_columns(line)).unwrap_or(u16::MAX));
    let indent = match line.alignment {
        Some(Alignment::Center) => free / 2,
        Some(Alignment::Right) => free,
        Some(Alignment::Left) | None => 0,
    };
    frame.buffer_mut().set_style(row, line.style);
    frame.buffer_mut().set_line(row.x + indent, row.y, line, row.width - indent);
}

/// A border on one side of a pane.
fn draw_border(model: &Model, frame: &mut Frame<'_>, x: u16, area: Rect) {
    let style: Style = model.theme.style(Role::Border);
    for y in area.top()..area.bottom() {
        frame.buffer_mut().set_string(x, y, "│", style);
    }
}

#[cfg(test)]
mod tests;
