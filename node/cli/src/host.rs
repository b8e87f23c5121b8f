//! What the command line needs and can't do itself: running a node or a discovery service in this process. The
//! binary hands an implementation in, so that this package stays nothing but a client.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use p2p_chat_model::{Name, view::Address};

use crate::{args::Preset, failure::Failure, holder::Mode, values::ServiceUrl};

/// What to run a discovery service with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NdsOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to keep the record.
    pub data_dir: PathBuf,
    /// How patient it is with nodes that it calls back.
    pub preset: Preset,
    /// Where to serve metrics, `HOST:PORT`, if anywhere.
    pub metrics: Option<String>,
    /// Which collector to export traces to, if to any.
    pub otlp: Option<ServiceUrl>,
}

/// What to run a node with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOptions {
    /// Identity, log, lock and socket are in here; made if absent.
    pub data_dir: PathBuf,
    /// What the process is for: to be written with [`crate::Holder::write`].
    pub mode: Mode,
    /// How the node calls itself.
    pub name: Name,
    /// Whether the user chose that name. If not, a name that the data directory remembers goes before it.
    pub name_is_given: bool,
    /// The discovery services, in the order in which they are asked; at least one.
    pub nds: Vec<ServiceUrl>,
    /// Host a discovery service in this process, at the default address and below the data directory, if no
    /// other answers there.
    pub embed_nds: bool,
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where others reach the node; if absent, the host finds out.
    pub advertise: Option<Address>,
    /// How patient the node is.
    pub preset: Preset,
    /// Where to serve metrics, `HOST:PORT`, if anywhere.
    pub metrics: Option<String>,
    /// Which collector to export traces to, if to any.
    pub otlp: Option<ServiceUrl>,
}

/// Why something could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartFailure {
    /// Another process has the data directory: its node is the one to use.
    #[error("the data directory is in use by another process")]
    Held,
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Something that runs in this process.
pub trait Running: Send {
    /// Where it accepts calls of other processes.
    fn address(&self) -> SocketAddr;

    /// Waits until it has ended by itself: told so through its API, or for a failure. Cancelling is harmless.
    fn stopped(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Stops it. A node first waits up to `patience` for another member to hold all that it wrote, and says how many
    /// entries nobody else has. Data is safe on disk when this returns.
    fn shutdown(self, patience: Duration) -> impl Future<Output = Result<u64, Failure>> + Send;
}

/// Starts what runs in this process. Neither installs signal handlers nor prints.
pub trait Host: Sync {
    /// A running node.
    type Node: Running;
    /// A running discovery service.
    type Nds: Running;

    /// Starts a node. When this returns its local API answers at `data_dir/node.sock`.
    fn start(&self, options: NodeOptions) -> impl Future<Output = Result<Self::Node, StartFailure>> + Send;

    /// Starts a discovery service. When this returns it accepts calls.
    fn start_nds(&self, options: NdsOptions) -> impl Future<Output = Result<Self::Nds, StartFailure>> + Send;
}
