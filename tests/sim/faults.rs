//! What goes wrong: drawn per seed, swarm style (Groce et al. 2012): each kind of fault is on in about half of the
//! seeds, so that rare combinations of few kinds get their turn.

use p2p_chat_engine::{Request, Standing};
use p2p_chat_model::{Certificate, Epoch, NodeId, VectorClock, View};

use crate::{
    net::{NDS, Weather, Who},
    rng::Rng,
    world::{Happening, World},
};

/// Something that goes wrong, or is mended.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Crash {
        who: Who,
        after_outputs: u64,
        down_ms: u64,
    },
    CrashLeader {
        after_outputs: u64,
        down_ms: u64,
    },
    Restart(Who),
    Pause {
        who: Who,
        for_ms: u64,
    },
    PauseLeader {
        for_ms: u64,
    },
    GoOn(Who),
    Split {
        left: Vec<Who>,
        right: Vec<Who>,
        for_ms: u64,
    },
    Rejoin {
        left: Vec<Who>,
        right: Vec<Who>,
    },
    CutOneWay {
        from: Who,
        to: Who,
        for_ms: u64,
    },
    MendOneWay {
        from: Who,
        to: Who,
    },
    NdsDown {
        for_ms: u64,
    },
    NdsUp,
    NdsWipe,
    Outsider(Who),
    /// All faults end, and whoever is down starts again.
    Calm,
}

const KINDS: u64 = 11;

/// Plans the faults of a seed between two moments.
pub(crate) fn plan(world: &mut World, from: u64, until: u64) {
    let mut rng = Rng::new(world.rng.next());
    let count = world.nodes.len();
    if rng.chance(500) {
        world.net.weather = weather(&mut rng);
    }
    let kinds: Vec<u64> = (0..KINDS).filter(|_| rng.chance(400)).collect();
    let pause = rng.between(300, 6_000);
    let mut at = from + rng.below(pause);
    while at < until {
        if let Some(kind) = rng.pick(&kinds) {
            let fault = draw(&mut rng, kind, count);
            world.after(at - world.now, Happening::Fault(fault));
        }
        at += rng.between(1, 2 * pause);
    }
    world.after(until - world.now, Happening::Fault(Fault::Calm));
}

fn weather(rng: &mut Rng) -> Weather {
    let mut some = |most: u64| if rng.chance(500) { rng.below(most) } else { 0 };
    Weather {
        request_loss: some(200),
        reply_loss: some(200),
        duplicate: some(100),
        slow: some(100),
        slow_ms: 1 + some(5_000),
    }
}

fn draw(rng: &mut Rng, kind: u64, count: usize) -> Fault {
    let everybody: Vec<Who> = (0..count).collect();
    let who = rng.below(count as u64) as Who;
    let other = (who + 1 + rng.below(count as u64 - 1) as Who) % count;
    let after_outputs = if rng.chance(500) { 0 } else { rng.below(40) };
    let down_ms = rng.between(50, 15_000);
    let for_ms = rng.between(200, 15_000);
    match kind {
        0 => Fault::Crash { who, after_outputs, down_ms },
        1 => Fault::CrashLeader { after_outputs, down_ms },
        2 => Fault::Pause { who, for_ms },
        3 => Fault::PauseLeader { for_ms },
        4 => Fault::Split { left: vec![who], right: vec![other], for_ms },
        5 => Fault::CutOneWay { from: who, to: other, for_ms },
        6 => {
            let (left, mut right): (Vec<Who>, Vec<Who>) = everybody.iter().partition(|_| rng.chance(500));
            right.extend(rng.chance(500).then_some(NDS));
            Fault::Split { left, right, for_ms }
        }
        7 => Fault::Split { left: vec![who], right: vec![NDS], for_ms },
        8 => Fault::NdsDown { for_ms },
        9 if rng.chance(300) => Fault::NdsWipe,
        9 => Fault::Split { left: everybody, right: vec![NDS], for_ms },
        _ => Fault::Outsider(who),
    }
}

impl World {
    /// Lets a fault happen.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.trace.add(self.now, "fault", || format!("{fault:?}"));
        match fault {
            Fault::Crash { who, after_outputs, down_ms } => self.crash_soon(who, after_outputs, down_ms),
            Fault::CrashLeader { after_outputs, down_ms } => {
                if let Some(who) = self.some_leader() {
                    self.crash_soon(who, after_outputs, down_ms);
                }
            }
            Fault::Restart(who) => self.restart(who),
            Fault::Pause { who, for_ms } => self.pause_for(who, for_ms),
            Fault::PauseLeader { for_ms } => {
                if let Some(who) = self.some_leader() {
                    self.pause_for(who, for_ms);
                }
            }
            Fault::GoOn(who) => self.go_on(who),
            Fault::Split { left, right, for_ms } => {
                self.tally.count("fault: links cut");
                self.net.split(&left, &right);
                self.after(for_ms, Happening::Fault(Fault::Rejoin { left, right }));
            }
            Fault::Rejoin { left, right } => self.net.join(&left, &right),
            Fault::CutOneWay { from, to, for_ms } => {
                self.tally.count("fault: one way cut");
                self.net.cut_one_way(from, to);
                self.after(for_ms, Happening::Fault(Fault::MendOneWay { from, to }));
            }
            Fault::MendOneWay { from, to } => self.net.mend_one_way(from, to),
            Fault::NdsDown { for_ms } => {
                self.tally.count("fault: NDS down");
                self.nds_down();
                self.after(for_ms, Happening::Fault(Fault::NdsUp));
            }
            Fault::NdsUp => self.nds_up(),
            Fault::NdsWipe => {
                self.tally.count("fault: NDS wiped");
                self.nds_wipe();
            }
            Fault::Outsider(who) => self.outsider_calls(who),
            Fault::Calm => self.calm(),
        }
    }

    /// Ends all faults.
    pub(crate) fn calm(&mut self) {
        self.net.heal();
        self.nds.is_up = true;
        for who in 0..self.nodes.len() {
            self.nodes[who].crash_after = None;
            self.go_on(who);
            self.restart(who);
        }
        self.calm_since = Some(self.now);
    }

    /// Somebody who believes to lead, the one with the highest epoch first.
    pub(crate) fn some_leader(&self) -> Option<Who> {
        let leads = |who: &Who| self.nodes[*who].engine.as_ref().map_or(Epoch(0), crate::oracle::leads_epoch);
        (0..self.nodes.len()).filter(|who| leads(who) > Epoch(0)).max_by_key(leads)
    }

    fn crash_soon(&mut self, who: Who, after_outputs: u64, down_ms: u64) {
        if self.calm_since.is_some() || !self.nodes[who].is_up {
            return;
        }
        self.tally.count("fault: crash");
        match after_outputs {
            0 => {
                self.crash(who);
                self.after(down_ms, Happening::Fault(Fault::Restart(who)));
            }
            _ => self.nodes[who].crash_after = Some((after_outputs, down_ms)),
        }
    }

    fn pause_for(&mut self, who: Who, for_ms: u64) {
        self.tally.count("fault: pause");
        self.pause(who);
        self.after(for_ms, Happening::Fault(Fault::GoOn(who)));
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
            Request::Fetch(VectorClock::new()),
        ];
        let at = self.rng.below(requests.len() as u64) as usize;
        self.intrude(who, mallory, requests[at].clone());
    }
}
