//! A member votes for one candidate an epoch, whatever it forgets; and every vote that travels is signed.

use std::collections::BTreeMap;

use p2p_chat_engine::{Request, Response};
use p2p_chat_model::{Epoch, PeerId, Vote};

use super::Finding;

/// Voter and epoch to candidate.
#[derive(Debug, Default)]
pub(crate) struct Votes(BTreeMap<(PeerId, Epoch), PeerId>);

impl Votes {
    pub(crate) fn check(&mut self, vote: (PeerId, Epoch, PeerId)) -> Finding {
        let (voter, epoch, candidate) = vote;
        let first = *self.0.entry((voter, epoch)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        Err(format!("{voter:?} votes for {candidate:?} in epoch {epoch}, after having voted for {first:?}"))
    }
}

/// The votes in a request.
pub(crate) fn check_request(request: &Request) -> Finding {
    match request {
        Request::UpdateView(_, Some(vote)) => check_signature(vote),
        Request::Coordinate(view, certificate) => {
            let leader = view.leader().map(|leader| leader.peer);
            for vote in &certificate.votes {
                check_signature(vote)?;
                if vote.epoch != view.epoch || Some(vote.candidate) != leader {
                    return Err(format!(
                        "a vote for {:?} in epoch {} is shown for another",
                        vote.candidate, vote.epoch
                    ));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The vote in an answer.
pub(crate) fn check_response(response: &Response) -> Finding {
    if let Response::Voted(vote) = response { check_signature(vote) } else { Ok(()) }
}

fn check_signature(vote: &Vote) -> Finding {
    vote.verify().map_err(|error| error.to_string())
}
