//! At rest, every entry whose author was told "sent" is delivered at every member that is up. Who leaves, if not
//! by force, leaves all it has to others: what its entries depend on, too. (Of a bad member's entries, and
//! to it, nothing is promised; nor of those whom it alone has admitted, with an entry that contradicts another, and of
//! what rests on theirs; nor of what rests on an entry of its that it withheld from who has another version of its feed,
//! until that shows.)

use p2p_chat_engine::{Done, Output, Phase};

use p2p_chat_model::{PeerId, Seq};

use super::{Finding, acked_is_durable::Acked, ledger::Ledger, phase};
use crate::{net::Who, node::Node, users::Wish};

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
        // Who left may have believed a bad member that it has everything.
        let is_owed = bad.is_none() || members.iter().any(|node| node.peer == author);
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

/// Whether others have what a leaver has: all that it wrote before the Leave, and all that this rests on.
pub(crate) fn check_left(nodes: &[Node], who: Who, output: &Output, wish: Option<Wish>) -> Finding {
    let (Output::Done(_, Ok(Done::Left { closed: false, .. })), Some(Wish::Leave)) = (output, wish) else {
        return Ok(());
    };
    let (leaver, image) = (&nodes[who], nodes[who].disk.image());
    let last_own = image.end(&leaver.peer).0;
    let past = image.past_of(&leaver.peer, last_own).unwrap_or_default();
    let of_others = past.iter().filter(|(author, _)| *author != leaver.peer);
    let is_elsewhere = |(author, seq): &(PeerId, Seq)| {
        nodes.iter().any(|node| node.who != who && node.disk.image().end(author).0 >= *seq)
    };
    match of_others.chain([(leaver.peer, last_own - 1)]).find(|entry| !is_elsewhere(entry)) {
        Some((author, seq)) => Err(format!("{} leaves, and nobody else has {author:?}:{seq}", leaver.name)),
        None => Ok(()),
    }
}
