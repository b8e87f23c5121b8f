//! What happened, in words short enough for a trace; and which of it a sweep has to have seen.

use p2p_chat_engine::{
    CallError, DiscoveryCall, Durable, Event, LeaderHint, Output, PeerCall, Request, Response, Standing, Way, Write,
};
use p2p_chat_model::{Certificate, Rank, VectorClock, View, Vote, limits::MAX_RUN_ENTRIES};

use crate::disk::Record;

fn clock(clock: &VectorClock) -> String {
    let positions: Vec<String> = clock.iter().map(|(author, seq)| format!("{author:?}:{seq}")).collect();
    format!("[{}]", positions.join(" "))
}

fn view(view: &View) -> String {
    let active: Vec<String> = view.active.iter().map(|line| format!("{}={:?}", line.node, line.peer)).collect();
    format!(
        "view e{} v{} leader {} next {} ({})",
        view.epoch,
        view.version,
        view.leader,
        view.next_id,
        active.join(" ")
    )
}

fn certificate(certificate: &Certificate) -> String {
    format!("{:?} with {} votes", certificate.rank, certificate.votes.len())
}

fn vote(vote: &Vote) -> String {
    format!("{:?} votes for {:?} in e{}", vote.voter, vote.candidate, vote.epoch)
}

fn hint(hint: Option<&LeaderHint>) -> String {
    hint.map_or("nobody".to_owned(), |hint| format!("{:?} e{}", hint.peer, hint.epoch))
}

fn standing(standing: &Standing) -> String {
    let leader = hint(standing.leader.as_ref());
    let frontier = standing.frontier.as_ref().map(clock).unwrap_or_default();
    let seen = if standing.peer_active { "" } else { ", you are not active" };
    let leaving = if standing.leaving { ", leaving" } else { "" };
    format!("follows {leader}, e{} v{}{seen}{leaving} {frontier}", standing.epoch, standing.version)
}

/// A request.
pub(crate) fn request(request: &Request) -> String {
    match request {
        Request::Join { request, .. } => format!("Join #{request}"),
        Request::Leave => "Leave".to_owned(),
        Request::UpdateView(new, consent) => {
            format!("UpdateView {} {}", view(new), consent.as_ref().map(vote).unwrap_or_default())
        }
        Request::Elect(epoch, id) => format!("Elect e{epoch} node {id}"),
        Request::Coordinate(new, proof) => format!("Coordinate {} {}", view(new), certificate(proof)),
        Request::Ping(theirs) => format!("Ping {}", standing(theirs)),
        Request::PingVia(peer) => format!("PingVia {peer:?}"),
        Request::Deliver(runs) => {
            let runs: Vec<String> =
                runs.iter().map(|run| format!("{:?}:{}-{}", run.author, run.first, run.last())).collect();
            format!("Deliver {}", runs.join(" "))
        }
        Request::Relay(peer) => format!("Relay to {peer:?}"),
        Request::Fetch(have, _) => format!("Fetch, have {}", clock(have)),
    }
}

fn call(call: &PeerCall) -> String {
    match call {
        PeerCall::Join { request } => format!("Join #{request}"),
        PeerCall::Leave => "Leave".to_owned(),
        PeerCall::UpdateView(view, vote) => request(&Request::UpdateView(view.clone(), vote.clone())),
        PeerCall::Elect(epoch, id) => request(&Request::Elect(*epoch, *id)),
        PeerCall::Coordinate(view, proof) => request(&Request::Coordinate(view.clone(), proof.clone())),
        PeerCall::Ping(standing) => request(&Request::Ping(standing.clone())),
        PeerCall::PingVia(peer) => format!("PingVia {peer:?}"),
        PeerCall::Deliver { author, from, upto } => format!("Deliver {author:?}:{from}-{upto}"),
        PeerCall::Relay(peer) => format!("Relay to {peer:?}"),
        PeerCall::Fetch(have, _) => format!("Fetch, have {}", clock(have)),
    }
}

fn response(response: &Response) -> String {
    match response {
        Response::Admitted { view: new, admission, frontier, .. } => {
            format!("Admitted by {:?}:{} {} frontier {}", admission.0, admission.1, view(new), clock(frontier))
        }
        Response::NotLeader(leader) => format!("NotLeader, ask {}", hint(Some(leader))),
        Response::Taken(taken, leader) => format!("Taken({taken}), follows {}", hint(leader.as_ref())),
        Response::Voted(cast) => vote(cast),
        Response::Outdated(leader) => format!("Outdated: {}", hint(Some(leader))),
        Response::Standing(theirs) => format!("Standing {}", standing(theirs)),
        Response::Pinged(reached, leader) => format!("Pinged({reached}), follows {}", hint(leader.as_ref())),
        Response::Acked(upto) => format!("Acked {}", clock(upto)),
        Response::Serve(have) => format!("Serve from {}", clock(have)),
        other => format!("{other:?}"),
    }
}

