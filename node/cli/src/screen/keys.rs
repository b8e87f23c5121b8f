//! Which key does what: one table for the dispatch, the configuration file (`[keys]`) and `/help`.

use std::{fmt, str::FromStr};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Send,
    Newline,
    Complete,
    CompleteBack,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Up,
    Down,
    Backspace,
    Delete,
    KillWord,
    KillToEnd,
    KillToStart,
    Yank,
    EditOutside,
    PageUp,
    PageDown,
    ScrollUp,
    ScrollDown,
    Top,
    Bottom,
    FirstUnread,
    NextActive,
    NextNetwork,
    PreviousNetwork,
    /// The network with this number, from 1.
    Network(usize),
    SelectOlder,
    SelectNewer,
    Inspect,
    Members,
    Networks,
    SearchOlder,
    SearchNewer,
    Help,
    Cancel,
    Redraw,
    Suspend,
    Interrupt,
    Quit,
}

/// One line of the table.
struct Binding {
    action: Action,
    /// Its key in the configuration file.
    name: &'static str,
    /// What triggers it unless the configuration says otherwise.
    chords: &'static [&'static str],
    /// What `/help` says; empty for what is said by another line.
    help: &'static str,
}

const fn on(action: Action, name: &'static str, chords: &'static [&'static str], help: &'static str) -> Binding {
    Binding { action, name, chords, help }
}

const TABLE: &[Binding] = &[
    on(Action::Send, "send", &["enter"], "send; with nothing typed and a message selected: who has it"),
    on(Action::Newline, "newline", &["alt-enter", "ctrl-j"], "begin a new line"),
    on(Action::Complete, "complete", &["tab"], "complete a name, command, network or :emoji:"),
    on(Action::CompleteBack, "complete_back", &["shift-tab"], "the completion before"),
    on(Action::EditOutside, "edit", &["alt-e"], "write in $EDITOR"),
    on(Action::Up, "up", &["up"], "a line up, or what was typed before"),
    on(Action::Down, "down", &["down"], "a line down, or what was typed after"),
    on(Action::Left, "left", &["left", "ctrl-b"], "a character left"),
    on(Action::Right, "right", &["right", "ctrl-f"], "a character right"),
    on(Action::WordLeft, "word_left", &["alt-b", "ctrl-left", "alt-left"], "a word left"),
    on(Action::WordRight, "word_right", &["alt-f", "ctrl-right", "alt-right"], "a word right"),
    on(Action::Home, "home", &["home", "ctrl-a"], "to the beginning of the line"),
    on(Action::End, "end", &["end", "ctrl-e"], "to the end of the line"),
    on(Action::Backspace, "backspace", &["backspace", "ctrl-h"], "delete to the left"),
    on(Action::Delete, "delete", &["delete", "ctrl-d"], "delete to the right"),
    on(Action::KillWord, "kill_word", &["ctrl-w", "alt-backspace"], "cut a word"),
    on(Action::KillToEnd, "kill_to_end", &["ctrl-k"], "cut to the end of the line"),
    on(Action::KillToStart, "kill_to_start", &["ctrl-u"], "cut to the beginning of the line"),
    on(Action::Yank, "yank", &["ctrl-y"], "insert what was cut"),
    on(Action::PageUp, "page_up", &["pageup"], "a page up"),
    on(Action::PageDown, "page_down", &["pagedown"], "a page down"),
    on(Action::ScrollUp, "scroll_up", &["shift-up", "ctrl-up"], "a line up in the timeline"),
    on(Action::ScrollDown, "scroll_down", &["shift-down", "ctrl-down"], "a line down in the timeline"),
    on(Action::Top, "top", &["ctrl-home"], "to the oldest message"),
    on(Action::Bottom, "bottom", &["ctrl-end"], "to the newest message"),
    on(Action::FirstUnread, "first_unread", &["alt-u"], "to the first unread message"),
    on(Action::NextActive, "next_active", &["alt-a"], "to the next network with something new"),
    on(Action::NextNetwork, "next_network", &["ctrl-n", "alt-down"], "the next network"),
    on(Action::PreviousNetwork, "previous_network", &["ctrl-p", "alt-up"], "the network before"),
    on(Action::Network(1), "network_1", &["alt-1"], "the first network; Alt-2 the second, and so on to Alt-9"),
    on(Action::Network(2), "network_2", &["alt-2"], ""),
    on(Action::Network(3), "network_3", &["alt-3"], ""),
    on(Action::Network(4), "network_4", &["alt-4"], ""),
    on(Action::Network(5), "network_5", &["alt-5"], ""),
    on(Action::Network(6), "network_6", &["alt-6"], ""),
    on(Action::Network(7), "network_7", &["alt-7"], ""),
    on(Action::Network(8), "network_8", &["alt-8"], ""),
    on(Action::Network(9), "network_9", &["alt-9"], ""),
    on(Action::SelectOlder, "select_older", &["alt-k"], "select a message, then the one above"),
    on(Action::SelectNewer, "select_newer", &["alt-j"], "select the message below"),
    on(Action::Inspect, "inspect", &["alt-i"], "who has the selected message, or your last one"),
    on(Action::SearchOlder, "search_older", &["n"], "while searching, with nothing typed: the match before"),
    on(Action::SearchNewer, "search_newer", &["N"], "while searching, with nothing typed: the match after"),
    on(Action::Members, "members", &["alt-m"], "show or hide the members"),
    on(Action::Networks, "networks", &["alt-n"], "show or hide the networks"),
    on(Action::Help, "help", &["f1"], "show this"),
    on(Action::Cancel, "cancel", &["esc"], "close, deselect, end the search, go to the newest message"),
    on(Action::Redraw, "redraw", &["ctrl-l"], "draw the screen anew"),
    on(Action::Suspend, "suspend", &["ctrl-z"], "suspend; a node in this process sleeps too"),
    on(Action::Interrupt, "interrupt", &["ctrl-c"], "clear the input; twice on an empty one: quit"),
    on(Action::Quit, "quit", &["ctrl-q"], "quit; you stay in the network"),
];

impl Action {
    /// The action that a configuration file calls so.
    ///
    /// # Errors
    /// One sentence if there is none.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = TABLE.iter().find(|binding| binding.name == name).map(|binding| binding.action);
        found.ok_or_else(|| {
            let names: Vec<&str> = TABLE.iter().map(|binding| binding.name).collect();
            format!("there is nothing called {name:?} to do; there are {}", names.join(", "))
        })
    }
}

