//! Moving through what was said: scrolling, loading what comes into sight, going to another network, searching.

use p2p_chat_proto::v1;

use super::{Effect, events, status};
use crate::{
    failure::Failure,
    screen::{
        layout::window,
        model::{
            Link, Model, Search,
            network::{Network, Scroll},
            timeline::{Item, Keep, Key, MAX_PENDING, Message, Part},
        },
    },
};

/// Items that are wanted beyond the view before they come into it.
const AHEAD: usize = 100;
/// Matches that are asked for at a time.
pub(in crate::screen) const MATCHES: u64 = 100;
/// What is said where a search has come to its end.
const NO_MORE: &str = "no more matches in this direction";
/// If so many messages before are read, those before them are too.
const SURELY_READ: usize = 30;

/// Asks for a part of the log, unless it has to wait.
pub(super) fn load(network: &mut Network, part: Part, effects: &mut Vec<Effect>) {
    if let Some(part) = network.timeline.load(part) {
        effects.push(Effect::Load { network: network.id.clone(), part });
    }
}

/// A part of the log is there.
pub(super) fn loaded(
    model: &mut Model,
    id: &str,
    part: Part,
    result: Result<Vec<Message>, Failure>,
    effects: &mut Vec<Effect>,
) {
    let is_current = model.current.as_deref() == Some(id);
    let me = model.me.as_ref().map(|me| me.peer);
    let Some(network) = model.networks.get_mut(id) else { return };
    let messages = match result {
        Ok(messages) => messages,
        Err(failure) => {
            network.timeline.loading_failed(part);
            // It is asked for again and again.
            if !std::mem::replace(&mut network.is_unreadable, true) {
                model.complain(format!("can't read the log: {failure}"));
            }
            return;
        }
    };
    network.is_unreadable = false;
    for message in messages.iter().filter(|message| message.is_text && me == Some(message.key.author)) {
        network.timeline.was_sent(message);
    }
    let is_unread = |message: &&Message| message.is_text && me != Some(message.key.author);
    let arrived = messages.iter().map(|message| message.position).max().unwrap_or(0);
    let backlog = network.read_before + 1..=*network.backlog_end.get_or_insert(arrived);
    let unread: Vec<Message> =
        messages.iter().filter(is_unread).filter(|message| backlog.contains(&message.position)).cloned().collect();
    if !network.timeline.loaded(part, messages) {
        return;
    }
    network.arrived = network.arrived.max(arrived);
    for message in &unread {
        events::unread(network, message.key);
    }
    network.timeline.trim(if matches!(part, Part::After(_)) { Keep::Newest } else { Keep::Oldest });
    let is_mentioned = !is_current && unread.iter().any(|message| model.is_mention(message));
    if let Some(network) = model.networks.get_mut(id) {
        network.is_mentioned |= is_mentioned;
    }
    if is_current {
        show_goal(model);
        look_for_unread(model, effects);
        load_nearby(model, effects);
    }
}

/// The message at the top of what is read; nothing at the end.
pub(super) fn anchor(network: &Network) -> Option<Key> {
    match network.scroll {
        Scroll::Follow => None,
        Scroll::Top { place, .. } => Some(place.0),
    }
}

/// Shows another network.
pub(super) fn go_to(model: &mut Model, id: &str, effects: &mut Vec<Effect>) {
    if model.current.as_deref() == Some(id) || !model.networks.contains_key(id) {
        return;
    }
    super::mark_read(model, effects);
    if let Some(left) = model.network_mut()
        && window::shows_end(left)
    {
        left.first_unread = None;
        left.read_before = left.read_before.max(left.arrived);
    }
    model.current = Some(id.to_owned());
    model.overlay = None;
    // Its matches are places in the other one.
    model.search = None;
    let steady_ms = model.steady_ms;
    let Some(network) = model.network_mut() else { return };
    network.is_mentioned = false;
    // One that events come from is loaded when they do.
    if network.timeline.first().is_none() && network.is_loadable() {
        load(network, Part::Newest, effects);
    }
    if network.members_at_ms == 0 {
        status::ask_members(network, steady_ms, effects);
    }
}

/// Shows the network so many places further on in the list.
pub(super) fn go_by(model: &mut Model, by: isize, effects: &mut Vec<Effect>) {
    let Ok(count) = isize::try_from(model.order.len()) else { return };
    let at = model.current.as_ref().and_then(|current| model.order.iter().position(|id| id == current));
    let at = at.and_then(|at| isize::try_from(at).ok()).unwrap_or(0);
    if count > 0
        && let Some(id) = usize::try_from((at + by).rem_euclid(count)).ok().and_then(|at| model.order.get(at)).cloned()
    {
        go_to(model, &id, effects);
    }
}

