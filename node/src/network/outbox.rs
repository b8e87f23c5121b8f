//! From the engine's writes to one commit: own entries that were written together become one signed run.

use bytes::Bytes;
use p2p_chat_engine::{CommandId, Way, Write};
use p2p_chat_model::{
    Entry, EntryHash, EntryKind, Header, Identity, MessageId, NetworkId, PeerId, Run, Seq,
    limits::{MAX_BODY_BYTES, MAX_RUN_BYTES, MAX_RUN_ENTRIES},
};
use p2p_chat_store as store;

use super::Incoming;

/// Room that an entry takes in a run besides its body, mostly; what its clock takes comes on top.
const ENTRY_BYTES: usize = 64;

/// The end of the own feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) seq: Seq,
    pub(crate) hash: EntryHash,
}

/// An own entry that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// The command that wanted it, if one did.
    pub(crate) command: Option<CommandId>,
    pub(crate) seq: Seq,
    pub(crate) message: MessageId,
    pub(crate) is_text: bool,
}

/// A commit that grows with the engine's writes.
pub(crate) struct Outbox<'a> {
    identity: &'a Identity,
    network: NetworkId,
    head: &'a mut Head,
    wall_ms: u64,
    runs: Vec<store::Write>,
    writes: Vec<store::Write>,
    own: Vec<Entry>,
    own_before: Head,
    own_bytes: usize,
}

impl<'a> Outbox<'a> {
    pub(crate) fn new(identity: &'a Identity, network: NetworkId, head: &'a mut Head, wall_ms: u64) -> Self {
        let own_before = *head;
        Self {
            identity,
            network,
            head,
            wall_ms,
            runs: Vec::new(),
            writes: Vec::new(),
            own: Vec::new(),
            own_before,
            own_bytes: 0,
        }
    }

    /// Takes a write in. `incoming` are the runs of this step; `text` holds the texts of commands. Returns the own entry
    /// that was written, if one was.
    pub(crate) fn add(
        &mut self,
        write: Write,
        incoming: &mut [Option<Incoming>],
        text: impl FnOnce(CommandId) -> Option<String>,
    ) -> Option<Written> {
        match write {
            Write::Own { text: command, op, seq, lamport, wall_ms, clock } => {
                let body = match (&op, command) {
                    (Some(op), _) => op.encode().into(),
                    (None, Some(command)) => Bytes::from(text(command).unwrap_or_default()),
                    (None, None) => Bytes::new(),
                };
                let kind = op.map_or(EntryKind::Text, |op| op.kind());
                let header = Header { lamport, wall_ms, clock, kind };
                let is_proof = kind != EntryKind::Text;
                if is_proof {
                    self.seal();
                }
                let hash = self.append(Entry { header, body });
                // Whoever shows that it was admitted shows the whole run: texts would make that long.
                if is_proof {
                    self.seal();
                }
                let (message, is_text) = (MessageId::from(hash), kind == EntryKind::Text);
                return Some(Written { command, seq, message, is_text });
            }
            Write::Run(token) => self.take_in(incoming.get_mut(token.0 as usize).and_then(Option::take)),
            Write::Fork(token) => {
                if let Some((run, bytes)) = incoming.get_mut(token.0 as usize).and_then(Option::take) {
                    self.writes.push(store::Write::Fork { run, bytes });
                }
            }
            Write::Deliver { author, seq, late, .. } => self.deliver(author, seq, late),
            Write::State(state) => {
                // Of several states in one commit only the last one counts.
                self.writes.retain(|write| !matches!(write, store::Write::State(_)));
                self.writes.push(store::Write::State(state.encode()));
            }
            Write::Ack { peer, upto, way } => {
                let way = match way {
                    Way::Direct => store::Way::Direct,
                    Way::Relayed(by) => store::Way::Relayed(by),
                    Way::Fetched => store::Way::Fetched,
                };
                self.writes.push(store::Write::Ack { peer, upto, way, time_ms: self.wall_ms });
            }
        }
        None
    }

    fn append(&mut self, entry: Entry) -> EntryHash {
        let size = entry.body.len() + ENTRY_BYTES + entry.header.clock.len() * 42;
        if self.own.len() == MAX_RUN_ENTRIES || self.own_bytes + size > MAX_RUN_BYTES - MAX_BODY_BYTES {
            self.seal();
        }
        let author = self.identity.peer();
        let seq = self.head.seq + 1;
        let hash = entry.hash(self.network, author, seq, self.head.hash);
        *self.head = Head { seq, hash };
        self.own.push(entry);
        self.own_bytes += size;
        self.deliver(author, seq, false);
        hash
    }

    /// Delivers an entry, together with those right before it.
    fn deliver(&mut self, author: PeerId, seq: Seq, late: bool) {
        if let Some(store::Write::Deliver { author: of, last, late: are_late, .. }) = self.writes.last_mut()
            && (*of, *last + 1, *are_late) == (author, seq, late)
        {
            *last = seq;
            return;
        }
        self.writes.push(store::Write::Deliver { author, first: seq, last: seq, arrived_ms: self.wall_ms, late });
    }

