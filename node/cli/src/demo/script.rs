//! What happens in the demo.

use std::time::Duration;

use p2p_chat_model::PeerId;
use p2p_chat_proto::v1;
use tokio::time::Instant;

use super::{
    Narrator,
    checks::{Check, Evidence, Witness, judge},
    stage::{Actor, NETWORK, Stage},
    until,
};
use crate::{failure::Failure, render::text};

const PATIENCE: Duration = Duration::from_secs(15);

/// On whose disks a message has to be before the story goes on.
#[derive(Clone, Copy)]
enum Reach {
    /// Of all other members.
    All,
    /// Of so many, since others are dead and none of the living is to be left out.
    Living(usize),
}

/// Plays it all; says what held.
pub(super) async fn play(narrator: &mut Narrator<'_>) -> Result<Vec<Check>, Failure> {
    narrator.part("A discovery service and four nodes, each a process of its own")?;
    let stage = Stage::set().await?;
    narrator.step(format!("the discovery service listens on {}", stage.nds.address))?;
    let (alice, mut others) = gather(&stage, narrator).await?;
    let mut sent = Vec::new();

    narrator.part("A conversation: every message goes straight from its author to all others")?;
    say(&alice, "Good morning! Is the experiment still running?", Reach::All, &mut sent, narrator).await?;
    let replies = ["Since midnight.", "With 212 samples so far.", "No errors here."];
    for (actor, reply) in others.iter().zip(replies) {
        say(actor, reply, Reach::All, &mut sent, narrator).await?;
    }
    let before = expect_state(&alice).await?.epoch;

    narrator.part("The leader dies (SIGKILL), in the middle of the conversation")?;
    let elected = kill_leader(&stage, alice, &others, &mut sent, narrator).await?;
    for (actor, line) in others.iter().zip(["I lead now.", "Then let us go on.", "On we go."]) {
        say(actor, line, Reach::Living(2), &mut sent, narrator).await?;
    }

    narrator.part("The old leader comes back")?;
    let highest_before = highest_id(&others).await?;
    let alice = stage.enter("alice", &[]).await?;
    let is_back = async || Ok(alice.state().await?.filter(|state| state.epoch >= elected && state.leader_alive));
    let back = until("alice's return to the network", is_back).await?;
    narrator.step(format!("alice is back as node {}; {}", back.node_id, text::leadership(&back)))?;
    let count = sent.len();
    until("alice's catching up", async || Ok((alice.history().await?.len() >= count).then_some(()))).await?;
    narrator.step(format!("alice has caught up: {} in her history", text::count(count as u64, "message")))?;
    say(&alice, "What did I miss? Oh, I see it.", Reach::All, &mut sent, narrator).await?;
    others.push(alice);
    let seen = gather_evidence(&stage, &others, sent, [before, elected], (highest_before, back.node_id)).await?;
    Ok(judge(&seen))
}

async fn gather(stage: &Stage, narrator: &mut Narrator<'_>) -> Result<(Actor, Vec<Actor>), Failure> {
    let alice = enter(stage, "alice", &["--create", NETWORK], narrator).await?;
    let mut others = Vec::new();
    for name in ["bob", "carol", "dave"] {
        others.push(enter(stage, name, &["--join", NETWORK], narrator).await?);
    }
    Ok((alice, others))
}

async fn enter(stage: &Stage, name: &'static str, how: &[&str], narrator: &mut Narrator<'_>) -> Result<Actor, Failure> {
    let actor = stage.enter(name, how).await?;
    let state = until(&format!("the entry of {name}"), async || actor.state().await).await?;
    let (address, leader) = (&actor.process.address, text::leadership(&state));
    narrator.step(format!("{name} at {address} is node {} of {NETWORK}; {leader}", state.node_id))?;
    Ok(actor)
}

async fn say(
    actor: &Actor,
    line: &str,
    reach: Reach,
    sent: &mut Vec<String>,
    narrator: &mut Narrator<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let wait = if matches!(reach, Reach::All) { v1::Wait::All } else { v1::Wait::One };
    let receipt = actor.client.send(NETWORK, line.to_owned(), wait, PATIENCE).await?;
    let stored_by = match reach {
        Reach::All => u64::from(receipt.stored_by),
        Reach::Living(count) => stored_by(actor, &receipt.id, count).await? as u64,
    };
    let millis = started.elapsed().as_secs_f64() * 1000.0;
    let stored = format!("on the disks of {stored_by} of {} others", receipt.members);
    narrator.step(format!("{}: {line}  [{stored} after {millis:.1} ms]", actor.name))?;
    sent.push(receipt.id);
    Ok(())
}