/// Shows the next network with something new: one that names this node first.
pub(super) fn go_to_active(model: &mut Model, effects: &mut Vec<Effect>) {
    let at = model.current.as_ref().and_then(|current| model.order.iter().position(|id| id == current)).unwrap_or(0);
    let others = || model.order.iter().cycle().skip(at + 1).take(model.order.len().saturating_sub(1));
    let first = |wanted: fn(&Network) -> bool| others().find(|id| model.networks.get(*id).is_some_and(wanted)).cloned();
    match first(|network| network.is_mentioned).or_else(|| first(|network| network.unread > 0)) {
        Some(id) => go_to(model, &id, effects),
        None => model.say("nothing new in other networks"),
    }
}

/// Scrolls by rows, up if negative.
pub(super) fn scroll(model: &mut Model, rows: isize, effects: &mut Vec<Effect>) {
    let Some(network) = model.network_mut() else { return };
    if rows < 0 {
        network.cleared = None;
    }
    let Some(network) = model.network() else { return };
    let scroll = window::scrolled(model, network, rows);
    if let Some(network) = model.network_mut() {
        network.scroll = scroll;
    }
    load_nearby(model, effects);
}

/// Goes to the oldest message.
pub(super) fn to_top(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(network) = model.network_mut() else { return };
    network.cleared = None;
    let Some(first) = network.timeline.first() else { return };
    if network.timeline.reaches_start() {
        network.scroll = Scroll::Top { place: (first, 0), row: 0 };
        if let Some((place, _)) = network.timeline.items().next() {
            network.scroll = Scroll::Top { place, row: 0 };
        }
    } else {
        network.scroll = Scroll::Top { place: (Key::START, 0), row: 0 };
        load(network, Part::Around(Key::START), effects);
    }
}

/// Goes to the newest message.
pub(super) fn to_bottom(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(network) = model.network_mut() else { return };
    network.scroll = Scroll::Follow;
    network.selected = None;
    network.looks_for_unread = false;
    if !network.timeline.reaches_end() {
        load(network, Part::Newest, effects);
    }
}

/// Goes to the first message that came late and was not seen, else to the first unread one, loading what lies before it.
pub(super) fn to_first_unread(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(network) = model.network_mut() else { return };
    if let Some(late) = network.late.first().copied() {
        show(model, late, effects);
        return load_nearby(model, effects);
    }
    if network.first_unread.is_none() {
        return model.say("nothing is unread here");
    }
    network.looks_for_unread = true;
    look_for_unread(model, effects);
}

fn look_for_unread(model: &mut Model, effects: &mut Vec<Effect>) {
    let me = model.me.as_ref().map(|me| me.peer);
    let Some(network) = model.network_mut().filter(|network| network.looks_for_unread) else { return };
    let is_read = |message: &Message| message.position <= network.read_before || me == Some(message.key.author);
    let is_found = network.timeline.reaches_start() || network.timeline.texts().take(SURELY_READ).all(is_read);
    if !is_found {
        if let Some(part) = network.timeline.load_more(Keep::Oldest) {
            effects.push(Effect::Load { network: network.id.clone(), part });
        }
        return;
    }
    network.looks_for_unread = false;
    network.goal = network.first_unread;
    show_goal(model);
}

/// Shows a message, loading it if need be.
pub(super) fn show(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    let Some(network) = model.network_mut() else { return };
    network.cleared = None;
    network.goal = Some(key);
    network.selected = Some(key);
    if network.timeline.message(&key).is_none() {
        network.scroll = Scroll::Top { place: (key, 0), row: 0 };
        load(network, Part::Around(key), effects);
    }
    show_goal(model);
}

fn show_goal(model: &mut Model) {
    let Some(network) = model.network() else { return };
    let Some(key) = network.goal.filter(|key| network.timeline.message(key).is_some()) else { return };
    let scroll = window::showing(model, network, key);
    if let Some(network) = model.network_mut() {
        network.goal = None;
        network.scroll = scroll;
    }
}

/// Loads what is about to come into sight.
pub(super) fn load_nearby(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.link != Link::Up {
        return;
    }
    let Some(network) = model.network() else { return };
    let rows = window::visible(model, network);
    let mut places = rows.iter().filter_map(|row| row.of);
    let Some((top, _)) = places.next() else { return };
    let bottom = places.next_back().map_or(top, |(place, _)| place);
    let is_near_start = network.timeline.up_to(top).rev().take(AHEAD).count() < AHEAD;
    let is_near_end = network.timeline.from(bottom).take(AHEAD).count() < AHEAD;
    let Some(network) = model.network_mut() else { return };
    let before = if is_near_start { network.timeline.load_more(Keep::Oldest) } else { None };
    let part = before.or_else(|| if is_near_end { network.timeline.load_more(Keep::Newest) } else { None });
    if let Some(part) = part {
        effects.push(Effect::Load { network: network.id.clone(), part });
    }
}