/// A key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl Chord {
    /// The chord of an event. Shift is in the character itself, where there is one.
    pub(crate) fn of(event: &KeyEvent) -> Self {
        let known = KeyModifiers::SHIFT | KeyModifiers::CONTROL | KeyModifiers::ALT;
        let mut modifiers = event.modifiers & known;
        if matches!(event.code, KeyCode::Char(_) | KeyCode::BackTab) {
            modifiers -= KeyModifiers::SHIFT;
        }
        Self { code: event.code, modifiers }
    }

    /// An event of this chord.
    #[cfg(test)]
    pub(crate) fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, self.modifiers)
    }
}

/// The names of keys that are no characters.
const NAMED: [(&str, KeyCode); 16] = [
    ("enter", KeyCode::Enter),
    ("tab", KeyCode::Tab),
    ("esc", KeyCode::Esc),
    ("space", KeyCode::Char(' ')),
    ("minus", KeyCode::Char('-')),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
];

impl FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is no key; write it as ctrl-n, alt-enter, pageup, f1 or x");
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        for (prefix, modifier) in
            [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)]
        {
            if let Some(short) = rest.strip_prefix(prefix) {
                modifiers |= modifier;
                rest = short;
            }
        }
        if rest == "tab" && modifiers.contains(KeyModifiers::SHIFT) {
            return Ok(Self { code: KeyCode::BackTab, modifiers: modifiers - KeyModifiers::SHIFT });
        }
        let named = NAMED.iter().find(|(name, _)| *name == rest).map(|(_, code)| *code);
        let function = || rest.strip_prefix('f')?.parse().ok().filter(|n| (1..=24).contains(n)).map(KeyCode::F);
        let mut chars = rest.chars();
        let character = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() && !modifiers.contains(KeyModifiers::SHIFT) => Some(KeyCode::Char(c)),
            _ => None,
        };
        let code = named.or_else(function).or(character).ok_or_else(refused)?;
        Ok(Self { code, modifiers })
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in
            [(KeyModifiers::CONTROL, "Ctrl-"), (KeyModifiers::ALT, "Alt-"), (KeyModifiers::SHIFT, "Shift-")]
        {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match self.code {
            KeyCode::F(number) => write!(f, "F{number}"),
            KeyCode::BackTab => f.write_str("Shift-Tab"),
            code => match NAMED.iter().find(|(_, named)| *named == code) {
                Some((name, _)) => {
                    let (first, rest) = name.split_at(1);
                    write!(f, "{}{rest}", first.to_ascii_uppercase())
                }
                None => match code {
                    KeyCode::Char(c) => write!(f, "{c}"),
                    other => write!(f, "{other:?}"),
                },
            },
        }
    }
}

/// The keys that hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<(Action, Vec<Chord>)>);

impl Default for Keys {
    fn default() -> Self {
        let chords = |binding: &Binding| binding.chords.iter().filter_map(|chord| chord.parse().ok()).collect();
        Self(TABLE.iter().map(|binding| (binding.action, chords(binding))).collect())
    }
}

