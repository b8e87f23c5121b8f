//! What was entered before, and the way through it.

use std::collections::VecDeque;

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
}

impl History {
    /// Keeps a text, unless it says nothing or is the last one again.
    pub(super) fn push(&mut self, text: &str) {
        self.shown = None;
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

    /// The text before the one that is shown; `written` is what is there now.
    pub(super) fn older(&mut self, written: &str) -> Option<String> {
        let older = self.shown.unwrap_or(self.texts.len()).checked_sub(1)?;
        if self.shown.is_none() {
            written.clone_into(&mut self.draft);
        }
        self.shown = Some(older);
        self.texts.get(older).cloned()
    }

    /// The text after the one that is shown, or at the end what was being written.
    pub(super) fn newer(&mut self) -> Option<String> {
        let newer = self.shown? + 1;
        if let Some(text) = self.texts.get(newer) {
            self.shown = Some(newer);
            return Some(text.clone());
        }
        self.shown = None;
        Some(std::mem::take(&mut self.draft))
    }
}
