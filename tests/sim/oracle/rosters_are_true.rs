//! At rest every roster lists exactly those who are members as far as they know themselves: nobody who never got in, or
//! is out again (a ghost, which nobody but itself could remove), and everybody who is in. Who is down knows what is on its
//! disk. (Of a bad member nothing is promised; nor of those who left because it said that it has everything, and of those
//! whom an entry let in that contradicts another of its.)

use std::collections::BTreeSet;

use p2p_chat_engine::{Durable, Output, PeerCall, Phase};
use p2p_chat_model::PeerId;

use super::{Finding, ledger::Ledger, liveness, phase};
use crate::{gaps::Gap, node::Node};

/// Who may be out without the others' knowing it.
#[derive(Debug, Default)]
pub(crate) struct Excused {
    /// Who has asked to be let in, and was not told that it is. Whatever it did then, somebody may let it in.
    asked: BTreeSet<PeerId>,
    /// Who has left by force. It may have taken its Leave along.
    forced: BTreeSet<PeerId>,
}

impl Excused {
    pub(crate) fn note_state(&mut self, me: PeerId, state: &Durable) {
        if state.phase == Phase::Joined && state.view.as_ref().is_some_and(|view| view.member(&me).is_some()) {
            self.asked.remove(&me);
            self.forced.remove(&me);
        }
    }

    pub(crate) fn note_output(&mut self, me: PeerId, output: &Output) {
        if matches!(output, Output::Call { call: PeerCall::Join { .. }, .. }) {
            self.asked.insert(me);
        }
    }

    pub(crate) fn leaves_by_force(&mut self, peer: PeerId) {
        self.forced.insert(peer);
    }

    fn holds(&self, nodes: &[Node], node: &Node) -> bool {
        let is_known_bug = self.asked.contains(&node.peer) || has_nobody_its_end(nodes, node);
        self.forced.contains(&node.peer) || !Gap::Ghost.is_on() && is_known_bug
    }
}

pub(crate) fn check(ledger: &Ledger, excused: &Excused, nodes: &[Node], bad: Option<PeerId>) -> Finding {
    let honest = |node: &&Node| Some(node.peer) != bad;
    for (node, snapshot) in liveness::members(nodes).into_iter().filter(|(node, _)| honest(node)) {
        let standing = snapshot.roster.iter().filter(|(_, member)| member.stands()).map(|(peer, _)| *peer);
        let standing: BTreeSet<PeerId> = standing.collect();
        for other in nodes.iter().filter(honest) {
            let is_excused = excused.holds(nodes, other) || bad.is_some() && ledger.has_left(other.peer);
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

/// Whether the last that the node wrote, its Leave, is nowhere else.
fn has_nobody_its_end(nodes: &[Node], node: &Node) -> bool {
    let end = |of: &Node| of.disk.image().end(&node.peer).0;
    nodes.iter().all(|other| other.who == node.who || end(other) < end(node))
}
