//! What a process writes in one go and syncs at once. As in the real driver, own entries that are written together become
//! one signed run, whatever else is written between them; so all of it is on the disk, or nothing.

use std::rc::Rc;

use p2p_chat_model::{Entry, PeerId, Run, limits::MAX_RUN_ENTRIES};

use crate::{
    disk::Record,
    faults::Fault,
    net::Who,
    node::{OwnEntry, Todo},
    world::{Happening, World},
};

/// Own entries that will be one run, and its place among what is written: before the first of them is delivered.
#[derive(Default)]
struct Own {
    entries: Vec<OwnEntry>,
    place: usize,
}

impl World {
    /// Writes a batch: some of what waits, the writes among it merged into one sync.
    pub(crate) fn begin_sync(&mut self, who: Who) {
        let waiting = self.nodes[who].todo.len() as u64;
        let count = if self.rng.chance(500) { waiting } else { self.rng.between(1, waiting) };
        let mut own = Own::default();
        for _ in 0..count {
            let Some(todo) = self.nodes[who].todo.pop_front() else { break };
            self.add_to_batch(who, todo, &mut own);
        }
        self.write_own(who, own);
        let node = &mut self.nodes[who];
        node.is_syncing = true;
        let (incarnation, most) = (node.incarnation, node.slow_sync_ms.unwrap_or(node.sync_ms));
        let delay = self.rng.between(most / 4, most);
        if let Some(down_ms) = self.nodes[who].crash_writing.take() {
            let halfway = self.rng.below(delay + 1);
            self.after(halfway, Happening::Fault(Fault::CrashWriting { who, incarnation, down_ms }));
        }
        self.after(delay, Happening::Synced { who, incarnation });
    }

    fn add_to_batch(&mut self, who: Who, todo: Todo, own: &mut Own) {
        let me = self.nodes[who].peer;
        match todo {
            Todo::Own(entry) => {
                if own.entries.len() == MAX_RUN_ENTRIES {
                    self.write_own(who, std::mem::take(own));
                }
                if own.entries.is_empty() {
                    own.place = self.nodes[who].disk.unsynced();
                }
                let (disk, seq) = (&mut self.nodes[who].disk, entry.seq);
                disk.write(me, disk.unsynced(), Record::OwnDelivered { author: me, seq });
                own.entries.push(entry);
            }
            Todo::Write(record) => {
                if is_of_own_feed(&record, me) {
                    self.write_own(who, std::mem::take(own));
                }
                let disk = &mut self.nodes[who].disk;
                disk.write(me, disk.unsynced(), record);
            }
            Todo::Out(_) | Todo::ReadOn(_) => self.nodes[who].behind_sync.push_back(todo),
        }
    }

    fn write_own(&mut self, who: Who, own: Own) {
        let Some(first) = own.entries.first().map(|entry| entry.seq) else { return };
        let node = &self.nodes[who];
        let (last, previous) = node.disk.own_end();
        let network = node.disk.image().network;
        let mut entries: Vec<Entry> = own.entries.into_iter().map(|own| own.entry).collect();
        let Some(network) = network.filter(|_| first == last + 1) else {
            let line = format!("{} writes own entry {first} after {last}", self.nodes[who].name);
            return self.violated("no_duplicate", line);
        };
        self.hold_time_back(who, first, &mut entries);
        let node = &mut self.nodes[who];
        let run = Rc::new(Run::sign(&node.identity, network, first, previous, entries));
        node.disk.write(node.peer, own.place, Record::Own(run.clone()));
        self.tell_second_story(who, &run);
    }
}

/// Whether it is a run of the own feed that comes back: what was written before it is a run of its own.
fn is_of_own_feed(record: &Record, me: PeerId) -> bool {
    matches!(record, Record::Run(run) if run.author == me)
}
