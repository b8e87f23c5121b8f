//! What goes wrong.

pub(crate) mod plan;
pub(crate) mod steps;

use std::collections::BTreeSet;

use p2p_chat_engine::{Request, Standing};
use p2p_chat_model::{Certificate, Epoch, NodeId, VectorClock, View};

use self::steps::{Step, Trap};
use crate::{
    bad::Trick,
    net::{Link, Service, Who},
    users::Act,
    world::{Happening, World},
};

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    Node(Who),
    /// Whoever leads then.
    Leader,
}

/// When a process crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    /// After so many more outputs.
    After(u64),
    /// While its disk is at the next write.
    Writing,
}

/// Something that goes wrong, or is mended.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Crash {
        whom: Whom,
        when: When,
        down_ms: u64,
        moves: bool,
    },
    /// Whoever takes that step next crashes right after it. What leads to such a step may be brought about.
    CrashAt {
        step: Step,
        down_ms: u64,
        provoke: bool,
    },
    /// The power fails in the middle of a write of that life.
    CrashWriting {
        who: Who,
        incarnation: u64,
        down_ms: u64,
    },
    Restart(Who),
    Pause {
        whom: Whom,
        for_ms: u64,
    },
    GoOn(Who),
    Cut {
        what: &'static str,
        links: Vec<Link>,
        for_ms: u64,
    },
    Mend(Vec<Link>),
    NdsDown {
        service: Service,
        for_ms: u64,
        clock_error_ms: i64,
    },
    NdsUp(Service),
    NdsWipe(Service),
    /// The discovery service's disk is copied.
    NdsCopy(Service),
    /// The copy takes the place of the disk.
    NdsRestore(Service),
    /// The discovery service loses its disk, and strangers are first to take the name; for ever, or for so long.
    NdsTaken {
        service: Service,
        for_ms: Option<u64>,
    },
    NdsFreed(Service),
    SetWall {
        who: Who,
        error_ms: i64,
    },
    Leap {
        whom: Whom,
        ms: u64,
    },
    SlowDisk {
        who: Who,
        sync_ms: u64,
        for_ms: u64,
    },
    FullDisk {
        who: Who,
        for_ms: u64,
    },
    DiskWell(Who),
    Leave(Whom),
    Outsider(Who),
    /// The bad member, if there is one, does something.
    Bad(Trick),
    /// The bad member claims what it has not, or takes that back.
    Claim,
    /// All faults end, and whoever is down starts again.
    Calm,
}

