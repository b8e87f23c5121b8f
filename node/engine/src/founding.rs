//! Founding a network, and going on with one after a restart.

use std::collections::BTreeMap;

use p2p_chat_model::View;

use crate::{
    durable::{Durable, Phase},
    engine::{Engine, Purpose},
    io::{CallError, CommandError, CommandId, DiscoveryAnswer, Done, EntryFacts, Event},
    registration::Asked,
    start::FeedLog,
    timers::Timer,
};

/// A network that is being founded.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Founding {
    command: CommandId,
    /// Whether a service knows the name for another network: nothing comes of it.
    is_taken: bool,
    /// Why services have not answered that are asked to forget it: they may have registered it all the same.
    given_up: BTreeMap<usize, String>,
}

impl Engine {
    pub(crate) fn found(&mut self, command: CommandId, genesis: EntryFacts) {
        let log = FeedLog {
            author: self.me,
            last: 1,
            head: genesis.hash,
            lamport: genesis.lamport,
            held: Vec::new(),
            roster: vec![(1, genesis)],
        };
        self.restore_log(vec![log]);
        self.state = Durable::new(Phase::Founding, 0);
        let view = View::founding(self.me, self.setup.address.clone());
        self.state.epoch = view.epoch;
        self.state.addresses.insert(self.me, self.setup.address.clone());
        self.state.view = Some(view);
        self.persist();
        self.founding = Some(Founding { command, is_taken: false, given_up: BTreeMap::new() });
        self.register_everywhere();
        if self.registrars.is_empty() {
            self.on_founding_failed(CommandError::NoDiscovery("none is configured".to_owned()));
        }
    }

    pub(crate) fn on_founded(&mut self, service: usize, result: Result<DiscoveryAnswer, CallError>) {
        let error = match result {
            Ok(DiscoveryAnswer::Accepted(_)) => {
                if let Some(founding) = self.founding.take_if(|founding| !founding.is_taken) {
                    self.state.phase = Phase::Joined;
                    self.persist();
                    self.arm();
                    self.done(founding.command, Ok(Done::Created));
                } else {
                    // Or it would stay on record there until it is stale, and keep the name.
                    self.ask_leading(service, Asked::Close);
                }
                return;
            }
            Err(CallError::Exists(_)) => CommandError::NameTaken,
            Err(CallError::Unmet(reason)) => CommandError::NotReachable(reason),
            Err(CallError::Unreachable(reason)) => {
                self.on_no_answer(service, reason);
                return;
            }
            Err(error) => CommandError::Refused(error.to_string()),
            Ok(_) => CommandError::Refused("the answer makes no sense".to_owned()),
        };
        if let Some(founding) = &mut self.founding {
            founding.is_taken |= error == CommandError::NameTaken;
        }
        self.on_not_founded(service, error);
    }

    /// The answer may be lost and the network on record, under a name that nobody could use then.
    fn on_no_answer(&mut self, service: usize, reason: String) {
        if let Some(founding) = &mut self.founding {
            founding.given_up.insert(service, reason);
            self.ask_leading(service, Asked::Close);
        }
    }

    /// A service has given the name back, or has not answered that either.
    pub(crate) fn on_given_back(&mut self, service: usize) {
        let given_up = self.founding.as_mut().and_then(|founding| founding.given_up.remove(&service));
        self.on_not_founded(service, given_up.map_or(CommandError::NameTaken, CommandError::NoDiscovery));
    }

    /// A service has refused, or given the name back. One that accepts is enough, until one knows the name for another
    /// network. Nothing has failed before all have answered: another one may accept yet.
    fn on_not_founded(&mut self, service: usize, error: CommandError) {
        let is_asked = |other: usize| {
            let asked = [Asked::Create, Asked::Close].map(|asked| Purpose::Discovery(other, asked));
            asked.iter().any(|purpose| self.is_asking(purpose))
        };
        let is_open = (0..self.registrars.len()).any(|other| other != service && is_asked(other));
        if !is_open {
            let is_taken = self.founding.as_ref().is_some_and(|founding| founding.is_taken);
            self.on_founding_failed(if is_taken { CommandError::NameTaken } else { error });
        }
    }

    fn on_founding_failed(&mut self, error: CommandError) {
        if let Some(founding) = self.founding.take() {
            self.event(Event::Abandoned);
            self.stop();
            self.done(founding.command, Err(error));
        }
    }

    /// Goes on after a restart.
    pub(crate) fn resume(&mut self, durable: Durable) {
        self.state = durable;
        self.keep_frozen();
        match self.state.phase {
            Phase::Left => self.event(Event::Stopped),
            Phase::Joining => self.resume_joining(),
            Phase::Leaving if !self.roster.is_member(&self.me) => self.resume_leaving(),
            Phase::Founding | Phase::Joined | Phase::Leaving => {
                // A leave that was cut short has to be asked for again; a network that was founded is led; and who came
                // back after a leave may not have its new admission yet.
                self.state.phase = Phase::Joined;
                self.resume_joined();
            }
        }
    }

    /// Feeds that have contradicted themselves stay as they are.
    pub(crate) fn keep_frozen(&mut self) {
        for author in &self.state.frozen {
            self.feeds.freeze(*author);
        }
    }

    fn resume_joined(&mut self) {
        // A disk that was set back, or that had promised more than it held, does not say so: the others know.
        if self.roster.len() > 1 {
            self.set_timer(Timer::OwnWord, self.setup.config.own_word_ms);
        }
        self.liveness.unconfirmed = !self.others().is_empty();
        self.delivery.pump_all = true;
        for peer in self.others() {
            self.start_pushing(peer);
            self.liveness.hear_of(peer, self.moment.now);
        }
        if self.is_leading() {
            if let Some(view) = &mut self.state.view
                && let Some(me) = view.active.iter_mut().find(|member| member.peer == self.me)
                && me.address != self.setup.address
            {
                me.address = self.setup.address.clone();
                view.version += 1;
                self.persist();
            }
            self.arm();
            for peer in self.others() {
                self.coordinate(peer);
            }
        } else {
            self.arm();
            if let Some(hint) = self.hint() {
                self.seek(hint);
            }
        }
    }
}
