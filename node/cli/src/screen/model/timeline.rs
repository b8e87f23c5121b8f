//! What was said in a network, in everybody's order: a window of the log around what is shown, and what happened to
//! the group while somebody watched. Far away parts are unloaded, and loaded again when they are come to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2p_chat_model::PeerId;
use p2p_chat_proto::v1;

use super::text::{harmless, harmless_line};

/// Messages that are asked for at a time.
pub(crate) const PAGE: u64 = 200;
/// Messages that are kept; beyond that the end that is farther away is unloaded.
const MAX_LOADED: usize = 2_000;
/// Most bytes of text that are kept likewise, as far as what is kept is more than [`MIN_LOADED`] messages.
const MAX_BYTES: usize = 8 << 20;
/// Messages that are kept however long they are: more than a screen shows.
const MIN_LOADED: usize = 250;
/// How many digits of an identity the node shows where it knows no name.
const SHORT_ID: usize = 8;
/// Notices that are kept.
const MAX_NOTICES: usize = 500;
/// Own messages that may be on their way to the disk, and those that did not get there and are remembered.
pub(crate) const MAX_PENDING: usize = 64;
/// Changes of the roster that are remembered to have been told by notices.
const MAX_TOLD: usize = 1_000;

/// The place of a message in everybody's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) lamport: u64,
    pub(crate) author: PeerId,
    pub(crate) seq: u64,
}

impl Key {
    /// Before all messages.
    pub(crate) const START: Self = Self { lamport: 0, author: PeerId::new([0; 32]), seq: 0 };

    /// As the node wants it.
    pub(crate) fn cursor(&self) -> v1::Cursor {
        v1::Cursor { lamport: self.lamport, author: self.author.to_string(), seq: self.seq }
    }

    /// The place right before this one.
    pub(crate) fn before(self) -> Self {
        Self { seq: self.seq.saturating_sub(1), ..self }
    }
}

/// The place of an item: that of a message, and behind it of the notices that came after it.
pub(crate) type Place = (Key, u32);

/// Something in the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Message(Message),
    Notice(Notice),
}

/// A message. Whatever is in it is harmless on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) key: Key,
    pub(crate) id: String,
    pub(crate) author_name: String,
    pub(crate) time_ms: u64,
    /// A text, or else a change of the roster.
    pub(crate) is_text: bool,
    pub(crate) text: String,
    /// The order of arrival; 0 for an own message that has not come back yet.
    pub(crate) position: u64,
    pub(crate) is_late: bool,
}

impl Message {
    /// Nothing if the node speaks of an author that can't be one.
    pub(crate) fn from_wire(message: v1::Message) -> Option<Self> {
        let author = message.author.parse().ok()?;
        Some(Self {
            key: Key { lamport: message.lamport, author, seq: message.seq },
            id: harmless_line(&message.id),
            author_name: harmless_line(&message.author_name),
            time_ms: message.time_ms,
            is_text: message.kind == "text",
            text: harmless(&message.text),
            position: message.position,
            is_late: message.late,
        })
    }
}

/// Something that happened to the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) kind: v1::NoticeKind,
    pub(crate) time_ms: u64,
    pub(crate) text: String,
}

/// A part of the log that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The newest messages.
    Newest,
    /// Those right before a place.
    Before(Key),
    /// Those right after a place.
    After(Key),
    /// Those before and after a message, and itself.
    Around(Key),
}

/// An own message on its way to this node's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) token: u64,
    pub(crate) time_ms: u64,
    /// Harmless.
    pub(crate) shown: String,
    /// As it was sent.
    pub(crate) text: String,
}

/// What was said in a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    items: BTreeMap<Place, Item>,
    /// The first and the last message that are loaded.
    bounds: Option<(Key, Key)>,
    loaded: usize,
    bytes: usize,
    /// Whether nothing comes before the window.
    reaches_start: bool,
    /// Whether nothing comes after the window.
    reaches_end: bool,
    /// The newest message known of, loaded or not.
    newest: Option<Key>,
    /// What is being loaded.
    loading: Option<Part>,
    /// What arrived outside the window while something was being loaded: it may belong to what comes.
    aside: BTreeMap<Key, Message>,
    notices: VecDeque<Place>,
    told: BTreeSet<Key>,
    pub(crate) pending: Vec<Pending>,
    /// Own messages that were not sent, or not surely, and of which their writer has only been told so far.
    pub(crate) failed: Vec<Pending>,
}

/// Which end of the window to keep when it grows too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Oldest,
    Newest,
}

impl Timeline {
    /// What is loaded, and the notices in it, in order. Costs what is taken of it.
    pub(crate) fn items(&self) -> impl DoubleEndedIterator<Item = (Place, &Item)> {
        self.range(Key::START, u32::MIN, true)
    }

    /// From a place on, itself included.
    pub(crate) fn from(&self, (key, ordinal): Place) -> impl DoubleEndedIterator<Item = (Place, &Item)> {
        self.range(key, ordinal, true)
    }

