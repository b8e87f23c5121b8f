//! One attempt to connect, and why it failed.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use p2p_chat_model::PeerId;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, CertificateError, ClientConfig, OtherError, pki_types::ServerName},
};

use super::names::Lookup;
use crate::{
    status::reason,
    tls::{CERTIFICATE_NAME, KeyMismatch},
    traffic::{Metered, Traffic},
};

/// Why a connection could not be made. Found behind a failed call with [`dial_error`](crate::status::dial_error).
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name is unknown, the host unreachable, or nothing listens there.
    #[error("could not connect to {address}: {}; check the address and that its program runs", reason(.source))]
    Connect {
        /// Where to: `HOST:PORT` or the path of a Unix socket.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The name was not looked up: too many are, and their answers don't come.
    #[error(
        "could not look up the name in {address}: too many are being looked up; check the system's name servers, or use an IP address"
    )]
    Lookups {
        /// Where to.
        address: String,
    },
    /// No connection within the connect timeout.
    #[error("could not connect to {address}: timed out after {} ms; check the address and the line", .after.as_millis())]
    TimedOut {
        /// Where to.
        address: String,
        /// The connect timeout.
        after: Duration,
    },
    /// Somebody else answers at the address.
    #[error(
        "refused the answer from {address}: key mismatch, {}; another node may have taken the address over",
        KeyMismatch { expected: *.expected, found: *.found }
    )]
    KeyMismatch {
        /// Where to.
        address: String,
        /// Who was pinned.
        expected: PeerId,
        /// Who answered; `None` if the key there is no peer's.
        found: Option<PeerId>,
    },
    /// What answers does not speak TLS, or broke the handshake off.
    #[error("TLS with {address} failed: {}; check that a p2p-chat node listens there and is not overloaded", reason(.source))]
    Tls {
        /// Where to.
        address: String,
        /// What the TLS library said.
        source: io::Error,
    },
}

/// TCP, then TLS with the pin in `config`.
pub(crate) async fn tls(
    to: Arc<Lookup>,
    config: Arc<ClientConfig>,
    traffic: Arc<Traffic>,
    limit: Duration,
) -> Result<TlsStream<Metered>, DialError> {
    let shown = to.address().to_string();
    within(limit, &shown, async {
        let stream = open(&to, traffic).await?;
        let name = ServerName::try_from(CERTIFICATE_NAME);
        let name = name.map_err(|error| tls_failed(&shown, io::Error::other(error)))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| tls_failed(&shown, error))
    })
    .await
}

/// Plain TCP.
pub(crate) async fn tcp(to: Arc<Lookup>, traffic: Arc<Traffic>, limit: Duration) -> Result<Metered, DialError> {
    let shown = to.address().to_string();
    within(limit, &shown, open(&to, traffic)).await
}

/// A Unix socket.
pub(crate) async fn unix(path: PathBuf, limit: Duration) -> Result<UnixStream, DialError> {
    let address = path.display().to_string();
    let connecting = async {
        let connected = UnixStream::connect(&path).await;
        connected.map_err(|source| DialError::Connect { address: address.clone(), source })
    };
    within(limit, &address, connecting).await
}

async fn open(to: &Lookup, traffic: Arc<Traffic>) -> Result<Metered, DialError> {
    let failed = |source| DialError::Connect { address: to.address().to_string(), source };
    let stream = TcpStream::connect(&*to.found().await?).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Metered::new(stream, traffic))
}

async fn within<T>(
    limit: Duration,
    address: &str,
    connecting: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    let timed_out = |_| DialError::TimedOut { address: address.to_owned(), after: limit };
    timeout(limit, connecting).await.map_err(timed_out)?
}

fn tls_failed(address: &str, source: io::Error) -> DialError {
    let address = address.to_owned();
    match key_mismatch(&source) {
        Some(KeyMismatch { expected, found }) => DialError::KeyMismatch { address, expected, found },
        None => DialError::Tls { address, source },
    }
}

fn key_mismatch(error: &io::Error) -> Option<KeyMismatch> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return None };
    cause.downcast_ref().copied()
}
