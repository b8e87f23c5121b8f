//! Where the node stands, which networks it is in, and getting into them.

use p2p_chat_proto::v1;

use super::{Effect, history};
use crate::{
    commands::networks::Entered,
    failure::Failure,
    screen::model::{
        Content, Link, Me, Model, Wanted, Way, discovery_url,
        network::{Network, Subscription},
        text::harmless_line,
        timeline::Part,
    },
    values::quoted,
};

/// How often the node is asked where it stands, and who the members are, milliseconds.
const STATUS_MS: u64 = 1_000;
const MEMBERS_MS: u64 = 10_000;

/// Asks where the node stands, unless that is being asked.
pub(super) fn ask(model: &mut Model, effects: &mut Vec<Effect>) {
    if !model.is_asking_status && model.link == Link::Up {
        model.is_asking_status = true;
        model.asked_status_at_ms = model.steady_ms;
        effects.push(Effect::Status);
    }
}

/// Asks for whatever has become old.
pub(super) fn refresh(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.steady_ms.saturating_sub(model.asked_status_at_ms) < STATUS_MS {
        return;
    }
    ask(model, effects);
    if let Some(Content::Inspection { network, message, .. }) = model.overlay.as_ref().map(|over| &over.content) {
        effects.push(Effect::Inspect { network: network.clone(), message: message.clone() });
    }
    let steady_ms = model.steady_ms;
    if let Some(network) = model.network_mut()
        && steady_ms.saturating_sub(network.members_at_ms) >= MEMBERS_MS
    {
        ask_members(network, steady_ms, effects);
    }
    history::load_again(model, effects);
    retry_wanted(model, effects);
}

/// Asks who the members are.
pub(super) fn ask_members(network: &mut Network, steady_ms: u64, effects: &mut Vec<Effect>) {
    network.members_at_ms = steady_ms;
    network.truth.asked();
    effects.push(Effect::Members { network: network.id.clone() });
}

/// Wants to be in a network, and gets into it that way.
pub(super) fn want(model: &mut Model, network: String, way: Way, effects: &mut Vec<Effect>) {
    model.wanted = Some(Wanted::new(network, way));
    enter_wanted(model, effects);
}

/// Gets into the network that is wanted.
pub(super) fn enter_wanted(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(wanted) = &mut model.wanted else { return };
    wanted.retry_at_ms = None;
    let (network, way) = (wanted.network.clone(), wanted.way);
    let name = harmless_line(&network);
    let token = model.begin(match way {
        Way::Found => format!("founding {name}: registering it"),
        Way::Join | Way::JoinOrFound => format!("joining {name} through {}", discovery_url(&model.status)),
    });
    effects.push(Effect::Enter { token, network, way });
}

fn retry_wanted(model: &mut Model, effects: &mut Vec<Effect>) {
    let is_due = model.retry_at_ms().is_some_and(|at_ms| at_ms <= model.steady_ms);
    if is_due && model.tasks.is_empty() {
        enter_wanted(model, effects);
    }
}

/// Tries no longer to get into a network that could not be reached. False: there is none.
pub(super) fn give_up(model: &mut Model) -> bool {
    let Some(wanted) = model.wanted.take_if(|wanted| wanted.problem.is_some()) else { return false };
    model.say(format!("no longer trying to get into {}", harmless_line(&wanted.network)));
    true
}

/// What to add where this chat hosts a discovery service.
fn hosting(model: &Model) -> String {
    let own = model.status.discovery.iter().find(|service| service.embedded);
    own.map_or_else(String::new, |service| {
        let url = harmless_line(&service.url);
        format!("; no discovery service was found, so this chat hosts one at {url}")
    })
}

/// A network was entered, or not.
pub(super) fn entered(
    model: &mut Model,
    token: u64,
    network: &str,
    result: Result<Entered, Failure>,
    effects: &mut Vec<Effect>,
) {
    /// After how long a network that could not be reached is tried again, milliseconds.
    const RETRY_MS: u64 = 3_000;
    model.tasks.retain(|task| task.token != token);
    let name = harmless_line(network);
    let wanted = model.wanted.take_if(|wanted| wanted.network == network);
    match result {
        Ok(Entered::Founded) => {
            let how = quoted(&name);
            model.say(format!("founded {name}; others join it with p2p-chat chat {how}{}", hosting(model)));
        }
        Ok(Entered::Joined) => model.say(format!("joined {name}{}", hosting(model))),
        // The screen shows one that is under way as such.
        Ok(Entered::Already | Entered::UnderWay) => {}
        Err(failure) => {
            let problem = harmless_line(&format!("can't get into {name}: {failure}"));
            let mut is_news = true;
            if let (Some(mut again), Failure::Unreachable(_)) = (wanted, &failure) {
                is_news = again.problem.replace(problem.clone()).as_ref() != Some(&problem);
                again.retry_at_ms = Some(model.steady_ms + RETRY_MS);
                model.wanted = Some(again);
            }
            if is_news {
                model.complain(problem);
            }
            return;
        }
    }
    // Should the node go before it says so: what it was in is not founded anew. Who has given up meanwhile stays elsewhere.
    if wanted.is_some() {
        model.wanted = Some(Wanted::new(network.to_owned(), Way::Join));
    }
    model.is_asking_status = false;
    ask(model, effects);
}