    /// Up to a place, itself not included.
    pub(crate) fn up_to(&self, (key, ordinal): Place) -> impl DoubleEndedIterator<Item = (Place, &Item)> {
        self.range(key, ordinal, false)
    }

    fn range(&self, key: Key, ordinal: u32, is_from: bool) -> impl DoubleEndedIterator<Item = (Place, &Item)> {
        let low = match self.bounds {
            Some((first, _)) if !self.reaches_start => (first, 0),
            _ => (Key::START, 0),
        };
        let highest = (Key { lamport: u64::MAX, author: PeerId::new([255; 32]), seq: u64::MAX }, u32::MAX);
        let high = match self.bounds {
            Some((_, last)) if !self.reaches_end => (last, 1),
            _ => highest,
        };
        let at = (key, ordinal).clamp(low, high);
        let (from, to) = if is_from { (at, high) } else { (low, at) };
        self.items.range(from..to).map(|(place, item)| (*place, item))
    }

    /// A message that is loaded.
    pub(crate) fn message(&self, key: &Key) -> Option<&Message> {
        match self.items.get(&(*key, 0)) {
            Some(Item::Message(message)) => Some(message),
            _ => None,
        }
    }

    /// The text messages that are loaded, in order.
    pub(crate) fn texts(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.items().filter_map(|(_, item)| match item {
            Item::Message(message) if message.is_text => Some(message),
            _ => None,
        })
    }

    pub(crate) fn reaches_start(&self) -> bool {
        self.reaches_start
    }

    pub(crate) fn reaches_end(&self) -> bool {
        self.reaches_end
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Whether nothing is loaded, though there may be something.
    pub(crate) fn is_missing(&self) -> bool {
        self.bounds.is_none() && !(self.reaches_start && self.reaches_end)
    }

    /// Whether anything has been loaded yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.pending.is_empty()
    }

    /// The first message that is loaded.
    pub(crate) fn first(&self) -> Option<Key> {
        self.bounds.map(|(first, _)| first)
    }

    /// Notes that a part is asked for; nothing if that has to wait for what is asked for already.
    pub(crate) fn load(&mut self, part: Part) -> Option<Part> {
        let is_fresh_start = matches!(part, Part::Newest | Part::Around(_));
        if self.loading.is_some() && !is_fresh_start {
            return None;
        }
        self.loading = Some(part);
        Some(part)
    }

    /// The part before, or after, what is loaded.
    pub(crate) fn load_more(&mut self, keep: Keep) -> Option<Part> {
        let (first, last) = self.bounds?;
        match keep {
            Keep::Oldest if !self.reaches_start => self.load(Part::Before(first)),
            Keep::Newest if !self.reaches_end => self.load(Part::After(last)),
            _ => None,
        }
    }

    /// What was asked for can't be had.
    pub(crate) fn loading_failed(&mut self, part: Part) {
        if self.loading == Some(part) {
            self.loading = None;
        }
    }

    /// Takes a part in; one that nobody waits for any more is passed over, and false returned.
    pub(crate) fn loaded(&mut self, part: Part, messages: Vec<Message>) -> bool {
        if self.loading != Some(part) {
            return false;
        }
        self.loading = None;
        let is_empty = messages.is_empty();
        match part {
            Part::Newest | Part::Around(_) => {
                self.unload_all();
                self.reaches_start = is_empty;
                self.reaches_end = is_empty || part == Part::Newest;
            }
            Part::Before(_) => self.reaches_start |= is_empty,
            Part::After(_) => self.reaches_end |= is_empty,
        }
        for message in messages {
            self.put(message);
        }
        if let (Part::After(_), Some((_, last)), Some(newest)) = (part, self.bounds, self.newest) {
            self.reaches_end |= last >= newest;
        }
        for (_, message) in std::mem::take(&mut self.aside) {
            if self.is_in_window(&message.key) {
                self.put(message);
            }
        }
        true
    }

    /// Takes a message in that has just arrived. Says whether it is loaded now.
    pub(crate) fn arrived(&mut self, message: Message) -> bool {
        self.newest = self.newest.max(Some(message.key));
        if self.is_in_window(&message.key) {
            self.put(message);
            return true;
        }
        if self.loading.is_some() && self.aside.len() < MAX_LOADED {
            self.aside.insert(message.key, message);
        }
        false
    }

    /// A change of the roster is told by a notice, and not shown beside it.
    pub(crate) fn told(&mut self, key: Key) {
        if self.told.len() >= MAX_TOLD {
            self.told.pop_first();
        }
        self.told.insert(key);
    }

    /// An own message is there for everybody to see: it need not be shown as on its way, or told of as not sent. One that is
    /// known already stands for no other with the same text.
    pub(crate) fn came_back(&mut self, message: &Message) {
        if self.message(&message.key).is_some() || self.aside.contains_key(&message.key) {
            return;
        }
        for own in [&mut self.pending, &mut self.failed] {
            if let Some(at) = own.iter().position(|own| own.shown == message.text) {
                own.remove(at);
                return;
            }
        }
    }