/// Asks again for what is shown and could not be had.
pub(super) fn load_again(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(network) = model.network_mut() else { return };
    if network.timeline.is_loading() || !network.is_loadable() {
        return;
    }
    // Pages on the way to what is unread have taken the place of the newest ones.
    let is_at_end = network.scroll == Scroll::Follow && !network.looks_for_unread;
    if network.timeline.is_missing() || is_at_end && !network.timeline.reaches_end() {
        let part = anchor(network).map_or(Part::Newest, Part::Around);
        return load(network, part, effects);
    }
    look_for_unread(model, effects);
    load_nearby(model, effects);
}

/// Selects the message above, or below, the selected one; the lowest in view if none is.
pub(super) fn select(model: &mut Model, towards: Keep, effects: &mut Vec<Effect>) {
    let Some(network) = model.network() else { return };
    let is_text = |item: &Item| matches!(item, Item::Message(message) if message.is_text);
    let timeline = &network.timeline;
    let next = match (network.selected, towards) {
        (None, _) => {
            let rows = window::visible(model, network);
            let places = rows.iter().rev().filter_map(|row| row.of);
            places.map(|((key, _), _)| key).find(|key| timeline.message(key).is_some_and(|message| message.is_text))
        }
        (Some(key), Keep::Oldest) => {
            timeline.up_to((key, 0)).rev().find(|(_, item)| is_text(item)).map(|((key, _), _)| key)
        }
        (Some(key), Keep::Newest) => timeline.from((key, 1)).find(|(_, item)| is_text(item)).map(|((key, _), _)| key),
    };
    match next {
        Some(key) => show(model, key, effects),
        None if towards == Keep::Newest => to_bottom(model, effects),
        None => {}
    }
    load_nearby(model, effects);
}

/// Begins a search in the current network.
pub(super) fn search(model: &mut Model, text: String, effects: &mut Vec<Effect>) {
    let Some(network) = model.network().map(|network| network.id.clone()) else { return };
    model.search = Some(Search {
        network: network.clone(),
        text: text.clone(),
        matches: Vec::new(),
        at: 0,
        is_complete: false,
        is_running: true,
    });
    effects.push(Effect::Search { network, text, before: None });
}

/// Matches are there.
pub(super) fn found(
    model: &mut Model,
    id: &str,
    text: &str,
    result: Result<Vec<Message>, Failure>,
    effects: &mut Vec<Effect>,
) {
    let is_asked = |search: &&mut Search| search.network == id && search.text == text && search.is_running;
    let Some(search) = model.search.as_mut().filter(is_asked) else { return };
    search.is_running = false;
    match result {
        Ok(messages) => {
            let first = search.matches.len();
            search.is_complete = (messages.len() as u64) < MATCHES;
            search.matches.extend(messages.iter().rev().map(|message| message.key));
            if search.matches.len() > first {
                search.at = first;
            } else if first > 0 {
                return model.say(NO_MORE);
            }
        }
        Err(failure) => {
            if search.matches.is_empty() {
                model.search = None;
            }
            return model.complain(format!("can't search: {failure}"));
        }
    }
    let key = search.matches.get(search.at).copied();
    match key {
        Some(key) => show(model, key, effects),
        None => {
            model.search = None;
            model.complain(format!("nothing has {text:?} in it"));
        }
    }
}

/// Goes to the match before, or after.
pub(super) fn next_match(model: &mut Model, towards: Keep, effects: &mut Vec<Effect>) {
    let Some(search) = model.search.as_mut() else { return };
    match towards {
        Keep::Oldest if search.at + 1 < search.matches.len() => search.at += 1,
        Keep::Oldest if !search.is_complete && !search.is_running => {
            search.is_running = true;
            let before = search.matches.last().copied();
            let (network, text) = (search.network.clone(), search.text.clone());
            return effects.push(Effect::Search { network, text, before });
        }
        Keep::Newest if search.at > 0 => search.at -= 1,
        _ => return model.say(NO_MORE),
    }
    if let Some(key) = search.matches.get(search.at).copied() {
        show(model, key, effects);
    }
}

/// Empties the screen; what was said comes back with scrolling up.
pub(super) fn clear(model: &mut Model) {
    let Some(network) = model.network_mut() else { return };
    network.scroll = Scroll::Follow;
    network.cleared = network.timeline.items().next_back().map(|(place, _)| place);
}

/// Whether the node takes part in the network that is shown, so that something can be said there.
pub(super) fn can_say(model: &Model) -> Result<(), String> {
    let Some(network) = model.network() else {
        return Err("you are in no network; /join NET or /create NET".to_owned());
    };
    match (model.link, network.state.phase()) {
        (Link::Opening | Link::Lost, _) => Err("the node is not there yet; a moment".to_owned()),
        (Link::Up, v1::Phase::Left | v1::Phase::Leaving) => {
            Err(format!("you have left {}; /join {} first", network.name, network.name))
        }
        (Link::Up, v1::Phase::Joining) => Err(format!("you are not in {} yet; a moment", network.name)),
        (Link::Up, _) if network.timeline.pending.len() >= MAX_PENDING => {
            Err("your messages before this one are still on their way to the disk; a moment".to_owned())
        }
        (Link::Up, _) => Ok(()),
    }
}
