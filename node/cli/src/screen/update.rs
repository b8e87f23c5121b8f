//! What happens to the model, and what is to be done about it. No clock, no IO: time comes as an input, and what has
//! to happen outside is returned as effects.

mod actions;
mod events;
mod history;
mod mouse;
mod status;
mod words;

use crossterm::event::{Event as TerminalEvent, KeyEventKind};
use p2p_chat_proto::v1;

pub(super) use self::{events::unsent, history::MATCHES};
use super::{
    layout::window,
    model::{
        Link, Model, Way,
        network::Subscription,
        timeline::{Key, Message, Part},
    },
};
use crate::{commands::networks::Entered, failure::Failure};

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Input {
    /// It is that late, in milliseconds since 1970: by the clock on the wall, which may be set, and by one that only goes
    /// on.
    Tick { now_ms: u64, steady_ms: u64 },
    /// Keys, mouse, size, focus.
    Terminal(TerminalEvent),
    /// The editor outside has ended: with a text, or why not.
    Edited(Result<String, String>),
    /// The node answers. Something to say about which one it is, if that needs a word.
    Opened(Option<String>),
    /// The node has gone and is being looked for.
    Lost,
    /// Something happened in a network.
    Event { network: String, event: v1::event::Event },
    /// A network's events have ended: it was left.
    Ended(String),
    /// What an effect led to.
    Answer(Answer),
}

/// What an effect led to.
#[derive(Debug)]
pub(crate) enum Answer {
    Status(Result<v1::StatusResponse, Failure>),
    Members {
        network: String,
        result: Result<Vec<v1::Member>, Failure>,
    },
    Networks {
        token: u64,
        result: Result<v1::NetworksResponse, Failure>,
    },
    /// A network was entered: its name or id as it was wanted.
    Entered {
        token: u64,
        network: String,
        result: Result<Entered, Failure>,
    },
    Left {
        token: u64,
        network: String,
        result: Result<v1::LeaveNetworkResponse, Failure>,
    },
    Subscribed {
        network: String,
        result: Result<(), Failure>,
    },
    Loaded {
        network: String,
        part: Part,
        result: Result<Vec<Message>, Failure>,
    },
    Found {
        network: String,
        text: String,
        result: Result<Vec<Message>, Failure>,
    },
    Sent {
        network: String,
        token: u64,
        result: Result<v1::SendResponse, Failure>,
    },
    Inspected {
        message: String,
        result: Result<v1::InspectResponse, Failure>,
    },
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Status,
    Members {
        network: String,
    },
    Networks {
        token: u64,
    },
    /// Gets into a network.
    Enter {
        token: u64,
        network: String,
        way: Way,
    },
    Leave {
        token: u64,
        network: String,
        force: bool,
    },
    Subscribe {
        network: String,
    },
    Load {
        network: String,
        part: Part,
    },
    /// Looks for a text, from a place towards the beginning.
    Search {
        network: String,
        text: String,
        before: Option<Key>,
    },
    Send {
        network: String,
        token: u64,
        text: String,
    },
    MarkRead {
        network: String,
        position: u64,
    },
    Inspect {
        network: String,
        message: String,
    },
    Ring,
    /// Lets the text be written in `$EDITOR`.
    Edit(String),
    Suspend,
    Redraw,
    Quit,
}

/// Takes in what happened.
pub(crate) fn update(model: &mut Model, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    match input {
        Input::Tick { now_ms, steady_ms } => {
            (model.now_ms, model.steady_ms) = (now_ms, steady_ms);
            tick(model, &mut effects);
        }
        Input::Terminal(event) => {
            terminal(model, event, &mut effects);
            see_late(model);
        }
        Input::Edited(Ok(text)) => {
            if !model.editor.set_text(text.strip_suffix('\n').unwrap_or(&text)) {
                model.complain("the text is too long; its end is missing");
            }
        }
        Input::Edited(Err(problem)) => model.complain(problem),
        Input::Opened(remark) => opened(model, remark, &mut effects),
        Input::Lost => lost(model),
        Input::Event { network, event } => events::event(model, &network, event, &mut effects),
        Input::Ended(network) => {
            if let Some(network) = model.networks.get_mut(&network) {
                network.subscription = Subscription::None;
            }
        }
        Input::Answer(answer) => self::answer(model, answer, &mut effects),
    }
    effects
}

