//! What comes from a network: messages, notices, acknowledgements; and what becomes of own messages.

use p2p_chat_model::PeerId;
use p2p_chat_proto::v1::{self, NoticeKind, event::Event};

use super::{Effect, is_watched, status, words};
use crate::{
    failure::Failure,
    screen::{
        keys::Action,
        model::{
            Model,
            network::{Network, Scroll},
            text::{harmless, harmless_line},
            timeline::{Keep, Key, Message, Notice, Pending},
        },
    },
};

/// Late texts that are remembered until they have been in view.
const MAX_LATE: usize = 10_000;

/// Something happened in a network.
pub(super) fn event(model: &mut Model, id: &str, event: Event, effects: &mut Vec<Effect>) {
    match event {
        Event::Message(message) => {
            if let Some(message) = Message::from_wire(message) {
                arrived(model, id, message, effects);
            }
        }
        Event::Notice(notice) => happened(model, id, &notice, effects),
        Event::Acknowledged(acknowledged) => {
            if let (Some(network), Ok(peer)) = (model.networks.get_mut(id), acknowledged.member_peer.parse()) {
                network.truth.acknowledged(peer, acknowledged.seq);
            }
        }
        Event::CaughtUp(_) | Event::BeginsAfter(_) => {}
    }
}

fn arrived(model: &mut Model, id: &str, message: Message, effects: &mut Vec<Effect>) {
    let is_seen = is_watched(model, id);
    let is_mention = model.is_mention(&message);
    let me = model.me.as_ref().map(|me| me.peer);
    let is_own = me == Some(message.key.author);
    let rings = is_mention && !message.is_late && model.config.bell;
    let Some(network) = model.networks.get_mut(id) else { return };
    network.arrived = network.arrived.max(message.position);
    if !message.is_text && !message.is_late {
        // The notice says it in the moment; the entry is for those who read it later.
        network.timeline.told(message.key);
    }
    if is_own {
        network.timeline.came_back(&message);
    } else if message.is_text && !is_seen {
        network.unread += 1;
        network.is_mentioned |= is_mention;
        unread(network, message.key);
    } else if message.is_text && message.is_late && network.late.len() < MAX_LATE {
        network.late.insert(message.key);
    }
    network.timeline.arrived(message);
    let keep = if network.scroll == Scroll::Follow { Keep::Newest } else { Keep::Oldest };
    network.timeline.trim(keep);
    if rings {
        effects.push(Effect::Ring);
    }
}

/// Notes where what is unread begins.
pub(super) fn unread(network: &mut Network, key: Key) {
    network.first_unread = Some(network.first_unread.map_or(key, |first| first.min(key)));
}

fn happened(model: &mut Model, id: &str, notice: &v1::Notice, effects: &mut Vec<Effect>) {
    let me = model.me.as_ref().map(|me| me.peer);
    let Some(network) = model.networks.get_mut(id) else { return };
    let kind = notice.kind();
    // Where catching up stands is said as it goes on.
    if !matches!(kind, NoticeKind::CatchingUp | NoticeKind::CaughtUp) {
        let text = told(notice, me);
        network.timeline.happened(Notice { kind, time_ms: notice.time_ms, text });
    }
    let changes_members = matches!(
        kind,
        NoticeKind::Joined
            | NoticeKind::Left
            | NoticeKind::DroppedOut
            | NoticeKind::Returned
            | NoticeKind::LeaderChanged
            | NoticeKind::LeaderBack
            | NoticeKind::Leaderless
    );
    if changes_members {
        status::ask_members(network, model.steady_ms, effects);
    }
    status::ask(model, effects);
}

/// A notice in the words of this screen.
fn told(notice: &v1::Notice, me: Option<PeerId>) -> String {
    if notice.kind() != NoticeKind::LeaderChanged {
        return harmless_line(&notice.text);
    }
    let is_me = me.is_some_and(|me| notice.member_peer == me.to_string());
    let who = if is_me { "you lead".to_owned() } else { format!("{} leads", harmless_line(&notice.member_name)) };
    let took = match notice.number {
        0 => String::new(),
        ms @ 1..1_000 => format!(", after {ms} ms"),
        ms => format!(", after {}.{} s", ms / 1_000, ms % 1_000 / 100),
    };
    format!("{who} now (epoch {}{took})", notice.epoch)
}

