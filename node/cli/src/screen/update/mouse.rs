//! The mouse: the wheel scrolls, a click goes to a network or selects a message, another one shows who has it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{Effect, actions, history, words};
use crate::screen::{
    layout::{panes, window},
    model::Model,
    view::networks,
};

/// Rows that a step of the wheel scrolls.
const STEP: isize = 3;

/// Something was done with the mouse.
pub(super) fn event(model: &mut Model, mouse: MouseEvent, effects: &mut Vec<Effect>) {
    match mouse.kind {
        MouseEventKind::ScrollUp if model.overlay.is_some() => actions::scroll_overlay(model, -STEP),
        MouseEventKind::ScrollDown if model.overlay.is_some() => actions::scroll_overlay(model, STEP),
        MouseEventKind::ScrollUp => history::scroll(model, -STEP, effects),
        MouseEventKind::ScrollDown => history::scroll(model, STEP, effects),
        MouseEventKind::Down(MouseButton::Left) if model.overlay.is_some() => model.overlay = None,
        MouseEventKind::Down(MouseButton::Left) => click(model, Position::new(mouse.column, mouse.row), effects),
        _ => {}
    }
}

fn click(model: &mut Model, at: Position, effects: &mut Vec<Effect>) {
    let panes = panes(model);
    let row_in = |pane: Rect| pane.contains(at).then(|| usize::from(at.y - pane.y));
    if let Some(row) = row_in(panes.networks) {
        let first = networks::first_shown(model, panes.networks.height);
        if let Some(id) = model.order.get(first + row).cloned() {
            history::go_to(model, &id, effects);
        }
        return;
    }
    let (Some(row), Some(network)) = (row_in(panes.timeline), model.network()) else { return };
    let rows = window::visible(model, network);
    // Fewer rows than there is room for stand at the bottom.
    let free = usize::from(panes.timeline.height).saturating_sub(rows.len());
    let hit = row.checked_sub(free).and_then(|row| rows.get(row)?.of).map(|((key, _), _)| key);
    let Some(key) = hit.filter(|key| network.timeline.message(key).is_some_and(|message| message.is_text)) else {
        return;
    };
    if network.selected == Some(key) {
        if let Err(problem) = words::inspect(model, None, effects) {
            model.complain(problem);
        }
    } else if let Some(network) = model.network_mut() {
        network.selected = Some(key);
    }
}
