//! What befalls a process: it crashes, starts again, stops for a while, wakes up later than it thinks, or finds that
//! its disk takes nothing any more.

use p2p_chat_engine::{CallError, Engine, RequestId};

use crate::{
    calls::FlightId,
    disk::Disk,
    edge::Answer,
    net::Who,
    world::{Happening, World},
};

/// How often a disk that failed is tried again.
const MEND_INTERVAL_MS: u64 = 5_000;
/// Half of the record that was being written when the power failed may be on the disk.
const TORN: u64 = 500;

impl World {
    /// The process is gone, and with it everything that was not synced.
    pub(crate) fn crash(&mut self, who: Who) {
        if !self.nodes[who].is_up {
            return;
        }
        self.note_partial_fan_out(who);
        if self.rng.chance(TORN) {
            self.tear(who);
        }
        let is_written = self.rng.chance(500);
        let node = &mut self.nodes[who];
        let survived = if is_written { node.disk.sync() } else { Ok(Vec::new()) };
        node.disk.discard(node.peer);
        node.is_up = false;
        node.is_paused = false;
        node.is_broken = false;
        node.crash_after = None;
        node.crash_writing = None;
        node.inbox.clear();
        node.requests.clear();
        node.drop_engine();
        self.trace.add(self.now, self.nodes[who].name, || "CRASHES".to_owned());
        self.became_durable(who, survived);
        self.abandon_commands(who);
        self.reset_connections(who);
    }

    /// Of some record only a part is on the disk, which must not be taken for a whole one.
    fn tear(&mut self, who: Who) {
        let at = self.rng.below(self.nodes[who].disk.unsynced() as u64) as usize;
        let Some(bytes) = self.nodes[who].disk.bytes(at) else { return };
        self.tally.count("fault: torn write");
        let part = &bytes[..self.rng.below(bytes.len() as u64) as usize];
        if self.nodes[who].disk.is_whole(at, part) {
            let name = self.nodes[who].name;
            self.violated("acked_is_durable", format!("{name} takes {} of {} bytes for all", part.len(), bytes.len()));
        }
    }

    /// The process starts again.
    pub(crate) fn restart(&mut self, who: Who) {
        if self.nodes[who].is_up {
            return;
        }
        self.note_full_fan_out(who);
        let shown = self.rng.below(1 << 40);
        let node = &mut self.nodes[who];
        node.is_up = true;
        node.incarnation += 1;
        node.clock.restart(self.now, shown);
        self.trace.add(self.now, self.nodes[who].name, || "STARTS AGAIN".to_owned());
        self.resume_engine(who);
    }

    /// The process will listen elsewhere from now on.
    pub(crate) fn move_away(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        node.moves += 1;
        node.address = format!("{}:{}", node.name, 7_500 + node.moves).parse().expect("an address");
        let address = node.address.clone();
        self.trace.add(self.now, self.nodes[who].name, || format!("MOVES to {address}"));
    }

    /// The process stops as it is (SIGSTOP).
    pub(crate) fn pause(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        if node.is_up && !node.is_paused {
            node.is_paused = true;
            self.trace.add(self.now, self.nodes[who].name, || "PAUSES".to_owned());
            self.abandon_commands(who);
        }
    }

    /// The process goes on (SIGCONT), and finds all that came meanwhile.
    pub(crate) fn go_on(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        if !node.is_paused {
            return;
        }
        node.is_paused = false;
        let mut waiting = std::mem::take(&mut node.inbox);
        self.trace.add(self.now, self.nodes[who].name, || "GOES ON".to_owned());
        let is_timer_first = self.rng.chance(500);
        if is_timer_first {
            waiting.sort_by_key(|happening| !matches!(happening, Happening::Wake { .. }));
        }
        for happening in waiting {
            self.after(0, happening);
        }
    }

    /// The node's monotonic clock leaps ahead, as when a virtual machine is resumed: whatever should have happened
    /// meanwhile is due.
    pub(crate) fn leap(&mut self, who: Who, ms: u64) {
        self.nodes[who].clock.leap(self.now, ms);
        self.trace.add(self.now, self.nodes[who].name, || format!("wakes up {ms} ms later"));
        self.set_wake(who);
        let of_it = self.flights.iter().filter(|(_, flight)| flight.caller == who);
        for id in of_it.map(|(id, _)| *id).collect::<Vec<FlightId>>() {
            self.set_timeout(id);
        }
    }

    /// The disk takes nothing: what was to be written is not, nothing that follows from it is done, and the node takes
    /// no part in the network until the disk works again.
    pub(crate) fn disk_fails(&mut self, who: Who) {
        self.tally.count("fault: disk full");
        let node = &mut self.nodes[who];
        node.disk.discard(node.peer);
        node.is_broken = true;
        node.admitted = node.engine.as_ref().map(Engine::admitted).unwrap_or_default();
        node.incarnation += 1;
        node.drop_engine();
        let open: Vec<RequestId> = node.requests.keys().copied().collect();
        self.trace.add(self.now, self.nodes[who].name, || "CAN'T WRITE".to_owned());
        for request in open {
            self.reply(who, request, Answer::Error(unable()));
        }
        self.abandon_commands(who);
        let incarnation = self.nodes[who].incarnation;
        self.after(MEND_INTERVAL_MS, Happening::TryDisk { who, incarnation });
    }

    /// Tries whether the disk works again.
    pub(crate) fn try_disk(&mut self, who: Who, incarnation: u64) {
        let node = &mut self.nodes[who];
        if !node.is_broken || node.incarnation != incarnation {
            return;
        }
        if node.is_disk_full {
            return self.after(MEND_INTERVAL_MS, Happening::TryDisk { who, incarnation });
        }
        node.is_broken = false;
        node.clock.restart(self.now, 0);
        self.trace.add(self.now, self.nodes[who].name, || "CAN WRITE AGAIN".to_owned());
        self.resume_engine(who);
    }

    /// Drops what the node has of its network.
    pub(crate) fn forget(&mut self, who: Who) {
        let node = &mut self.nodes[who];
        node.disk = Disk::new(None);
        node.drop_engine();
        node.requests.clear();
        node.incarnation += 1;
        self.oracle.forgotten(&self.nodes[who]);
        self.reset_connections(who);
    }
}

/// What a node says whose disk takes nothing.
pub(crate) fn unable() -> CallError {
    CallError::Busy("the disk is full".to_owned())
}
