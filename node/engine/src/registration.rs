//! What the discovery services are told: the leader registers the network at each, renews its lease, and brings
//! its newest view on record. One that has lost the network gets it again.

use std::collections::BTreeMap;

use p2p_chat_model::Epoch;

use crate::{
    engine::{Engine, Purpose},
    io::{CallError, DiscoveryAnswer, DiscoveryCall, DiscoveryRefusal, Event, Record},
    timers::Timer,
};

/// What a discovery service was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    Create,
    Renew,
    /// To take the leadership over on record, as leader.
    Update,
    /// To decide an election.
    Reign,
    Lookup,
    Close,
}

/// How things stand at one discovery service.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Registrar {
    serial: u64,
    due: u64,
    asking: bool,
    /// The view has changed since the last renewal was sent.
    changed: bool,
    /// Why it does not list the network as it is now, where that is not for want of a connection.
    refusal: Option<String>,
    /// The view on record is kept.
    kept: Option<Kept>,
}

/// Why a view stays on record that is not in force any more: see [`Engine::keep_record`].
#[derive(Debug, Clone, Copy, Hash)]
struct Kept {
    since: u64,
    until: u64,
    /// How many were active.
    active: usize,
}

impl Engine {
    /// A number above all before, for the next statement to a service. Wall time, so that it grows over restarts.
    pub(crate) fn next_serial(&mut self, service: usize) -> u64 {
        let wall_ms = self.moment.wall_ms;
        let Some(registrar) = self.registrars.get_mut(service) else { return wall_ms };
        registrar.serial = wall_ms.max(registrar.serial.saturating_add(1));
        registrar.serial
    }

    /// The service has this serial on record. Returns whether that is above what it was told last.
    pub(crate) fn see_serial(&mut self, service: usize, serial: u64) -> bool {
        let Some(registrar) = self.registrars.get_mut(service) else { return false };
        let above = serial > registrar.serial;
        registrar.serial = registrar.serial.max(serial);
        above
    }

    /// Brings the newest view on record, everywhere.
    pub(crate) fn renew_soon(&mut self) {
        let now = self.moment.now;
        for registrar in &mut self.registrars {
            registrar.due = now;
            registrar.changed = true;
        }
        self.timers.set(Timer::Lease, now);
    }

    /// A member is about to drop out. If it is this leader that is cut off, the others elect another one, and the services
    /// count the votes of those on record only: they stay there for as long as an election takes, or until this leader has
    /// heard of most of them again.
    pub(crate) fn keep_record(&mut self) {
        let now = self.moment.now;
        let kept =
            Kept { since: now, until: now + self.setup.config.lease_renewal_ms, active: self.others().len() + 1 };
        for registrar in &mut self.registrars {
            registrar.kept.get_or_insert(kept);
        }
    }

    fn keeps_record(&self, kept: &Kept) -> bool {
        let backing = 1 + self.liveness.heard_since(kept.since);
        self.moment.now < kept.until && backing * 2 <= kept.active
    }

    pub(crate) fn on_lease(&mut self) {
        if !self.is_leading() {
            return;
        }
        let asked = if self.is_closing() { Asked::Close } else { Asked::Renew };
        let now = self.moment.now;
        for service in 0..self.registrars.len() {
            let kept = self.registrars.get(service).and_then(|registrar| registrar.kept);
            let is_kept = asked == Asked::Renew && kept.is_some_and(|kept| self.keeps_record(&kept));
            if let Some(registrar) = self.registrars.get_mut(service)
                && registrar.due <= now
                && !registrar.asking
            {
                if is_kept {
                    registrar.due = now + self.setup.config.silence_min_ms;
                    continue;
                }
                (registrar.changed, registrar.kept) = (false, None);
                self.ask_leading(service, asked);
            }
        }
        self.arm_lease();
    }

