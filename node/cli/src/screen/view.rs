//! The model on the screen. Draws, and changes nothing.

mod input;
mod members;
pub(crate) mod networks;
pub(crate) mod overlay;
mod status;
mod timeline;

use ratatui::{Frame, layout::Rect, style::Style, text::Line, widgets::Widget};

use super::{layout::panes, model::Model, theme::Role};

/// Draws everything.
pub(crate) fn view(model: &Model, frame: &mut Frame<'_>) {
    let panes = panes(model);
    let area = frame.area();
    // A size that has just changed is known here first.
    let visible = |pane: Rect| pane.intersection(area);
    frame.render_widget(status::title(model, panes.title.width), visible(panes.title));
    networks::draw(model, frame, visible(panes.networks));
    timeline::draw(model, frame, visible(panes.timeline));
    members::draw(model, frame, visible(panes.members));
    if let Some(activity) = status::activity(model, panes.activity.width) {
        frame.render_widget(activity, visible(panes.activity));
    }
    frame.render_widget(status::line(model, panes.status.width), visible(panes.status));
    input::draw(model, frame, visible(panes.input));
    overlay::draw(model, frame, visible(panes.timeline.union(panes.networks).union(panes.members)));
}

/// Draws `lines` from the top of `area`, and what is left of it empty.
fn draw_lines(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'static>>) {
    for (line, row) in lines.into_iter().zip(area.rows()) {
        line.render(row, frame.buffer_mut());
    }
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
