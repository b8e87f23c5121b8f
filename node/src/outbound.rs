//! Calls to peers and to discovery services: carries them out and reports how they ended. Decides nothing.

mod channels;
mod discovery;
mod peers;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use self::channels::Channels;
pub(crate) use self::discovery::{renewed, updated};
use p2p_chat_engine::{CallError, CallId, DiscoveryCall, PeerCall, Response};
use p2p_chat_model::{Address, Identity, Name, PeerId};
use p2p_chat_store::Store;
use p2p_chat_traces::Span;
use p2p_chat_transport::{Calls, Dialer, Line};
use tonic::codegen::http::HeaderValue;

use crate::{directory::Directory, metrics::Pinged, network::Network};

/// How often it is looked for connections that nobody uses.
const SWEEP: Duration = Duration::from_secs(60);

/// What calls are made with.
pub(crate) struct Outbound {
    pub(crate) identity: Identity,
    pub(crate) name: Name,
    pub(crate) address: Address,
    pub(crate) store: Store,
    pub(crate) directory: Arc<Directory>,
    dialer: Dialer,
    /// For who is no member, or not yet.
    stranger_dialer: Dialer,
    calls: Arc<Calls>,
    channels: Mutex<Channels<Line>>,
}

impl Outbound {
    pub(crate) fn new(
        (identity, dialer): (Identity, Dialer),
        (name, address): (Name, Address),
        store: Store,
        directory: Arc<Directory>,
        calls: Arc<Calls>,
    ) -> Self {
        let (stranger_dialer, channels) = (dialer.clone().for_strangers(), Mutex::default());
        Self { identity, name, address, store, directory, dialer, stranger_dialer, calls, channels }
    }

    /// Calls a peer, and reports the end of the call to the network's task. `span` is the call's.
    pub(crate) fn call(
        self: &Arc<Self>,
        network: &Network,
        (generation, id): (u64, CallId),
        mut span: Span,
        to: (PeerId, Address),
        call: PeerCall,
        timeout: Duration,
    ) {
        let (outbound, network) = (Arc::clone(self), network.clone());
        tokio::spawn(async move {
            let is_ping = matches!(call, PeerCall::Ping(_));
            // Anybody may ask to be called back: that takes no place among the connections that are kept.
            let is_kept = !is_ping || network.admits(&to.0);
            let channel = if is_kept { outbound.channel(to) } else { outbound.dial(&outbound.stranger_dialer, &to) };
            let channel = channel.caused_by(header(&span));
            let result = match call {
                PeerCall::Fetch(have, not_of) => {
                    outbound.fetch(channel, &network, (generation, id), (&have, &not_of), timeout).await
                }
                call => within(timeout, outbound.call_once(channel, &network, call)).await,
            };
            settle(&mut span, &result);
            drop(span);
            if is_ping {
                network.counts.on_pinged(if result.is_ok() { Pinged::Answered } else { Pinged::Unanswered });
            }
            network.respond(generation, id, result).await;
        });
    }

    /// Calls a discovery service, and reports the end of the call to the network's task. `span` is the call's.
    pub(crate) fn discover(
        self: &Arc<Self>,
        network: &Network,
        (generation, id): (u64, CallId),
        mut span: Span,
        service: usize,
        call: DiscoveryCall,
        timeout: Duration,
    ) {
        let (outbound, network) = (Arc::clone(self), network.clone());
        tokio::spawn(async move {
            let result = within(timeout, outbound.discover_once(&network, service, call, header(&span))).await;
            settle(&mut span, &result);
            drop(span);
            outbound.directory.note(service, result.as_ref().err());
            network.respond(generation, id, result).await;
        });
    }

    /// The connection to a peer; made when it is first used, and again after it broke.
    fn channel(&self, to: (PeerId, Address)) -> Line {
        self.channels().to(to.clone(), Instant::now(), || self.dial(&self.dialer, &to))
    }

    /// A connection that ends with its last call.
    fn dial(&self, dialer: &Dialer, to: &(PeerId, Address)) -> Line {
        Line::new(dialer.channel(to.0, &to.1), &self.calls)
    }

    fn channels(&self) -> MutexGuard<'_, Channels<Line>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up connections that nobody uses any more, as long as there is somebody to make calls.
    pub(crate) async fn sweep(outbound: Weak<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(outbound) = outbound.upgrade() else { return };
            outbound.channels().drop_idle(Instant::now());
        }
    }
}

/// What a call says of the span that it is.
fn header(span: &Span) -> Option<HeaderValue> {
    span.context()?.header()
}

fn settle(span: &mut Span, result: &Result<Response, CallError>) {
    if let Err(error) = result {
        span.fail(error);
    }
}

async fn within(
    timeout: Duration,
    call: impl Future<Output = Result<Response, CallError>>,
) -> Result<Response, CallError> {
    let late = |_| Err(CallError::Unreachable(format!("no answer within {} ms", timeout.as_millis())));
    tokio::time::timeout(timeout, call).await.unwrap_or_else(late)
}
