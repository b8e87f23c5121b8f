//! Acknowledgements on their way to the disk. What others have on their disks is told at once, but not written down at
//! once: if it is lost in a crash, they say it again. So a message does not cost its author a sync for every receiver.

use std::time::{Duration, Instant};

use p2p_chat_store::Write;

/// How long acknowledgements wait for something else to be written with them.
const WAIT: Duration = Duration::from_millis(250);
/// Most that wait.
const MAX_WAITING: usize = 512;

/// Acknowledgements that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: Vec<Write>,
    due: Option<Instant>,
}

impl Acks {
    /// Takes the writes of a step and gives back what is to be committed now: nothing if they are acknowledgements
    /// alone; else they take along what has waited.
    pub(super) fn join(&mut self, mut writes: Vec<Write>) -> Vec<Write> {
        let only_acks = writes.iter().all(|write| matches!(write, Write::Ack { .. }));
        if writes.is_empty() || only_acks && self.waiting.len() + writes.len() <= MAX_WAITING {
            if !writes.is_empty() {
                self.due.get_or_insert_with(|| Instant::now() + WAIT);
            }
            self.waiting.append(&mut writes);
            return writes;
        }
        writes.append(&mut self.take());
        writes
    }

    /// When what waits has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// All that waits.
    pub(super) fn take(&mut self) -> Vec<Write> {
        self.due = None;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::PeerId;
    use p2p_chat_store::Way;

    use super::*;

    fn ack(upto: u64) -> Write {
        Write::Ack { peer: PeerId::new([1; 32]), upto, way: Way::Direct, time_ms: 0 }
    }

    #[test]
    fn acks_wait_until_something_else_is_written_or_they_are_too_many() {
        let mut acks = Acks::default();
        assert!(acks.join(vec![ack(1)]).is_empty() && acks.join(vec![ack(2)]).is_empty());
        assert!(acks.due().is_some());
        assert!(acks.join(Vec::new()).is_empty(), "a step that writes nothing takes nothing along");
        assert_eq!(acks.join(vec![Write::State(Vec::new())]).len(), 3);
        assert!(acks.due().is_none() && acks.take().is_empty());
        let many: Vec<Write> = (0..MAX_WAITING as u64).map(ack).collect();
        assert!(acks.join(many).is_empty());
        assert_eq!(acks.join(vec![ack(9)]).len(), MAX_WAITING + 1);
    }
}