    /// An own message is in the log: if it was told of as perhaps not sent, it was.
    pub(crate) fn was_sent(&mut self, message: &Message) {
        self.failed.retain(|failed| failed.shown != message.text || failed.time_ms > message.time_ms);
    }

    /// An own message was not sent, or not surely.
    pub(crate) fn failed(&mut self, message: Pending) {
        if self.failed.len() >= MAX_PENDING {
            self.failed.remove(0);
        }
        self.failed.push(message);
    }

    /// Something happened, after all that is known of.
    pub(crate) fn happened(&mut self, notice: Notice) {
        let key = self.newest.unwrap_or(Key::START);
        let behind = self.items.range((key, 1)..=(key, u32::MAX)).next_back();
        let ordinal = behind.map_or(1, |((_, ordinal), _)| ordinal.saturating_add(1));
        self.items.insert((key, ordinal), Item::Notice(notice));
        self.notices.push_back((key, ordinal));
        if self.notices.len() > MAX_NOTICES
            && let Some(oldest) = self.notices.pop_front()
        {
            self.items.remove(&oldest);
        }
    }

    /// Puts members' names where notices have only the beginnings of their identities: whoever has just joined is told of
    /// before its admission has arrived.
    pub(crate) fn name(&mut self, members: &[v1::Member]) {
        for place in &self.notices {
            let Some(Item::Notice(notice)) = self.items.get_mut(place) else { continue };
            let Some((word, rest)) = notice.text.split_once(' ') else { continue };
            let is_id = word.len() == SHORT_ID && word.bytes().all(|digit| digit.is_ascii_hexdigit());
            if let Some(member) = members.iter().find(|member| is_id && member.peer.starts_with(word)) {
                notice.text = format!("{} {rest}", harmless_line(&member.name));
            }
        }
    }

    /// Unloads what is too much, at the end that is not to be kept; a good part at a time, so that it is seldom.
    pub(crate) fn trim(&mut self, keep: Keep) {
        let is_surplus = |loaded: usize, bytes: usize, of: usize| {
            loaded > MAX_LOADED / 4 * of || bytes > MAX_BYTES / 4 * of && loaded > MIN_LOADED
        };
        if !is_surplus(self.loaded, self.bytes, 4) {
            return;
        }
        let (mut loaded, mut bytes) = (self.loaded, self.bytes);
        let mut surplus: Vec<Key> = Vec::new();
        let messages = self.items.values().filter_map(|item| match item {
            Item::Message(message) => Some((message.key, message.text.len())),
            Item::Notice(_) => None,
        });
        let messages: Box<dyn Iterator<Item = (Key, usize)>> = match keep {
            Keep::Newest => Box::new(messages),
            Keep::Oldest => Box::new(messages.rev()),
        };
        for (key, size) in messages {
            if !is_surplus(loaded, bytes, 3) {
                break;
            }
            (loaded, bytes) = (loaded - 1, bytes.saturating_sub(size));
            surplus.push(key);
        }
        for key in &surplus {
            self.items.remove(&(*key, 0));
        }
        (self.loaded, self.bytes) = (loaded, bytes);
        self.reaches_start &= keep == Keep::Oldest;
        self.reaches_end &= keep == Keep::Newest;
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        let mut left = self.items.iter().filter(|(_, item)| is_message(item)).map(|((key, _), _)| *key);
        let first = left.next();
        self.bounds = first.map(|first| (first, left.next_back().unwrap_or(first)));
        let is_beside_a_gap = match self.loading {
            Some(Part::Before(_)) => keep == Keep::Newest,
            Some(Part::After(_)) => keep == Keep::Oldest,
            Some(Part::Newest | Part::Around(_)) | None => false,
        };
        if is_beside_a_gap {
            // What was asked for no longer meets what is loaded.
            self.loading = None;
        }
    }

    /// Forgets what is loaded: it has to be loaded anew.
    pub(crate) fn unload_all(&mut self) {
        self.items.retain(|_, item| matches!(item, Item::Notice(_)));
        self.bounds = None;
        (self.loaded, self.bytes) = (0, 0);
        self.reaches_start = false;
        self.reaches_end = false;
    }

    fn is_in_window(&self, key: &Key) -> bool {
        match self.bounds {
            Some((first, last)) => (self.reaches_start || *key >= first) && (self.reaches_end || *key <= last),
            None => self.reaches_start && self.reaches_end,
        }
    }

    fn put(&mut self, message: Message) {
        let key = message.key;
        self.newest = self.newest.max(Some(key));
        self.bounds = Some(self.bounds.map_or((key, key), |(first, last)| (first.min(key), last.max(key))));
        if self.told.contains(&key) {
            return;
        }
        self.bytes += message.text.len();
        match self.items.insert((key, 0), Item::Message(message)) {
            Some(Item::Message(before)) => self.bytes = self.bytes.saturating_sub(before.text.len()),
            _ => self.loaded += 1,
        }
    }
}

#[cfg(test)]
mod tests;
