//! What a sweep has to have seen, where a single output does not tell it.

use std::collections::BTreeMap;

use p2p_chat_model::{Epoch, PeerId, Seq};
use p2p_chat_nds::registry::Verdict;

use crate::{
    net::{Service, Who, nds},
    node::Node,
    oracle,
    world::World,
};

/// What is kept to tell it later.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    /// Authors that crashed when some others had their latest entry and some had not.
    partial: Vec<(PeerId, Seq)>,
    /// Who was in a view since it started, and whether it is now.
    inside: BTreeMap<Who, bool>,
}

impl World {
    /// An author crashes: who has what it wrote last?
    pub(crate) fn note_partial_fan_out(&mut self, who: Who) {
        let author = self.nodes[who].peer;
        let last = self.nodes[who].disk.image().end(&author).0;
        let others = self.nodes.iter().filter(|node| node.who != who && node.engine.is_some());
        let (have, lack): (Vec<&Node>, Vec<&Node>) = others.partition(|node| node.disk.image().end(&author).0 >= last);
        if last > 0 && !have.is_empty() && !lack.is_empty() {
            self.tally.count("an author died after a partial fan-out");
            self.noticed.partial.push((author, last));
        }
    }

    /// An author comes back: did everybody get, without it, what only some had when it crashed?
    pub(crate) fn note_full_fan_out(&mut self, who: Who) {
        let author = self.nodes[who].peer;
        let (of_it, others) =
            std::mem::take(&mut self.noticed.partial).into_iter().partition(|(peer, _)| *peer == author);
        self.noticed.partial = others;
        let of_it: Vec<(PeerId, Seq)> = of_it;
        let Some((_, last)) = of_it.last() else { return };
        let mut others = self.nodes.iter().filter(|node| node.who != who && node.engine.is_some());
        if others.all(|node| node.disk.image().end(&author).0 >= *last) {
            self.tally.count("and all got it without its author");
        }
    }

    /// A request to join is one that the leader has let in already.
    pub(crate) fn note_join(&mut self, to: Who, from: PeerId, request: u64) {
        let Some(view) = self.nodes[to].written.as_ref().and_then(|state| state.view.as_ref()) else { return };
        if view.leader().is_some_and(|leader| leader.peer == self.nodes[to].peer)
            && view.member(&from).is_some_and(|member| member.join_request == request)
        {
            self.tally.count("a half-done join was retried");
        }
    }

    /// A discovery service replaces a leader that it could have pinged, because a majority says so.
    pub(crate) fn note_verdict(&mut self, service: Service, verdict: &Verdict, votes: usize) {
        let Some(record) = self.network.and_then(|network| self.services[service].registry.record(&network)) else {
            return;
        };
        let (leader, epoch) = (record.leader().peer, record.epoch());
        let Some(who) = self.nodes.iter().position(|node| node.peer == leader) else { return };
        let leads = self.nodes[who].engine.as_ref().is_some_and(|engine| oracle::leads_epoch(engine) >= epoch);
        let nds = nds(service);
        let is_reached = !self.net.is_cut(nds, who) && !self.net.is_cut(who, nds) && !self.nodes[who].is_paused;
        if matches!(verdict, Verdict::Accept(_)) && votes > 1 && leads && is_reached && record.view().is_majority(votes)
        {
            self.tally.count("a veto of the NDS was overruled by a majority");
        }
    }

    /// What can be seen at any moment.
    pub(crate) fn look_for_rarities(&mut self) {
        let leads = |node: &&Node| node.engine.as_ref().is_some_and(|engine| engine.leads().is_some());
        if self.nodes.iter().filter(leads).filter(|node| !node.is_paused).count() > 1 {
            self.tally.count("two lead at once");
        }
        let on_record = self.services.iter().filter_map(|nds| nds.leader(&self.network?));
        let on_record: Vec<(PeerId, Epoch)> = on_record.collect();
        let is_split = |(leader, epoch): &(PeerId, Epoch)| on_record.iter().any(|it| it.1 == *epoch && it.0 != *leader);
        if on_record.iter().any(is_split) {
            self.tally.count("two NDSs have two leaders of one epoch");
        }
        if self.oracle.take_held() {
            self.tally.count("an entry was held back");
        }
        for node in &self.nodes {
            if node.engine.is_none() {
                self.noticed.inside.remove(&node.who);
                continue;
            }
            let view = node.written.as_ref().and_then(|state| state.view.as_ref());
            let is_in = view.is_some_and(|view| view.member(&node.peer).is_some());
            match self.noticed.inside.get(&node.who) {
                Some(false) if is_in => self.tally.count("a view was lost and regained"),
                None if !is_in => continue,
                _ => {}
            }
            self.noticed.inside.insert(node.who, is_in);
        }
    }
}