/// What came of a call.
pub(crate) fn result(result: &Result<Response, CallError>) -> String {
    match result {
        Ok(good) => response(good),
        Err(error) => error.to_string(),
    }
}

/// A call to the discovery service.
pub(crate) fn discovery_call(call: &DiscoveryCall) -> String {
    match call {
        DiscoveryCall::Create { view: new, serial, admission } => {
            format!("Create #{serial} {} with {} admissions", view(new), admission.len())
        }
        DiscoveryCall::Update { view: new, expected, votes, serial } => {
            format!("Update #{serial} {} expects e{expected}, {} votes", view(new), votes.len())
        }
        DiscoveryCall::Renew { view: new, serial } => format!("Renew #{serial} {}", view(new)),
        DiscoveryCall::Close { serial, .. } => format!("Close #{serial}"),
        DiscoveryCall::Lookup => "Lookup".to_owned(),
    }
}

/// An output.
pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Reply(_, Ok(good)) => format!("replies {}", response(good)),
        Output::Reply(_, Err(refusal)) => format!("refuses: {refusal}"),
        Output::Call { peer, call: what, timeout_ms, .. } => format!("-> {peer:?}: {} ({timeout_ms} ms)", call(what)),
        Output::Discover { service, call, .. } => format!("-> its NDS {service}: {}", discovery_call(call)),
        Output::Write(Write::State(_)) => "writes its state".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A write that has become durable.
pub(crate) fn record(record: &Record, state: Option<&Durable>) -> String {
    match record {
        Record::Run(run) => format!("run {:?}:{}-{}", run.author, run.first, run.last()),
        Record::Fork(run) => format!("fork {:?}:{}-{}", run.author, run.first, run.last()),
        Record::Own(run) => {
            let kinds: Vec<String> = run.entries.iter().map(|(_, entry)| format!("{:?}", entry.header.kind)).collect();
            format!("own {}-{} {}", run.first, run.last(), kinds.join(" "))
        }
        Record::OwnDelivered { author, seq } => format!("delivered {author:?}:{seq}"),
        Record::Delivered { author, seq, late, .. } => {
            format!("delivered {author:?}:{seq}{}", if *late { " late" } else { "" })
        }
        Record::State(_) => state.map_or(String::new(), |state| {
            let view = state.view.as_ref().map(view).unwrap_or_default();
            format!("state {:?} e{} vote {:?} {view}", state.phase, state.epoch, state.vote)
        }),
        Record::Ack { peer, upto, way } => format!("ack of {peer:?} up to {upto} {way:?}"),
    }
}

/// The names under which a sweep counts an output.
pub(crate) fn notable(output: &Output) -> Option<&'static str> {
    Some(match output {
        Output::Call { call: PeerCall::Relay(_), .. } => "a relay was asked for",
        Output::Call { call: PeerCall::Fetch(..), .. } => "a fetch",
        Output::Call { call: PeerCall::PingVia(_), .. } => "an indirect ping",
        Output::Call { call: PeerCall::Elect(..), .. } => "ELECTION",
        Output::Call { call: PeerCall::UpdateView(_, Some(_)), .. } => "a leader handed over",
        Output::Call { call: PeerCall::Coordinate(_, proof), .. } if proof.rank == Rank::Majority => {
            "COORDINATOR by a majority"
        }
        Output::Call { call: PeerCall::Coordinate(..), .. } => "COORDINATOR by the NDS",
        Output::Discover { call: DiscoveryCall::Create { .. }, .. } => "a registration",
        Output::Reply(_, Ok(Response::TakeOver)) => "a lower id took over",
        Output::Reply(_, Ok(Response::LeaderAlive)) => "a voter reached the leader",
        Output::Reply(_, Ok(Response::Promised(_))) => "a vote was refused",
        Output::Reply(_, Ok(Response::Relayed(true, _))) => "a relay worked",
        Output::Event(Event::DroppedOut(..)) => "a member dropped out",
        Output::Event(Event::Returned(..)) => "a member returned",
        Output::Event(Event::Outside) => "a node found itself outside",
        Output::Event(Event::Leaderless(_)) => "a node was leaderless",
        Output::Event(Event::LeaderChanged { .. }) => "a leader changed",
        Output::Event(Event::Abandoned) => "a founding was abandoned",
        Output::Event(Event::Equivocation { .. }) => "a feed was frozen",
        _ => return None,
    })
}

/// The name under which a sweep counts a write.
pub(crate) fn notable_record(record: &Record) -> Option<&'static str> {
    match record {
        Record::Own(run) if run.entries.len() == MAX_RUN_ENTRIES => Some("a full run"),
        Record::Own(run) if run.entries.len() > 1 => Some("a run of several entries"),
        Record::Ack { way: Way::Relayed(_), .. } => Some("an entry went by a relay"),
        Record::Ack { way: Way::Fetched, .. } => Some("an entry was fetched"),
        Record::Delivered { late: true, .. } => Some("an entry was late"),
        _ => None,
    }
}
