//! The rules: what becomes of a leader's signed statement. Every signature has been checked before it comes here.

use std::{collections::BTreeSet, time::Duration};

use p2p_chat_model::{ActiveMember, Epoch, NetworkId, PeerId, Registration, Vote, limits::MAX_EPOCH_JUMP};

use super::{Answer, Answers, Change, Founding, Probe, Record, Refusal, Registry, Verdict, bury, site};

impl Registry {
    /// `CreateNetwork`: a network that is new here, or that this registry has lost, or whose record is so old that
    /// nobody on it is left to consent: then the leader on record must say that it does not lead, or have been silent
    /// for longer than its lease, and the epoch must grow.
    ///
    /// # Errors
    /// [`Refusal::ExpectedEpoch`], [`Refusal::Genesis`], [`Refusal::Registered`], [`Refusal::NameTaken`],
    /// [`Refusal::Gone`], [`Refusal::EpochTooHigh`], [`Refusal::Full`], [`Refusal::Unreachable`].
    pub fn decide_create(
        &self,
        now: Duration,
        claim: &Registration,
        founding: &Founding,
        answers: &Answers,
    ) -> Result<Verdict, Refusal> {
        let leader = own_epoch_leader(claim)?;
        if founding.network() != claim.network || founding.leader() != leader.peer {
            return Err(Refusal::Genesis { network: claim.network, reason: "it was shown for another registration" });
        }
        if let Some(record) = self.record(&claim.network) {
            if let Some(verdict) = self.judge_known(now, record, claim, leader, answers)? {
                return Ok(verdict);
            }
        } else {
            self.check_vacant(claim, leader, founding)?;
        }
        self.check_members(claim, leader)?;
        call_back(claim.network, leader, answers, || put(now, claim, founding.name().clone()))
    }

    /// A claim on a network that is on record: what to answer before anything else is looked at, if anything.
    fn judge_known(
        &self,
        now: Duration,
        record: &Record,
        claim: &Registration,
        leader: &ActiveMember,
        answers: &Answers,
    ) -> Result<Option<Verdict>, Refusal> {
        if record.leader().peer == leader.peer && record.epoch() == claim.view.epoch {
            return Ok(outdated(record, claim).map(|_| Verdict::Standing));
        }
        let registered =
            Refusal::Registered { name: record.name().clone(), epoch: record.epoch(), leader: record.leader().peer };
        let most = Epoch(record.epoch().0.saturating_add(MAX_EPOCH_JUMP));
        if claim.view.epoch <= record.epoch() || claim.view.epoch > most {
            return Err(registered);
        }
        let incumbent = Probe::of(claim.network, record.leader());
        match answers.get(&incumbent) {
            None => Ok(Some(ask(answers, [incumbent, Probe::of(claim.network, leader)]))),
            // That it is silent is no verdict before its lease has run out; that it does not lead is.
            Some(Answer::Unreachable) if !self.is_stale(record, now) => Err(registered),
            Some(Answer::Reached { leads_epoch }) if *leads_epoch >= record.epoch() => Err(registered),
            Some(Answer::Reached { .. } | Answer::Unreachable) => Ok(None),
        }
    }

    /// `UpdateLeader`: the signer takes over from the leader on record.
    ///
    /// Votes that are not for exactly this network, epoch and candidate, or whose voters are not active in the
    /// view on record, do not count. A candidate that is not in that view needs a majority of it, or the consent of
    /// its leader: the record may be one join behind.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::Epoch`], [`Refusal::NotActive`], [`Refusal::LeaderAlive`],
    /// [`Refusal::Unreachable`], [`Refusal::Full`].
    pub fn decide_update(
        &self,
        now: Duration,
        claim: &Registration,
        votes: &[Vote],
        answers: &Answers,
    ) -> Result<Verdict, Refusal> {
        let candidate = leader_of(claim)?;
        let record = self.record(&claim.network).ok_or(Refusal::Unknown(claim.network))?;
        let (on_record, epoch) = (record.epoch(), claim.view.epoch);
        if record.leader().peer == candidate.peer && on_record == epoch {
            // The reply to the first try was lost.
            return Ok(Verdict::Standing);
        }
        let most = Epoch(on_record.0.saturating_add(MAX_EPOCH_JUMP));
        if claim.expected_epoch != on_record || epoch <= on_record || epoch > most {
            return Err(Refusal::Epoch { on_record, epoch, expected: claim.expected_epoch });
        }
        let voters = voters(record, claim, candidate.peer, votes);
        let consents = candidate.peer == record.leader().peer || voters.contains(&record.leader().peer);
        let is_founded = consents || record.view().is_majority(voters.len());
        if !is_founded && record.view().member(&candidate.peer).is_none() {
            return Err(Refusal::NotActive(candidate.peer));
        }
        self.check_members(claim, candidate)?;
        if !is_founded {
            let incumbent = Probe::of(claim.network, record.leader());
            match answers.get(&incumbent) {
                None => return Ok(ask(answers, [incumbent, Probe::of(claim.network, candidate)])),
                Some(Answer::Reached { leads_epoch }) if *leads_epoch >= on_record => {
                    return Err(Refusal::LeaderAlive { leader: incumbent.peer, address: incumbent.address });
                }
                Some(Answer::Reached { .. } | Answer::Unreachable) => {}
            }
        }
        call_back(claim.network, candidate, answers, || put(now, claim, record.name().clone()))
    }

