//! What happened, as lines for people. A run is traced only when somebody will read it: a failed seed is run again
//! with tracing on, which by determinism shows the same failure.

use p2p_chat_model::PeerId;

/// The names of the nodes, by number.
const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/// The name of a node.
pub(crate) fn name(who: usize) -> &'static str {
    // Only large groups have others, and few of them are played.
    NAMES.get(who).copied().unwrap_or_else(|| Box::leak(format!("n{who}").into_boxed_str()))
}

/// The lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    is_on: bool,
    lines: Vec<String>,
    names: Vec<(String, &'static str)>,
}

impl Trace {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    /// Shows `peer` by its name from now on.
    pub(crate) fn name(&mut self, peer: PeerId, name: &'static str) {
        self.names.push((format!("{peer:?}"), name));
    }

    /// Adds a line, made only if somebody reads it.
    pub(crate) fn add(&mut self, now: u64, who: &str, line: impl FnOnce() -> String) {
        if self.is_on {
            let text = self.named(line());
            self.lines.push(format!("{now:>7} {who:<6} {text}"));
        }
    }

    /// `text` with every peer shown by its name.
    pub(crate) fn named(&self, mut text: String) -> String {
        for (id, name) in &self.names {
            if text.contains(id.as_str()) {
                text = text.replace(id.as_str(), name);
            }
        }
        text
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The last lines, as they are shown with a failure. `TRACE=all` shows everything, `TRACE=200` that many.
    pub(crate) fn tail(&self) -> String {
        let wanted = std::env::var("TRACE").unwrap_or_default();
        let count = if wanted == "all" { self.lines.len() } else { wanted.parse().unwrap_or(60) };
        self.lines[self.lines.len().saturating_sub(count)..].join("\n")
    }
}
