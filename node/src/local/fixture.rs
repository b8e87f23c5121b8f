//! What the tests of the local API have in common.

use std::collections::{BTreeMap, BTreeSet};

use p2p_chat_engine::{Phase, Roster, Snapshot};
use p2p_chat_model::{Epoch, VectorClock};

/// A node that knows of nobody, and has nothing.
pub(super) fn snapshot() -> Snapshot {
    Snapshot {
        phase: Phase::Joined,
        view: None,
        epoch: Epoch(1),
        node: None,
        leading: false,
        leader_alive: false,
        roster: Roster::default(),
        frontier: VectorClock::new(),
        delivered: VectorClock::new(),
        held: 0,
        missing: VectorClock::new(),
        asking: BTreeMap::new(),
        frozen: BTreeSet::new(),
        unlisted: BTreeMap::new(),
        writable: true,
        cursors: vec![],
    }
}
