//! Relaying: a member that can't reach another asks one that can to pass its entries on, out of that one's own log.

use p2p_chat_model::{PeerId, Seq};

use crate::{
    engine::{Engine, Purpose},
    io::{CallError, PeerCall, Refusal, RequestId, Response},
};

/// Most hand-overs made for one request; what is left goes with the next request.
const MAX_ROUNDS: u32 = 16;

/// One request that is being served.
#[derive(Debug, Clone, Hash)]
pub(crate) struct RelayJob {
    author: PeerId,
    target: PeerId,
    acked: Seq,
    rounds: u32,
}

impl Engine {
    pub(crate) fn on_relay(&mut self, id: RequestId, author: PeerId, target: PeerId) {
        if target == self.me || !self.is_active(&target) {
            self.reply(id, Ok(Response::Relayed(false, 0)));
            return;
        }
        if self.relays.len() >= self.setup.config.max_pending_requests {
            self.reply(id, Err(Refusal::Busy("too many relays are under way")));
            return;
        }
        // Nothing is known of what the target has: the newest run asks.
        let last = self.feeds.stored().at(&author);
        let job = RelayJob { author, target, acked: last.saturating_sub(1), rounds: 0 };
        self.relays.insert(id, job.clone());
        self.relay_on(id, &job);
    }

    fn relay_on(&mut self, id: RequestId, job: &RelayJob) {
        let last = self.feeds.stored().at(&job.author);
        if last == 0 {
            self.finish_relay(id, true, 0);
            return;
        }
        let from = (job.acked + 1).min(last);
        let upto = last.min(from + self.setup.config.window_entries - 1);
        let call = PeerCall::Deliver { author: job.author, from, upto };
        let timeout = self.setup.config.deliver_timeout_ms;
        if !self.call_peer(Purpose::RelayPush(id), job.target, call, timeout) {
            self.finish_relay(id, false, 0);
        }
    }

    pub(crate) fn on_relay_pushed(&mut self, id: RequestId, result: Result<Response, CallError>) {
        let Some(job) = self.relays.get(&id).cloned() else { return };
        match result {
            Ok(Response::Acked(acked)) => {
                let acked = acked.at(&job.author);
                self.heard(job.target);
                let stuck = job.rounds > 0 && acked <= job.acked;
                if acked >= self.feeds.stored().at(&job.author) || stuck || job.rounds >= MAX_ROUNDS {
                    self.finish_relay(id, true, acked);
                } else {
                    let job = RelayJob { acked, rounds: job.rounds + 1, ..job };
                    self.relays.insert(id, job.clone());
                    self.relay_on(id, &job);
                }
            }
            Err(CallError::Unreachable(_)) => {
                self.finish_relay(id, false, 0);
                if self.is_leading() {
                    self.suspect(job.target);
                }
            }
            _ => self.finish_relay(id, false, 0),
        }
    }

    fn finish_relay(&mut self, id: RequestId, reached: bool, acked: Seq) {
        self.relays.remove(&id);
        self.reply(id, Ok(Response::Relayed(reached, acked)));
    }
}
