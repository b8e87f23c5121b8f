//! Which rows of the timeline are in view, and what scrolling does. What is far away is not looked at: a draw costs
//! the rows that are shown, and scrolling those that are passed.

use ratatui::text::Line;

use super::{block::Format, panes};
use crate::screen::model::{
    Model,
    network::{Network, Scroll},
    timeline::{Item, Key, Place},
};

/// A row in view.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: Line<'static>,
    /// The item that it belongs to, and which of its rows it is; nothing for what has no place yet.
    pub(crate) of: Option<(Place, usize)>,
}

/// The rows in view; fewer than there is room for if there are no more.
pub(crate) fn visible(model: &Model, network: &Network) -> Vec<Row> {
    let Some((format, height)) = format(model, network) else { return Vec::new() };
    if let Scroll::Top { place, row } = network.scroll {
        let mut rows: Vec<Row> = Vec::new();
        let skipped = |at: Place| if at == place { row } else { 0 };
        for (at, item) in network.timeline.from(place) {
            rows.extend(block(&format, at, item).into_iter().skip(skipped(at)));
            if rows.len() >= height {
                rows.truncate(height);
                return rows;
            }
        }
    }
    following(&format, network, height)
}

/// The last rows.
fn following(format: &Format<'_>, network: &Network, height: usize) -> Vec<Row> {
    let pending = network.timeline.pending.iter().flat_map(|pending| format.pending(pending));
    let mut rows: Vec<Row> = pending.map(|line| Row { line, of: None }).rev().take(height).collect();
    for (at, item) in network.timeline.items().rev() {
        if rows.len() >= height || network.cleared.is_some_and(|cleared| at <= cleared) {
            break;
        }
        rows.extend(block(format, at, item).into_iter().rev());
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// Where the timeline is looked at after scrolling by `rows`: up, if negative.
pub(crate) fn scrolled(model: &Model, network: &Network, rows: isize) -> Scroll {
    let Some((format, height)) = format(model, network) else { return network.scroll };
    let Some((place, row)) = visible(model, network).first().and_then(|row| row.of) else { return network.scroll };
    let to = match rows {
        ..0 => up(&format, network, (place, row), rows.unsigned_abs()),
        _ => down(&format, network, (place, row), rows.unsigned_abs()),
    };
    settled(&format, network, height, to)
}

/// That place, or the end if everything from there on is in view.
fn settled(format: &Format<'_>, network: &Network, height: usize, (place, row): (Place, usize)) -> Scroll {
    let mut rows = 0;
    for (at, item) in network.timeline.from(place) {
        rows += format.block(at, item).len();
        if rows > height + row {
            return Scroll::Top { place, row };
        }
    }
    if network.timeline.reaches_end() {
        return Scroll::Follow;
    }
    // More is about to be loaded: until then, the last full view.
    let first = following(format, network, height).first().and_then(|row| row.of);
    first.map_or(Scroll::Follow, |(place, row)| Scroll::Top { place, row })
}

/// The place so many rows above, or the first one.
fn up(format: &Format<'_>, network: &Network, (place, row): (Place, usize), rows: usize) -> (Place, usize) {
    if row >= rows {
        return (place, row - rows);
    }
    let mut left = rows - row;
    let mut at = place;
    for (before, item) in network.timeline.up_to(place).rev() {
        let height = format.block(before, item).len();
        at = before;
        if height >= left {
            return (before, height - left);
        }
        left -= height;
    }
    (at, 0)
}

/// The place so many rows below, or the last one.
fn down(format: &Format<'_>, network: &Network, (place, row): (Place, usize), rows: usize) -> (Place, usize) {
    let mut left = row + rows;
    let mut at = (place, row);
    for (next, item) in network.timeline.from(place) {
        let height = format.block(next, item).len();
        if left < height {
            return (next, left);
        }
        at = (next, height.saturating_sub(1));
        left -= height;
    }
    at
}

/// Where to look so that a message is in view, some way below the top.
pub(crate) fn showing(model: &Model, network: &Network, key: Key) -> Scroll {
    let is_in_view = |row: &Row| row.of.is_some_and(|(place, _)| place == (key, 0));
    if visible(model, network).iter().any(is_in_view) {
        return network.scroll;
    }
    let Some((format, height)) = format(model, network) else { return network.scroll };
    let top = up(&format, network, ((key, 0), 0), height / 3);
    settled(&format, network, height, top)
}

/// The first and the last message in view, or those that they stand behind.
pub(crate) fn span(model: &Model, network: &Network) -> Option<(Key, Key)> {
    let rows = visible(model, network);
    let mut keys = rows.iter().filter_map(|row| row.of).map(|((key, _), _)| key);
    let first = keys.next()?;
    Some((first, keys.next_back().unwrap_or(first)))
}

/// How many late texts above the view have not been in it.
pub(crate) fn late_above(model: &Model, network: &Network) -> usize {
    if network.late.is_empty() {
        return 0;
    }
    span(model, network).map_or(0, |(first, _)| network.late.range(..first).count())
}

/// Whether the newest row is in view.
pub(crate) fn shows_end(network: &Network) -> bool {
    network.scroll == Scroll::Follow && network.timeline.reaches_end()
}

fn block(format: &Format<'_>, place: Place, item: &Item) -> Vec<Row> {
    let rows = format.block(place, item).into_iter().enumerate();
    rows.map(|(number, line)| Row { line, of: Some((place, number)) }).collect()
}

fn format<'a>(model: &'a Model, network: &'a Network) -> Option<(Format<'a>, usize)> {
    let area = panes(model).timeline;
    // A column stays free, so that no text touches the border.
    let width = area.width.checked_sub(1).filter(|width| *width > 0)?;
    (area.height > 0).then(|| (Format { model, network, width: width.into() }, area.height.into()))
}
