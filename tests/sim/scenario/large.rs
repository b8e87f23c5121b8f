//! Large groups: they form, chat, lose their leader and come together again; and what that costs.

use std::time::Instant;

use crate::{traffic::Traffic, world::World};

use super::{ALICE, BOB, Story, Who};

/// How many entries are written while the traffic is measured.
const ENTRIES: u64 = 20;
const MEASURE_MS: u64 = 20_000;

/// What a group's talk costs, per member.
struct Cost {
    members: usize,
    idle_messages_per_second: f64,
    idle_bytes_per_second: f64,
    messages_per_entry: f64,
    bytes_per_entry: f64,
    join_ms: u64,
    election_ms: u64,
}

impl Cost {
    fn show(costs: &[Self]) {
        eprintln!(
            "per member: idle messages/s, bytes/s; messages, bytes an entry; all joined after, new leader followed by all after"
        );
        for cost in costs {
            eprintln!(
                "{:>4} members: {:>6.2} {:>8.0}; {:>6.2} {:>8.0}; {:>6} ms {:>6} ms",
                cost.members,
                cost.idle_messages_per_second,
                cost.idle_bytes_per_second,
                cost.messages_per_entry,
                cost.bytes_per_entry,
                cost.join_ms,
                cost.election_ms
            );
        }
    }
}

fn measure(count: usize) -> Cost {
    let mut story = Story(World::new(7, count, false));
    story.0.look_ms = 5_000;
    let created = story.0.create(ALICE);
    story.until_done(created).expect("the network is founded");
    let begin = story.0.now;
    let all: Vec<Who> = (ALICE..count).collect();
    story.within(120_000, "all are in", |story| {
        for who in BOB..count {
            if story.0.is_idle(who) && story.0.now % 500 == (who % 50) as u64 * 10 {
                story.0.join(who);
            }
        }
        all.iter().all(|who| story.0.is_in(*who)) && all.iter().all(|who| story.sees_many(*who, count))
    });
    let join_ms = story.0.now - begin;
    story.pass(30_000);

    let idle = story.traffic_of(|_| {});
    let chat = story.traffic_of(|story| {
        for number in 0..ENTRIES {
            story.0.say(number as usize * 7 % count);
            story.pass(100);
        }
    });
    story.0.crash(ALICE);
    let lost = story.0.now;
    let rest = &all[BOB..];
    // They joined all at once: whoever was let in first has the lowest id.
    let next = rest.iter().copied().min_by_key(|who| story.id(*who)).unwrap_or(BOB);
    story.within(30_000, "the next one leads", |story| rest.iter().all(|who| story.follows(*who, next)));
    let election_ms = story.0.now - lost;
    story.end();

    let (members, seconds) = (count as f64, MEASURE_MS as f64 / 1_000.0);
    let more = |chat: u64, idle: u64| chat.saturating_sub(idle) as f64 / members / ENTRIES as f64;
    Cost {
        members: count,
        idle_messages_per_second: idle.messages as f64 / members / seconds,
        idle_bytes_per_second: idle.bytes as f64 / members / seconds,
        messages_per_entry: more(chat.messages, idle.messages),
        bytes_per_entry: more(chat.bytes, idle.bytes),
        join_ms,
        election_ms,
    }
}

impl Story {
    /// What is said, by all, in the time of measurement.
    fn traffic_of(&mut self, act: impl FnOnce(&mut Self)) -> Traffic {
        self.0.net.traffic = Traffic { is_on: true, ..Traffic::default() };
        let end = self.0.now + MEASURE_MS;
        act(self);
        self.pass(end - self.0.now);
        std::mem::take(&mut self.0.net.traffic)
    }

    fn within(&mut self, ms: u64, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = self.0.now + ms;
        while !is_so(self) {
            assert!(self.0.now < end, "it never happens that {what}");
            self.pass(10 - self.0.now % 10);
        }
    }

    fn sees_many(&self, who: Who, count: usize) -> bool {
        let view = self.0.nodes[who].written.as_ref().and_then(|state| state.view.as_ref());
        view.is_some_and(|view| view.active.len() == count)
    }
}

#[test]
fn fifty_members() {
    Cost::show(&[measure(5), measure(50)]);
}

/// `cargo test --release -p p2p-chat --test sim two_hundred_members -- --ignored --nocapture`
#[test]
#[ignore = "takes a minute or more in a debug build"]
fn two_hundred_members() {
    let start = Instant::now();
    Cost::show(&[measure(5), measure(50), measure(200)]);
    eprintln!("in {:.1} s", start.elapsed().as_secs_f64());
}
