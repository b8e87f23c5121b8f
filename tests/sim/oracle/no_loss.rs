//! At rest, every entry whose author was told "sent" is delivered at every member that is up. Who leaves before its
//! patience ends leaves everything it has to somebody: what its entries depend on, too. (Of a bad member's entries, and
//! to it, nothing is promised; nor of those whom it alone has admitted, with an entry that contradicts another, and of
//! what rests on theirs; nor of what rests on an entry of its that it withheld from who has another version of its feed,
//! until that shows.)

use p2p_chat_engine::{Done, Output, Phase};

use p2p_chat_model::PeerId;

use super::{Finding, acked_is_durable::Acked, ledger::Ledger, phase};
use crate::{net::Who, node::Node, users::LEAVE_WAIT_MS};

pub(crate) fn check(ledger: &Ledger, acked: &Acked, nodes: &[Node], bad: Option<PeerId>) -> Finding {
    let is_in = |node: &&Node| node.engine.as_ref().is_some_and(|engine| phase(engine) == Phase::Joined);
    let members: Vec<&Node> = nodes.iter().filter(is_in).filter(|node| Some(node.peer) != bad).collect();
    // Whether the node can believe that all are members whom the next entry of an author it lacks rests on, and can have
    // what that entry rests on.
    let knows = |node: &Node, author: PeerId| {
        let (Some(engine), Some(bad)) = (&node.engine, bad) else { return true };
        let (snapshot, image) = (engine.snapshot(), node.disk.image());
        let next = ledger.entry(author, image.delivered(&author) + 1);
        let are_members = next.is_none_or(|next| next.past.keys().all(|other| snapshot.roster.member(other).is_some()));
        let has_all =
            snapshot.frozen.contains(&bad) || next.is_none_or(|next| ledger.bad_past(next, bad) <= image.end(&bad).0);
        snapshot.roster.is_member(&author) && are_members && has_all
    };
    for (author, seq) in acked.sent() {
        // Who left may have left with entries that nobody else has; it was told so.
        let is_owed = members.iter().any(|node| node.peer == author);
        for node in &members {
            let has = node.disk.image().delivered(&author);
            if is_owed && has < seq && knows(node, author) {
                return Err(format!("{} has {has} entries of {author:?}, who sent {seq}", node.name));
            }
        }
    }
    for (author, seq, _) in ledger.iter().filter(|(author, ..)| Some(*author) != bad) {
        let mut holders = members.iter().filter(|node| node.disk.image().delivered(&author) >= seq).peekable();
        if holders.peek().is_some()
            && let Some(node) =
                members.iter().find(|node| node.disk.image().delivered(&author) < seq && knows(node, author))
        {
            return Err(format!("{} lacks {author:?}:{seq}, which others have", node.name));
        }
    }
    Ok(())
}

/// Whether somebody has everything that a leaver has.
pub(crate) fn check_left(nodes: &[Node], who: Who, output: &Output, took_ms: u64) -> Finding {
    let Output::Done(_, Ok(Done::Left { unreplicated: 0, closed: false })) = output else { return Ok(()) };
    let leaver = &nodes[who];
    let last_own = leaver.disk.image().end(&leaver.peer).0;
    // What came after it had said that it leaves is for others to spread.
    let past: Vec<_> = match leaver.disk.image().past_of(&leaver.peer, last_own) {
        Some(past) if took_ms < LEAVE_WAIT_MS => past.iter().collect(),
        _ => return Ok(()),
    };
    let has_all = |node: &Node| past.iter().all(|(author, seq)| node.disk.image().end(author).0 >= *seq);
    if nodes.iter().any(|node| node.who != who && has_all(node)) {
        return Ok(());
    }
    Err(format!("{} leaves after {took_ms} ms, and nobody has all that its entries depend on", leaver.name))
}
