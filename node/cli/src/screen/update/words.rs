//! What was typed: texts to say, and commands.

use p2p_chat_proto::v1;

use super::{Effect, events, history, status};
use crate::{
    chat::words::{Meaning, Mode, meaning},
    failure::Failure,
    render::text,
    screen::keys::Action,
    screen::model::{Content, Link, Model, Overlay, Way, text::harmless_line, timeline::Key},
    values,
};

/// Does what the input line says.
pub(super) fn entered(model: &mut Model, effects: &mut Vec<Effect>) {
    let done = match meant(model.editor.text().to_owned()) {
        Meaning::Nothing if model.network().is_some_and(|network| network.selected.is_some()) => {
            inspect(model, None, effects)
        }
        Meaning::Nothing => Ok(()),
        Meaning::Say(text) => say(model, text, effects),
        Meaning::Unknown(word) => Err(format!("there is no command {word}; /help lists them, //text says /text")),
        Meaning::Misused(usage) => Err(format!("write it as {usage}")),
        Meaning::Quit => {
            quit(model, effects);
            Ok(())
        }
        Meaning::Help => open(model, Content::Help),
        Meaning::Members => open(model, Content::Members),
        Meaning::Status => open(model, Content::Status),
        Meaning::Clear => {
            history::clear(model);
            Ok(())
        }
        Meaning::Search(text) => {
            history::search(model, text, effects);
            Ok(())
        }
        Meaning::Inspect(message) => inspect(model, message, effects),
        asked => ask(model, asked, effects),
    };
    match done {
        Ok(()) => drop(model.editor.take()),
        Err(problem) => model.complain(problem),
    }
}

/// What the input line says.
fn meant(line: String) -> Meaning {
    let has_several_lines = line.contains('\n');
    // A block that is pasted usually ends in a line break.
    let text = line.trim_end_matches('\n');
    // What is pasted and begins with a slash is no command.
    if has_several_lines && !text.trim().is_empty() {
        Meaning::Say(text.to_owned())
    } else {
        meaning(text.to_owned(), Mode::Screen)
    }
}

/// The input line that says a text: one that looks like a command has another slash before it.
pub(super) fn line(text: &str) -> String {
    let is_said = matches!(meant(text.to_owned()), Meaning::Say(said) if said == text);
    if is_said { text.to_owned() } else { format!("/{text}") }
}

/// What takes the node, and perhaps others, some time.
fn ask(model: &mut Model, meaning: Meaning, effects: &mut Vec<Effect>) -> Result<(), String> {
    if model.link != Link::Up {
        return Err("the node is not there yet; a moment".to_owned());
    }
    match meaning {
        Meaning::Join(network) => {
            status::want(model, values::network(&network)?, Way::Join, effects);
        }
        Meaning::Create(network) => {
            status::want(model, values::network(&network)?, Way::Found, effects);
        }
        Meaning::Leave { network, .. } if is_only_wanted(model, network.as_deref()) => {
            status::give_up(model);
        }
        Meaning::Leave { network, force } => {
            let (id, name) = find(model, network)?;
            let token = model.begin(format!("leaving {name}: until another member has all that you have"));
            effects.push(Effect::Leave { token, network: id, force });
        }
        Meaning::Networks => {
            let token = model.begin("asking the discovery services which networks there are".to_owned());
            effects.push(Effect::Networks { token });
        }
        other => return Err(format!("bug: {other:?} asks nothing")),
    }
    Ok(())
}

/// Whether this network has been tried in vain so far.
fn is_only_wanted(model: &Model, network: Option<&str>) -> bool {
    let wanted = model.wanted.as_ref().filter(|wanted| wanted.problem.is_some());
    wanted.is_some_and(|wanted| network == Some(&wanted.network))
}

/// Id and name of the network that is meant: the current one, unless one is named.
fn find(model: &Model, wanted: Option<String>) -> Result<(String, String), String> {
    let network = match &wanted {
        None => model.network(),
        Some(wanted) => model.networks.values().find(|known| known.state.name == *wanted || known.id == *wanted),
    };
    let network = network.filter(|network| network.is_joined());
    network.map(|network| (network.id.clone(), network.name.clone())).ok_or_else(|| match wanted {
        Some(wanted) => format!("you are not in {wanted}; /networks lists what there is"),
        None => "you are in no network; /join NET or /create NET".to_owned(),
    })
}

