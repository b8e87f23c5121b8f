//! Whatever members say and whatever becomes of calls: some things always hold.

use std::collections::BTreeMap;

use p2p_chat_engine::{
    CallError, CallId, Command, DiscoveryAnswer, DiscoveryRefusal, Durable, Input, Output, PeerCall, Phase, Record,
    Request, RequestId, Response, Standing, Write,
};
use p2p_chat_model::{Epoch, Rank, View};
use proptest::prelude::*;

use crate::common::*;

const MEMBERS: [Who; 4] = [ALICE, BOB, CAROL, DAVE];

/// What happens to the node; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Send,
    Ask { from: u8, what: u8, epoch: u64, other: u8 },
    Answer { which: usize, how: u8, epoch: u64, other: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_000u64).prop_map(Step::Pass),
        Just(Step::Send),
        (0..5u8, 0..10u8, 0..6u64, 0..4u8).prop_map(|(from, what, epoch, other)| Step::Ask {
            from,
            what,
            epoch,
            other
        }),
        (0..16usize, 0..12u8, 0..6u64, 0..4u8).prop_map(|(which, how, epoch, other)| Step::Answer {
            which,
            how,
            epoch,
            other
        }),
    ]
}

/// Keeps the books on what the engine does.
struct Watch {
    node: Node,
    open: Vec<(CallId, bool)>,
    replies: BTreeMap<RequestId, usize>,
    asked: u64,
    disk: Durable,
    votes: BTreeMap<Epoch, p2p_chat_model::PeerId>,
    /// It has lately tried to lead, to find a leader, or to tell that it leads.
    looks: bool,
}

impl Watch {
    fn see(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.looks |= is_call(|call| matches!(call, PeerCall::Elect(..) | PeerCall::Join { .. }))(&output)
                || matches!(output, Output::Discover { .. });
            match output {
                Output::Call { id, .. } => self.open.push((id, false)),
                Output::Discover { id, .. } => self.open.push((id, true)),
                Output::Reply(id, result) => {
                    *self.replies.entry(id).or_default() += 1;
                    if let Ok(Response::Voted(vote)) = result {
                        assert_eq!(self.disk.vote, Some((vote.epoch, vote.candidate)), "said before it is on disk");
                    }
                }
                Output::Write(Write::State(state)) => {
                    assert!(state.epoch >= self.disk.epoch, "the epoch fell to {}", state.epoch);
                    if let Some((epoch, whom)) = state.vote {
                        let before = *self.votes.entry(epoch).or_insert(whom);
                        assert_eq!(before, whom, "two votes in epoch {epoch}");
                        assert!(self.disk.vote.is_none_or(|(last, _)| last <= epoch), "a vote was taken back");
                    }
                    if let Some(view) = &state.view {
                        assert_eq!(view.check(), Ok(()));
                    }
                    self.disk = *state;
                }
                Output::Write(_) | Output::Done(..) | Output::Event(_) => {}
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Pass(after_ms) => {
                let end = self.node.now + after_ms;
                while let Some(due) = self.node.engine.deadline().filter(|due| *due <= end) {
                    self.node.now = due.max(self.node.now);
                    let outputs = self.node.step(Input::Tick);
                    self.see(outputs);
                    assert!(self.node.engine.deadline().is_none_or(|next| next > self.node.now), "a timer stays due");
                }
                self.node.now = end;
            }
            Step::Send => {
                let outputs = self.node.command(Command::Send);
                self.see(outputs);
            }
            Step::Ask { from, what, epoch, other } => {
                self.asked += 1;
                let from = Who(*from);
                let request = request(&self.node, from, *what, *epoch, Who(*other));
                let outputs = self.node.request(from, request);
                self.see(outputs);
            }
            Step::Answer { which, how, epoch, other } => {
                if self.open.is_empty() {
                    return;
                }
                let (id, is_discovery) = self.open.remove(which % self.open.len());
                let answer = if is_discovery {
                    discovery_answer(*how, *epoch, Who(*other))
                } else {
                    peer_answer(&self.node, *how, *epoch, Who(*other))
                };
                let outputs = self.node.answer(id, answer);
                self.see(outputs);
            }
        }
    }
}

fn reign(epoch: u64, version: u64, leader: Who) -> View {
    view(epoch, version, leader, &MEMBERS)
}

