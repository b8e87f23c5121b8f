//! A screen for tests: alice's, in the network lab, with bob who leads and carol.

use std::collections::BTreeMap;

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use p2p_chat_model::PeerId;
use p2p_chat_proto::v1::{self, event::Event};
use ratatui::{Terminal, backend::TestBackend};

use super::{
    config::ScreenConfig,
    keys::{Chord, Keys},
    model::{
        Model, Wanted, Way,
        network::Subscription,
        timeline::{Message, Part},
    },
    theme::{Background, Theme},
    update::{Answer, Effect, Input, update},
    view::view,
};
use crate::settings::Env;

/// 2025-11-20 09:30:00 UTC.
pub(crate) const MORNING_MS: u64 = 1_763_631_000_000;
pub(crate) const LAB: &str = "1ab000001ab000001ab000001ab000001ab000001ab000001ab000001ab00000";

/// Up to where everything was read before.
pub(crate) const READ: u64 = 1_000_000;

/// A screen under test.
pub(crate) struct Screen {
    pub(crate) model: Model,
    arrivals: u64,
}

/// A member, by the first letter of its name.
pub(crate) fn peer(name: &str) -> PeerId {
    PeerId::new([name.as_bytes().first().copied().unwrap_or_default(); 32])
}

/// A message: the `number`th of all, written that many minutes after half past nine.
pub(crate) fn message(number: u64, author: &str, text: &str) -> v1::Message {
    v1::Message {
        network: "lab".to_owned(),
        id: format!("{number:08}-0000-8000-8000-000000000000"),
        author: peer(author).to_string(),
        author_name: author.to_owned(),
        seq: number,
        lamport: number,
        time_ms: MORNING_MS + number * 60_000,
        kind: "text".to_owned(),
        text: text.to_owned(),
        position: number,
        late: false,
    }
}

pub(crate) fn member(name: &str, node_id: u64, stored: u64) -> v1::Member {
    v1::Member {
        name: name.to_owned(),
        peer: peer(name).to_string(),
        node_id,
        role: "member".to_owned(),
        state: if node_id == 0 { "away" } else { "active" }.to_owned(),
        leader: name == "bob",
        me: name == "alice",
        stored,
        ..Default::default()
    }
}

pub(crate) fn network_state(name: &str, id: &str) -> v1::NetworkState {
    v1::NetworkState {
        name: name.to_owned(),
        id: id.to_owned(),
        phase: v1::Phase::Joined.into(),
        node_id: 2,
        epoch: 4,
        view_version: 9,
        leader_name: "bob".to_owned(),
        leader_peer: peer("bob").to_string(),
        leader_alive: true,
        members: 3,
        active: 3,
        read_position: READ,
        ..Default::default()
    }
}

pub(crate) fn status(networks: Vec<v1::NetworkState>) -> v1::StatusResponse {
    let discovery = v1::DiscoveryState { url: "http://nds:7400".to_owned(), reachable: true, ..Default::default() };
    v1::StatusResponse {
        peer: peer("alice").to_string(),
        name: "alice".to_owned(),
        discovery: vec![discovery],
        networks,
        ..Default::default()
    }
}

impl Screen {
    /// One that has just begun.
    pub(crate) fn new() -> Self {
        Self::with(&[("NO_COLOR", "1")])
    }

    pub(crate) fn with(env: &[(&str, &str)]) -> Self {
        let env: Env = env.iter().copied().collect();
        let theme = Theme::new(&env, Background::Auto, BTreeMap::new());
        let (keys, config) = (Keys::default(), ScreenConfig::default());
        let mut model = Model::new((100, 30), MORNING_MS, TimeZone::UTC, theme, keys, config);
        model.wanted = Some(Wanted::new("lab".to_owned(), Way::JoinOrFound));
        Self { model, arrivals: READ }
    }

    /// One in lab, where these were said.
    pub(crate) fn in_lab(said: Vec<v1::Message>) -> Self {
        let mut screen = Self::new();
        screen.enter(said);
        screen
    }

