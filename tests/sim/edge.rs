//! The edge between engines and the network: what a call becomes on the wire, and what comes out on the other side.

use std::{collections::BTreeMap, rc::Rc};

use p2p_chat_engine::{CallError, PeerCall, Refusal, Request, Response, RunToken};
use p2p_chat_model::{NetworkId, PeerId, Run, Seq, VectorClock};

use crate::{
    disk::{Image, facts},
    node::Node,
    rng::Rng,
};

/// Most runs in one chunk of a fetch.
const CHUNK_RUNS: usize = 16;

/// A request on the wire.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Plain(Box<Request>),
    Deliver(Vec<Rc<Run>>),
}

impl Ask {
    pub(crate) fn is_ping(&self) -> bool {
        matches!(self, Self::Plain(request) if matches!(**request, Request::Ping(_)))
    }
}

/// An answer on the wire.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Response(Response),
    Error(CallError),
    /// A fetch begins: its chunks.
    Stream(Vec<Vec<Rc<Run>>>),
    /// One chunk of a fetch.
    Chunk(Vec<Rc<Run>>),
}

/// What the engine is told of runs, and which bytes its tokens stand for.
pub(crate) type Tokens = BTreeMap<RunToken, Rc<Run>>;

/// What `node` sends for a call of its engine. A call with entries may hold fewer than were asked for.
pub(crate) fn ask(node: &Node, call: PeerCall, rng: &mut Rng) -> Ask {
    let request = match call {
        PeerCall::Join { request } => {
            Request::Join { request, name: node.member_name(), address: node.address.clone() }
        }
        PeerCall::Leave => Request::Leave,
        PeerCall::UpdateView(view, vote) => Request::UpdateView(view, vote),
        PeerCall::Elect(epoch, id) => Request::Elect(epoch, id),
        PeerCall::Coordinate(view, certificate) => Request::Coordinate(view, certificate),
        PeerCall::Ping(standing) => Request::Ping(standing),
        PeerCall::PingVia(peer) => Request::PingVia(peer),
        PeerCall::Relay(peer) => Request::Relay(peer),
        PeerCall::Fetch(have, not_of) => Request::Fetch(have, not_of),
        PeerCall::Deliver { author, from, upto } => {
            let mut runs = node.disk.image().runs(&author, from, upto);
            if rng.chance(100) {
                runs.truncate(rng.between(1, 4) as usize);
            }
            return Ask::Deliver(runs);
        }
    };
    Ask::Plain(Box::new(request))
}

/// What the engine of the receiver is handed.
pub(crate) fn request(ask: Ask) -> (Request, Tokens) {
    match ask {
        Ask::Plain(request) => (*request, Tokens::new()),
        Ask::Deliver(runs) => {
            let (facts, tokens) = tokens(runs);
            (Request::Deliver(facts), tokens)
        }
    }
}

/// Whether a run passes the checks of whoever decodes it.
pub(crate) fn is_genuine(run: &Run, network: Option<NetworkId>) -> bool {
    Run::decode(&run.encode()).is_ok_and(|run| Some(run.network) == network)
}

/// Names runs for the engine.
pub(crate) fn tokens(runs: Vec<Rc<Run>>) -> (Vec<p2p_chat_engine::RunFacts>, Tokens) {
    let named: Vec<(RunToken, Rc<Run>)> = (0..).map(RunToken).zip(runs).collect();
    let facts = named.iter().map(|(token, run)| facts(run, *token)).collect();
    (facts, named.into_iter().collect())
}

/// What goes back over the wire for an engine's reply. Whose ping is refused hears that the node lives.
pub(crate) fn answer(image: &Image, is_ping: bool, reply: Result<Response, Refusal>) -> Answer {
    match reply {
        Ok(Response::Serve(have)) => Answer::Stream(chunks(image, &have)),
        Ok(response) => Answer::Response(response),
        Err(_) if is_ping => Answer::Response(Response::Alive),
        Err(refusal) => Answer::Error(call_error(refusal)),
    }
}

fn call_error(refusal: Refusal) -> CallError {
    let text = refusal.to_string();
    match refusal {
        Refusal::NotMember => CallError::NotMember(text),
        Refusal::NotHere => CallError::NotHere(text),
        Refusal::Unreachable(_) => CallError::Unmet(text),
        Refusal::Busy(_) => CallError::Busy(text),
        Refusal::Full => CallError::Full(text),
        Refusal::Invalid(_) => CallError::Failed(text),
    }
}

/// Everything beyond a frontier, in chunks ordered by the runs' first Lamport times.
fn chunks(image: &Image, have: &VectorClock) -> Vec<Vec<Rc<Run>>> {
    let missing = |author: &PeerId| image.runs(author, have.at(author) + 1, Seq::MAX);
    let mut runs: Vec<Rc<Run>> = image.authors().flat_map(missing).collect();
    runs.sort_by_key(|run| (run.entries.first().map(|(_, entry)| entry.header.lamport), run.author));
    runs.chunks(CHUNK_RUNS).map(<[_]>::to_vec).collect()
}
