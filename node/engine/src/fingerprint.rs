//! The hash of a whole engine, for whoever explores states: of two engines of one node with the same hash, either goes
//! on as the other would, but for when a follower begins to pass its view on.
//!
//! Times are hashed as they are; whoever compares engines of different times sets that right in its `Hasher`. Calls in
//! flight are left out, because their numbers and their order mean nothing: whoever carries them adds each with
//! [`Engine::hash_call`]. The log is told by its frontiers.

use std::hash::{Hash, Hasher};

use crate::{engine::Engine, io::CallId};

impl Hash for Engine {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state.hash(hasher);
        self.roster.hash(hasher);
        for clock in [self.feeds.stored(), self.feeds.delivered(), &self.catchup.missing(self.feeds.stored())] {
            clock.hash(hasher);
        }
        self.feeds.lamport().hash(hasher);
        self.timers.hash(hasher);
        self.delivery.hash(hasher);
        self.relays.hash(hasher);
        self.liveness.hash(self.is_leading(), hasher);
        self.election.hash(hasher);
        self.voting.hash(hasher);
        self.registrars.hash(hasher);
        self.pending_joins.hash(hasher);
        self.joining.hash(hasher);
        self.leaving.hash(hasher);
        self.founding.hash(hasher);
        self.waiting_texts.hash(hasher);
    }
}

impl Engine {
    /// Adds to a hash what a call in flight is for.
    pub fn hash_call<H: Hasher>(&self, id: CallId, hasher: &mut H) {
        self.purpose(id).hash(hasher);
    }
}