/// On how many others' disks a message of `actor` is, once those are `count`.
async fn stored_by(actor: &Actor, id: &str, count: usize) -> Result<usize, Failure> {
    until(&format!("the storing of what {} said by {count} others", actor.name), async || {
        let custody = actor.client.inspect(NETWORK, id).await?.custody;
        let holders = custody.iter().filter(|held| held.state == "stored" && held.way != "author").count();
        Ok((holders >= count).then_some(holders))
    })
    .await
}

/// Kills the leader and waits until all survivors and the discovery service know the next; returns its epoch.
async fn kill_leader(
    stage: &Stage,
    leader: Actor,
    survivors: &[Actor],
    sent: &mut Vec<String>,
    narrator: &mut Narrator<'_>,
) -> Result<u64, Failure> {
    let old = leader.client.status().await?.peer;
    let killed = Instant::now();
    let name = leader.name;
    leader.process.kill();
    narrator.step(format!("{name} is dead"))?;
    if let Some(speaker) = survivors.last() {
        say(speaker, "Hello? Can anybody still read me?", Reach::Living(2), sent, narrator).await?;
    }
    let mut epoch = 0;
    for survivor in survivors {
        let what = format!("a new leader at {}", survivor.name);
        let state = until(&what, async || {
            let known = survivor.state().await?;
            Ok(known.filter(|state| !state.leader_peer.is_empty() && state.leader_peer != old))
        });
        let state = state.await?;
        let millis = killed.elapsed().as_millis();
        narrator.step(format!("{} knows, {millis} ms after the kill: {}", survivor.name, text::leadership(&state)))?;
        epoch = epoch.max(state.epoch);
    }
    until("the new leader's registration", async || {
        Ok(stage.record().await?.filter(|record| record.epoch == epoch && hex(&record.leader) != old))
    })
    .await?;
    narrator.step(format!("the discovery service lists it, {} ms after the kill", killed.elapsed().as_millis()))?;
    Ok(epoch)
}

async fn gather_evidence(
    stage: &Stage,
    actors: &[Actor],
    sent: Vec<String>,
    [before, elected]: [u64; 2],
    (highest_before, returned_as): (u64, u64),
) -> Result<Evidence, Failure> {
    let mut witnesses = Vec::new();
    let mut lowest: Option<(u64, &Actor)> = None;
    for actor in actors {
        // Nobody has to be done at the moment of the last answer; whoever never is fails the checks.
        let enough = async || Ok((actor.history().await?.len() >= sent.len()).then_some(()));
        if let Err(failure @ Failure::Unreachable(_)) = until("the last message's arrival", enough).await {
            return Err(failure);
        }
        let state = expect_state(actor).await?;
        if lowest.is_none_or(|(id, _)| state.node_id < id) {
            lowest = Some((state.node_id, actor));
        }
        witnesses.push(Witness {
            name: actor.name,
            history: actor.history().await?,
            leader_peer: state.leader_peer,
            epoch: state.epoch,
        });
    }
    let (_, lowest) = lowest.ok_or_else(|| Failure::Failed("bug: there are no nodes".to_owned()))?;
    let record = stage.record().await?.unwrap_or_default();
    let last = witnesses.iter().map(|witness| witness.epoch).max().unwrap_or(0);
    Ok(Evidence {
        sent,
        witnesses,
        lowest_peer: lowest.client.status().await?.peer,
        lowest_name: lowest.name.to_owned(),
        recorded: (hex(&record.leader), record.epoch),
        epochs: [before, elected, last],
        highest_before,
        returned_as,
    })
}

/// The highest node id that anybody holds or held: ids are given in ascending order, and the first is 1.
async fn highest_id(actors: &[Actor]) -> Result<u64, Failure> {
    let mut highest = 0;
    for actor in actors {
        highest = highest.max(expect_state(actor).await?.node_id);
    }
    Ok(highest)
}

async fn expect_state(actor: &Actor) -> Result<v1::NetworkState, Failure> {
    until(&format!("{}'s being in the network", actor.name), async || actor.state().await).await
}

fn hex(peer: &[u8]) -> String {
    PeerId::try_from(peer).map_or_else(|_| "nobody".to_owned(), |peer| peer.to_string())
}
