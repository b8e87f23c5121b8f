//! What the screen shows, as plain data.

pub(crate) mod network;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod truth;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use p2p_chat_model::PeerId;
use p2p_chat_proto::v1;

use super::{
    config::ScreenConfig,
    editor::Editor,
    keys::{Action, Keys},
    theme::Theme,
};
use network::Network;
use timeline::{Key, Message};

/// How long what was said in the status line stays there, milliseconds.
const SAID_MS: u64 = 8_000;

/// How things stand with the node itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// It is being looked for, or started.
    Opening,
    /// It answers.
    Up,
    /// It has gone; it is being looked for again.
    Lost,
}

/// Something asked of the node that takes long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) token: u64,
    /// What it is, for people: `joining lab`.
    pub(crate) what: String,
    pub(crate) since_ms: u64,
}

/// A network to get into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name or id.
    pub(crate) network: String,
    pub(crate) way: Way,
    /// Why it could not be reached so far; it is tried again.
    pub(crate) problem: Option<String>,
    /// When it is tried again, if no attempt is under way.
    pub(crate) retry_at_ms: Option<u64>,
}

impl Wanted {
    /// One that has not been tried yet.
    pub(crate) fn new(network: String, way: Way) -> Self {
        Self { network, way, problem: None, retry_at_ms: None }
    }
}

/// How a network may be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Join,
    Found,
    /// By joining it, or by founding it where there is none.
    JoinOrFound,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) peer: PeerId,
    /// Harmless.
    pub(crate) name: String,
}

/// What lies over the timeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Overlay {
    pub(crate) content: Content,
    /// Rows that are scrolled out at the top.
    pub(crate) scroll: u16,
}

/// What an overlay shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Help,
    Members,
    /// Where the node stands; kept current.
    Status,
    /// Answers of the node, as lines.
    Networks(String),
    /// Who has a message; nothing until the node has answered.
    Inspection {
        network: String,
        message: String,
        answer: Option<Box<v1::InspectResponse>>,
    },
}

/// A search in the current network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) network: String,
    pub(crate) text: String,
    /// Newest first.
    pub(crate) matches: Vec<Key>,
    /// Which of them is shown.
    pub(crate) at: usize,
    /// Whether there are no more than these.
    pub(crate) is_complete: bool,
    pub(crate) is_running: bool,
}

/// What is said in the status line for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) is_error: bool,
    until_ms: u64,
}

/// Everything the screen shows.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) size: (u16, u16),
    /// By the clock on the wall, for what is shown.
    pub(crate) now_ms: u64,
    /// By a clock that only goes on, for what has a duration. At the beginning both are the same.
    pub(crate) steady_ms: u64,
    pub(crate) zone: TimeZone,
    pub(crate) theme: Theme,
    pub(crate) keys: Keys,
    pub(crate) config: ScreenConfig,
    pub(crate) link: Link,
    pub(crate) me: Option<Me>,
    pub(crate) status: v1::StatusResponse,
    /// By id.
    pub(crate) networks: BTreeMap<String, Network>,
    /// The ids in the order in which they are shown.
    pub(crate) order: Vec<String>,
    pub(crate) current: Option<String>,
    /// A network to go to once the node is in it.
    pub(crate) wanted: Option<Wanted>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) said: Option<Said>,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) search: Option<Search>,
    pub(crate) editor: Editor,
    /// Whether the terminal has the focus.
    pub(crate) has_focus: bool,
    /// What the user wants of the panes; nothing: what the width allows.
    pub(crate) shows_networks: Option<bool>,
    pub(crate) shows_members: Option<bool>,
    pub(crate) may_quit: bool,
    pub(crate) asked_status_at_ms: u64,
    pub(crate) is_asking_status: bool,
    last_token: u64,
}

impl Model {
    /// An empty screen.
    pub(crate) fn new(
        size: (u16, u16),
        now_ms: u64,
        zone: TimeZone,
        theme: Theme,
        keys: Keys,
        config: ScreenConfig,
    ) -> Self {
        Self {
            size,
            now_ms,
            steady_ms: now_ms,
            zone,
            theme,
            keys,
            config,
            link: Link::Opening,
            me: None,
            status: v1::StatusResponse::default(),
            networks: BTreeMap::new(),
            order: Vec::new(),
            current: None,
            wanted: None,
            tasks: Vec::new(),
            said: None,
            overlay: None,
            search: None,
            editor: Editor::new(),
            has_focus: true,
            shows_networks: None,
            shows_members: None,
            may_quit: false,
            asked_status_at_ms: 0,
            is_asking_status: false,
            last_token: 0,
        }
    }

