//! Faults that the product is known not to bear yet. They are off, unless `GAPS=all` or the names of some turn them on:
//! `GAPS=address,leave SEEDS=5000 KEEP_GOING=1 cargo test --release -p p2p-chat --test sim sweep -- --nocapture`.

use std::sync::OnceLock;

/// A fault that is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// A leader that starts again elsewhere is looked for where it was by who is outside its view.
    Address,
    /// Where all who are active leave or are lost, members outside their view are stranded.
    Leave,
    /// A bad member that never comes back strands others in the same way.
    Lost,
    /// Who has frozen a feed can't deliver what others write after having seen more of it.
    Equivocation,
    /// Who was admitted by an entry with a Lamport time too far ahead can never write.
    FarAhead,
}

const GAPS: [(Gap, &str); 5] = [
    (Gap::Address, "address"),
    (Gap::Leave, "leave"),
    (Gap::Lost, "lost"),
    (Gap::Equivocation, "equivocation"),
    (Gap::FarAhead, "far-ahead"),
];

impl Gap {
    /// Whether the fault is to be drawn all the same.
    pub(crate) fn is_on(self) -> bool {
        static WANTED: OnceLock<String> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("GAPS").unwrap_or_default());
        let name = GAPS.iter().find(|(gap, _)| *gap == self).map_or("", |(_, name)| name);
        wanted == "all" || wanted.split(',').any(|wanted| wanted == name)
    }
}