    fn arm_lease(&mut self) {
        let due = self.registrars.iter().filter(|registrar| !registrar.asking).map(|registrar| registrar.due).min();
        match due {
            Some(due) => self.timers.set(Timer::Lease, due.max(self.moment.now + 1)),
            None => self.timers.clear(Timer::Lease),
        }
    }

    /// Asks a service for something on behalf of the view this node leads.
    pub(crate) fn ask_leading(&mut self, service: usize, asked: Asked) {
        let Some(view) = self.view().cloned() else { return };
        let serial = self.next_serial(service);
        let call = match asked {
            Asked::Create => {
                let Some(admission) = self.roster.admission_chain(&self.me) else { return };
                DiscoveryCall::Create { view, admission, serial }
            }
            Asked::Close => DiscoveryCall::Close { view, serial },
            _ => DiscoveryCall::Renew { view, serial },
        };
        if let Some(registrar) = self.registrars.get_mut(service) {
            registrar.asking = true;
        }
        self.discover(service, asked, call);
    }

    pub(crate) fn register_everywhere(&mut self) {
        for service in 0..self.registrars.len() {
            self.ask_leading(service, Asked::Create);
        }
    }

    pub(crate) fn on_discovery(
        &mut self,
        service: usize,
        asked: Asked,
        result: Result<crate::io::Response, CallError>,
    ) {
        let result = match result {
            Ok(crate::io::Response::Discovery(answer)) => Ok(answer),
            Ok(_) => Err(CallError::Failed("bug: the answer is not a discovery service's".to_owned())),
            Err(error) => Err(error),
        };
        match asked {
            Asked::Reign => self.on_reign_answer(service, result),
            Asked::Lookup => self.on_lookup(result),
            Asked::Close if self.founding.is_some() => {
                self.finish_asking(service, self.setup.config.lease_retry_ms);
                self.on_given_back(service);
            }
            Asked::Close => self.on_closed(service, &result),
            Asked::Create if self.founding.is_some() => {
                self.finish_asking(service, self.setup.config.lease_renewal_ms);
                self.on_founded(service, result);
            }
            Asked::Create | Asked::Renew | Asked::Update => self.on_lease_answer(service, asked, result),
        }
    }

    fn finish_asking(&mut self, service: usize, next_ms: u64) {
        let now = self.moment.now;
        if let Some(registrar) = self.registrars.get_mut(service) {
            registrar.asking = false;
            registrar.due = if registrar.changed { now } else { now + next_ms };
        }
        if self.is_leading() {
            self.arm_lease();
        }
    }

    fn on_lease_answer(&mut self, service: usize, asked: Asked, result: Result<DiscoveryAnswer, CallError>) {
        let config = &self.setup.config;
        let (period, retry) = (config.lease_renewal_ms, config.lease_retry_ms);
        match result {
            Ok(DiscoveryAnswer::Accepted(_) | DiscoveryAnswer::Closed) => {
                self.liveness.unconfirmed = false;
                self.note_refusal(service, None);
                self.finish_asking(service, period);
            }
            Ok(DiscoveryAnswer::Unknown) if asked != Asked::Create => {
                self.finish_asking(service, retry);
                if self.is_leading() && !self.is_closing() {
                    self.ask_leading(service, Asked::Create);
                }
            }
            Ok(DiscoveryAnswer::Refused(DiscoveryRefusal::Outdated, _, serial)) => {
                // With a serial above the one on record it may pass at once.
                let pause = if self.see_serial(service, serial) { 0 } else { retry };
                self.finish_asking(service, pause);
            }
            Ok(DiscoveryAnswer::Refused(why, record, serial)) => {
                self.see_serial(service, serial);
                self.finish_asking(service, retry);
                if why == DiscoveryRefusal::Unreachable {
                    let reason = format!("it can't reach this node at {}", self.setup.address);
                    self.note_refusal(service, Some(reason));
                }
                if self.is_leading() {
                    self.on_superseded(service, asked, why, &record);
                }
            }
            Err(error) => {
                if !matches!(error, CallError::Unreachable(_) | CallError::Busy(_)) {
                    self.note_refusal(service, Some(error.to_string()));
                }
                self.finish_asking(service, retry);
            }
            // It was lost and registered again by another leader: the next renewal shows who.
            Ok(DiscoveryAnswer::Unknown) => self.finish_asking(service, retry),
        }
    }