fn say(model: &mut Model, text: String, effects: &mut Vec<Effect>) -> Result<(), String> {
    history::can_say(model)?;
    let text = values::message_text(text)?;
    events::send(model, text, effects);
    history::to_bottom(model, effects);
    Ok(())
}

fn open(model: &mut Model, content: Content) -> Result<(), String> {
    model.overlay = Some(Overlay { content, scroll: 0 });
    Ok(())
}

/// Shows who has a message: the one that is named, else the selected one, else the newest own one.
pub(super) fn inspect(model: &mut Model, message: Option<String>, effects: &mut Vec<Effect>) -> Result<(), String> {
    let network = model.network().ok_or("you are in no network")?;
    let id_of = |key: Key| network.timeline.message(&key).map(|message| message.id.clone());
    let message = message.or_else(|| model.message_to_inspect().and_then(id_of));
    let message = message.ok_or_else(|| {
        let key = model.keys.first(Action::SelectOlder);
        let select = key.map_or_else(String::new, |key| format!("select one with {key}, or "));
        format!("there is no message to inspect; {select}name it: /inspect ID")
    })?;
    let network = network.id.clone();
    effects.push(Effect::Inspect { network: network.clone(), message: message.clone() });
    open(model, Content::Inspection { network, message, answer: None })
}

/// Says who has the message that is being looked at.
pub(super) fn inspected(model: &mut Model, message: &str, result: Result<v1::InspectResponse, Failure>) {
    let Some(overlay) = &mut model.overlay else { return };
    let Content::Inspection { message: wanted, answer, .. } = &mut overlay.content else { return };
    if wanted != message {
        return;
    }
    match result {
        Ok(inspection) => *answer = Some(Box::new(inspection)),
        Err(failure) => {
            model.overlay = None;
            model.complain(failure.to_string());
        }
    }
}

/// Shows which networks there are.
pub(super) fn networks(model: &mut Model, token: u64, result: Result<v1::NetworksResponse, Failure>) {
    model.tasks.retain(|task| task.token != token);
    let answer = match result {
        Ok(answer) => answer,
        Err(failure) => return model.complain(failure.to_string()),
    };
    let was_left = |id: &str| model.networks.get(id).is_some_and(|known| known.state.phase() == v1::Phase::Left);
    let mut lines = text::networks(&answer.networks, was_left);
    if answer.networks.is_empty() {
        "there are no networks; found one with /create NET".clone_into(&mut lines);
    }
    for service in &answer.unreachable {
        let (url, why) = (harmless_line(&service.url), harmless_line(&service.error));
        lines.push_str(&format!("\n\nthe discovery service {url} did not answer: {why}"));
    }
    model.overlay = Some(Overlay { content: Content::Networks(lines), scroll: 0 });
}

/// A network was left, or not.
pub(super) fn left(
    model: &mut Model,
    token: u64,
    id: &str,
    result: Result<v1::LeaveNetworkResponse, Failure>,
    effects: &mut Vec<Effect>,
) {
    model.tasks.retain(|task| task.token != token);
    let name = model.networks.get(id).map_or("the network", |network| &network.name).to_owned();
    match result {
        Err(failure) => model.complain(format!("can't leave {name}: {failure}")),
        Ok(left) if left.unreplicated > 0 => {
            let entries = text::count(left.unreplicated, "entry");
            model.complain(format!("left {name}; nobody else has {entries} of yours"));
        }
        Ok(left) if left.closed => model.say(format!("left {name}; nobody else was in it, so it is closed")),
        Ok(_) => model.say(format!("left {name}; what was said stays readable")),
    }
    model.is_asking_status = false;
    status::ask(model, effects);
}

/// Ends; what was read is noted before.
pub(super) fn quit(model: &mut Model, effects: &mut Vec<Effect>) {
    super::mark_read(model, effects);
    effects.push(Effect::Quit);
}
