//! The words after a slash: one table for line mode and the screen, for `/help`, and for completion.

/// What is wanted by whoever typed a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    Nothing,
    Say(String),
    Join(String),
    Create(String),
    /// The current network, unless one is named; with or without what nobody else has.
    Leave {
        network: Option<String>,
        force: bool,
    },
    Networks,
    Members,
    /// The selected message, or the newest own one, unless one is named.
    Inspect(Option<String>),
    Status,
    Search(String),
    Clear,
    Help,
    Quit,
    /// A known word with something wrong behind it: how it is written.
    Misused(String),
    Unknown(String),
}

/// Where a word means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Lines in, lines out.
    Lines,
    /// The full screen.
    Screen,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Word {
    /// The word, without its slash.
    pub(crate) name: &'static str,
    /// What has to stand behind it in line mode, and on the screen; in brackets: may stand.
    lines: Option<&'static str>,
    screen: &'static str,
    pub(crate) help: &'static str,
    meaning: fn(&str) -> Option<Meaning>,
}

const fn everywhere(name: &'static str, help: &'static str, meaning: fn(&str) -> Option<Meaning>) -> Word {
    Word { name, lines: Some(""), screen: "", help, meaning }
}

const fn on_screen(
    name: &'static str,
    screen: &'static str,
    help: &'static str,
    meaning: fn(&str) -> Option<Meaning>,
) -> Word {
    Word { name, lines: None, screen, help, meaning }
}

/// The words.
pub(crate) const WORDS: &[Word] = &[
    on_screen("join", "NET", "join a network", |rest| one(rest).map(Meaning::Join)),
    on_screen("create", "NET", "found a network", |rest| one(rest).map(Meaning::Create)),
    on_screen("leave", "[NET] [--force]", "leave a network; what was said in it stays readable", |rest| {
        Some(leave(rest))
    }),
    on_screen("networks", "", "the networks that exist", |rest| nothing(rest, Meaning::Networks)),
    everywhere("members", "who is in the network", |rest| nothing(rest, Meaning::Members)),
    everywhere("status", "where this node stands, and what is owed to whom", |rest| nothing(rest, Meaning::Status)),
    Word {
        name: "inspect",
        lines: Some("ID"),
        screen: "[ID]",
        help: "who has a message (its first characters are enough)",
        meaning: |rest| match one(rest) {
            Some(id) if id.contains(char::is_whitespace) => None,
            id => Some(Meaning::Inspect(id)),
        },
    },
    on_screen("search", "TEXT", "find what was said; n and N go to the next", |rest| one(rest).map(Meaning::Search)),
    Word {
        name: "me",
        lines: Some("TEXT"),
        screen: "TEXT",
        help: "say what you do",
        meaning: |rest| one(rest).map(|what| Meaning::Say(format!("/me {what}"))),
    },
    on_screen("clear", "", "empty the screen; the log stays", |rest| nothing(rest, Meaning::Clear)),
    everywhere("help", "show this", |rest| nothing(rest, Meaning::Help)),
    everywhere("quit", "end; you stay in the network", |rest| nothing(rest, Meaning::Quit)),
];

impl Word {
    /// How it is written; nothing where it means nothing.
    pub(crate) fn usage(&self, mode: Mode) -> Option<String> {
        let argument = match mode {
            Mode::Lines => self.lines?,
            Mode::Screen => self.screen,
        };
        Some(format!("/{} {argument}", self.name).trim_end().to_owned())
    }
}

/// How everything is written, and what it does.
pub(crate) fn help(mode: Mode) -> impl Iterator<Item = (String, &'static str)> {
    let words = WORDS.iter().filter_map(move |word| Some((word.usage(mode)?, word.help)));
    words.chain([("//text".to_owned(), "say /text")])
}

