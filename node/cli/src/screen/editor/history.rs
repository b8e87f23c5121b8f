//! What was entered before, and the way through it.

use std::collections::{BTreeMap, VecDeque};

/// Most texts that are kept.
const MAX_TEXTS: usize = 500;
/// Most bytes that are kept, all texts together.
const MAX_BYTES: usize = 1 << 20;

/// Texts that were entered, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    texts: VecDeque<String>,
    size: usize,
    /// Which one is shown; none while something new is being written.
    shown: Option<usize>,
    /// What was being written when the first one was shown.
    draft: String,
    /// Those that were changed since then, as they are now; what was entered stays as it was.
    changed: BTreeMap<usize, String>,
}

impl History {
    /// Keeps a text, unless it says nothing or is the last one again.
    pub(super) fn push(&mut self, text: &str) {
        self.leave();
        self.keep(text);
    }

    /// Something else is written from now on. What was being written before is kept as if it had been entered.
    pub(super) fn leave(&mut self) {
        self.changed.clear();
        if self.shown.take().is_some() {
            let draft = std::mem::take(&mut self.draft);
            self.keep(&draft);
        }
    }

    /// The text before the one that is shown; `written` is what is there now.
    pub(super) fn older(&mut self, written: &str) -> Option<String> {
        let older = self.shown.unwrap_or(self.texts.len()).checked_sub(1)?;
        self.remember(written);
        self.show(older)
    }

    /// The text after the one that is shown, or at the end what was being written; `written` is what is there now.
    pub(super) fn newer(&mut self, written: &str) -> Option<String> {
        let newer = self.shown? + 1;
        self.remember(written);
        if newer < self.texts.len() {
            return self.show(newer);
        }
        self.shown = None;
        Some(std::mem::take(&mut self.draft))
    }

    fn remember(&mut self, written: &str) {
        match self.shown {
            None => written.clone_into(&mut self.draft),
            Some(shown) if self.texts.get(shown).is_some_and(|text| text == written) => {
                self.changed.remove(&shown);
            }
            Some(shown) => {
                self.changed.insert(shown, written.to_owned());
            }
        }
    }

    fn show(&mut self, at: usize) -> Option<String> {
        self.shown = Some(at);
        self.changed.get(&at).or(self.texts.get(at)).cloned()
    }

    fn keep(&mut self, text: &str) {
        if text.trim().is_empty() || self.texts.back().is_some_and(|last| last == text) {
            return;
        }
        self.size += text.len();
        self.texts.push_back(text.to_owned());
        while (self.texts.len() > MAX_TEXTS || self.size > MAX_BYTES)
            && let Some(oldest) = self.texts.pop_front()
        {
            self.size -= oldest.len();
        }
    }
}
