//! The input line: text of several lines and a place in it, without a terminal.
//!
//! Everything moves by graphemes, what readers take for one character: a family of emoji, or a letter with its marks,
//! is passed and deleted as a whole. What is shown of a line is harmless and has no tabs, and columns count what is
//! shown. Control characters don't get into the text.
//!
//! - `words.rs`: what a word is, and emoji by their names.
//! - `history.rs`: what was entered before.
//! - `complete.rs`: completion of names, commands and emoji.

mod complete;
mod history;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

pub(crate) use self::complete::{Candidates, Direction};
use self::{complete::Completion, history::History};
use super::{layout::wrap::columns, model::text::harmless};

/// Most that the line holds, in bytes: more than can be sent, so that a text that is too long can be cut by its writer.
pub(crate) const MAX_BYTES: usize = 256 << 10;

/// The input line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Editor {
    text: String,
    /// A place between two graphemes, in bytes.
    at: usize,
    /// The column that moves up and down keep to.
    goal: Option<usize>,
    /// What was cut last.
    cut: String,
    /// Which way the action before cut, if it did: the next cut that way is added to it.
    cutting: Option<Direction>,
    history: History,
    completion: Option<Completion>,
}

impl Editor {
    /// An empty line without a history.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The text, as it would be sent.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is no text.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What is shown of each line; at least one.
    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = Cow<'_, str>> {
        self.text.split('\n').map(shown)
    }

    /// The line and the column of the cursor in [`Self::lines`], both from 0, the column in cells of the terminal.
    pub(crate) fn cursor(&self) -> (usize, usize) {
        let before = &self.text[..self.at];
        (before.matches('\n').count(), shown_width(&before[self.line_start()..]))
    }

    /// Puts text at the cursor; line breaks of all kinds become `\n`, other control characters but tabs are left
    /// out. A `:` typed by itself behind `:name` makes an emoji of it. Says whether all of it found room.
    pub(crate) fn insert(&mut self, text: &str) -> bool {
        self.begin();
        let clean = clean(text);
        let fits = self.put(&clean);
        if clean == ":"
            && let Some((start, emoji)) = words::emoji_before(&self.text[..self.at])
        {
            self.replace(start, self.at, emoji);
        }
        fits
    }

    /// Begins a new line at the cursor. Says whether there was room.
    pub(crate) fn newline(&mut self) -> bool {
        self.insert("\n")
    }

    /// Replaces the text, and goes to its end. Says whether all of it found room.
    pub(crate) fn set_text(&mut self, text: &str) -> bool {
        self.begin();
        self.history.leave();
        self.text.clear();
        self.at = 0;
        self.insert(text)
    }

    /// Takes the text to be sent: the line is empty, and the text is in the history.
    pub(crate) fn take(&mut self) -> String {
        self.begin();
        self.at = 0;
        let text = std::mem::take(&mut self.text);
        self.history.push(&text);
        text
    }

    /// One grapheme to the left.
    pub(crate) fn left(&mut self) {
        self.begin();
        self.at = self.previous();
    }

    /// One grapheme to the right.
    pub(crate) fn right(&mut self) {
        self.begin();
        self.at = self.next();
    }

    /// To the beginning of the word, or of the one before.
    pub(crate) fn word_left(&mut self) {
        self.begin();
        self.at = words::start_before(&self.text, self.at);
    }

    /// To the end of the word, or of the next one.
    pub(crate) fn word_right(&mut self) {
        self.begin();
        self.at = words::end_after(&self.text, self.at);
    }

    /// To the beginning of the line.
    pub(crate) fn home(&mut self) {
        self.begin();
        self.at = self.line_start();
    }

    /// To the end of the line.
    pub(crate) fn end(&mut self) {
        self.begin();
        self.at = self.line_end();
    }

    /// One line up, at about the same column. Says whether there is one.
    pub(crate) fn up(&mut self) -> bool {
        let start = self.line_start();
        let Some(end) = start.checked_sub(1) else { return false };
        let start = self.text[..end].rfind('\n').map_or(0, |at| at + 1);
        self.go_to_line(start, end);
        true
    }

    /// One line down, at about the same column. Says whether there is one.
    pub(crate) fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let start = end + 1;
        let end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        self.go_to_line(start, end);
        true
    }

    fn go_to_line(&mut self, start: usize, end: usize) {
        let goal = self.goal.unwrap_or_else(|| self.cursor().1);
        self.begin();
        let mut column = 0;
        self.at = start;
        for grapheme in self.text[start..end].graphemes(true) {
            column += shown_width(grapheme);
            if column > goal {
                break;
            }
            self.at += grapheme.len();
        }
        self.goal = Some(goal);
    }

    /// Deletes the grapheme before the cursor.
    pub(crate) fn backspace(&mut self) {
        self.begin();
        self.replace(self.previous(), self.at, "");
    }

    /// Deletes the grapheme behind the cursor.
    pub(crate) fn delete(&mut self) {
        self.begin();
        self.replace(self.at, self.next(), "");
    }

    /// Cuts the word before the cursor.
    pub(crate) fn kill_word(&mut self) {
        self.kill(words::start_before(&self.text, self.at), Direction::Back);
    }

    /// Cuts to the beginning of the line, or there the break before it.
    pub(crate) fn kill_to_start(&mut self) {
        let start = self.line_start();
        self.kill(if start == self.at { self.previous() } else { start }, Direction::Back);
    }

    /// Cuts to the end of the line, or there the break behind it.
    pub(crate) fn kill_to_end(&mut self) {
        let end = self.line_end();
        self.kill(if end == self.at { self.next() } else { end }, Direction::Forward);
    }

    /// Puts what was cut last at the cursor. Says whether all of it found room.
    pub(crate) fn yank(&mut self) -> bool {
        self.begin();
        let cut = std::mem::take(&mut self.cut);
        let fits = self.put(&cut);
        self.cut = cut;
        fits
    }

    /// Shows what was entered before what is shown now; what was being written, or changed in it, is kept.
    pub(crate) fn history_prev(&mut self) {
        if let Some(text) = self.history.older(&self.text) {
            self.show(text);
        }
    }

    /// The way back from [`Self::history_prev`], to what was being written at last.
    pub(crate) fn history_next(&mut self) {
        if let Some(text) = self.history.newer(&self.text) {
            self.show(text);
        }
    }

    /// Completes the word before the cursor, or shows the next candidate (going backward: the one before) if that
    /// was just done; after the last one the word is as it was. Says whether there was a candidate.
    pub(crate) fn complete(&mut self, candidates: &Candidates<'_>, direction: Direction) -> bool {
        let going_on = self.completion.take();
        self.begin();
        self.completion = going_on.or_else(|| Completion::of(&self.text[..self.at], candidates));
        let Some(completion) = &mut self.completion else { return false };
        let (start, word) = (completion.start, completion.turn(direction).to_owned());
        self.replace(start, self.at, &word);
        true
    }

    /// Something is done: whatever goes on only over several actions of one kind ends here.
    fn begin(&mut self) {
        self.goal = None;
        self.cutting = None;
        self.completion = None;
    }

    fn show(&mut self, text: String) {
        self.begin();
        self.at = text.len();
        self.text = text;
    }

    /// Cuts between the cursor and `to`; cuts in a row make up one.
    fn kill(&mut self, to: usize, direction: Direction) {
        let goes_on = self.cutting == Some(direction);
        self.begin();
        let (start, end) = (to.min(self.at), to.max(self.at));
        if start == end {
            return;
        }
        let cut = &self.text[start..end];
        match direction {
            _ if !goes_on => cut.clone_into(&mut self.cut),
            Direction::Forward => self.cut.push_str(cut),
            Direction::Back => self.cut.insert_str(0, cut),
        }
        self.replace(start, end, "");
        self.cutting = Some(direction);
    }

    /// Puts text at the cursor as far as there is room.
    fn put(&mut self, text: &str) -> bool {
        let room = MAX_BYTES.saturating_sub(self.text.len()).min(text.len());
        let end = (0..=room).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.replace(self.at, self.at, &text[..end]);
        end == text.len()
    }

    /// Replaces a part of the text, and goes behind what is there instead.
    fn replace(&mut self, start: usize, end: usize, with: &str) {
        self.text.replace_range(start..end, with);
        self.at = start + with.len();
        self.settle();
    }

    /// Where two texts meet, their ends may have become one grapheme: the cursor goes behind it.
    fn settle(&mut self) {
        let mut cursor = GraphemeCursor::new(self.at, self.text.len(), true);
        if !cursor.is_boundary(&self.text, 0).unwrap_or(true) {
            self.at = self.next();
        }
    }

    fn previous(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.at, self.text.len(), true);
        cursor.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn next(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.at, self.text.len(), true);
        cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn line_start(&self) -> usize {
        self.text[..self.at].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.at..].find('\n').map_or(self.text.len(), |at| self.at + at)
    }
}

fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// What is shown of a part of a line.
fn shown(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(harmless(text))
}

fn shown_width(text: &str) -> usize {
    columns(&shown(text))
}
