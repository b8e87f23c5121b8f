use p2p_chat_engine::{CallId, Durable, Phase, RunToken};
use p2p_chat_model::{Entry, EntryHash, Header, Identity, NetworkId, NodeId, Run, VectorClock, View, Vote};
use p2p_chat_traces::Traces;

use super::*;

fn me() -> p2p_chat_model::Identity {
    p2p_chat_model::Identity::from_seed([1; 32])
}

fn observer(traces: Traces) -> Observer {
    let (network, ..) = Network::new(NetworkId::new([7; 32]), "lab".parse().expect("a name"), traces);
    Observer::new(&network, me().peer(), Vec::new())
}

/// A state in which `epoch` is followed, with a vote.
fn state(epoch: u64, vote: u64) -> Write {
    let mut state = Durable::new(Phase::Joined, 0);
    (state.epoch, state.vote) = (Epoch(epoch), Some((Epoch(vote), me().peer())));
    Write::State(Box::new(state))
}

fn written(observer: &mut Observer, write: &Write) {
    observer.on_write(&mut Batch::default(), write, &[], &[]);
}

fn view(epoch: u64) -> View {
    View { epoch: Epoch(epoch), ..View::founding(me().peer(), "127.0.0.1:1".parse().expect("an address")) }
}

fn asked(call: DiscoveryCall) -> Output {
    Output::Discover { id: CallId(1), service: 0, call, timeout_ms: 1_000 }
}

fn create(epoch: u64) -> Output {
    asked(DiscoveryCall::Create { view: view(epoch), admission: Vec::new(), serial: 1 })
}

fn update(epoch: u64, votes: Vec<Vote>) -> Output {
    asked(DiscoveryCall::Update { view: view(epoch), expected: Epoch(1), votes, serial: 1 })
}

#[test]
fn every_way_of_standing_is_counted_once_for_each_epoch() {
    let mut observer = observer(Traces::default());
    let own = Vote::cast(&me(), NetworkId::new([7; 32]), Epoch(3), me().peer());
    let elect = Output::Call {
        id: CallId(1),
        peer: PeerId::new([2; 32]),
        address: "127.0.0.1:2".parse().expect("an address"),
        call: PeerCall::Elect(Epoch(2), NodeId(1)),
        timeout_ms: 1_000,
    };
    written(&mut observer, &state(1, 2));
    observer.on_output(&elect);
    observer.on_output(&elect);
    assert_eq!(observer.counts.elections.value(), 1, "asking others");
    written(&mut observer, &state(1, 3));
    observer.on_output(&update(3, vec![own]));
    observer.on_output(&create(3));
    assert_eq!(observer.counts.elections.value(), 2, "asking a discovery service, which then knows of nothing");
    written(&mut observer, &state(1, 4));
    observer.on_output(&create(4));
    observer.on_output(&create(4));
    assert_eq!(observer.counts.elections.value(), 3, "from outside of the view");
}

#[test]
fn a_leader_that_registers_again_does_not_stand() {
    let mut observer = observer(Traces::default());
    // It has won this epoch before it started again.
    written(&mut observer, &state(2, 2));
    observer.on_output(&create(2));
    observer.on_output(&update(3, Vec::new()));
    assert_eq!(observer.counts.elections.value(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standing_from_outside_of_the_view_is_an_election_in_the_trace() {
    let traces = Traces::export("http://127.0.0.1:1", "test", []).expect("a sound URL");
    let mut observer = observer(traces);
    written(&mut observer, &state(1, 4));
    assert!(observer.trail.reign(Epoch(4)).is_none());
    let _call = observer.on_output(&create(4));
    assert!(observer.trail.reign(Epoch(4)).is_some(), "nothing that the call could be part of");
}

#[test]
fn what_a_member_lost_and_gets_again_is_counted_once() {
    let mut observer = observer(Traces::default());
    let bob = PeerId::new([2; 32]);
    (1..=100).for_each(|seq| observer.remember(seq, MessageId::new([1; 16])));
    for upto in [100, 70, 100] {
        observer.on_ack(bob, upto, Way::Direct);
    }
    assert_eq!(observer.counts.ack_latency.count(), 100);
    observer.on_ack(bob, 101, Way::Direct);
    assert_eq!(observer.acked.get(&bob), Some(&101));
}

/// Stores a run that was handed over, and delivers it.
fn take_in(observer: &mut Observer, author: &Identity) {
    let header = Header { lamport: 1, wall_ms: 0, clock: VectorClock::new(), kind: EntryKind::Text };
    let entries = vec![Entry { header, body: b"hi".as_slice().into() }];
    let run = Run::sign(author, NetworkId::new([7; 32]), 1, EntryHash::NONE, entries);
    let entry = crate::wire::facts(&run, RunToken(0)).entries.remove(0);
    let (bytes, mut batch) = (run.encode().into(), Batch::default());
    let (incoming, brought) = ([Some((run, bytes))], [Brought::HandedOver(None)]);
    let deliver = Write::Deliver { author: author.peer(), seq: 1, entry, late: false };
    for write in [Write::Run(RunToken(0)), deliver] {
        observer.on_write(&mut batch, &write, &incoming, &brought);
    }
    observer.on_committed(batch);
}

#[test]
fn own_entries_that_come_back_are_not_counted_as_those_of_others() {
    let mut observer = observer(Traces::default());
    let counted = |observer: &Observer| {
        let counts = &observer.counts;
        (counts.handed_over.value(), counts.delivered.value(), counts.delivery_latency.count())
    };
    take_in(&mut observer, &me());
    assert_eq!(counted(&observer), (0, 0, 0));
    take_in(&mut observer, &Identity::from_seed([2; 32]));
    assert_eq!(counted(&observer), (1, 1, 1));
}