    fn note_refusal(&mut self, service: usize, refusal: Option<String>) {
        let Some(registrar) = self.registrars.get_mut(service) else { return };
        if registrar.refusal != refusal {
            registrar.refusal.clone_from(&refusal);
            if let Some(reason) = refusal {
                self.event(Event::Unlisted(service, reason));
            }
        }
    }

    /// Another reign: nothing of it has been refused yet, or is on record.
    pub(crate) fn forget_record(&mut self) {
        for registrar in &mut self.registrars {
            (registrar.refusal, registrar.kept) = (None, None);
        }
    }

    /// As leader: the discovery services that answer and do not list the network as it is now, and why.
    pub(crate) fn refusals(&self) -> BTreeMap<usize, String> {
        let refusal = |(service, registrar): (usize, &Registrar)| Some((service, registrar.refusal.clone()?));
        self.registrars.iter().enumerate().filter_map(refusal).filter(|_| self.is_leading()).collect()
    }

    /// Something else than this reign is on record.
    fn on_superseded(&mut self, service: usize, asked: Asked, why: DiscoveryRefusal, record: &Record) {
        let on_record = record.leader.epoch;
        let mine = self.state.epoch;
        if on_record < mine && asked != Asked::Update {
            self.update_record(service, on_record);
        } else if on_record < mine {
            // The next renewal tries again; the leader on record may not know yet that it is replaced.
            if record.leader.peer != self.me {
                self.remember_address(record.leader.peer, record.leader.address.clone());
                self.coordinate(record.leader.peer);
                self.election.challenged = Some(record.leader.clone());
            }
            if why == DiscoveryRefusal::NotActive && self.is_active(&record.leader.peer) {
                // The view on record is older than this member, but who led it can vote for another reign.
                self.reassert(mine);
            } else if why == DiscoveryRefusal::NotActive {
                // Nor can that leader be asked: this member shows its admission instead.
                self.ask_leading(service, Asked::Create);
            }
        } else if record.leader.peer != self.me {
            self.remember_address(record.leader.peer, record.leader.address.clone());
            self.challenge(record);
        } else if on_record > mine {
            // Its own reign of a later epoch is on record, from before a crash: goes on above it.
            self.reassert(on_record);
        }
        // Else it is this reign that is on record, and the next renewal may find that the service reaches this node.
    }

    /// A leader that is on record with this epoch or a later one: follows it if it answers, else wins the record back.
    fn challenge(&mut self, record: &Record) {
        let later = record.leader.epoch > self.state.epoch;
        if later {
            self.follow_hint(Some(&record.leader));
        } else {
            self.coordinate(record.leader.peer);
            self.election.challenged = Some(record.leader.clone());
            self.reassert(record.leader.epoch);
        }
    }

    fn update_record(&mut self, service: usize, expected: Epoch) {
        let Some(view) = self.view().cloned() else { return };
        if self.is_asking(&Purpose::Discovery(service, Asked::Update)) {
            return;
        }
        let votes = self.state.certificate.votes.clone();
        let serial = self.next_serial(service);
        if let Some(registrar) = self.registrars.get_mut(service) {
            registrar.asking = true;
        }
        self.discover(service, Asked::Update, DiscoveryCall::Update { view, expected, votes, serial });
    }

    pub(crate) fn close_everywhere(&mut self) {
        for service in 0..self.registrars.len() {
            self.ask_leading(service, Asked::Close);
        }
    }

    /// The service could not be told that the network ends: tells it again soon.
    pub(crate) fn close_later(&mut self, service: usize) {
        self.finish_asking(service, self.setup.config.lease_retry_ms);
    }
}
