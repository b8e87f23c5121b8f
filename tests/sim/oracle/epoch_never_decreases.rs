//! The epoch that a node follows never falls, across crashes too; nor does that of its vote, nor the one on record
//! at a discovery service; nor, within a reign, the version of the view that a node follows.

use p2p_chat_engine::Durable;
use p2p_chat_model::{Epoch, NodeId};
use p2p_chat_nds::registry;

use super::Finding;
use crate::net::{Service, Who};

/// The highest epochs seen.
#[derive(Debug)]
pub(crate) struct Epochs {
    followed: Vec<Epoch>,
    voted: Vec<Epoch>,
    /// The reign of the view that each node follows, and its version.
    views: Vec<(Epoch, NodeId, u64)>,
    /// What each discovery service has on record.
    registered: Vec<Epoch>,
}

impl Epochs {
    pub(crate) fn new(count: usize, services: usize) -> Self {
        let none = vec![Epoch(0); count];
        let views = vec![(Epoch(0), NodeId(0), 0); count];
        Self { followed: none.clone(), voted: none, views, registered: vec![Epoch(0); services] }
    }

    pub(crate) fn check_state(&mut self, who: Who, name: &str, state: &Durable) -> Finding {
        let view = state.view.as_ref().map_or(Epoch(0), |view| view.epoch);
        if view > state.epoch {
            return Err(format!("{name} follows epoch {}, but its view is of epoch {view}", state.epoch));
        }
        let voted = state.vote.map_or(Epoch(0), |(epoch, _)| epoch);
        for (what, highest, now) in
            [("followed", &mut self.followed[who], state.epoch), ("voted in", &mut self.voted[who], voted)]
        {
            if now < *highest {
                return Err(format!("{name} has {what} epoch {highest}, and now {now}"));
            }
            *highest = now;
        }
        let Some(view) = &state.view else { return Ok(()) };
        let (epoch, leader, version) = std::mem::replace(&mut self.views[who], (view.epoch, view.leader, view.version));
        if (epoch, leader) == (view.epoch, view.leader) && view.version < version {
            return Err(format!("{name} follows version {version} of epoch {epoch}, and then {}", view.version));
        }
        Ok(())
    }

    pub(crate) fn check_registry(&mut self, service: Service, record: Option<&registry::Record>) -> Finding {
        let Some(record) = record else { return Ok(()) };
        let registered = std::mem::replace(&mut self.registered[service], record.epoch());
        if record.epoch() < registered {
            return Err(format!("an NDS had epoch {registered} on record, and now {}", record.epoch()));
        }
        Ok(())
    }

    pub(crate) fn nds_set_back(&mut self, service: Service, epoch: Epoch) {
        self.registered[service] = epoch;
    }

    pub(crate) fn rejoins(&mut self, who: Who) {
        self.followed[who] = Epoch(0);
        self.views[who] = (Epoch(0), NodeId(0), 0);
    }

    pub(crate) fn forgotten(&mut self, who: Who) {
        self.rejoins(who);
        self.voted[who] = Epoch(0);
    }
}