/// Shows a message as on its way, and sends it.
pub(super) fn send(model: &mut Model, text: String, effects: &mut Vec<Effect>) {
    let (token, time_ms) = (model.token(), model.now_ms);
    let Some(network) = model.network_mut() else { return };
    // It is said again.
    network.timeline.failed.retain(|failed| failed.text != text);
    network.timeline.pending.push(Pending { token, time_ms, shown: harmless(&text), text: text.clone() });
    // Whoever answers has read it.
    network.all_read();
    network.first_unread = None;
    network.read_before = network.read_before.max(network.arrived);
    effects.push(Effect::Send { network: network.id.clone(), token, text });
}

/// An own message is on the disk, or it is not.
pub(super) fn sent(model: &mut Model, id: &str, token: u64, result: Result<v1::SendResponse, Failure>) {
    let pending = model.networks.get_mut(id).and_then(|network| {
        let pending = &mut network.timeline.pending;
        pending.iter().position(|pending| pending.token == token).map(|at| pending.remove(at))
    });
    match result {
        Ok(sent) => {
            if let Some(pending) = pending {
                show_sent(model, id, sent, pending);
            }
        }
        Err(failure) => not_sent(model, id, &failure, pending),
    }
}

/// Gives an own message back to who wrote it, where that disturbs nothing and it would be said to the same people; else it
/// is in the history of the input line.
fn not_sent(model: &mut Model, id: &str, failure: &Failure, message: Option<Pending>) {
    let has_room = model.editor.is_empty() && model.current.as_deref() == Some(id);
    let text = message.as_ref().filter(|_| has_room).map(|message| words::line(&message.text));
    // It fitted before.
    let is_given_back = text.is_some_and(|text| model.editor.set_text(&text));
    if let (Some(message), Some(network), false) = (message, model.networks.get_mut(id), is_given_back) {
        network.timeline.failed(message);
    }
    let count = model.networks.values().map(|network| network.timeline.failed.len()).sum::<usize>();
    let what = if failure.leaves_open() { "may not have been sent" } else { "not sent" };
    let up = model.keys.first(Action::Up).unwrap_or_else(|| "the history".to_owned());
    let hint = match (count, is_given_back) {
        (0, _) => String::new(),
        (1, false) => format!(" ({up} brings it back)"),
        (_, false) => format!(" ({up} brings back all {count})"),
        (_, true) => format!(" ({up} brings back {count} more)"),
    };
    model.complain(format!("{what}{hint}: {failure}"));
}

/// What to say at the end of own messages that are not known to be on the disk.
pub(crate) fn unsent(model: &Model) -> Option<String> {
    /// How much of the first one is shown.
    const BEGINNING_CHARS: usize = 60;
    let timelines = || model.networks.values().map(|network| &network.timeline);
    let unsent = || timelines().flat_map(|timeline| timeline.failed.iter().chain(&timeline.pending));
    let has_failed = timelines().any(|timeline| !timeline.failed.is_empty());
    let shown = &unsent().min_by_key(|message| message.token)?.shown;
    let mut beginning: String = shown.chars().take(BEGINNING_CHARS).collect();
    if beginning.len() < shown.len() {
        beginning.push('…');
    }
    Some(match (unsent().count(), has_failed) {
        (1, false) => format!("your last message may not have been sent: {beginning}"),
        (1, true) => format!("a message of yours may not have been sent: {beginning}"),
        (count, false) => format!("your last {count} messages may not have been sent; the first of them: {beginning}"),
        (count, true) => format!("{count} messages of yours may not have been sent; the first of them: {beginning}"),
    })
}

/// Shows an own message where it belongs, unless it has come back already.
fn show_sent(model: &mut Model, id: &str, sent: v1::SendResponse, pending: Pending) {
    let (Some(me), Some(network)) = (&model.me, model.networks.get_mut(id)) else { return };
    let key = Key { lamport: sent.lamport, author: me.peer, seq: sent.seq };
    if network.timeline.message(&key).is_none() {
        network.timeline.arrived(Message {
            key,
            id: sent.id,
            author_name: me.name.clone(),
            time_ms: pending.time_ms,
            is_text: true,
            text: pending.shown,
            position: 0,
            is_late: false,
        });
    }
}
