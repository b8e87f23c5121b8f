//! The input line.

use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
};
use unicode_segmentation::UnicodeSegmentation;

use super::draw_lines;
use crate::screen::{layout::wrap::columns, model::Model, theme::Role};

/// What stands before the first line, and before the others.
const PROMPT: &str = "› ";
const CONTINUED: &str = "  ";

/// Draws the lines around the cursor, and the cursor.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    if area.is_empty() {
        return;
    }
    let (row, column) = model.editor.cursor();
    let height = usize::from(area.height);
    let width = usize::from(area.width).saturating_sub(columns(PROMPT)).max(1);
    let first = (row + 1).saturating_sub(height);
    // A long line moves to the left so far that the cursor is in view.
    let left = (column + 1).saturating_sub(width);
    let shown = model.editor.lines().enumerate().skip(first).take(height).map(|(number, line)| {
        let prompt = if number == 0 { PROMPT } else { CONTINUED };
        let skipped = if number == row { left } else { 0 };
        Line::from(vec![
            Span::styled(prompt, model.theme.style(Role::Title)),
            Span::styled(from_column(&line, skipped), model.theme.style(Role::Text)),
        ])
    });
    draw_lines(frame, area, shown.collect::<Vec<_>>());
    if model.overlay.is_none() {
        let clamped = |at: usize, start: u16, end: u16| {
            start.saturating_add(u16::try_from(at).unwrap_or(u16::MAX)).min(end.saturating_sub(1))
        };
        let x = clamped(columns(PROMPT) + column - left, area.x, area.right());
        let y = clamped(row - first, area.y, area.bottom());
        frame.set_cursor_position(Position { x, y });
    }
}

/// What is left of `line` without its first columns.
fn from_column(line: &str, skipped: usize) -> String {
    let mut left = skipped;
    let mut rest = String::new();
    for grapheme in line.graphemes(true) {
        let taken = columns(grapheme);
        if left == 0 {
            rest.push_str(grapheme);
        } else {
            // Half of a wide character can't be shown.
            rest.extend(std::iter::repeat_n(' ', taken.saturating_sub(left)));
            left = left.saturating_sub(taken);
        }
    }
    rest
}