    /// `RenewLease`: the leader on record is alive, and this is its view. An address that is not the one on record
    /// is called back. A view that has grown beyond the room there is does not replace the one on record, but the
    /// leader is alive all the same.
    ///
    /// # Errors
    /// [`Refusal::ExpectedEpoch`], [`Refusal::Unknown`], [`Refusal::NotLeader`], [`Refusal::Outdated`],
    /// [`Refusal::Unreachable`].
    pub fn decide_renew(&self, now: Duration, claim: &Registration, answers: &Answers) -> Result<Verdict, Refusal> {
        let leader = own_epoch_leader(claim)?;
        let record = self.record(&claim.network).ok_or(Refusal::Unknown(claim.network))?;
        check_leads(record, claim, leader)?;
        if *record.view() == claim.view || self.check_members(claim, leader).is_err() {
            let touch = Change::Touch { network: claim.network, serial: claim.serial, heard: now };
            return Ok(Verdict::Accept(vec![touch]));
        }
        if leader.address == record.leader().address {
            return accept(claim.network, put(now, claim, record.name().clone()));
        }
        call_back(claim.network, leader, answers, || put(now, claim, record.name().clone()))
    }

    /// `CloseNetwork`: the last active member ends the network's registration. Its name is free again. A network
    /// that is not on record is closed already.
    ///
    /// # Errors
    /// [`Refusal::ExpectedEpoch`], [`Refusal::NotLeader`], [`Refusal::Outdated`], [`Refusal::OthersActive`].
    pub fn decide_close(&self, now: Duration, claim: &Registration) -> Result<Verdict, Refusal> {
        let leader = own_epoch_leader(claim)?;
        let Some(record) = self.record(&claim.network) else { return Ok(Verdict::Standing) };
        check_leads(record, claim, leader)?;
        let others = claim.view.active.len() - 1;
        if others > 0 {
            return Err(Refusal::OthersActive { name: record.name().clone(), others });
        }
        let surplus = (self.tombstones.len() + 1).saturating_sub(self.terms.max_tombstones);
        let forgotten = self.buried.iter().take(surplus).map(|(_, network)| Change::Forget(*network));
        let removed = Change::Remove(bury(record, claim.serial, now));
        Ok(Verdict::Accept(forgotten.chain([removed]).collect()))
    }

    fn check_vacant(&self, claim: &Registration, leader: &ActiveMember, founding: &Founding) -> Result<(), Refusal> {
        let (network, epoch) = (claim.network, claim.view.epoch);
        if let Some(holder) = self.named(founding.name()) {
            return Err(Refusal::NameTaken { name: founding.name().clone(), holder: holder.network() });
        }
        let last = self.tombstone(&network);
        if let Some(last) = last {
            let is_newer = claim.serial > last.serial && founding.leader() == last.leader;
            if epoch < last.epoch || epoch == last.epoch && !is_newer {
                return Err(Refusal::Gone { network, epoch: last.epoch, serial: last.serial });
            }
        }
        let most = Epoch(last.map_or(0, |last| last.epoch.0).saturating_add(MAX_EPOCH_JUMP));
        if epoch > most {
            return Err(Refusal::EpochTooHigh { network, epoch, most });
        }
        let (all, of_site) = (self.records.len(), self.share(&site(&leader.address)).networks);
        match self.terms.max_networks {
            most if all >= most => Err(Refusal::Full("networks")),
            most if has_share(all, of_site, most) => Err(Refusal::Full("networks of this host")),
            _ => Ok(()),
        }
    }