impl World {
    /// Lets a fault happen.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.trace.add(self.now, "fault", || format!("{fault:?}"));
        match fault {
            Fault::Crash { whom, when, down_ms, moves } => self.crash_soon(whom, when, down_ms, moves),
            Fault::CrashAt { step, down_ms, provoke } => self.set_trap(step, down_ms, provoke),
            Fault::CrashWriting { who, incarnation, down_ms } => {
                let node = &self.nodes[who];
                if node.is_up && node.incarnation == incarnation && self.calm_since.is_none() {
                    self.crash_for(who, down_ms, false);
                }
            }
            // When all is calm, whoever is down stays so.
            Fault::Restart(_) if self.calm_since.is_some() => {}
            Fault::Restart(who) => self.restart(who),
            Fault::Pause { whom, for_ms } => self.pause_for(whom, for_ms),
            Fault::GoOn(who) => self.go_on(who),
            Fault::Cut { what, links, for_ms } => {
                self.tally.count(what);
                self.net.cut(&links);
                self.after(for_ms, Happening::Fault(Fault::Mend(links)));
            }
            Fault::Mend(links) => self.net.mend(&links),
            Fault::SetWall { who, error_ms } => {
                self.tally.count("fault: wall clock set");
                self.nodes[who].clock.set_wall(error_ms);
            }
            Fault::Leap { whom, ms } => {
                if let Some(who) = self.find(whom) {
                    self.tally.count("fault: clock leaps");
                    self.leap(who, ms);
                }
            }
            Fault::SlowDisk { .. } | Fault::FullDisk { .. } | Fault::DiskWell(_) => self.strike_disk(&fault),
            Fault::Leave(whom) => {
                if let Some(who) = self.find(whom) {
                    self.act(Act::Leave(who));
                }
            }
            Fault::Outsider(who) => self.outsider_calls(who),
            Fault::Bad(trick) => self.play_trick(trick),
            Fault::Claim => self.claim_or_withdraw(),
            Fault::Calm => self.calm(),
            of_service => self.strike_nds(&of_service),
        }
    }

    fn strike_disk(&mut self, fault: &Fault) {
        match *fault {
            Fault::SlowDisk { who, sync_ms, for_ms } => {
                self.tally.count("fault: slow disk");
                self.nodes[who].slow_sync_ms = Some(sync_ms);
                self.excuse_delays(who);
                self.after(for_ms, Happening::Fault(Fault::DiskWell(who)));
            }
            Fault::FullDisk { who, for_ms } => {
                self.nodes[who].is_disk_full = true;
                self.after(for_ms, Happening::Fault(Fault::DiskWell(who)));
            }
            Fault::DiskWell(who) => {
                self.nodes[who].is_disk_full = false;
                self.nodes[who].slow_sync_ms = None;
            }
            _ => {}
        }
    }

    fn strike_nds(&mut self, fault: &Fault) {
        match *fault {
            Fault::NdsDown { service, for_ms, clock_error_ms } => {
                self.tally.count("fault: NDS down");
                self.nds_down(service);
                if clock_error_ms != 0 {
                    self.tally.count("fault: NDS with another time");
                    self.services[service].clock.set_wall(clock_error_ms);
                }
                self.after(for_ms, Happening::Fault(Fault::NdsUp(service)));
            }
            Fault::NdsUp(service) if self.services[service].is_up => {}
            Fault::NdsUp(service) => self.nds_up(service),
            Fault::NdsWipe(service) => {
                self.tally.count("fault: NDS wiped");
                self.nds_wipe(service);
            }
            Fault::NdsCopy(service) => self.nds_copy(service),
            Fault::NdsRestore(service) => {
                self.tally.count("fault: NDS restored from an old copy");
                self.nds_restore(service);
            }
            Fault::NdsTaken { service, for_ms } => {
                self.tally.count("fault: NDS knows another network of the name");
                self.nds_wipe(service);
                self.nds_take_name(service);
                if let Some(for_ms) = for_ms {
                    self.after(for_ms, Happening::Fault(Fault::NdsFreed(service)));
                }
            }
            // When all is calm, who has the name keeps it.
            Fault::NdsFreed(_) if self.calm_since.is_some() => {}
            Fault::NdsFreed(service) => self.nds_free_name(service),
            _ => {}
        }
    }

    /// Ends all faults.
    pub(crate) fn calm(&mut self) {
        self.net.heal();
        for service in 0..self.services.len() {
            if !self.services[service].is_up {
                self.nds_up(service);
            }
        }
        // Strangers may keep the name, but not everywhere.
        if (0..self.services.len()).all(|service| self.other_network(service).is_some()) {
            self.nds_free_name(0);
        }
        self.trap = None;
        self.end_claims();
        for who in 0..self.nodes.len() {
            self.nodes[who].crash_after = None;
            self.nodes[who].crash_writing = None;
            self.strike_disk(&Fault::DiskWell(who));
            self.go_on(who);
            let falls_silent = self.bad.as_ref().is_some_and(|bad| bad.who == who && bad.falls_silent);
            if falls_silent { self.crash(who) } else { self.restart(who) }
        }
        self.calm_since = Some(self.now);
    }

    /// Whom a fault hits, if there is anybody.
    pub(crate) fn find(&self, whom: Whom) -> Option<Who> {
        match whom {
            Whom::Node(who) => Some(who),
            Whom::Leader => self.some_leader(),
        }
    }

    /// Somebody who believes to lead, the one with the highest epoch first.
    pub(crate) fn some_leader(&self) -> Option<Who> {
        let leads = |who: &Who| self.nodes[*who].engine.as_ref().map_or(Epoch(0), crate::oracle::leads_epoch);
        (0..self.nodes.len()).filter(|who| leads(who) > Epoch(0)).max_by_key(leads)
    }

    fn crash_soon(&mut self, whom: Whom, when: When, down_ms: u64, moves: bool) {
        let Some(who) = self.find(whom).filter(|who| self.calm_since.is_none() && self.nodes[*who].is_up) else {
            return;
        };
        match when {
            When::Now => self.crash_for(who, down_ms, moves),
            When::After(outputs) => self.nodes[who].crash_after = Some((outputs, down_ms)),
            When::Writing => self.nodes[who].crash_writing = Some(down_ms),
        }
    }

    /// The process crashes, and starts again later, perhaps elsewhere.
    pub(crate) fn crash_for(&mut self, who: Who, down_ms: u64, moves: bool) {
        self.tally.count("fault: crash");
        self.crash(who);
        if moves {
            self.tally.count("fault: address changed");
            self.move_away(who);
        }
        self.after(down_ms, Happening::Fault(Fault::Restart(who)));
    }

    fn pause_for(&mut self, whom: Whom, for_ms: u64) {
        if let Some(who) = self.find(whom).filter(|_| self.calm_since.is_none()) {
            self.tally.count("fault: pause");
            self.pause(who);
            self.after(for_ms, Happening::Fault(Fault::GoOn(who)));
        }
    }

    fn set_trap(&mut self, step: Step, down_ms: u64, provoke: bool) {
        self.trap = Some(Trap { step, down_ms });
        if provoke {
            let cause = step.cause(&mut self.rng, self.nodes.len());
            self.strike(cause);
        }
    }

    /// Somebody who is no member calls, and must not change anything.
    fn outsider_calls(&mut self, who: Who) {
        let Some(address) = self.nodes.get(who).map(|node| node.address.clone()) else { return };
        self.tally.count("fault: outsider calls");
        let mallory = crate::oracle::mallory();
        let founding = View::founding(mallory, address);
        let view = View { epoch: Epoch(1 + self.rng.below(9)), ..founding };
        let standing = Standing {
            leader: None,
            epoch: Epoch(self.rng.below(9)),
            version: 3,
            digest: 1,
            frontier: Some(VectorClock::new()),
            peer_active: false,
            leaving: false,
        };
        let requests = [
            Request::Leave,
            Request::UpdateView(view.clone(), None),
            Request::Elect(view.epoch, NodeId(1)),
            Request::Coordinate(view, Certificate::founding()),
            Request::Ping(standing),
            Request::PingVia(mallory),
            Request::Deliver(Vec::new()),
            Request::Relay(mallory),
            Request::Fetch(VectorClock::new(), BTreeSet::new()),
        ];
        let at = self.rng.below(requests.len() as u64) as usize;
        self.intrude(who, mallory, requests[at].clone());
    }
}
