//! What the task of a network tells whoever listens. A listener that lags misses notices, never messages: those it
//! reads from the log, and the bus only says that there are new ones.

use p2p_chat_engine::Event;
use tokio::sync::broadcast;

/// Events that a listener may be behind before it misses some.
const CAPACITY: usize = 1_024;

/// Something that happened in a network.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// An event of the engine; what it speaks of is on disk. Of deliveries in a row only the first is told.
    Event(Event),
    /// The node can't write its data.
    Broken(String),
    /// It can again.
    Mended,
}

/// A new bus.
pub(crate) fn bus() -> broadcast::Sender<Happening> {
    broadcast::Sender::new(CAPACITY)
}