    /// Whether there is room for the view. One that does not grow is never refused: a full service has to let its networks go on.
    fn check_members(&self, claim: &Registration, leader: &ActiveMember) -> Result<(), Refusal> {
        let replaced = self.record(&claim.network).map_or(0, |record| record.view().active.len());
        let wanted = claim.view.active.len();
        if wanted <= replaced {
            return Ok(());
        }
        let (all, of_site) = (self.members, self.share(&site(&leader.address)).members);
        match self.terms.max_members {
            most if all - replaced + wanted > most => Err(Refusal::Full("active members")),
            most if has_share(all, of_site, most) => Err(Refusal::Full("active members of this host")),
            _ => Ok(()),
        }
    }
}

/// Whether a site has its share of what all have: half of it is there for anybody, of the rest nobody gets any who has an eighth.
const fn has_share(all: usize, of_site: usize, most: usize) -> bool {
    all >= most.div_ceil(2) && of_site >= most.div_ceil(8)
}

fn leader_of(claim: &Registration) -> Result<&ActiveMember, Refusal> {
    claim.view.leader().ok_or(Refusal::Leaderless(claim.network))
}

/// The leader of a statement that expects no epoch but its own.
fn own_epoch_leader(claim: &Registration) -> Result<&ActiveMember, Refusal> {
    let (expected, epoch) = (claim.expected_epoch, claim.view.epoch);
    if expected == epoch { leader_of(claim) } else { Err(Refusal::ExpectedEpoch { expected, epoch }) }
}

fn check_leads(record: &Record, claim: &Registration, leader: &ActiveMember) -> Result<(), Refusal> {
    if record.leader().peer != leader.peer || record.epoch() != claim.view.epoch {
        return Err(Refusal::NotLeader { leader: record.leader().peer, epoch: record.epoch() });
    }
    outdated(record, claim).map_or(Ok(()), Err)
}

/// Why a statement of the leader on record is older than the record, if it is.
fn outdated(record: &Record, claim: &Registration) -> Option<Refusal> {
    let (old, new) = (record.view(), &claim.view);
    let is_newer = claim.serial > record.serial() && new.version >= old.version && new.next_id >= old.next_id;
    (!is_newer).then(|| Refusal::Outdated { serial: record.serial(), version: old.version })
}

/// Who of the view on record votes for exactly this candidate and epoch.
fn voters(record: &Record, claim: &Registration, candidate: PeerId, votes: &[Vote]) -> BTreeSet<PeerId> {
    let is_for_it =
        |vote: &&Vote| vote.network == claim.network && vote.epoch == claim.view.epoch && vote.candidate == candidate;
    let active: BTreeSet<PeerId> = record.view().active.iter().map(|member| member.peer).collect();
    votes.iter().filter(is_for_it).map(|vote| vote.voter).filter(|voter| active.contains(voter)).collect()
}

/// Accepts once the member has answered at the address that it advertises.
fn call_back(
    network: NetworkId,
    member: &ActiveMember,
    answers: &Answers,
    record: impl FnOnce() -> Option<Record>,
) -> Result<Verdict, Refusal> {
    let probe = Probe::of(network, member);
    match answers.get(&probe) {
        None => Ok(Verdict::AskFirst(vec![probe])),
        Some(Answer::Unreachable) => Err(Refusal::Unreachable { address: probe.address, peer: probe.peer }),
        Some(Answer::Reached { .. }) => accept(network, record()),
    }
}

/// What is to be asked of the leader on record and of who replaces it: they may be the same.
fn ask(answers: &Answers, probes: [Probe; 2]) -> Verdict {
    let mut probes: Vec<Probe> = probes.into_iter().filter(|probe| !answers.contains_key(probe)).collect();
    probes.dedup();
    Verdict::AskFirst(probes)
}

fn put(now: Duration, claim: &Registration, name: p2p_chat_model::Name) -> Option<Record> {
    Record::new(claim.network, name, claim.view.clone(), claim.serial, now)
}

fn accept(network: NetworkId, record: Option<Record>) -> Result<Verdict, Refusal> {
    record.map(|record| Verdict::Accept(vec![Change::Put(record)])).ok_or(Refusal::Leaderless(network))
}
