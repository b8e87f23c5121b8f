//! Founding a network where there are several discovery services, some of which may stand in the way: what comes of it
//! is a network, or nothing at all, and then somebody tries again.

use crate::{
    faults::Fault,
    net::{Service, Who, both_ways, nds},
    oracle::Oracle,
    rng::Rng,
    world::{Violation, World},
};

/// Within this time a founder is told what came of it: whatever was asked for has been answered or given up by then.
const FOUNDING_BOUND_MS: u64 = 8_000;
/// How long a service may stand in the way.
const MOST_MS: u64 = 12_000;

/// What may be wrong with a service when a network is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Taken,
    Down,
    Cut,
    CutOneWay,
}

const OBSTACLES: [Option<Obstacle>; 9] = [
    None,
    None,
    None,
    None,
    None,
    Some(Obstacle::Taken),
    Some(Obstacle::Down),
    Some(Obstacle::Cut),
    Some(Obstacle::CutOneWay),
];

impl World {
    /// A node founds the network. What stands in the way goes on doing so for a while once it is founded.
    pub(crate) fn found(&mut self, who: Who) -> Result<(), Violation> {
        if self.services.len() < 2 {
            self.create(who);
            return Ok(());
        }
        let mut rng = Rng::new(self.rng.next());
        let obstacles: Vec<Option<Obstacle>> =
            (0..self.services.len()).map(|_| rng.pick(&OBSTACLES).flatten()).collect();
        for (service, obstacle) in obstacles.iter().enumerate() {
            if let Some(obstacle) = obstacle {
                self.stand_in_the_way(&mut rng, who, service, *obstacle);
            }
        }
        let is_founded = self.try_to_found(who)?;
        let troubled = obstacles.iter().filter(|obstacle| obstacle.is_some()).count();
        self.tally.count(match (is_founded, troubled) {
            (true, 0) => "a founding",
            (true, _) => "a founding although an NDS stood in the way",
            (false, _) => "a founding came to nothing",
        });
        if is_founded {
            return Ok(());
        }
        self.demand_nothing_of_it(&obstacles)?;
        self.begin_anew();
        if !self.try_to_found(who)? {
            self.violated("liveness", "a founding fails although nothing stands in its way".to_owned());
        }
        self.report()
    }

    fn stand_in_the_way(&mut self, rng: &mut Rng, who: Who, service: Service, obstacle: Obstacle) {
        let for_ms = rng.between(100, MOST_MS);
        let (to, from) = ((who, nds(service)), (nds(service), who));
        let cut = |links| Fault::Cut { what: "fault: NDS cut from some", links, for_ms };
        let fault = match obstacle {
            Obstacle::Taken => Fault::NdsTaken { service, for_ms: rng.chance(600).then_some(for_ms) },
            Obstacle::Down => Fault::NdsDown { service, for_ms, clock_error_ms: 0 },
            Obstacle::Cut => cut(both_ways(&[who], &[nds(service)])),
            Obstacle::CutOneWay => cut(vec![if rng.chance(500) { to } else { from }]),
        };
        self.strike(fault);
    }

    /// Whether a network has come of it. Whoever founds it is told in time.
    fn try_to_found(&mut self, who: Who) -> Result<bool, Violation> {
        let (command, end) = (self.create(who), self.now + FOUNDING_BOUND_MS);
        while self.outcome(command).is_none() && self.now < end {
            self.run(1)?;
        }
        match self.outcome(command) {
            Some(outcome) => Ok(outcome.is_ok()),
            None => {
                self.violated("liveness", format!("{} was never told what came of its founding", self.nodes[who].name));
                self.report().map(|()| false)
            }
        }
    }

    /// Services that answered all the time have nothing on record: the name is free again, or another network's.
    fn demand_nothing_of_it(&mut self, obstacles: &[Option<Obstacle>]) -> Result<(), Violation> {
        let answers = |obstacle: Option<Obstacle>| matches!(obstacle, None | Some(Obstacle::Taken));
        for service in (0..obstacles.len()).filter(|service| answers(obstacles[*service])) {
            if self.network.is_some_and(|network| self.services[service].leader(&network).is_some()) {
                let name = self.services[service].name;
                self.violated("liveness", format!("{name} lists a network that was never founded"));
            }
        }
        self.report()
    }

    /// Nothing is left of the network, and nothing stands in the way of another one.
    fn begin_anew(&mut self) {
        self.net.heal();
        for service in 0..self.services.len() {
            self.nds_wipe(service);
            self.strike(Fault::NdsUp(service));
        }
        self.oracle = Oracle::new(self.nodes.len(), self.services.len());
    }
}
