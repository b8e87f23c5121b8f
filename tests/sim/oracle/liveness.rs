//! After faults stop: one leader, the lowest active id, known to everybody and to every discovery service that can list the
//! network, within 12 s; everybody active and nothing missing within 30 s. (Joins are answered within 15 s: see `users`.)

use std::collections::BTreeSet;

use p2p_chat_engine::{Phase, Snapshot};
use p2p_chat_model::{Epoch, PeerId, Seq, VectorClock, View};

use super::Finding;
use crate::node::Node;

pub(crate) fn members(nodes: &[Node]) -> Vec<(&Node, Snapshot)> {
    let engines = nodes.iter().filter_map(|node| node.engine.as_ref().map(|engine| (node, engine.snapshot())));
    engines.filter(|(_, snapshot)| snapshot.phase == Phase::Joined).collect()
}

/// Those of whom something can be demanded. Who left because a bad member said that it has everything may have taken along
/// what a member's own admission rests on; then that member can't write, and lead nobody.
fn able(nodes: &[Node], bad: Option<PeerId>) -> Vec<(&Node, Snapshot)> {
    let members = members(nodes);
    if bad.is_none() {
        return members;
    }
    let is_here = |author: PeerId, seq: Seq| members.iter().any(|(it, _)| it.disk.image().end(&author).0 >= seq);
    let is_stranded = |node: &Node| {
        let admission = node.written.as_ref().and_then(|state| state.admission);
        let Some((by, seq)) = admission.filter(|(by, seq)| node.disk.image().delivered(by) < *seq) else {
            return false;
        };
        let holder = members.iter().find(|(it, _)| it.disk.image().end(&by).0 >= seq);
        let past = holder.and_then(|(it, _)| it.disk.image().past_of(&by, seq));
        past.is_none_or(|past| !past.iter().all(|(author, seq)| is_here(author, seq)))
    };
    let stranded: BTreeSet<PeerId> =
        members.iter().filter(|(node, _)| is_stranded(node)).map(|(node, _)| node.peer).collect();
    members.into_iter().filter(|(node, _)| !stranded.contains(&node.peer)).collect()
}

/// Whether everybody follows one leader, and the discovery services know it.
pub(crate) fn check_leader(nodes: &[Node], bad: Option<PeerId>, registered: &[Option<(PeerId, Epoch)>]) -> Finding {
    let members = able(nodes, bad);
    let mut leaders = BTreeSet::new();
    for (node, snapshot) in &members {
        let Some(view) = snapshot.view.as_ref().filter(|_| snapshot.leader_alive || snapshot.leading) else {
            return Err(format!("{} follows nobody", node.name));
        };
        let leader = view.leader().map(|leader| leader.peer);
        if view.active.first().map(|lowest| lowest.peer) != leader {
            return Err(format!("{} follows a leader that has not the lowest id: {view:?}", node.name));
        }
        leaders.insert((leader, view.epoch));
    }
    if leaders.len() > 1 {
        return Err(format!("{} leaders are followed: {leaders:?}", leaders.len()));
    }
    let Some((leader, epoch)) = leaders.first() else { return Ok(()) };
    let followed = leader.map(|leader| (leader, *epoch));
    match registered.iter().find(|on_record| **on_record != followed) {
        Some(on_record) => Err(format!("{followed:?} is followed, {on_record:?} is on record")),
        None => Ok(()),
    }
}

/// Whether everybody is active in one view and lacks nothing.
pub(crate) fn check_rest(nodes: &[Node], bad: Option<PeerId>) -> Finding {
    let members = able(nodes, bad);
    let honest = |node: &&Node| Some(node.peer) != bad;
    for (node, snapshot) in &members {
        let active: BTreeSet<PeerId> =
            snapshot.view.iter().flat_map(|view| &view.active).map(|line| line.peer).collect();
        if let Some((missing, _)) = members.iter().find(|(other, _)| !active.contains(&other.peer)) {
            return Err(format!("{} is not active in the view of {}", missing.name, node.name));
        }
        if bad == Some(node.peer) {
            continue;
        }
        // A bad leader may admit nobody in a way that others can believe.
        let led_by_bad = bad.is_some() && snapshot.view.as_ref().and_then(View::leader).map(|it| it.peer) == bad;
        if !snapshot.writable && !led_by_bad {
            return Err(format!("{} can't write", node.name));
        }
        // What a bad member wrote may never be delivered, nor what depends on it; and what it says it has need not exist.
        let exists =
            |author: PeerId, seq: Seq| nodes.iter().filter(honest).any(|node| node.disk.image().end(&author).0 >= seq);
        let held = bad.is_none() && node.disk.image().held().next().is_some();
        let is_owed = |author: PeerId, seq: Seq| bad.is_none() || Some(author) != bad && exists(author, seq);
        let missing: VectorClock = snapshot.missing.iter().filter(|(author, seq)| is_owed(*author, *seq)).collect();
        if held || !missing.is_empty() {
            return Err(format!("{} holds {} entries back and misses {missing:?}", node.name, snapshot.held));
        }
    }
    let place = |view: &View| {
        // One whom a bad leader has admitted in a story that it does not tell asks for another admission for ever.
        let led_by_bad = bad.is_some() && view.leader().map(|leader| leader.peer) == bad;
        (view.epoch, if led_by_bad { 0 } else { view.version })
    };
    let views: BTreeSet<Option<(Epoch, u64)>> =
        members.iter().map(|(_, snapshot)| snapshot.view.as_ref().map(place)).collect();
    if views.len() > 1 {
        return Err(format!("{} views are followed: {views:?}", views.len()));
    }
    Ok(())
}
