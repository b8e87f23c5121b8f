//! Verification of certificates: the key in them, and the signature made with it.

use std::sync::Arc;

use p2p_chat_model::PeerId;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// `SubjectPublicKeyInfo` of an Ed25519 key up to its 32 bytes (RFC 8410, section 4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The only scheme with which peers sign a handshake.
const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ED25519];

/// Another peer, or none, answers where one was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the key of peer {}, found {}",
    .expected.short(),
    .found.map_or_else(|| "a key that is no peer's".to_owned(), |peer| peer.short())
)]
pub struct KeyMismatch {
    /// Whose key was pinned.
    pub expected: PeerId,
    /// Whose key the certificate holds; `None` if it is not an Ed25519 key.
    pub found: Option<PeerId>,
}

/// The peer whose key the certificate holds; `None` if it is not an Ed25519 key.
pub(crate) fn peer_of(certificate: &CertificateDer<'_>) -> Result<Option<PeerId>, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let key = spki.as_ref().strip_prefix(&ED25519_SPKI[..]);
    Ok(key.and_then(|key| PeerId::try_from(key).ok()))
}

/// Accepts the server whose key is `peer`.
#[derive(Debug)]
pub(crate) struct Pinned {
    peer: PeerId,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(crate) fn new(peer: PeerId, provider: Arc<CryptoProvider>) -> Self {
        Self { peer, provider }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = peer_of(end_entity)?;
        if found == Some(self.peer) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(other(KeyMismatch { expected: self.peer, found }))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Accepts any peer as a client: who it is decides later what it may do.
#[derive(Debug)]
pub(crate) struct AnyPeer {
    provider: Arc<CryptoProvider>,
}

impl AnyPeer {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

/// A client's certificate that holds no peer's key.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificate holds no Ed25519 key")]
struct NoPeer;

impl ClientCertVerifier for AnyPeer {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match peer_of(end_entity)? {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(other(NoPeer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// The trait asks for this; the protocol versions of both configurations rule it out.
fn no_tls12() -> Error {
    Error::General("bug: TLS 1.2 is off".to_owned())
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