    /// Gets into lab, where these were said.
    pub(crate) fn enter(&mut self, said: Vec<v1::Message>) {
        self.input(Input::Opened(None));
        self.model.tasks.clear();
        self.status(status(vec![network_state("lab", LAB)]));
        self.answer(Answer::Subscribed { network: LAB.to_owned(), result: Ok(()) });
        self.loaded(Part::Newest, said);
        let members = vec![member("bob", 1, 0), member("alice", 2, 0), member("carol", 3, 0)];
        self.answer(Answer::Members { network: LAB.to_owned(), result: Ok(members) });
        assert_eq!(self.model.networks.get(LAB).map(|lab| lab.subscription), Some(Subscription::Live));
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Effect> {
        update(&mut self.model, input)
    }

    pub(crate) fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        self.input(Input::Answer(answer))
    }

    pub(crate) fn status(&mut self, status: v1::StatusResponse) -> Vec<Effect> {
        self.answer(Answer::Status(Ok(status)))
    }

    pub(crate) fn loaded(&mut self, part: Part, said: Vec<v1::Message>) -> Vec<Effect> {
        let messages = said.into_iter().filter_map(Message::from_wire).collect();
        self.answer(Answer::Loaded { network: LAB.to_owned(), part, result: Ok(messages) })
    }

    /// A message arrives in lab, as the newest arrival.
    pub(crate) fn arrives(&mut self, message: v1::Message) -> Vec<Effect> {
        self.arrives_in(LAB, message)
    }

    pub(crate) fn arrives_in(&mut self, network: &str, message: v1::Message) -> Vec<Effect> {
        self.arrivals += 1;
        let message = v1::Message { position: self.arrivals, ..message };
        self.input(Input::Event { network: network.to_owned(), event: Event::Message(message) })
    }

    pub(crate) fn happens(&mut self, kind: v1::NoticeKind, name: &str, number: u64, text: &str) -> Vec<Effect> {
        let notice = v1::Notice {
            network: "lab".to_owned(),
            kind: kind.into(),
            member_name: name.to_owned(),
            member_peer: if name.is_empty() { String::new() } else { peer(name).to_string() },
            epoch: 5,
            number,
            text: text.to_owned(),
            time_ms: MORNING_MS + 600_000,
            ..Default::default()
        };
        self.input(Input::Event { network: LAB.to_owned(), event: Event::Notice(notice) })
    }

    pub(crate) fn acknowledged(&mut self, name: &str, seq: u64) {
        let acknowledged = v1::Acknowledged {
            network: "lab".to_owned(),
            member_peer: peer(name).to_string(),
            member_name: name.to_owned(),
            seq,
        };
        self.input(Input::Event { network: LAB.to_owned(), event: Event::Acknowledged(acknowledged) });
    }

    /// Time passes.
    pub(crate) fn later(&mut self, ms: u64) -> Vec<Effect> {
        self.input(Input::Tick { now_ms: self.model.now_ms + ms, steady_ms: self.model.steady_ms + ms })
    }

    /// A key, as the configuration file writes it.
    pub(crate) fn key(&mut self, key: &str) -> Vec<Effect> {
        let chord: Chord = key.parse().unwrap_or_else(|error| panic!("{error}"));
        self.input(Input::Terminal(TerminalEvent::Key(chord.event())))
    }

    pub(crate) fn types(&mut self, text: &str) -> Vec<Effect> {
        let press = |c| Input::Terminal(TerminalEvent::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        text.chars().flat_map(|c| self.input(press(c))).collect()
    }

    /// A line, and Enter.
    pub(crate) fn enters(&mut self, text: &str) -> Vec<Effect> {
        let mut effects = self.types(text);
        effects.extend(self.key("enter"));
        effects
    }

    pub(crate) fn resized(&mut self, width: u16, height: u16) {
        self.input(Input::Terminal(TerminalEvent::Resize(width, height)));
    }

    /// The screen as it is drawn.
    pub(crate) fn drawn(&self) -> TestBackend {
        let (width, height) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view(&self.model, frame)).expect("drawn");
        terminal.backend().clone()
    }

    /// The rows of the screen.
    pub(crate) fn rows(&self) -> Vec<String> {
        let backend = self.drawn();
        let text = backend.to_string();
        text.lines().map(|row| row.trim_matches('"').trim_end().to_owned()).collect()
    }

    pub(crate) fn shows(&self, text: &str) -> bool {
        self.rows().iter().any(|row| row.contains(text))
    }
}
