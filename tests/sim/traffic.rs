//! What goes over the wire: calls and answers, and how large they would be. Sizes are those of the encoded runs, views,
//! clocks and votes, with the ids around them; HTTP/2 and TLS come on top.

use p2p_chat_engine::{Request, Response, Standing};
use p2p_chat_model::{Certificate, VectorClock, View, codec::Writer};

use crate::edge::{Answer, Ask};

/// The network's id, which every call names.
const NETWORK_BYTES: u64 = 32;
const PEER_BYTES: u64 = 32;
/// Network, epoch, voter, candidate and signature.
const VOTE_BYTES: u64 = 32 + 4 + 32 + 32 + 64;
/// Epoch, peer and address.
const HINT_BYTES: u64 = 4 + 32 + 20;
/// A status with its sentence.
const ERROR_BYTES: u64 = 60;

/// Counts of messages and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// Whether anything is counted.
    pub(crate) is_on: bool,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Traffic {
    /// A request goes out.
    pub(crate) fn ask(&mut self, ask: &Ask) {
        if self.is_on {
            self.count(NETWORK_BYTES + of_ask(ask));
        }
    }

    /// An answer goes out.
    pub(crate) fn answer(&mut self, answer: &Answer) {
        if self.is_on {
            self.count(of_answer(answer));
        }
    }

    const fn count(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

fn of_ask(ask: &Ask) -> u64 {
    let request = match ask {
        Ask::Deliver(runs) => return of_runs(runs),
        Ask::Plain(request) => request.as_ref(),
    };
    match request {
        Request::Join { name, address, .. } => 8 + name.as_str().len() as u64 + address.as_str().len() as u64,
        Request::UpdateView(view, vote) => of_view(view) + vote.as_ref().map_or(0, |_| VOTE_BYTES),
        Request::Coordinate(view, certificate) => of_view(view) + of_certificate(certificate),
        Request::Ping(standing) => of_standing(standing),
        Request::PingVia(_) | Request::Relay(_) => PEER_BYTES,
        Request::Fetch(have, not_of) => of_clock(have) + not_of.len() as u64 * PEER_BYTES,
        Request::Elect(..) | Request::Leave | Request::Deliver(_) => 8,
    }
}

fn of_answer(answer: &Answer) -> u64 {
    let response = match answer {
        Answer::Error(_) => return ERROR_BYTES,
        Answer::Chunk(runs) => return of_runs(runs),
        // The chunks are counted one by one.
        Answer::Stream(_) => return 0,
        Answer::Response(response) => response,
    };
    match response {
        Response::Admitted { view, frontier, .. } => of_view(view) + PEER_BYTES + 4 + of_clock(frontier),
        Response::Standing(standing) => of_standing(standing),
        Response::Acked(upto) => of_clock(upto),
        Response::Voted(_) => VOTE_BYTES,
        Response::Taken(..) | Response::NotLeader(_) | Response::Outdated(_) | Response::Pinged(..) => HINT_BYTES,
        _ => 8,
    }
}

fn of_runs(runs: &[std::rc::Rc<p2p_chat_model::Run>]) -> u64 {
    runs.iter().map(|run| run.encode().len() as u64).sum()
}

fn of_standing(standing: &Standing) -> u64 {
    let hint = standing.leader.as_ref().map_or(0, |_| HINT_BYTES);
    hint + 20 + standing.frontier.as_ref().map_or(0, of_clock)
}

fn of_certificate(certificate: &Certificate) -> u64 {
    1 + certificate.votes.len() as u64 * VOTE_BYTES
}

fn of_view(view: &View) -> u64 {
    let mut writer = Writer::default();
    view.encode(&mut writer);
    writer.0.len() as u64
}

fn of_clock(clock: &VectorClock) -> u64 {
    let mut writer = Writer::default();
    clock.encode(&mut writer);
    writer.0.len() as u64
}
