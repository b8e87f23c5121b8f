//! The dialling side: channels that connect when first used, and again whenever the connection was lost.
//!
//! Every channel has a connect timeout and HTTP/2 keepalive, so a dead host is noticed within seconds. Deadlines
//! belong to the single call: the caller sets them. Must be called inside a tokio runtime.

mod connect;
mod names;

use std::{path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use p2p_chat_model::{Address, Identity, PeerId, name::printable};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::{ClientConfig, crypto::ring};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::{
    cork::Cork,
    tls::{self, Pinned, TlsError},
    traffic::Traffic,
};
pub use connect::DialError;
use names::Names;
pub use names::{MAX_LOOKUPS, MAX_LOOKUPS_FOR_STRANGERS};

/// Calls that may wait in one channel for its connection; more wait in their callers.
const CHANNEL_QUEUE: usize = 128;

/// How a channel connects and stays connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialSettings {
    /// Longest time for name resolution, TCP and TLS together; default 1 s. Calls on the channel wait for it, so keep
    /// it below the patience of failure detection times the tries wanted; raise it for lines with a long round trip. A call
    /// that is given up earlier leaves the attempt to the next one, which fails with it if its time is up by then.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before it is probed, idle or not; default 5 s. With
    /// [`keepalive_timeout`](Self::keepalive_timeout) it bounds how long a connection outlives its line; shorter costs
    /// a packet each way per interval and channel.
    pub keepalive_interval: Duration,
    /// How long a probe may stay unanswered before the connection is given up; default 3 s. Must exceed the longest
    /// stall of a healthy peer.
    pub keepalive_timeout: Duration,
}

impl DialSettings {
    /// For the internet: a connection is made although a packet of it is lost, or a round trip takes a second; and a line
    /// may be interrupted for longer before all is begun anew.
    pub const WAN: Self = Self {
        connect_timeout: Duration::from_secs(3),
        keepalive_interval: Duration::from_secs(5),
        keepalive_timeout: Duration::from_secs(8),
    };
}

impl Default for DialSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(3),
        }
    }
}

/// Makes channels to peers, showing them this node's identity. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    tls: Arc<ClientConfig>,
    settings: DialSettings,
    traffic: Arc<Traffic>,
    names: Names,
}

impl Dialer {
    /// A dialler for this identity, with default settings.
    pub fn new(identity: &Identity) -> Result<Self, TlsError> {
        // Pinned to the node itself until `channel` puts the real pin in its place.
        let tls = tls::client_config(identity, identity.peer())?;
        let names = Names::new(MAX_LOOKUPS);
        Ok(Self { tls: Arc::new(tls), settings: DialSettings::default(), traffic: Arc::default(), names })
    }

    /// The same dialler with other settings.
    #[must_use]
    pub fn with_settings(self, settings: DialSettings) -> Self {
        Self { settings, ..self }
    }

    /// The same dialler, which counts the bytes of its connections in `traffic`.
    #[must_use]
    pub fn counting(self, traffic: &Arc<Traffic>) -> Self {
        Self { traffic: Arc::clone(traffic), ..self }
    }

    /// The same dialler, for addresses that strangers give: their names are looked up apart from all others.
    #[must_use]
    pub fn for_strangers(self) -> Self {
        Self { names: Names::new(MAX_LOOKUPS_FOR_STRANGERS), ..self }
    }

    /// A channel to `peer` at `address`. Whoever else answers there is refused with [`DialError::KeyMismatch`].
    pub fn channel(&self, peer: PeerId, address: &Address) -> Channel {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.dangerous().set_certificate_verifier(Arc::new(Pinned::new(peer, ring::default_provider().into())));
        let (tls, limit) = (Arc::new(tls), self.settings.connect_timeout);
        let (to, traffic) = (Arc::new(self.names.of(address.clone())), Arc::clone(&self.traffic));
        // The name is never resolved: the connector knows the address, and the key is what counts.
        lazy(Endpoint::from_static("http://node.invalid"), self.settings, move || {
            connect::tls(Arc::clone(&to), Arc::clone(&tls), Arc::clone(&traffic), limit)
        })
    }
}

