//! Named stories, each of one rule of the design. They end like every seed of the sweep: all faults stop, and the
//! group has to come together; all invariants are watched on the way.

mod delivery;
mod elections;
mod large;
mod membership;
mod services;
mod trouble;

use p2p_chat_engine::{CommandId, Done, Snapshot};
use p2p_chat_model::{NodeId, PeerId, Seq};

use crate::{
    net::{Service, Who},
    world::{Violation, World},
};

pub(crate) const ALICE: Who = 0;
pub(crate) const BOB: Who = 1;
pub(crate) const CAROL: Who = 2;
pub(crate) const DAVE: Who = 3;
pub(crate) const ERIN: Who = 4;
pub(crate) const FRANK: Who = 5;

/// Long enough for a join, a few pings or a round of anti-entropy.
const SOON_MS: u64 = 15_000;

/// A world in a story's hand. A story that fails shows its trace.
pub(crate) struct Story(pub(crate) World);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.trace.tail());
        }
    }
}

impl Story {
    /// A network of `count` members, all active, founded by alice and joined in the order of their names.
    pub(crate) fn lab(count: usize) -> Self {
        Self::found(World::new(7, count, true), count)
    }

    /// The same, with so many discovery services.
    pub(crate) fn lab_of(count: usize, services: usize) -> Self {
        Self::found(World::new(7, count, true).with_services(services), count)
    }

    /// The same, and one more node that is not in it yet.
    pub(crate) fn lab_with_guest(count: usize) -> Self {
        Self::found(World::new(7, count + 1, true), count)
    }

    fn found(world: World, count: usize) -> Self {
        let mut story = Self(world);
        let created = story.0.create(ALICE);
        assert_eq!(story.until_done(created), Ok(Done::Created));
        for who in BOB..count {
            let joined = story.0.join(who);
            assert_eq!(story.until_done(joined), Ok(Done::Joined(NodeId(who as u64 + 1))));
        }
        let all: Vec<Who> = (0..count).collect();
        story.until("everybody is active", |story| all.iter().all(|who| story.sees(*who, &all)));
        // Whoever can write has its own admission, and everything before it.
        for who in all {
            story.say(who);
        }
        story.pass(500);
        story
    }

    /// Lets time pass until something is the case.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.0.now + SOON_MS;
        while !is_so(self) {
            assert!(self.0.now < end, "it never happens that {what}");
            self.pass(1);
        }
    }

    /// Lets time pass until a command is answered.
    pub(crate) fn until_done(&mut self, command: CommandId) -> Result<Done, String> {
        self.until("the command is answered", |story| story.0.outcome(command).is_some());
        self.0.outcome(command).cloned().expect("it was answered")
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        let result = self.0.run(ms);
        self.expect(result);
    }

    /// Somebody says something, and is told that it is safe. Gives its number.
    pub(crate) fn say(&mut self, who: Who) -> Seq {
        let said = self.0.say(who);
        match self.until_done(said) {
            Ok(Done::Sent { seq, .. }) => seq,
            other => panic!("{} is told {other:?}", self.0.nodes[who].name),
        }
    }

    /// All faults end; demands what the design promises then.
    pub(crate) fn end(mut self) {
        let result = self.0.settle();
        self.expect(result);
    }

    fn expect(&self, result: Result<(), Violation>) {
        if let Err(Violation { invariant, what }) = result {
            panic!("{invariant}: {what}");
        }
    }

    pub(crate) fn peer(&self, who: Who) -> PeerId {
        self.0.nodes[who].peer
    }

    pub(crate) fn snapshot(&self, who: Who) -> Option<Snapshot> {
        self.0.nodes[who].engine.as_ref().map(p2p_chat_engine::Engine::snapshot)
    }

    /// Whether exactly these are active in the view that `who` follows.
    pub(crate) fn sees(&self, who: Who, active: &[Who]) -> bool {
        let view = self.snapshot(who).and_then(|snapshot| snapshot.view);
        let is_active = |view: &p2p_chat_model::View, other: &Who| view.member(&self.peer(*other)).is_some();
        view.is_some_and(|view| view.active.len() == active.len() && active.iter().all(|other| is_active(&view, other)))
    }

    /// Whether `who` has this leader and hears of it.
    pub(crate) fn follows(&self, who: Who, leader: Who) -> bool {
        let Some(snapshot) = self.snapshot(who) else { return false };
        let followed = snapshot.view.as_ref().and_then(|view| view.leader()).map(|line| line.peer);
        snapshot.leader_alive && followed == Some(self.peer(leader))
    }

    /// Whether the only service has this leader on record.
    pub(crate) fn is_listed(&self, leader: Who) -> bool {
        self.is_listed_at(0, leader)
    }

    /// Whether that service has this leader on record.
    pub(crate) fn is_listed_at(&self, service: Service, leader: Who) -> bool {
        let listed = self.0.network.and_then(|network| self.0.services[service].leader(&network));
        listed.is_some_and(|(peer, _)| peer == self.peer(leader))
    }

    /// The id of a member in its own view.
    pub(crate) fn id(&self, who: Who) -> Option<NodeId> {
        self.snapshot(who).and_then(|snapshot| snapshot.node)
    }

    pub(crate) fn epoch(&self, who: Who) -> u64 {
        self.snapshot(who).map_or(0, |snapshot| snapshot.epoch.0)
    }

    /// Whether `who` shows an author's entries up to `seq`.
    pub(crate) fn shows(&self, who: Who, author: Who, seq: Seq) -> bool {
        self.0.nodes[who].disk.image().delivered(&self.peer(author)) >= seq
    }

    /// How often something was counted.
    pub(crate) fn count(&self, what: &str) -> u64 {
        self.0.tally.of(what)
    }
}