/// Understands a line: a text to say, unless it begins with one slash.
pub(crate) fn meaning(line: String, mode: Mode) -> Meaning {
    let Some(command) = line.strip_prefix('/') else {
        return if line.trim().is_empty() { Meaning::Nothing } else { Meaning::Say(line) };
    };
    if command.starts_with('/') {
        return Meaning::Say(command.to_owned());
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let known = WORDS.iter().find(|word| word.name == name).and_then(|word| Some((word, word.usage(mode)?)));
    let Some((word, usage)) = known else { return Meaning::Unknown(line) };
    match (word.meaning)(rest.trim()) {
        Some(Meaning::Inspect(None)) if mode == Mode::Lines => Meaning::Misused(usage),
        Some(meaning) => meaning,
        None => Meaning::Misused(usage),
    }
}

fn one(rest: &str) -> Option<String> {
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn leave(rest: &str) -> Meaning {
    let by_force = rest.strip_suffix("--force").filter(|net| net.is_empty() || net.ends_with(char::is_whitespace));
    Meaning::Leave { network: one(by_force.unwrap_or(rest).trim()), force: by_force.is_some() }
}

fn nothing(rest: &str, meaning: Meaning) -> Option<Meaning> {
    rest.is_empty().then_some(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_lines(line: &str) -> Meaning {
        meaning(line.to_owned(), Mode::Lines)
    }

    fn on_screen(line: &str) -> Meaning {
        meaning(line.to_owned(), Mode::Screen)
    }

    #[test]
    fn lines_are_texts_unless_they_begin_with_a_slash() {
        assert_eq!(in_lines("hello /quit"), Meaning::Say("hello /quit".to_owned()));
        assert_eq!(in_lines(" "), Meaning::Nothing);
        assert_eq!(in_lines(""), Meaning::Nothing);
        assert_eq!(in_lines("//etc"), Meaning::Say("/etc".to_owned()));
        assert_eq!(in_lines("/me waves"), Meaning::Say("/me waves".to_owned()));
        assert_eq!(in_lines("/members "), Meaning::Members);
        assert_eq!(in_lines("/inspect abcd"), Meaning::Inspect(Some("abcd".to_owned())));
        for unknown in ["/", "/dance", "/join lab", "/clear", "/ members"] {
            assert_eq!(in_lines(unknown), Meaning::Unknown(unknown.to_owned()));
        }
        for misused in ["/inspect", "/inspect a b"] {
            assert_eq!(in_lines(misused), Meaning::Misused("/inspect ID".to_owned()));
        }
        assert_eq!(in_lines("/quit now"), Meaning::Misused("/quit".to_owned()));
        assert_eq!(in_lines("/me"), Meaning::Misused("/me TEXT".to_owned()));
    }

    #[test]
    fn the_screen_knows_more_words() {
        assert_eq!(on_screen("/join my lab"), Meaning::Join("my lab".to_owned()));
        let leave = |network: Option<&str>, force| Meaning::Leave { network: network.map(str::to_owned), force };
        assert_eq!(on_screen("/leave"), leave(None, false));
        assert_eq!(on_screen("/leave --force"), leave(None, true));
        assert_eq!(on_screen("/leave my lab  --force "), leave(Some("my lab"), true));
        assert_eq!(on_screen("/leave brute--force"), leave(Some("brute--force"), false));
        assert_eq!(on_screen("/inspect"), Meaning::Inspect(None));
        assert_eq!(on_screen("/search two words"), Meaning::Search("two words".to_owned()));
        assert_eq!(on_screen("/join"), Meaning::Misused("/join NET".to_owned()));
        assert_eq!(on_screen("/clear it"), Meaning::Misused("/clear".to_owned()));
    }

    #[test]
    fn help_has_every_word_of_its_mode() {
        let of = |mode| help(mode).map(|(usage, _)| usage).collect::<Vec<_>>();
        assert_eq!(of(Mode::Lines), ["/members", "/status", "/inspect ID", "/me TEXT", "/help", "/quit", "//text"]);
        assert_eq!(of(Mode::Screen).len(), WORDS.len() + 1);
    }
}