/// The node says where it stands.
pub(super) fn answered(model: &mut Model, result: Result<v1::StatusResponse, Failure>, effects: &mut Vec<Effect>) {
    model.is_asking_status = false;
    let status = match result {
        Ok(status) => status,
        Err(failure) => return model.complain(failure.to_string()),
    };
    if let Ok(peer) = status.peer.parse() {
        model.me = Some(Me { peer, name: harmless_line(&status.name) });
    }
    model.networks.retain(|id, _| status.networks.iter().any(|state| state.id == *id));
    model.order.retain(|id| model.networks.contains_key(id));
    let mut states = status.networks.clone();
    // Those that were left come last: they are there to be read only.
    states.sort_by_key(|state| (state.phase() == v1::Phase::Left, state.name.clone(), state.id.clone()));
    for state in states {
        take_in(model, state, effects);
    }
    model.status = status;
    go_where_it_is_wanted(model, effects);
}

fn take_in(model: &mut Model, state: v1::NetworkState, effects: &mut Vec<Effect>) {
    let id = state.id.clone();
    let is_current = model.current.as_deref() == Some(&id);
    let is_watched = super::is_watched(model, &id);
    let unread = state.unread;
    if !model.networks.contains_key(&id) {
        model.order.push(id.clone());
    }
    let network = match model.networks.entry(id.clone()) {
        std::collections::btree_map::Entry::Occupied(known) => {
            let network = known.into_mut();
            let is_other_view =
                (network.state.view_version, network.state.members) != (state.view_version, state.members);
            if is_other_view {
                network.members_at_ms = 0;
            }
            network.update(state);
            network
        }
        std::collections::btree_map::Entry::Vacant(place) => place.insert(Network::new(state)),
    };
    network.unread = if is_watched { 0 } else { unread };
    // They may have been read at another client of this node.
    network.is_mentioned &= network.unread > 0;
    if network.is_joined() && network.subscription == Subscription::None {
        network.subscription = Subscription::Asked;
        effects.push(Effect::Subscribe { network: id });
    }
    let is_wanted_now = is_current || network.subscription == Subscription::Asked;
    if is_wanted_now && network.members_at_ms == 0 {
        ask_members(network, model.steady_ms, effects);
    }
}

/// Shows the network that is wanted, as soon as there is one; else the first.
fn go_where_it_is_wanted(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.current.as_ref().is_some_and(|current| !model.networks.contains_key(current)) {
        model.current = None;
        model.search = None;
    }
    let is_wanted = |network: &&Network, wanted: &str| {
        network.is_joined() && (network.id == wanted || network.state.name == wanted)
    };
    let wanted = model.wanted.as_ref().map(|wanted| wanted.network.as_str());
    let wanted = wanted.and_then(|wanted| model.networks.values().find(|network| is_wanted(network, wanted)));
    if let Some(id) = wanted.map(|network| network.id.clone()) {
        model.wanted = None;
        history::go_to(model, &id, effects);
    } else if model.current.is_none()
        && model.wanted.is_none()
        && let Some(first) = model.order.first().cloned()
    {
        history::go_to(model, &first, effects);
    }
}

/// A network's events come in, or not.
pub(super) fn subscribed(model: &mut Model, id: &str, result: Result<(), Failure>, effects: &mut Vec<Effect>) {
    let is_current = model.current.as_deref() == Some(id);
    let Some(network) = model.networks.get_mut(id) else { return };
    if let Err(failure) = result {
        network.subscription = Subscription::None;
        return model.complain(failure.to_string());
    }
    network.subscription = Subscription::Live;
    // Only now nothing falls between what is read and what comes.
    if is_current || network.unread > 0 || !network.timeline.is_empty() {
        let part = history::anchor(network).map_or(Part::Newest, Part::Around);
        history::load(network, part, effects);
    }
}

/// The members of a network.
pub(super) fn members(model: &mut Model, id: &str, result: Result<Vec<v1::Member>, Failure>) {
    match (model.networks.get_mut(id), result) {
        (Some(network), Ok(members)) => {
            network.update_members(members);
        }
        (_, Err(failure)) => model.complain(failure.to_string()),
        (None, Ok(_)) => {}
    }
}
