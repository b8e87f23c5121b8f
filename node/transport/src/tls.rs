//! TLS 1.3 between peers. There is no certificate authority: a node's certificate is self-signed with its identity's
//! Ed25519 key, and what is checked is that key, and that the other side really holds it (the signature over the
//! handshake). Names and dates in certificates mean nothing.
//!
//! Nothing is resumed: a resumed session skips the check of the key.

mod verify;

use std::sync::Arc;

use p2p_chat_model::{Identity, PeerId};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use tokio_rustls::rustls::{
    self, ClientConfig, ServerConfig, SignatureScheme,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::PrivatePkcs8KeyDer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

pub use verify::KeyMismatch;
pub(crate) use verify::{Pinned, peer_of};

/// The only application protocol (RFC 7301): gRPC runs over HTTP/2.
const ALPN: &[u8] = b"h2";

/// The name in every certificate. Nobody checks it; some libraries want one.
pub(crate) const CERTIFICATE_NAME: &str = "p2p-chat";

/// Why TLS could not be set up with this identity. None of these depend on the network.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The identity's key has no PKCS #8 form.
    #[error("bug: the identity of peer {} could not be encoded for TLS", .0.short())]
    Key(PeerId),
    /// No certificate could be made.
    #[error("could not make a TLS certificate ({0}); check the system's random source")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused its settings.
    #[error("bug: the TLS library refused its settings ({0})")]
    Settings(#[from] rustls::Error),
}

/// What a listener needs: offers client authentication without demanding it, accepts only Ed25519 client keys, and
/// shows its Ed25519 certificate, or to clients that can't read it a P-256 one made for this process.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let certificates = Certificates {
        identity: Arc::new(identity_certificate(identity, &provider)?),
        fallback: Arc::new(certificate(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, &provider)?),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verify::AnyPeer::new(provider)))
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// What a dialler needs: shows the certificate of `identity`, and accepts `peer` and nobody else.
pub fn client_config(identity: &Identity, peer: PeerId) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let own = identity_certificate(identity, &provider)?;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(peer, provider)))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn identity_certificate(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let der = identity.to_pkcs8_der().ok_or_else(|| TlsError::Key(identity.peer()))?;
    let algorithm: &'static SignatureAlgorithm = &PKCS_ED25519;
    certificate(&KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), algorithm)?, provider)
}

fn certificate(key: &KeyPair, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let certificate = CertificateParams::new([CERTIFICATE_NAME.to_owned()])?.self_signed(key)?;
    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signer = provider.key_provider.load_private_key(private.into())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

/// The certificate that fits the client. Members always offer Ed25519, and pin it; BoringSSL, under Python's grpcio
/// among others, refuses an Ed25519 server certificate.
#[derive(Debug)]
struct Certificates {
    identity: Arc<CertifiedKey>,
    fallback: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let reads_ed25519 = hello.signature_schemes().contains(&SignatureScheme::ED25519);
        Some(Arc::clone(if reads_ed25519 { &self.identity } else { &self.fallback }))
    }
}
