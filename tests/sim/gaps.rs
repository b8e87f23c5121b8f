//! Faults that the product is known not to bear yet, and what it is known to do wrong. They are off, unless `GAPS=all` or
//! the names of some turn them on:
//! `GAPS=lost,far-ahead SEEDS=5000 KEEP_GOING=1 cargo test --release -p p2p-chat --test sim sweep -- --nocapture`.

use std::sync::OnceLock;

/// A fault that is off, or what nobody objects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// A bad member that never comes back: if it was the only one in the newest view, the others are stranded.
    Lost,
    /// Who was admitted by an entry with a Lamport time too far ahead can't write as long as its author leads.
    FarAhead,
    /// Who leaves by force takes along what only it has, and what others wrote may rest on that.
    Force,
    /// Who gives a join up, or leaves while a request of its to be let in is under way, may be let in all the same; and who
    /// crashes while it leaves may find nobody who takes its Leave. All others list it for ever then.
    Ghost,
}

const GAPS: [(Gap, &str); 4] =
    [(Gap::Lost, "lost"), (Gap::FarAhead, "far-ahead"), (Gap::Force, "force"), (Gap::Ghost, "ghost")];

impl Gap {
    /// Whether the fault is to be drawn, or objected to, all the same.
    pub(crate) fn is_on(self) -> bool {
        static WANTED: OnceLock<String> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("GAPS").unwrap_or_default());
        let name = GAPS.iter().find(|(gap, _)| *gap == self).map_or("", |(_, name)| name);
        wanted == "all" || wanted.split(',').any(|wanted| wanted == name)
    }
}
