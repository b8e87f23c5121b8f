//! What can be written.

use bytes::Bytes;
use p2p_chat_model::{Name, PeerId, Run, Seq};

/// One change of what is stored of a network. A commit is a list of them, taken in order and as a whole.
#[derive(Debug, Clone)]
pub enum Write {
    /// The network exists here, under this name. Comes before anything else of the network.
    Network {
        /// Its name.
        name: Name,
    },
    /// The engine's durable state, whatever it is; replaces the one before.
    State(Vec<u8>),
    /// A run that continues its author's feed.
    Run {
        /// The run, decoded.
        run: Run,
        /// The exact bytes it was decoded from, or was encoded to by its author.
        bytes: Bytes,
    },
    /// A run that contradicts what is stored of its author, kept as proof. The first of each author is.
    Fork {
        /// The run, decoded.
        run: Run,
        /// The exact bytes it was decoded from.
        bytes: Bytes,
    },
    /// The next entries of a feed are delivered: they enter the timeline and get the network's next positions. Positions
    /// count from 1 without gaps. The runs of the entries are in this or in an earlier commit.
    Deliver {
        /// Whose entries.
        author: PeerId,
        /// The number of the first: the one after the author's last delivered entry.
        first: Seq,
        /// The number of the last.
        last: Seq,
        /// When they arrived, milliseconds since 1970, by this node's clock.
        arrived_ms: u64,
        /// Whether they are shown as late.
        late: bool,
    },
    /// A peer has this node's feed on disk up to an entry. Nothing new if it was known to have as much. The newest
    /// [`crate::MAX_ACKS`] are kept for each peer.
    Ack {
        /// Who has it.
        peer: PeerId,
        /// Up to which entry.
        upto: Seq,
        /// How it got there.
        way: Way,
        /// When this node learnt of it, milliseconds since 1970.
        time_ms: u64,
    },
    /// Everything up to this position has been read. Never moves backwards, nor beyond the last position.
    MarkRead {
        /// The position of the last message read.
        position: u64,
    },
    /// Deletes everything of the network and overwrites it. A commit that begins with this is taken in any case, and
    /// succeeds when nothing of any network that is to be forgotten is left. That takes about 10 seconds a million entries,
    /// while commits of others go on; but nobody finds the network any more, and it can be begun anew, as soon as a commit
    /// that was handed in later has succeeded. If it fails, or the store is closed before, what is left of the network is
    /// deleted with the next one, or from the next start on.
    Forget,
}

impl Write {
    /// About how much the write adds to a transaction, in bytes.
    pub(crate) fn weight(&self) -> usize {
        const ROW: usize = 128;
        match self {
            Self::State(state) => ROW + state.len(),
            Self::Run { bytes, .. } | Self::Fork { bytes, .. } => ROW + bytes.len(),
            // Where they don't make up a stretch, there is a row for each.
            Self::Deliver { first, last, .. } => {
                ROW.saturating_mul(last.saturating_sub(*first).saturating_add(1) as usize)
            }
            _ => ROW,
        }
    }
}

/// How an entry of this node got to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// This node handed it over.
    Direct,
    /// The named peer passed it on.
    Relayed(PeerId),
    /// The peer took it from somebody by itself.
    Fetched,
}