/// A discovery service's URL that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URL `{url}` can't be used: {reason}; write it as http://HOST:PORT")]
pub struct UrlError {
    /// The URL as given, harmless to print.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A channel to a discovery service at `http://HOST:PORT`, with default settings.
///
/// # Errors
/// Anything else than a scheme, a host and a port is refused.
pub fn plaintext(url: &str) -> Result<Channel, UrlError> {
    plaintext_with(url, DialSettings::default(), &Arc::default())
}

/// As [`plaintext`], with other settings; counts the bytes in `traffic`.
pub fn plaintext_with(url: &str, settings: DialSettings, traffic: &Arc<Traffic>) -> Result<Channel, UrlError> {
    let refused = |reason| UrlError { url: printable(url), reason };
    let (address, uri) = parse(url).map_err(refused)?;
    let limit = settings.connect_timeout;
    // Of one channel, and so never more than one.
    let (to, traffic) = (Arc::new(Names::new(1).of(address)), Arc::clone(traffic));
    Ok(lazy(Endpoint::from(uri), settings, move || connect::tcp(Arc::clone(&to), Arc::clone(&traffic), limit)))
}

/// A channel to the local API on the Unix socket at `path`.
pub fn unix(path: impl AsRef<Path>) -> Channel {
    let (path, settings) = (path.as_ref().to_owned(), DialSettings::default());
    lazy(Endpoint::from_static("http://localhost"), settings, move || {
        connect::unix(path.clone(), settings.connect_timeout)
    })
}

fn parse(url: &str) -> Result<(Address, Uri), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("discovery services speak plaintext HTTP/2, not https"),
        Some(_) => return Err("its scheme is not http"),
        None => return Err("it has no scheme"),
    }
    if uri.path_and_query().is_some_and(|path| path != "/") {
        return Err("it has a path");
    }
    let authority = uri.authority().ok_or("it has no host")?;
    if authority.port().is_none() {
        return Err("it has no port");
    }
    let address = authority.as_str().parse().map_err(|_| "its host or port is not valid")?;
    Ok((address, uri))
}

pub(crate) fn lazy<C, F, Io>(endpoint: Endpoint, settings: DialSettings, connect: C) -> Channel
where
    C: Fn() -> F + Send + 'static,
    F: Future<Output = Result<Io, DialError>> + Send + 'static,
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connector = service_fn(move |_: Uri| {
        let connecting = connect();
        async move { connecting.await.map(|io| TokioIo::new(Cork::new(io))) }
    });
    endpoint
        .buffer_size(CHANNEL_QUEUE)
        .http2_keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_are_checked() {
        for good in ["http://127.0.0.1:7400", "http://nds:7400/", "http://[::1]:7400"] {
            assert!(plaintext(good).is_ok(), "{good}");
        }
        let bad = [
            ("", "it is not a URL"),
            ("http://", "it is not a URL"),
            ("nds:7400", "it has no scheme"),
            ("https://nds:7400", "discovery services speak plaintext HTTP/2, not https"),
            ("ftp://nds:7400", "its scheme is not http"),
            ("http://nds", "it has no port"),
            ("http://nds:", "it has no port"),
            ("http://nds:0", "its host or port is not valid"),
            ("http://me@nds:7400", "its host or port is not valid"),
            ("http://nds:7400/list", "it has a path"),
            ("http://nds:7400/?a=b", "it has a path"),
        ];
        for (url, reason) in bad {
            let error = plaintext(url).expect_err(url);
            assert_eq!(error, UrlError { url: url.to_owned(), reason });
        }
        let error = plaintext("nds\u{1b}[2J").expect_err("a control character");
        let shown = "the URL `nds\\u{1b}[2J` can't be used: it is not a URL; write it as http://HOST:PORT";
        assert_eq!(error.to_string(), shown);
    }
}
