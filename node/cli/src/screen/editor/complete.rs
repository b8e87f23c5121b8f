//! Completion of the word before the cursor.

use std::collections::BTreeSet;

use super::words;

/// Letters of an emoji's name from which on it is completed.
const MIN_EMOJI_LETTERS: usize = 1;

/// A way through something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To what comes next.
    Forward,
    /// To what came before.
    Back,
}

/// What words can be completed to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Candidates<'a> {
    /// Names of members, the likeliest first.
    pub(crate) nicks: &'a [String],
    /// Commands, each with its slash.
    pub(crate) commands: &'a [String],
    /// Names of networks.
    pub(crate) networks: &'a [String],
}

/// A completion under way.
#[derive(Debug, Clone)]
pub(super) struct Completion {
    /// Where the word begins, in bytes.
    pub(super) start: usize,
    stem: String,
    found: Vec<String>,
    /// Which one is shown; behind the last one: the stem.
    shown: usize,
}

impl Completion {
    /// What the last word of `before` can be completed to: at the beginning `/` makes it a command, and what follows a
    /// command is a network or a member; `:` makes it an emoji; anything else is a member.
    pub(super) fn of(before: &str, candidates: &Candidates<'_>) -> Option<Self> {
        let start = before.rfind(char::is_whitespace);
        let start = start.map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
        let stem = &before[start..];
        let mut found: Vec<String> = match stem.strip_prefix(':') {
            Some(name) if name.len() >= MIN_EMOJI_LETTERS => {
                words::emoji_called(name).into_iter().map(str::to_owned).collect()
            }
            _ if start == 0 && stem.starts_with('/') => beginning(stem, candidates.commands, " ").collect(),
            _ if before.starts_with('/') => {
                beginning(stem, candidates.networks, " ").chain(beginning(stem, candidates.nicks, " ")).collect()
            }
            _ => beginning(stem, candidates.nicks, if start == 0 { ": " } else { " " }).collect(),
        };
        let mut seen = BTreeSet::new();
        found.retain(|text| seen.insert(text.clone()));
        let shown = found.len();
        (shown > 0).then(|| Self { start, stem: stem.to_owned(), found, shown })
    }

    /// The next one that way.
    pub(super) fn turn(&mut self, direction: Direction) -> &str {
        // Where there is no choice, it stays.
        let count = if self.found.len() > 1 { self.found.len() + 1 } else { 1 };
        let step = if direction == Direction::Forward { 1 } else { count - 1 };
        self.shown = (self.shown + step) % count;
        self.found.get(self.shown).unwrap_or(&self.stem)
    }
}

fn beginning<'a>(stem: &str, of: &'a [String], end: &'a str) -> impl Iterator<Item = String> + use<'a> {
    let stem = stem.to_lowercase();
    of.iter().filter(move |name| name.to_lowercase().starts_with(&stem)).map(move |name| format!("{name}{end}"))
}
