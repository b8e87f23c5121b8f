//! Whether what arrives was written while this node was away: until it has everything that the others are known to have,
//! what comes counts as backlog. It is shown as late, and nobody is called for it.

use p2p_chat_engine::{Event, Output, Write};

/// Where this node is, as far as the flow of messages goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// It has just joined: it missed nothing, whatever comes.
    New,
    /// It takes part.
    Here,
    /// It was away, or cut off, and has not caught up yet.
    Away,
}

impl Absence {
    /// At the start, with a log or without one.
    pub(super) fn at_start(has_log: bool) -> Self {
        if has_log { Self::Away } else { Self::New }
    }

    /// Something happened.
    pub(super) fn on_output(&mut self, output: &Output) {
        let is_cut_off = matches!(output, Output::Event(Event::Outside | Event::CatchingUp { .. }));
        if *self == Self::Here && is_cut_off {
            *self = Self::Away;
        }
    }

    /// After a step; `has_everything` says whether it is in the view, and lacks nothing that is known of.
    pub(super) fn after_step(&mut self, has_everything: impl FnOnce() -> bool) {
        if *self != Self::Here && has_everything() {
            *self = Self::Here;
        }
    }

    /// Marks what is delivered in this step, if it was written while this node was away.
    pub(super) fn mark(self, write: Write) -> Write {
        match write {
            Write::Deliver { author, seq, entry, late } => {
                Write::Deliver { author, seq, entry, late: late || self.makes_late() }
            }
            other => other,
        }
    }

    fn makes_late(self) -> bool {
        self == Self::Away
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::PeerId;

    use super::*;

    const CATCHING_UP: Output = Output::Event(Event::CatchingUp { missing: 3, from: PeerId::new([1; 32]) });

    #[test]
    fn what_comes_after_a_start_is_backlog_until_nothing_is_missing() {
        let mut absence = Absence::at_start(true);
        assert!(absence.makes_late());
        absence.after_step(|| false);
        assert!(absence.makes_late());
        absence.after_step(|| true);
        assert!(!absence.makes_late());
    }

    #[test]
    fn who_joins_for_the_first_time_was_never_away() {
        let mut absence = Absence::at_start(false);
        absence.on_output(&CATCHING_UP);
        assert!(!absence.makes_late());
        absence.after_step(|| true);
        absence.on_output(&CATCHING_UP);
        assert!(absence.makes_late(), "from then on it can be");
    }

    #[test]
    fn who_drops_out_is_away_until_it_has_everything() {
        let mut absence = Absence::Here;
        absence.on_output(&Output::Event(Event::CaughtUp));
        assert!(!absence.makes_late());
        absence.on_output(&Output::Event(Event::Outside));
        absence.after_step(|| false);
        assert!(absence.makes_late());
        absence.after_step(|| true);
        assert!(!absence.makes_late());
    }
}
