//! A request of somebody who is no member writes nothing and changes nothing that can be seen of the engine.

use p2p_chat_engine::{Input, Output, Refusal, Request, RequestId};
use p2p_chat_model::{Identity, PeerId};

use super::Finding;
use crate::{describe, edge::Tokens, net::Who, world::World};

/// Somebody who was never admitted.
pub(crate) fn mallory() -> PeerId {
    Identity::from_seed([0xee; 32]).peer()
}

impl World {
    /// Lets somebody from outside call a node.
    pub(crate) fn intrude(&mut self, who: Who, from: PeerId, request: Request) {
        let node = &self.nodes[who];
        if !node.is_up || node.is_paused || node.engine.is_none() {
            return;
        }
        // What is due anyway must not count as done by the request.
        self.handle(who, Input::Tick, Tokens::new());
        let moment = self.moment(who);
        let id = RequestId(self.next_id());
        let text = describe::request(&request);
        self.trace.add(self.now, self.nodes[who].name, || format!("<- mallory: {text}"));
        let name = self.nodes[who].name;
        let Some(engine) = self.nodes[who].engine.as_mut() else { return };
        let before = format!("{:?}", engine.snapshot());
        engine.handle(moment, Input::Request(id, from, request));
        let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll()).collect();
        let after = format!("{:?}", engine.snapshot());
        let found = judge(&outputs, id, before == after).map_err(|what| format!("{name}, asked {text}: {what}"));
        self.oracle.check_intrusion(found);
    }
}

fn judge(outputs: &[Output], id: RequestId, is_unchanged: bool) -> Finding {
    let refusal = Output::Reply(id, Err(Refusal::NotMember));
    match outputs {
        [only] if *only == refusal || matches!(only, Output::Reply(_, Err(Refusal::NotHere))) => match is_unchanged {
            true => Ok(()),
            false => Err("its state has changed".to_owned()),
        },
        other => Err(format!("{other:?}")),
    }
}
