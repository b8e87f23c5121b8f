//! Where things are: the panes of the screen, and which rows of the timeline are in view. Pure; `update` needs it to
//! scroll, `view` to draw.

pub(crate) mod block;
pub(crate) mod window;
pub(crate) mod wrap;

use ratatui::layout::Rect;

use super::model::Model;

/// From this width on there is room for the networks, and for the members.
const WIDTH_WITH_NETWORKS: u16 = 72;
const WIDTH_WITH_MEMBERS: u16 = 96;
/// How wide these panes are, with their border.
const NETWORKS_WIDTH: u16 = 16;
const MEMBERS_WIDTH: u16 = 22;
/// What the timeline keeps at least.
const MIN_TIMELINE: u16 = 24;
/// Most rows of the input line.
const MAX_INPUT: u16 = 6;

/// Most rows for what is said to the user.
const MAX_SAID: usize = 3;

/// The panes; one that is not shown is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Panes {
    pub(crate) title: Rect,
    pub(crate) networks: Rect,
    pub(crate) timeline: Rect,
    pub(crate) members: Rect,
    pub(crate) activity: Rect,
    pub(crate) status: Rect,
    pub(crate) input: Rect,
}

/// Divides the screen.
pub(crate) fn panes(model: &Model) -> Panes {
    let (width, height) = model.size;
    // What matters most keeps its row when there are few.
    let input_rows = u16::try_from(model.editor.lines().count()).unwrap_or(MAX_INPUT).clamp(1, MAX_INPUT);
    let input_height = input_rows.min((height / 3).max(1)).min(height);
    let rest = height - input_height;
    let status_height = if rest < 2 { 0 } else { status_rows(model).min((rest / 4).max(1)) };
    let title_height = u16::from(rest >= 4);
    let activity_height = u16::from(rest >= 6 && model.activity().is_some());
    let body = rest - status_height - title_height - activity_height;

    let fits_networks = width >= NETWORKS_WIDTH + MIN_TIMELINE;
    let shows_networks = fits_networks && model.shows_networks.unwrap_or(width >= WIDTH_WITH_NETWORKS);
    let networks_width = if shows_networks { NETWORKS_WIDTH } else { 0 };
    let fits_members = width >= networks_width + MEMBERS_WIDTH + MIN_TIMELINE;
    let shows_members = fits_members && model.shows_members.unwrap_or(width >= WIDTH_WITH_MEMBERS);
    let members_width = if shows_members { MEMBERS_WIDTH } else { 0 };
    let timeline_width = width - networks_width - members_width;

    let (below_title, below_body) = (title_height, title_height + body);
    let row = |y: u16, height: u16| Rect { x: 0, y, width, height };
    Panes {
        title: row(0, title_height),
        networks: Rect { x: 0, y: below_title, width: networks_width, height: body },
        timeline: Rect { x: networks_width, y: below_title, width: timeline_width, height: body },
        members: Rect { x: networks_width + timeline_width, y: below_title, width: members_width, height: body },
        activity: row(below_body, activity_height),
        status: row(below_body + activity_height, status_height),
        input: row(rest, input_height),
    }
}

/// How many rows the line at the bottom takes.
fn status_rows(model: &Model) -> u16 {
    let rows = model.said.as_ref().map_or(1, |said| said_rows(&said.text, model.size.0, MAX_SAID).len());
    u16::try_from(rows).unwrap_or(1)
}

/// What was just said to the user, in at most so many rows, each behind a blank: advice stands at the end of a sentence.
pub(crate) fn said_rows(text: &str, width: u16, most: usize) -> Vec<String> {
    let width = usize::from(width.saturating_sub(1));
    let rows = wrap::wrap(text, 0, width);
    let last = most.clamp(1, rows.len()) - 1;
    let shown = rows.iter().take(last + 1).enumerate().map(|(number, row)| {
        let end = if number == last { text.len() } else { row.end };
        wrap::shortened(text.get(row.start..end).unwrap_or_default(), width)
    });
    shown.map(|row| format!(" {row}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_takes_as_many_rows_as_it_needs_and_there_are() {
        assert_eq!(said_rows("short", 20, 3), [" short"]);
        assert_eq!(said_rows("it failed; do this then", 12, 3), [" it failed;", " do this", " then"]);
        assert_eq!(said_rows("it failed; do this then", 12, 2), [" it failed;", " do this th…"]);
        assert_eq!(said_rows("it failed", 6, 0), [" it f…"]);
        assert_eq!(said_rows("", 6, 3), [" "]);
    }
}
