//! Nothing is shown twice, and a feed's entries are shown in their order. (That no author uses a number twice is
//! the ledger's to see.)

use std::collections::BTreeMap;

use p2p_chat_engine::{Event, Output};
use p2p_chat_model::{PeerId, Seq};

use super::Finding;
use crate::net::Who;

/// Up to where each node was told of each feed.
#[derive(Debug)]
pub(crate) struct Told(Vec<BTreeMap<PeerId, Seq>>);

impl Told {
    pub(crate) fn new(count: usize) -> Self {
        Self(vec![BTreeMap::new(); count])
    }

    pub(crate) fn check_output(&mut self, who: Who, name: &str, output: &Output) -> Finding {
        let Output::Event(Event::Delivered { author, seq }) = output else { return Ok(()) };
        let before = self.0[who].insert(*author, *seq).unwrap_or(0);
        if *seq > before {
            return Ok(());
        }
        Err(format!("{name} shows entry {seq} of {author:?} after {before}"))
    }

    pub(crate) fn set_back(&mut self, who: Who, author: PeerId, end: Seq) {
        self.0[who].insert(author, end);
    }

    pub(crate) fn forgotten(&mut self, who: Who) {
        self.0[who].clear();
    }
}