impl Keys {
    /// The defaults, with what a configuration file says. A key that is given to an action is taken from any other.
    pub(crate) fn with(given: impl IntoIterator<Item = (Action, Vec<Chord>)>) -> Self {
        let mut keys = Self::default();
        for (given_to, chords) in given {
            for (action, known) in &mut keys.0 {
                if *action == given_to {
                    known.clone_from(&chords);
                } else {
                    known.retain(|chord| !chords.contains(chord));
                }
            }
        }
        keys
    }

    /// What a key does. `n` and `N` search only `while_searching`; else they are text.
    pub(crate) fn action(&self, event: &KeyEvent, while_searching: bool) -> Option<Action> {
        let chord = Chord::of(event);
        let is_open = |action: Action| while_searching || !matches!(action, Action::SearchOlder | Action::SearchNewer);
        let found = self.0.iter().find(|(action, chords)| is_open(*action) && chords.contains(&chord));
        found.map(|(action, _)| *action)
    }

    /// The first key of an action, for people; nothing if it has none.
    pub(crate) fn first(&self, action: Action) -> Option<String> {
        let (_, chords) = self.0.iter().find(|(known, _)| *known == action)?;
        chords.first().map(ToString::to_string)
    }

    /// Keys and what they do, for `/help`.
    pub(crate) fn help(&self) -> impl Iterator<Item = (String, &'static str)> {
        let told =
            TABLE.iter().zip(&self.0).filter(|(binding, (_, chords))| !binding.help.is_empty() && !chords.is_empty());
        told.map(|(binding, (_, chords))| {
            let chords: Vec<String> = chords.iter().map(ToString::to_string).collect();
            (chords.join(", "), binding.help)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn every_default_is_a_key_and_none_is_given_twice() {
        let mut seen: Vec<Chord> = Vec::new();
        for binding in TABLE {
            for chord in binding.chords {
                let chord: Chord = chord.parse().unwrap_or_else(|error| panic!("{}: {error}", binding.name));
                assert!(!seen.contains(&chord), "{chord}");
                seen.push(chord);
            }
        }
    }

    #[test]
    fn keys_are_found_as_terminals_report_them() {
        let keys = Keys::default();
        let action = |code, modifiers| keys.action(&press(code, modifiers), false);
        assert_eq!(action(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Action::CompleteBack));
        assert_eq!(action(KeyCode::Char('n'), KeyModifiers::CONTROL), Some(Action::NextNetwork));
        assert_eq!(action(KeyCode::Char('3'), KeyModifiers::ALT), Some(Action::Network(3)));
        assert_eq!(action(KeyCode::Char('n'), KeyModifiers::NONE), None);
        let newer = press(KeyCode::Char('N'), KeyModifiers::SHIFT);
        assert_eq!(keys.action(&newer, true), Some(Action::SearchNewer));
    }

    #[test]
    fn a_configured_key_moves_from_one_action_to_another() {
        let quit = Action::named("quit").expect("an action");
        let keys = Keys::with([(quit, vec!["ctrl-n".parse().expect("a key")])]);
        let action = |c| keys.action(&press(KeyCode::Char(c), KeyModifiers::CONTROL), false);
        assert_eq!((action('n'), action('q')), (Some(Action::Quit), None));
        assert_eq!(keys.first(Action::NextNetwork).as_deref(), Some("Alt-Down"));
        assert!(Action::named("dance").expect_err("refused").contains("\"dance\""));
        for bad in ["", "ctrl-", "hyper-x", "f0", "f25", "xy"] {
            assert!(bad.parse::<Chord>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_action_and_its_keys_are_in_the_document() {
        let document = include_str!("../../../../docs/screen.md").to_lowercase();
        for binding in TABLE.iter().filter(|binding| !binding.help.is_empty()) {
            let row = document.lines().find(|line| line.starts_with(&format!("| `{}` |", binding.name)));
            let row = row.unwrap_or_else(|| panic!("{} has no row", binding.name));
            assert!(binding.chords.iter().all(|chord| row.contains(&format!("`{}`", chord.to_lowercase()))), "{row}");
            assert!(row.contains(&binding.help.to_lowercase()), "{row}");
        }
    }

    #[test]
    fn chords_are_printed_as_people_write_them() {
        let shown = |text: &str| text.parse::<Chord>().expect("a key").to_string();
        assert_eq!(shown("ctrl-n"), "Ctrl-n");
        assert_eq!(shown("alt-enter"), "Alt-Enter");
        assert_eq!(shown("shift-tab"), "Shift-Tab");
        assert_eq!(shown("f1"), "F1");
        assert_eq!(shown("pageup"), "Pageup");
    }
}
