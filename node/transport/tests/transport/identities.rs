//! Who is who: keys on both sides, pins, clients without a certificate, clients that can't read Ed25519.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use p2p_chat_model::{Identity, PeerId};
use p2p_chat_transport::{DialError, Limits, describe, dial, status::dial_error, tls};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::ParsedCertificate,
    },
};
use tonic::transport::{Channel, Endpoint};

use crate::support::{Host, alice, bob, carol, dialer, ping, stranger_tls};

/// Takes any certificate whose key signed the handshake with one of `schemes`.
#[derive(Debug)]
pub(crate) struct AnyServer {
    pub(crate) schemes: Vec<SignatureScheme>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".to_owned()))
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
        self.schemes.clone()
    }
}

type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(host: &Host, config: ClientConfig) -> std::io::Result<ClientStream> {
    let stream = TcpStream::connect(host.socket).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// A channel over one connection that is already there.
async fn over(stream: ClientStream) -> Channel {
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new).ok_or_else(|| std::io::Error::other("lost"));
        async { stream }
    });
    Endpoint::from_static("http://node.invalid").connect_with_connector(connector).await.unwrap()
}

fn public_key(stream: &ClientStream) -> Vec<u8> {
    let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
    ParsedCertificate::try_from(certificate).unwrap().subject_public_key_info().as_ref().to_vec()
}

/// A client that pins `peer` and proves no identity.
fn anonymous(peer: PeerId) -> ClientConfig {
    let mut config = tls::client_config(&alice(), peer).unwrap();
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    config
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let mut host = Host::start(&alice(), Limits::default()).await;
    for caller in [bob(), carol()] {
        let channel = dialer(&caller).channel(alice().peer(), &host.address());
        ping(&channel).await.unwrap();
        assert_eq!(host.next_caller().await, Some(caller.peer()));
    }
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_and_named() {
    let host = Host::start(&alice(), Limits::default()).await;
    let dialer = dialer(&bob());
    let status = ping(&dialer.channel(carol().peer(), &host.address())).await.unwrap_err();
    let Some(DialError::KeyMismatch { address, expected, found }) = dial_error(&status) else {
        panic!("not a key mismatch: {status:?}")
    };
    assert_eq!((expected, found), (&carol().peer(), &Some(alice().peer())));
    assert_eq!(*address, host.socket.to_string());
    let shown = describe(&status);
    assert!(shown.contains("key mismatch") && shown.contains(address), "{shown}");
    ping(&dialer.channel(alice().peer(), &host.address())).await.expect("the same dialler, the right pin");
}

/// A man in the middle who shows alice's certificate but has not her key.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    #[derive(Debug)]
    struct Forger(Arc<rustls::sign::CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Forger {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    let certified = |identity: &Identity| {
        let config = tls::client_config(identity, identity.peer()).unwrap();
        config.client_auth_cert_resolver.resolve(&[], &[SignatureScheme::ED25519]).unwrap()
    };
    let forged =
        rustls::sign::CertifiedKey::new(certified(&alice()).cert.clone(), Arc::clone(&certified(&carol()).key));
    let mut config = rustls::ServerConfig::clone(&tls::server_config(&carol()).unwrap());
    config.cert_resolver = Arc::new(Forger(Arc::new(forged)));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(|_| ())
    });
    let channel = dialer(&bob()).channel(alice().peer(), &address);
    let status = ping(&channel).await.unwrap_err();
    assert!(matches!(dial_error(&status), Some(DialError::Tls { .. })), "{status:?}");
    assert!(describe(&status).contains("BadSignature"), "{}", describe(&status));
    assert!(server.await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_that_shows_a_certificate_without_its_key_is_refused() {
    let mut host = Host::start(&alice(), Limits::default()).await;
    let forger = |identity: &Identity| {
        let config = tls::client_config(identity, alice().peer()).unwrap();
        config.client_auth_cert_resolver.resolve(&[], &[SignatureScheme::ED25519]).unwrap()
    };
    let forged = rustls::sign::CertifiedKey::new(forger(&bob()).cert.clone(), Arc::clone(&forger(&carol()).key));
    let mut config = tls::client_config(&carol(), alice().peer()).unwrap();
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(forged));
    // In TLS 1.3 the client has finished before the server judges its certificate: the first read tells.
    let mut stream = connect(&host, config).await.unwrap();
    let read = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
    assert!(read.is_err(), "the server talks to a forger: {read:?}");
    let honest = dialer(&bob()).channel(alice().peer(), &host.address());
    ping(&honest).await.unwrap();
    assert_eq!(host.next_caller().await, Some(bob().peer()));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_nobody_but_is_served() {
    let mut host = Host::start(&alice(), Limits::default()).await;
    let stream = connect(&host, anonymous(alice().peer())).await.unwrap();
    ping(&over(stream).await).await.unwrap();
    assert_eq!(host.next_caller().await, None);
}

#[tokio::test]
async fn plaintext_is_served_on_the_same_port() {
    let mut host = Host::start(&alice(), Limits::default()).await;
    ping(&dial::plaintext(&host.url()).unwrap()).await.unwrap();
    assert_eq!(host.next_caller().await, None);
    ping(&dialer(&bob()).channel(alice().peer(), &host.address())).await.unwrap();
    assert_eq!(host.next_caller().await, Some(bob().peer()));
}

#[tokio::test]
async fn clients_that_can_not_read_ed25519_get_a_p256_certificate() {
    let mut host = Host::start(&alice(), Limits::default()).await;
    let p256 = SignatureScheme::ECDSA_NISTP256_SHA256;
    let stream = connect(&host, stranger_tls(&[p256])).await.unwrap();
    assert!(!public_key(&stream).ends_with(alice().peer().as_bytes()));
    assert_eq!(public_key(&stream).len(), 91, "the size of a P-256 key's SubjectPublicKeyInfo");
    ping(&over(stream).await).await.unwrap();
    assert_eq!(host.next_caller().await, None);

    let stream = connect(&host, stranger_tls(&[p256, SignatureScheme::ED25519])).await.unwrap();
    assert!(public_key(&stream).ends_with(alice().peer().as_bytes()));
}

#[tokio::test]
async fn nothing_is_resumed() {
    let host = Host::start(&alice(), Limits::default()).await;
    let mut config = anonymous(alice().peer());
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    for _ in 0..2 {
        let stream = connect(&host, config.clone()).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        ping(&over(stream).await).await.unwrap();
    }
}
