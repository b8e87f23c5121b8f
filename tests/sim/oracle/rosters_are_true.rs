//! At rest every roster lists exactly those who are members as far as they know themselves: nobody who never got in, or
//! is out again (a ghost, which nobody but itself could remove), and everybody who is in. Who is down knows what is on its
//! disk. (Of a bad member nothing is promised; nor of those who left because it said that it has everything, and of those
//! whom an entry let in that contradicts another of its.)

use std::collections::BTreeSet;

use p2p_chat_engine::{Durable, Phase};
use p2p_chat_model::PeerId;

use super::{Finding, ledger::Ledger, liveness, phase};
use crate::{gaps::Gap, node::Node};

/// Who may be out without the others' knowing it.
#[derive(Debug, Default)]
pub(crate) struct Excused {
    /// Who has left by force. It may have taken its Leave along.
    forced: BTreeSet<PeerId>,
}

impl Excused {
    pub(crate) fn note_state(&mut self, me: PeerId, state: &Durable) {
        if state.phase == Phase::Joined && state.view.as_ref().is_some_and(|view| view.member(&me).is_some()) {
            self.forced.remove(&me);
        }
    }

    pub(crate) fn leaves_by_force(&mut self, peer: PeerId) {
        self.forced.insert(peer);
    }

    fn holds(&self, peer: &PeerId) -> bool {
        self.forced.contains(peer) || !Gap::Ghost.is_on()
    }
}

pub(crate) fn check(ledger: &Ledger, excused: &Excused, nodes: &[Node], bad: Option<PeerId>) -> Finding {
    let honest = |node: &&Node| Some(node.peer) != bad;
    for (node, snapshot) in liveness::members(nodes).into_iter().filter(|(node, _)| honest(node)) {
        let standing = snapshot.roster.iter().filter(|(_, member)| member.stands()).map(|(peer, _)| *peer);
        let standing: BTreeSet<PeerId> = standing.collect();
        for other in nodes.iter().filter(honest) {
            let is_excused = excused.holds(&other.peer) || bad.is_some() && ledger.has_left(other.peer);
            match (standing.contains(&other.peer), is_member(other)) {
                (true, false) if !is_excused => {
                    return Err(format!("{} lists {}, which is not in", node.name, other.name));
                }
                (false, true) if bad.is_none() => {
                    return Err(format!("{} does not list {}, which is in", node.name, other.name));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether the node is a member, as far as it knows.
fn is_member(node: &Node) -> bool {
    let on_disk = || node.disk.image().resume().map(|(state, _): (Durable, _)| state.phase);
    let known = if node.is_up { node.engine.as_ref().map(phase) } else { on_disk() };
    known == Some(Phase::Joined)
}
