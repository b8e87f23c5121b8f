//! Nobody calls an election while a leader is reachable: once all follow one leader and nothing goes wrong any more,
//! there is none.

use p2p_chat_engine::{Output, PeerCall};

use super::Finding;

pub(crate) fn check(name: &str, output: &Output, leader_followed: bool) -> Finding {
    match output {
        Output::Call { call: PeerCall::Elect(epoch, _), .. } if leader_followed => {
            Err(format!("{name} calls an election for epoch {epoch} although all follow one leader"))
        }
        _ => Ok(()),
    }
}