fn answer(model: &mut Model, answer: Answer, effects: &mut Vec<Effect>) {
    match answer {
        Answer::Status(result) => status::answered(model, result, effects),
        Answer::Members { network, result } => status::members(model, &network, result),
        Answer::Networks { token, result } => words::networks(model, token, result),
        Answer::Entered { token, network, result } => status::entered(model, token, &network, result, effects),
        Answer::Left { token, network, result } => words::left(model, token, &network, result, effects),
        Answer::Subscribed { network, result } => status::subscribed(model, &network, result, effects),
        Answer::Loaded { network, part, result } => history::loaded(model, &network, part, result, effects),
        Answer::Found { network, text, result } => history::found(model, &network, &text, result, effects),
        Answer::Sent { network, token, result } => events::sent(model, &network, token, result),
        Answer::Inspected { message, result } => words::inspected(model, &message, result),
    }
}

fn terminal(model: &mut Model, event: TerminalEvent, effects: &mut Vec<Effect>) {
    match event {
        TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => actions::key(model, &key, effects),
        TerminalEvent::Key(_) => {}
        TerminalEvent::Mouse(mouse) => mouse::event(model, mouse, effects),
        TerminalEvent::Paste(text) => {
            model.overlay = None;
            if !model.editor.insert(&text.replace("\r\n", "\n").replace('\r', "\n")) {
                model.complain("there is no room for all of it; send it in parts");
            }
        }
        TerminalEvent::Resize(width, height) => {
            model.size = (width, height);
            history::load_nearby(model, effects);
        }
        TerminalEvent::FocusGained => model.has_focus = true,
        TerminalEvent::FocusLost => model.has_focus = false,
    }
}

fn tick(model: &mut Model, effects: &mut Vec<Effect>) {
    model.fall_silent();
    see_late(model);
    if model.link != Link::Up {
        return;
    }
    status::refresh(model, effects);
    mark_read(model, effects);
}

fn opened(model: &mut Model, remark: Option<String>, effects: &mut Vec<Effect>) {
    model.link = Link::Up;
    if let Some(remark) = remark {
        model.say(remark);
    }
    status::ask(model, effects);
    status::enter_wanted(model, effects);
}

/// Whatever was asked of the node that has gone is never answered; what it had told may have gone on since.
fn lost(model: &mut Model) {
    model.link = Link::Lost;
    model.is_asking_status = false;
    model.tasks.clear();
    for network in model.networks.values_mut() {
        network.subscription = Subscription::None;
        network.read_before = network.read_before.max(network.marked);
        // What was on its way to the node may be lost: it is said again what the node did not say that it knows.
        network.marked = network.state.read_position;
        network.backlog_end = None;
    }
}

/// Whether what comes into the network is seen at once.
fn is_watched(model: &Model, network: &str) -> bool {
    let is_shown = model.current.as_deref() == Some(network) && model.has_focus && model.overlay.is_none();
    is_shown && model.networks.get(network).is_some_and(window::shows_end)
}

/// What came late is seen once it is in view.
fn see_late(model: &mut Model) {
    let is_looked_at = model.has_focus && model.overlay.is_none();
    let Some(network) = model.network().filter(|network| is_looked_at && !network.late.is_empty()) else { return };
    let Some((first, last)) = window::span(model, network) else { return };
    if let Some(network) = model.network_mut() {
        network.late.retain(|key| *key < first || *key > last);
    }
}

/// Tells the node what has been read, if that is news.
pub(crate) fn mark_read(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(id) = model.current.clone() else { return };
    if !is_watched(model, &id) {
        return;
    }
    let Some(network) = model.networks.get_mut(&id) else { return };
    network.all_read();
    if model.link == Link::Up && network.arrived > network.marked {
        network.marked = network.arrived;
        effects.push(Effect::MarkRead { network: id, position: network.arrived });
    }
}

#[cfg(test)]
mod tests;