    /// The network that is shown.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.networks.get(self.current.as_ref()?)
    }

    /// The same, to change it.
    pub(crate) fn network_mut(&mut self) -> Option<&mut Network> {
        self.networks.get_mut(self.current.as_ref()?)
    }

    /// A number that has not been used before.
    pub(crate) fn token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// Notes that something begins that takes long; returns its token.
    pub(crate) fn begin(&mut self, what: String) -> u64 {
        let token = self.token();
        self.tasks.push(Task { token, what, since_ms: self.steady_ms });
        token
    }

    /// Says something in the status line.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.said = Some(Said { text: text.into(), is_error: false, until_ms: self.steady_ms + SAID_MS });
    }

    /// Says in the status line what went wrong.
    pub(crate) fn complain(&mut self, text: impl AsRef<str>) {
        let text = text::harmless_line(text.as_ref());
        self.said = Some(Said { text, is_error: true, until_ms: self.steady_ms + SAID_MS });
    }

    /// Forgets what was said, once it is old.
    pub(crate) fn fall_silent(&mut self) {
        if self.said.as_ref().is_some_and(|said| said.until_ms <= self.steady_ms) {
            self.said = None;
        }
    }

    /// Whether this message names this node.
    pub(crate) fn is_mention(&self, message: &Message) -> bool {
        let Some(me) = &self.me else { return false };
        message.is_text && message.key.author != me.peer && mentions(&message.text, &me.name)
    }

    /// What takes long at the moment, for people: the tasks, and catching up in the current network.
    pub(crate) fn activity(&self) -> Option<String> {
        let seconds = |since_ms: u64| self.steady_ms.saturating_sub(since_ms) / 1_000;
        match self.link {
            Link::Opening => return Some("starting: looking for this node, or running one here".to_owned()),
            Link::Lost => return Some("the connection to the node broke; going on where it was".to_owned()),
            Link::Up => {}
        }
        if let (None, Some(wanted), true) = (self.tasks.first(), &self.wanted, self.retry_at_ms().is_some()) {
            let (name, at) = (text::harmless_line(&wanted.network), discovery_url(&self.status));
            let until = self.keys.first(Action::Cancel).map_or_else(String::new, |key| format!(" until {key}"));
            return Some(format!("{name} could not be reached through {at}; trying again{until}"));
        }
        if let Some(task) = self.tasks.first() {
            return Some(match seconds(task.since_ms) {
                0 => task.what.clone(),
                passed => format!("{} · {passed} s", task.what),
            });
        }
        let network = self.network()?;
        if network.state.phase() == v1::Phase::Joining {
            let (at, missing) = (discovery_url(&self.status), network.missing());
            return Some(match missing {
                0 => format!("joining {} through {at}", network.name),
                missing => format!("joining {}: {missing} entries to fetch", network.name),
            });
        }
        let missing = network.missing();
        if missing > 0 {
            let done = network.missed.saturating_sub(missing);
            let asking = network.state.missing.iter().find(|missing| !missing.asking.is_empty());
            let from = asking.map_or_else(
                || ", waiting for somebody who has them".to_owned(),
                |missing| format!(" from {}", text::harmless_line(&missing.asking)),
            );
            return Some(format!("catching up: {done} of {} entries{from}", network.missed));
        }
        None
    }

    /// When to try again to get into the network that is wanted.
    pub(crate) fn retry_at_ms(&self) -> Option<u64> {
        self.wanted.as_ref()?.retry_at_ms
    }

    /// Whether something goes on of which the screen should show that it does.
    pub(crate) fn is_busy(&self) -> bool {
        let is_under_way = self.link != Link::Up || !self.tasks.is_empty() || self.retry_at_ms().is_some();
        is_under_way || self.network().is_some_and(|network| network.missing() > 0)
    }

    /// The selected message, else the newest own one.
    pub(crate) fn message_to_inspect(&self) -> Option<Key> {
        let network = self.network()?;
        network.selected.or_else(|| network.last_own(&self.me.as_ref()?.peer))
    }
}

/// The discovery service that is asked first.
pub(crate) fn discovery_url(status: &v1::StatusResponse) -> String {
    let service = status.discovery.iter().find(|service| service.reachable).or(status.discovery.first());
    service.map_or_else(|| "the discovery service".to_owned(), |service| text::harmless_line(&service.url))
}

/// Whether `text` has `name` as a word, whatever its case.
pub(crate) fn mentions(text: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&name).any(|(at, found)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part_of_word) && !after.is_some_and(is_part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_mentioned_as_a_word_only() {
        for text in ["alice: hi", "ask Alice!", "(alice)", "alice"] {
            assert!(mentions(text, "alice"), "{text}");
        }
        for text in ["malice", "alices", "alice2", "", "al ice"] {
            assert!(!mentions(text, "alice"), "{text}");
        }
        assert!(!mentions("anything", ""));
    }
}