    /// A run that came in; of the own feed, when it was lost here and comes back.
    fn take_in(&mut self, incoming: Option<Incoming>) {
        let Some((run, bytes)) = incoming else { return };
        if run.author == self.identity.peer() {
            self.seal();
            *self.head = Head { seq: run.last(), hash: run.head() };
            self.own_before = *self.head;
        }
        self.runs.push(store::Write::Run { run, bytes });
    }

    /// Signs what was written of the own feed.
    fn seal(&mut self) {
        if self.own.is_empty() {
            self.own_before = *self.head;
            return;
        }
        let entries = std::mem::take(&mut self.own);
        let before = std::mem::replace(&mut self.own_before, *self.head);
        let run = Run::sign(self.identity, self.network, before.seq + 1, before.hash, entries);
        let bytes = Bytes::from(run.encode());
        self.own_bytes = 0;
        self.runs.push(store::Write::Run { run, bytes });
    }

    /// The commit: runs first, since everything else speaks of them. Empty if nothing is to be written.
    pub(crate) fn finish(mut self) -> Vec<store::Write> {
        self.seal();
        self.runs.append(&mut self.writes);
        self.runs
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::{RosterOp, VectorClock};

    use super::*;

    fn own(command: u64, seq: Seq) -> Write {
        let clock = VectorClock::new();
        Write::Own { text: Some(CommandId(command)), op: None, seq, lamport: seq, wall_ms: 7, clock }
    }

    #[test]
    fn texts_written_together_become_one_run_that_decodes() {
        let identity = Identity::from_seed([1; 32]);
        let network = NetworkId::new([7; 32]);
        let mut head = Head { seq: 0, hash: EntryHash::NONE };
        let mut outbox = Outbox::new(&identity, network, &mut head, 7);
        let first = outbox.add(own(1, 1), &mut [], |_| Some("one".to_owned()));
        let second = outbox.add(own(2, 2), &mut [], |_| Some("two".to_owned()));
        let writes = outbox.finish();
        let store::Write::Run { bytes, .. } = &writes[0] else { panic!("the run comes first") };
        let run = Run::decode(bytes).expect("a genuine run");
        assert_eq!(run.last(), 2);
        let written = |command, hash| {
            let command = Some(CommandId(command));
            Some(Written { command, seq: command.map_or(0, |id| id.0), message: MessageId::from(hash), is_text: true })
        };
        assert_eq!(first, written(1, run.entries[0].0));
        assert_eq!(second, written(2, run.head()));
        assert_eq!((head.seq, head.hash), (2, run.head()));
        assert_eq!(writes.len(), 2, "one run, one delivery");
    }

    #[test]
    fn an_entry_of_the_roster_has_a_run_of_its_own() {
        let identity = Identity::from_seed([1; 32]);
        let network = NetworkId::new([7; 32]);
        let mut head = Head { seq: 0, hash: EntryHash::NONE };
        let mut outbox = Outbox::new(&identity, network, &mut head, 7);
        for seq in 1..=5 {
            let op = (seq == 3).then_some(RosterOp::Leave);
            let clock = VectorClock::new();
            let write = Write::Own { text: Some(CommandId(seq)), op, seq, lamport: seq, wall_ms: 7, clock };
            outbox.add(write, &mut [], |_| Some("text".to_owned()));
        }
        let lengths = outbox.finish().into_iter().filter_map(|write| match write {
            store::Write::Run { bytes, .. } => Some(Run::decode(&bytes).expect("a sound run").entries.len()),
            _ => None,
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [2, 1, 2]);
    }

    #[test]
    fn a_run_is_closed_before_it_grows_too_long_or_too_large() {
        let identity = Identity::from_seed([1; 32]);
        let network = NetworkId::new([7; 32]);
        for (count, size) in [(MAX_RUN_ENTRIES as Seq + 1, 1), (8, 60_000)] {
            let mut head = Head { seq: 0, hash: EntryHash::NONE };
            let mut outbox = Outbox::new(&identity, network, &mut head, 7);
            for seq in 1..=count {
                outbox.add(own(seq, seq), &mut [], |_| Some("x".repeat(size)));
            }
            let runs: Vec<Run> = outbox
                .finish()
                .into_iter()
                .filter_map(|write| match write {
                    store::Write::Run { bytes, .. } => Some(Run::decode(&bytes).expect("a run in bounds")),
                    _ => None,
                })
                .collect();
            assert!(runs.len() > 1);
            assert_eq!(runs.iter().map(|run| run.entries.len()).sum::<usize>(), count as usize);
            assert!(runs.windows(2).all(|pair| pair[0].head() == pair[1].previous));
        }
    }
}