fn standing(node: &Node, epoch: u64, leader: Who) -> Standing {
    let frontier = Some(node.snapshot().frontier);
    let hint = Some(leader.hint(epoch));
    let (version, peer_active, leaving) = (5, epoch != 2, epoch == 3);
    Standing { leader: hint, epoch: Epoch(epoch), version, digest: epoch, frontier, peer_active, leaving }
}

fn request(node: &Node, from: Who, what: u8, epoch: u64, other: Who) -> Request {
    let version = 5 + u64::from(other.0);
    let proof = certificate(Rank::Majority, MEMBERS.map(|voter| voter.vote(epoch, from)).to_vec());
    match what {
        0 => Request::Join { request: epoch, name: from.name(), address: from.address() },
        1 => Request::Leave,
        2 if epoch > 0 && from != ERIN => Request::UpdateView(reign(epoch, version, from), None),
        3 if epoch > 0 && from != ERIN => Request::Coordinate(reign(epoch, version, from), proof),
        4 => Request::Elect(Epoch(epoch), from.node()),
        5 => Request::Elect(Epoch(epoch), other.node()),
        6 => Request::PingVia(other.peer()),
        7 => Request::Relay(other.peer()),
        8 => Request::Fetch(node.snapshot().frontier, peers(&[other])),
        _ => Request::Ping(standing(node, epoch, other)),
    }
}

fn peer_answer(node: &Node, how: u8, epoch: u64, other: Who) -> Result<Response, CallError> {
    let me = node.who;
    Ok(match how {
        0 => return unreachable(),
        1 => return Err(CallError::NotMember("join it first".to_owned())),
        2 => return Err(CallError::Busy("later".to_owned())),
        3 => Response::Standing(standing(node, epoch, other)),
        4 => Response::Voted(other.vote(epoch, me)),
        5 => Response::TakeOver,
        6 => Response::LeaderAlive,
        7 => Response::Outdated(other.hint(epoch)),
        8 => Response::Taken(epoch.is_multiple_of(2), Some(other.hint(epoch))),
        9 => Response::Pinged(epoch.is_multiple_of(2), None),
        10 if epoch > 0 => Response::Admitted {
            view: reign(epoch, 9, other),
            admission: (ALICE.peer(), 2),
            frontier: node.snapshot().frontier,
        },
        _ => Response::NotLeader(other.hint(epoch)),
    })
}

fn discovery_answer(how: u8, epoch: u64, leader: Who) -> Result<Response, CallError> {
    let on_record = Record { contacts: vec![(leader.peer(), leader.address())], ..record(leader, epoch) };
    let refused = |why| discovery(DiscoveryAnswer::Refused(why, on_record.clone(), 0));
    match how {
        0 | 1 => unreachable(),
        2 => discovery(DiscoveryAnswer::Unknown),
        3 => refused(DiscoveryRefusal::Epoch),
        4 => refused(DiscoveryRefusal::LeaderAlive),
        5 => refused(DiscoveryRefusal::NotLeader),
        6 => refused(DiscoveryRefusal::NotActive),
        7 => refused(DiscoveryRefusal::Outdated),
        _ => discovery(DiscoveryAnswer::Accepted(on_record)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_epochs_and_votes_never_fall_and_a_leader_is_looked_for_for_ever(
        who in 0..4u8,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let node = Node::settled_with(Who(who), 1, CONFIG, &reign(1, 5, ALICE));
        let disk = node.on_disk().clone();
        let (open, replies, votes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut watch = Watch { node, open, replies, asked: 0, disk, votes, looks: false };
        for step in &steps {
            watch.take(step);
        }
        // Now everybody else is gone: what is under way ends, and the node goes on looking.
        for _ in 0..20 {
            while !watch.open.is_empty() {
                watch.take(&Step::Answer { which: 0, how: 0, epoch: 1, other: 0 });
            }
            watch.take(&Step::Pass(1_000));
        }
        prop_assert_eq!(watch.replies.len() as u64, watch.asked);
        prop_assert!(watch.replies.values().all(|count| *count == 1));
        prop_assert_eq!(watch.node.snapshot().phase, Phase::Joined);
        watch.looks = false;
        for _ in 0..300 {
            if watch.looks {
                break;
            }
            watch.take(&Step::Pass(100));
            while !watch.open.is_empty() {
                watch.take(&Step::Answer { which: 0, how: 0, epoch: 1, other: 0 });
            }
        }
        prop_assert!(watch.looks, "it looks for no leader any more");
        prop_assert!(Durable::decode(&watch.disk.encode()).is_ok_and(|back| back == watch.disk));
    }
}
