//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, history, status, words};
use crate::{
    chat::words::WORDS,
    screen::{
        editor::{Candidates, Direction},
        keys::Action,
        layout::{panes, window},
        model::{Content, Model, Overlay, text::harmless_line, timeline::Keep},
        view::overlay,
    },
};

/// Messages whose authors are the likeliest to be addressed.
const LATELY: usize = 200;

/// A key was pressed.
pub(super) fn key(model: &mut Model, key: &KeyEvent, effects: &mut Vec<Effect>) {
    let may_quit = std::mem::take(&mut model.may_quit);
    if model.said.as_ref().is_some_and(|said| said.is_error) {
        model.said = None;
    }
    let has_matches = model.search.as_ref().is_some_and(|search| !search.matches.is_empty());
    let while_searching = has_matches && model.editor.is_empty();
    let action = model.keys.action(key, while_searching);
    if model.overlay.is_some() && in_overlay(model, key, action) {
        return;
    }
    match action {
        Some(Action::Interrupt) => interrupt(model, may_quit, effects),
        Some(action) => act(model, action, effects),
        None => {
            if let KeyCode::Char(c) = key.code
                && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
            {
                type_in(model, c);
            }
        }
    }
}

fn act(model: &mut Model, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Send => words::entered(model, effects),
        Action::EditOutside => effects.push(Effect::Edit(model.editor.text().to_owned())),
        Action::PageUp => history::scroll(model, -page(model), effects),
        Action::PageDown => history::scroll(model, page(model), effects),
        Action::ScrollUp => history::scroll(model, -1, effects),
        Action::ScrollDown => history::scroll(model, 1, effects),
        Action::Top => history::to_top(model, effects),
        Action::Bottom => history::to_bottom(model, effects),
        Action::FirstUnread => history::to_first_unread(model, effects),
        Action::NextActive => history::go_to_active(model, effects),
        Action::NextNetwork => history::go_by(model, 1, effects),
        Action::PreviousNetwork => history::go_by(model, -1, effects),
        Action::Network(number) => {
            if let Some(id) = number.checked_sub(1).and_then(|at| model.order.get(at)).cloned() {
                history::go_to(model, &id, effects);
            }
        }
        Action::SelectOlder => history::select(model, Keep::Oldest, effects),
        Action::SelectNewer => history::select(model, Keep::Newest, effects),
        Action::SearchOlder => history::next_match(model, Keep::Oldest, effects),
        Action::SearchNewer => history::next_match(model, Keep::Newest, effects),
        Action::Inspect => {
            if let Err(problem) = words::inspect(model, None, effects) {
                model.complain(problem);
            }
        }
        Action::Members => toggle_members(model),
        Action::Networks => model.shows_networks = Some(panes(model).networks.width == 0),
        Action::Help => model.overlay = Some(Overlay { content: Content::Help, scroll: 0 }),
        Action::Cancel => cancel(model, effects),
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Quit => words::quit(model, effects),
        typing => edit(model, typing),
    }
}

/// What is done with the input line.
fn edit(model: &mut Model, action: Action) {
    let editor = &mut model.editor;
    match action {
        Action::Newline => drop(editor.newline()),
        Action::Complete => complete(model, Direction::Forward),
        Action::CompleteBack => complete(model, Direction::Back),
        Action::Left => editor.left(),
        Action::Right => editor.right(),
        Action::WordLeft => editor.word_left(),
        Action::WordRight => editor.word_right(),
        Action::Home => editor.home(),
        Action::End => editor.end(),
        Action::Up if !editor.up() => editor.history_prev(),
        Action::Down if !editor.down() => editor.history_next(),
        Action::Backspace => editor.backspace(),
        Action::Delete => editor.delete(),
        Action::KillWord => editor.kill_word(),
        Action::KillToEnd => editor.kill_to_end(),
        Action::KillToStart => editor.kill_to_start(),
        Action::Yank => drop(editor.yank()),
        _ => {}
    }
}

fn type_in(model: &mut Model, c: char) {
    if !model.editor.insert(c.encode_utf8(&mut [0; 4])) {
        model.complain("there is no room for more; send it in parts");
    }
}

