//! What an exploration should have seen at least once: a search that sees nothing proves nothing.

use p2p_chat_engine::{Event, Output, PeerCall, Response};
use p2p_chat_model::Rank;

/// Something worth seeing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Sight {
    LeaderChanged,
    VoteGiven,
    VoteRefused,
    LeaderReachedByVoter,
    LowerIdTookOver,
    MajorityElected,
    ServiceDecided,
    Veto,
    Overruled,
    DroppedOut,
    Returned,
    Outside,
    LeaderBack,
}

/// All of them.
pub(crate) const SIGHTS: [Sight; 13] = [
    Sight::LeaderChanged,
    Sight::VoteGiven,
    Sight::VoteRefused,
    Sight::LeaderReachedByVoter,
    Sight::LowerIdTookOver,
    Sight::MajorityElected,
    Sight::ServiceDecided,
    Sight::Veto,
    Sight::Overruled,
    Sight::DroppedOut,
    Sight::Returned,
    Sight::Outside,
    Sight::LeaderBack,
];

/// A set of sights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sights(u32);

impl Sights {
    pub(crate) const fn see(&mut self, sight: Sight) {
        self.0 |= 1 << sight as u32;
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) const fn has(self, sight: Sight) -> bool {
        self.0 & 1 << sight as u32 != 0
    }

    /// What an engine's output shows.
    pub(crate) const fn see_output(&mut self, output: &Output) {
        match output {
            Output::Event(Event::LeaderChanged { .. }) => self.see(Sight::LeaderChanged),
            Output::Event(Event::DroppedOut(..)) => self.see(Sight::DroppedOut),
            Output::Event(Event::Returned(..)) => self.see(Sight::Returned),
            Output::Event(Event::Outside) => self.see(Sight::Outside),
            Output::Event(Event::LeaderBack(_)) => self.see(Sight::LeaderBack),
            Output::Reply(_, Ok(Response::Voted(_))) => self.see(Sight::VoteGiven),
            Output::Reply(_, Ok(Response::Promised(_))) => self.see(Sight::VoteRefused),
            Output::Reply(_, Ok(Response::LeaderAlive)) => self.see(Sight::LeaderReachedByVoter),
            Output::Reply(_, Ok(Response::TakeOver)) => self.see(Sight::LowerIdTookOver),
            Output::Call { call: PeerCall::Coordinate(_, certificate), .. } => match certificate.rank {
                Rank::Majority => self.see(Sight::MajorityElected),
                Rank::Registered if !certificate.votes.is_empty() => self.see(Sight::ServiceDecided),
                Rank::Registered => {}
            },
            _ => {}
        }
    }
}
