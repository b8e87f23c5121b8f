//! What was said.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::draw_lines;
use crate::screen::{
    keys::Action,
    layout::{window, wrap::wrap},
    model::{Link, Model},
    theme::Role,
};

/// Draws the rows in view; fewer than there is room for stand at the bottom.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let rows = model.network().map(|network| window::visible(model, network)).unwrap_or_default();
    if rows.is_empty() {
        return draw_lines(frame, area, nothing_yet(model, area));
    }
    let free = usize::from(area.height).saturating_sub(rows.len());
    let empty = std::iter::repeat_n(Line::default(), free);
    draw_lines(frame, area, empty.chain(rows.into_iter().map(|row| row.line)));
}

/// What stands there before anything was said.
fn nothing_yet(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let dim = model.theme.style(Role::Dim);
    let title = model.theme.style(Role::Title);
    let help = model.keys.first(Action::Help).unwrap_or_else(|| "/help".to_owned());
    let hint = format!("type, and press Enter; {help} shows what else there is");
    let lines: Vec<(String, Style)> = match (model.link, model.network()) {
        (Link::Opening, _) => vec![("p2p-chat".to_owned(), title), ("starting this node …".to_owned(), dim)],
        (_, None) if !model.tasks.is_empty() || model.retry_at_ms().is_some() => {
            let what = model.activity().unwrap_or_default();
            let why = model.wanted.as_ref().and_then(|wanted| wanted.problem.clone()).map(|problem| (problem, dim));
            [("p2p-chat".to_owned(), title), (what, dim)].into_iter().chain(why).collect()
        }
        (_, None) => vec![
            ("You are in no network".to_owned(), title),
            ("/networks lists what there is, /join NET gets you in, /create NET founds one".to_owned(), dim),
        ],
        (_, Some(network))
            if network.timeline.is_loading() || network.is_loadable() && network.timeline.is_missing() =>
        {
            vec![("reading the log …".to_owned(), dim)]
        }
        (_, Some(network)) => vec![(format!("Nothing has been said in {} yet", network.name), title), (hint, dim)],
    };
    let width = usize::from(area.width).saturating_sub(4);
    let mut shown: Vec<Line<'static>> = Vec::new();
    for (text, style) in lines {
        let rows = wrap(&text, 0, width).into_iter().filter_map(|range| text.get(range).map(str::to_owned));
        shown.extend(rows.map(|row| Line::from(Span::styled(row, style)).centered()));
    }
    let above = usize::from(area.height).saturating_sub(shown.len()) / 2;
    std::iter::repeat_n(Line::default(), above).chain(shown).collect()
}
