//! What happens, in words.

use p2p_chat_engine::{DiscoveryCall, LeaderHint, Output, PeerCall, Request, Response, Standing, Write};
use p2p_chat_model::{PeerId, View};

use crate::{
    cast::{NAMES, NDS, Who, cast},
    steps::{Action, Step},
    world::{Call, Stage, World},
};

/// A step, before it is taken.
pub(crate) fn step(world: &World, step: Step) -> String {
    if world.story.is_none() {
        return String::new();
    }
    let call = |index: u8| &world.calls[usize::from(index)];
    let what = match step.action {
        Action::Arrive(index) => message(call(index)),
        Action::Probe(index, _) => format!("the NDS calls back for {}", NAMES[call(index).from]),
        Action::Tick(who) => format!("{}'s timer", NAMES[usize::from(who)]),
        Action::TimeOut(index) => {
            let call = call(index);
            format!("{} waits no longer for {}: {}", NAMES[call.from], NAMES[call.to], message(call))
        }
        Action::ProbesTimeOut(_) => "the NDS waits no longer for those it has called back".to_owned(),
        Action::Crash(who) => format!("{} CRASHES", NAMES[usize::from(who)]),
        Action::Restart(who) => format!("{} STARTS AGAIN", NAMES[usize::from(who)]),
        Action::Cut(cut) => format!("CUT: {cut:?}"),
        Action::Heal => "HEALED: nothing is cut".to_owned(),
    };
    let time = world.dues().iter().find(|(_, action)| *action == step.action).map_or(world.now, |(due, _)| *due);
    let at = time.max(world.now) - crate::fingerprint::BEGINNING;
    let crash = step.crash_after.map(|count| format!(" ... and a CRASH after {count} outputs")).unwrap_or_default();
    format!("{at:>6} {what}{crash}")
}

fn message(call: &Call) -> String {
    let (from, to) = (NAMES[call.from], NAMES[call.to]);
    let late = if call.is_late { "late, " } else { "" };
    match &call.stage {
        Stage::Asked(asked) => format!("{late}{from} -> {to}: {}", request(asked)),
        Stage::AskedService(call) => format!("{late}{from} -> {to}: {}", discovery_call(call)),
        Stage::Handled(_) => format!("{from} -> {to}, which has the request"),
        Stage::Probing { call, .. } => format!("{from} -> {to}, which calls back: {}", discovery_call(call)),
        Stage::Answered(answer) => match &**answer {
            Ok(answer) => format!("{late}{to} answers {from}: {}", response(answer)),
            Err(error) => format!("{late}{to} answers {from}: {error}"),
        },
    }
}

/// An output.
pub(crate) fn output(who: Who, output: &Output) -> String {
    let me = NAMES[who];
    match output {
        Output::Write(Write::State(state)) => {
            let vote = state.vote.map(|(epoch, whom)| format!(", vote e{epoch} for {}", name(&whom)));
            let view = state.view.as_ref().map(view).unwrap_or_default();
            format!("{me} writes: e{} {view}{}", state.epoch, vote.unwrap_or_default())
        }
        Output::Write(write) => format!("{me} writes {write:?}"),
        Output::Reply(_, Ok(answer)) => format!("{me} replies {}", response(answer)),
        Output::Reply(_, Err(refusal)) => format!("{me} refuses: {refusal}"),
        Output::Call { peer, call: asked, .. } => format!("{me} -> {}: {}", name(peer), call(asked)),
        Output::Discover { call, .. } => format!("{me} -> {}: {}", NAMES[NDS], discovery_call(call)),
        other => format!("{me}: {other:?}"),
    }
}

fn name(peer: &PeerId) -> &'static str {
    NAMES[cast(NDS).who(peer)]
}

fn view(view: &View) -> String {
    let active: Vec<String> = view.active.iter().map(|line| format!("{}={}", line.node, name(&line.peer))).collect();
    format!("view e{} v{} led by {} of [{}]", view.epoch, view.version, view.leader, active.join(" "))
}

fn hint(hint: Option<&LeaderHint>) -> String {
    hint.map_or("nobody".to_owned(), |hint| format!("{} e{}", name(&hint.peer), hint.epoch))
}

fn standing(standing: &Standing) -> String {
    let active = if standing.peer_active { "" } else { ", you are not active" };
    let leaving = if standing.leaving { ", leaving" } else { "" };
    format!("I follow {}, e{} v{}{active}{leaving}", hint(standing.leader.as_ref()), standing.epoch, standing.version)
}

fn request(request: &Request) -> String {
    match request {
        Request::Join { .. } => "Join".to_owned(),
        Request::UpdateView(new, _) => format!("UpdateView {}", view(new)),
        Request::Elect(epoch, id) => format!("Elect e{epoch} node {id}"),
        Request::Coordinate(new, proof) => {
            let votes: Vec<&str> = proof.votes.iter().map(|vote| name(&vote.voter)).collect();
            format!("Coordinate {} {:?} by votes of [{}]", view(new), proof.rank, votes.join(" "))
        }
        Request::Ping(theirs) => format!("Ping, {}", standing(theirs)),
        Request::PingVia(peer) => format!("PingVia {}", name(peer)),
        other => format!("{other:?}"),
    }
}

fn call(call: &PeerCall) -> String {
    match call {
        PeerCall::UpdateView(new, vote) => request(&Request::UpdateView(new.clone(), vote.clone())),
        PeerCall::Coordinate(new, proof) => request(&Request::Coordinate(new.clone(), proof.clone())),
        PeerCall::Ping(theirs) => request(&Request::Ping(theirs.clone())),
        PeerCall::PingVia(peer) => format!("PingVia {}", name(peer)),
        PeerCall::Elect(epoch, id) => format!("Elect e{epoch} node {id}"),
        other => format!("{other:?}"),
    }
}

fn response(response: &Response) -> String {
    match response {
        Response::Admitted { view: new, .. } => format!("Admitted {}", view(new)),
        Response::NotLeader(leader) => format!("NotLeader, ask {}", hint(Some(leader))),
        Response::Taken(taken, leader) => format!("Taken({taken}), I follow {}", hint(leader.as_ref())),
        Response::Voted(vote) => format!("Voted for {} in e{}", name(&vote.candidate), vote.epoch),
        Response::Outdated(leader) => format!("Outdated, follow {}", hint(Some(leader))),
        Response::Standing(theirs) => format!("Standing, {}", standing(theirs)),
        Response::Pinged(reached, leader) => format!("Pinged({reached}), I follow {}", hint(leader.as_ref())),
        Response::Discovery(answer) => format!("{answer:?}"),
        other => format!("{other:?}"),
    }
}

fn discovery_call(call: &DiscoveryCall) -> String {
    match call {
        DiscoveryCall::Create { view: new, .. } => format!("Create {}", view(new)),
        DiscoveryCall::Update { view: new, expected, votes, .. } => {
            let votes: Vec<&str> = votes.iter().map(|vote| name(&vote.voter)).collect();
            format!("Update {} expecting e{expected} by votes of [{}]", view(new), votes.join(" "))
        }
        DiscoveryCall::Renew { view: new, .. } => format!("Renew {}", view(new)),
        DiscoveryCall::Close { .. } => "Close".to_owned(),
        DiscoveryCall::Lookup => "Lookup".to_owned(),
    }
}
