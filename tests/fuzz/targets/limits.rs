//! What must hold of everything that was accepted, whatever it came from.

use p2p_chat_engine::{LeaderHint, Record, Request, Response, RunFacts, Standing};
use p2p_chat_model::{
    Address, Certificate, EntryHash, EntryKind, Name, Run, VectorClock, View, Vote,
    limits::{
        MAX_ADDRESS_BYTES, MAX_BODY_BYTES, MAX_LAMPORT, MAX_MEMBERS, MAX_NAME_CHARS, MAX_RUN_BYTES, MAX_RUN_ENTRIES,
        MAX_SINGLE_RUN_BYTES, MAX_TEXT_BYTES,
    },
    name::printable,
};

pub(crate) fn clock(clock: &VectorClock) {
    assert!(clock.len() <= MAX_MEMBERS, "a clock with {} authors", clock.len());
    assert!(clock.iter().all(|(_, seq)| seq > 0), "a position of 0");
}

pub(crate) fn address(address: &Address) {
    let text = address.as_str();
    assert!(text.len() <= MAX_ADDRESS_BYTES && printable(text) == text, "{text:?}");
    assert_eq!(text.parse().as_ref(), Ok(address));
    let (host, port) = text.rsplit_once(':').expect("a host and a port");
    assert!(!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0), "{text:?}");
}

pub(crate) fn name(name: &Name) {
    let text = name.as_str();
    assert!((1..=MAX_NAME_CHARS).contains(&text.chars().count()), "{text:?}");
    assert!(printable(text) == text && text.trim() == text && !text.contains('\n'), "{text:?}");
    assert_eq!(text.parse().as_ref(), Ok(name));
    // A name is never taken for an id.
    assert!(text.parse::<p2p_chat_model::NetworkId>().is_err(), "{text:?}");
}

pub(crate) fn view(view: &View) {
    assert_eq!(view.check(), Ok(()));
    assert!((1..=MAX_MEMBERS).contains(&view.active.len()));
    assert!(view.leader().is_some());
    view.active.iter().for_each(|member| address(&member.address));
}

pub(crate) fn vote(vote: &Vote) {
    assert_eq!(vote.verify(), Ok(()), "a vote that nobody cast");
}

pub(crate) fn certificate(certificate: &Certificate) {
    assert!(certificate.votes.len() <= MAX_MEMBERS);
    certificate.votes.iter().for_each(vote);
}

/// A run that was accepted from a stranger.
pub(crate) fn run(run: &Run, bytes: &[u8]) {
    assert_eq!(run.encode(), bytes, "a run is not what it was");
    assert!((1..=MAX_RUN_ENTRIES).contains(&run.entries.len()));
    assert!(bytes.len() <= if run.entries.len() == 1 { MAX_SINGLE_RUN_BYTES } else { MAX_RUN_BYTES });
    assert!(run.first > 0 && (run.first == 1) == (run.previous == EntryHash::NONE));
    assert_eq!(run.last(), run.first + run.entries.len() as u64 - 1);
    let (mut previous, mut lamport) = (run.previous, 0);
    for (seq, (hash, entry)) in (run.first..).zip(&run.entries) {
        assert_eq!(entry.hash(run.network, run.author, seq, previous), *hash, "the chain is broken");
        assert!(entry.header.lamport > lamport && entry.header.lamport >= seq && entry.header.lamport <= MAX_LAMPORT);
        assert!(entry.body.len() <= MAX_BODY_BYTES);
        clock(&entry.header.clock);
        assert_eq!(entry.header.clock.at(&run.author), 0);
        match entry.roster_op().expect("a body that was checked") {
            Some(op) => assert_eq!((op.kind(), op.encode()), (entry.header.kind, entry.body.to_vec())),
            None if entry.header.kind == EntryKind::Text => {
                assert!((1..=MAX_TEXT_BYTES).contains(&entry.body.len()) && std::str::from_utf8(&entry.body).is_ok());
            }
            None => assert!(matches!(entry.header.kind, EntryKind::Unknown(_))),
        }
        assert_eq!(entry.header.kind == EntryKind::Genesis, seq == 1 && hash.as_bytes() == run.network.as_bytes());
        (previous, lamport) = (*hash, entry.header.lamport);
    }
    assert_eq!(run.head(), previous);
}

pub(crate) fn facts(run: &RunFacts) {
    assert!((1..=MAX_RUN_ENTRIES).contains(&run.entries.len()));
    run.entries.iter().for_each(|entry| clock(&entry.clock));
}

pub(crate) fn hint(hint: &LeaderHint) {
    address(&hint.address);
}

pub(crate) fn standing(standing: &Standing) {
    standing.leader.iter().for_each(hint);
    standing.frontier.iter().for_each(clock);
}

pub(crate) fn record(record: &Record) {
    hint(&record.leader);
    record.contacts.iter().for_each(|(_, it)| address(it));
}

pub(crate) fn request(request: &Request) {
    match request {
        Request::Join { name: it, address: at, .. } => {
            name(it);
            address(at);
        }
        Request::UpdateView(it, handover) => {
            view(it);
            handover.iter().for_each(vote);
        }
        Request::Coordinate(it, proof) => {
            view(it);
            certificate(proof);
        }
        Request::Ping(it) => standing(it),
        Request::Deliver(runs) => runs.iter().for_each(facts),
        Request::Fetch(have, not_of) => {
            clock(have);
            assert!(not_of.len() <= MAX_MEMBERS);
        }
        Request::Leave | Request::Elect(..) | Request::PingVia(_) | Request::Relay(_) => {}
    }
}

pub(crate) fn response(response: &Response) {
    match response {
        Response::Admitted { view: it, frontier, .. } => {
            view(it);
            clock(frontier);
        }
        Response::NotLeader(it) | Response::Outdated(it) => hint(it),
        Response::Taken(_, it) | Response::Pinged(_, it) => it.iter().for_each(hint),
        Response::Voted(it) => vote(it),
        Response::Standing(it) => standing(it),
        Response::Acked(it) | Response::Serve(it) => clock(it),
        Response::Left
        | Response::TakeOver
        | Response::LeaderAlive
        | Response::Promised(_)
        | Response::Alive
        | Response::Relayed(..)
        | Response::FetchDone
        | Response::Discovery(_) => {}
    }
}

/// What is said of something refused: one short sentence, and nothing in it acts on a terminal.
pub(crate) fn sentence(text: &str) {
    assert!(!text.is_empty() && text.len() <= 500, "{} bytes: {text:?}", text.len());
    assert!(printable(text) == text && !text.contains('\n'), "{text:?}");
}

/// The same, beginning with the field that is wrong.
pub(crate) fn names_a_field(text: &str) {
    sentence(text);
    let (field, reason) = text.split_once(": ").unwrap_or_else(|| panic!("no field is named: {text}"));
    assert!(!field.is_empty() && !reason.is_empty() && field.len() < 40, "{text}");
}
