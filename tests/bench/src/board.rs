//! What is sent, when it was sent, and whether it arrived: each message exactly once at each receiver.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::histogram::Histogram;

/// Shortest text: who sent it and which it is have to fit in.
pub(crate) const MIN_SIZE: usize = 32;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// How many nodes send.
    pub(crate) senders: usize,
    /// Messages of each.
    pub(crate) messages: usize,
    /// Bytes of each text.
    pub(crate) size: usize,
    /// Messages a sender and second; 0 as fast as they are accepted.
    pub(crate) rate: u32,
    /// Messages of a sender that wait to be accepted, at most.
    pub(crate) in_flight: usize,
}

impl Load {
    /// Messages in all.
    pub(crate) fn total(&self) -> usize {
        self.senders * self.messages
    }
}

/// When each message was sent.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) load: Load,
    /// Tells the texts of this load from those of another.
    mark: char,
    base: Instant,
    /// Nanoseconds after `base`; 0 for what was not sent yet.
    sent: Vec<AtomicU64>,
    /// How many messages arrived somewhere, for whoever waits for all.
    arrived: AtomicU64,
    /// Of how many messages the authors know that all others have them on their disks, likewise.
    acked_all: AtomicU64,
}

impl Board {
    pub(crate) fn new(load: Load, mark: char) -> Self {
        let sent = (0..load.total()).map(|_| AtomicU64::new(0)).collect();
        Self { load, mark, base: Instant::now(), sent, arrived: AtomicU64::new(0), acked_all: AtomicU64::new(0) }
    }

    /// The text of a message; from now on its time runs.
    pub(crate) fn text(&self, sender: usize, number: usize) -> String {
        let mut text = format!("{}.{sender}.{number}.", self.mark);
        text.extend(std::iter::repeat_n('x', self.load.size.saturating_sub(text.len())));
        let nanos = self.base.elapsed().as_nanos() as u64;
        self.sent[sender * self.load.messages + number].store(nanos.max(1), Ordering::Relaxed);
        text
    }

    /// The place of the message with this text on the board; nothing if it is not of this load.
    pub(crate) fn place(&self, text: &str) -> Option<usize> {
        let mut words = text.strip_prefix(self.mark)?.strip_prefix('.')?.split('.');
        let (sender, number) = (words.next()?.parse::<usize>().ok()?, words.next()?.parse::<usize>().ok()?);
        (sender < self.load.senders && number < self.load.messages && text.len() == self.load.size)
            .then_some(sender * self.load.messages + number)
    }

    /// Who sends the message at this place.
    pub(crate) fn sender(&self, place: usize) -> usize {
        place / self.load.messages
    }

    /// How long ago a message was sent.
    pub(crate) fn since(&self, place: usize) -> Duration {
        let sent = Duration::from_nanos(self.sent[place].load(Ordering::Relaxed));
        self.base.elapsed().saturating_sub(sent)
    }

    /// When the first message was sent.
    pub(crate) fn began(&self) -> Option<Instant> {
        let sent = self.sent.iter().map(|sent| sent.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
        sent.min().map(|nanos| self.base + Duration::from_nanos(nanos))
    }

    /// Messages that arrived at others than their senders, all receivers together; duplicates do not count.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Messages that all others have on their disks, as their authors know.
    pub(crate) fn acked_all(&self) -> u64 {
        self.acked_all.load(Ordering::Relaxed)
    }

    /// The author of a message has seen that all others have it.
    pub(crate) fn count_acked_all(&self) {
        self.acked_all.fetch_add(1, Ordering::Relaxed);
    }
}

/// What arrived, at one receiver or at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Without duplicates.
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) latency: Histogram,
    pub(crate) last: Option<Instant>,
}

impl Tally {
    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.latency.merge(&other.latency);
        self.last = self.last.max(other.last);
    }
}

/// What one receiver got.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Who receives: what it sent itself does not count.
    me: usize,
    seen: Vec<bool>,
    pub(crate) tally: Tally,
}

impl Inbox {
    pub(crate) fn new(me: usize, load: &Load) -> Self {
        let seen = vec![false; load.total()];
        Self { me, seen, tally: Tally::default() }
    }

    /// A text has arrived. Returns the place of a message of this receiver itself.
    pub(crate) fn take(&mut self, board: &Board, text: &str) -> Option<usize> {
        let place = board.place(text)?;
        if board.sender(place) == self.me {
            return Some(place);
        }
        if std::mem::replace(&mut self.seen[place], true) {
            self.tally.duplicates += 1;
        } else {
            self.tally.received += 1;
            self.tally.latency.add(board.since(place));
            self.tally.last = Some(Instant::now());
            board.arrived.fetch_add(1, Ordering::Relaxed);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { senders: 2, messages: 3, size: 40, rate: 0, in_flight: 1 };

    #[test]
    fn a_message_that_comes_twice_is_a_duplicate_and_one_of_ones_own_is_none() {
        let board = Board::new(LOAD, 'm');
        let mut inbox = Inbox::new(1, &LOAD);
        let text = board.text(0, 2);
        assert_eq!(text.len(), 40);
        assert_eq!(inbox.take(&board, &text), None);
        assert_eq!(inbox.take(&board, &text), None);
        assert_eq!(inbox.take(&board, &board.text(1, 0)), Some(3));
        assert_eq!((inbox.tally.received, inbox.tally.duplicates, board.arrived()), (1, 1, 1));
    }

    #[test]
    fn texts_of_another_load_have_no_place() {
        let board = Board::new(LOAD, 'm');
        assert_eq!(board.place(&Board::new(LOAD, 'h').text(0, 0)), None);
        assert_eq!(board.place("m.9.0.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), None);
        assert_eq!(board.place("hello"), None);
    }
}
