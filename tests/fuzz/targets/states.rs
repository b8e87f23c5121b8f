//! The engine's state as the disk gives it back. What is accepted must also be something to go on from.

use p2p_chat_engine::{Config, Durable, Engine, Input, MAX_STATE_BYTES, Moment, Phase, Setup, Start};
use p2p_chat_model::{Epoch, limits::MAX_MEMBERS};

use super::{limits, valid};

/// How many deadlines an engine that went on is given.
const TICKS: usize = 20;

pub(crate) fn check(bytes: &[u8]) {
    match Durable::decode(bytes) {
        Ok(state) => {
            assert_eq!(state.encode(), bytes, "there is another encoding");
            assert!(bytes.len() <= MAX_STATE_BYTES);
            state.view.iter().for_each(limits::view);
            limits::clock(&state.acked);
            state.addresses.values().for_each(limits::address);
            assert!(state.addresses.len() <= MAX_MEMBERS && state.certificate.votes.len() <= MAX_MEMBERS);
            resume(state);
        }
        Err(error) => limits::sentence(&error.to_string()),
    }
}

fn resume(durable: Durable) {
    let epoch = durable.epoch;
    let setup = Setup {
        identity: valid::identity(1).clone(),
        network: valid::network(),
        name: valid::name("bob"),
        address: valid::address(1),
        services: 1,
        config: Config::LAN,
    };
    let mut now = 1_000;
    let moment = |now| Moment { now, wall_ms: 1_700_000_000_000, random: now };
    let mut engine = Engine::new(setup, Start::Resume { durable, log: Vec::new() }, moment(now));
    for _ in 0..TICKS {
        while engine.poll().is_some() {}
        assert!(engine.snapshot().epoch >= epoch, "the epoch fell");
        let Some(due) = engine.deadline() else { break };
        now = due.max(now);
        engine.handle(moment(now), Input::Tick);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut states = Vec::new();
    for phase in [Phase::Founding, Phase::Joining, Phase::Joined, Phase::Leaving, Phase::Left] {
        let mut state = Durable::new(phase, 77);
        states.push(state.clone());
        state.epoch = Epoch(3);
        state.view = Some(valid::view(3, 12, 0, &[0, 1, 3]));
        state.certificate = valid::certificate(3, 0);
        state.vote = Some((Epoch(3), valid::peer(0)));
        state.admission = Some((valid::peer(0), 2));
        state.own_floor = 5;
        state.addresses = (0..5).map(|who| (valid::peer(who), valid::address(who))).collect();
        state.acked = valid::clock(&[(0, 3), (2, 300)]);
        states.push(state.clone());
        state.frozen = [valid::peer(2), valid::peer(4)].into();
        state.view = Some(valid::view(3, 12, 1, &[1, 2]));
        states.push(state);
    }
    states.iter().map(Durable::encode).collect()
}