fn complete(model: &mut Model, direction: Direction) {
    let commands: Vec<String> = words_of_screen().collect();
    let networks: Vec<String> = model.networks.values().map(|network| network.name.clone()).collect();
    let nicks = nicks(model);
    let candidates = Candidates { nicks: &nicks, commands: &commands, networks: &networks };
    model.editor.complete(&candidates, direction);
}

fn words_of_screen() -> impl Iterator<Item = String> {
    WORDS.iter().map(|word| format!("/{}", word.name))
}

/// The names of the other members: who said something lately first.
fn nicks(model: &Model) -> Vec<String> {
    let Some(network) = model.network() else { return Vec::new() };
    let me = model.me.as_ref().map(|me| me.peer);
    let lately = network.timeline.texts().rev().take(LATELY).filter(|message| me != Some(message.key.author));
    let mut nicks: Vec<String> = Vec::new();
    let members = network.members.iter().filter(|member| !member.me && member.state != "left");
    let members = members.map(|member| harmless_line(&member.name));
    for nick in lately.map(|message| message.author_name.clone()).chain(members) {
        if !nicks.contains(&nick) {
            nicks.push(nick);
        }
    }
    nicks
}

/// A page, with a line of the one before.
fn page(model: &Model) -> isize {
    isize::try_from(panes(model).timeline.height.saturating_sub(2).max(1)).unwrap_or(1)
}

fn toggle_members(model: &mut Model) {
    let is_shown = panes(model).members.width > 0;
    model.shows_members = Some(!is_shown);
    if !is_shown && panes(model).members.width == 0 {
        // There is no room beside the timeline.
        model.shows_members = None;
        model.overlay = Some(Overlay { content: Content::Members, scroll: 0 });
    }
}

/// One step back: from a search, from trying to get somewhere, from a selection, or to the newest message.
fn cancel(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.search.take().is_some() || model.said.take().is_some() || status::give_up(model) {
        return;
    }
    let Some(network) = model.network_mut() else { return };
    if network.selected.take().is_some() {
        return;
    }
    if window::shows_end(network) {
        network.late.clear();
    } else {
        history::to_bottom(model, effects);
    }
}

fn interrupt(model: &mut Model, may_quit: bool, effects: &mut Vec<Effect>) {
    if !model.editor.is_empty() {
        model.editor.set_text("");
    } else if may_quit {
        words::quit(model, effects);
    } else {
        model.may_quit = true;
        model.say("once more to quit; you stay in the network");
    }
}

/// Keys while something lies over the timeline. False: the key means what it always means.
fn in_overlay(model: &mut Model, key: &KeyEvent, action: Option<Action>) -> bool {
    let page = page(model);
    match (action, key.code) {
        (Some(Action::Up | Action::ScrollUp), _) => scroll_overlay(model, -1),
        (Some(Action::Down | Action::ScrollDown), _) => scroll_overlay(model, 1),
        (Some(Action::PageUp), _) => scroll_overlay(model, -page),
        (Some(Action::PageDown), _) | (None, KeyCode::Char(' ')) => scroll_overlay(model, page),
        (Some(Action::Home | Action::Top), _) => scroll_overlay(model, isize::MIN),
        (Some(Action::End | Action::Bottom), _) => scroll_overlay(model, isize::MAX),
        (Some(Action::Cancel | Action::Send | Action::Interrupt), _) | (None, KeyCode::Char('q')) => {
            model.overlay = None;
        }
        (Some(Action::Quit | Action::Suspend | Action::Redraw), _) => return false,
        _ => {
            model.overlay = None;
            return false;
        }
    }
    true
}

/// Scrolls what lies over the timeline.
pub(super) fn scroll_overlay(model: &mut Model, rows: isize) {
    let furthest = isize::try_from(overlay::furthest(model)).unwrap_or(isize::MAX);
    let Some(overlay) = &mut model.overlay else { return };
    let to = isize::try_from(overlay.scroll).unwrap_or(0).saturating_add(rows);
    overlay.scroll = u16::try_from(to.clamp(0, furthest)).unwrap_or(0);
}
