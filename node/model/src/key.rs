//! Keys and signatures: Ed25519 (RFC 8032), every statement under a domain of its own so that a signature given
//! for one purpose can't serve another.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey, pkcs8::EncodePrivateKey};

use crate::PeerId;

/// A signature that does not belong to the key and statement at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the key of peer {}", .0.short())]
pub struct BadSignature(pub PeerId);

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps 64 bytes.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}..)", hex::encode(&self.0[..4]))
    }
}

/// A node's private key. Its public half is the [`PeerId`].
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// The identity of a 32-byte seed. The seed must come from a cryptographic source of randomness.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(&seed) }
    }

    /// The seed, for storing. Whoever has it is this node.
    pub fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half.
    pub fn peer(&self) -> PeerId {
        PeerId::new(self.key.verifying_key().to_bytes())
    }

    /// Signs `statement` under `domain`.
    pub fn sign(&self, domain: &str, statement: &[u8]) -> Signature {
        Signature(self.key.sign(&digest(domain, statement)).to_bytes())
    }

    /// The key in PKCS #8 DER (RFC 8410), for a TLS certificate. `None` if it can't be encoded.
    pub fn to_pkcs8_der(&self) -> Option<Vec<u8>> {
        self.key.to_pkcs8_der().ok().map(|document| document.as_bytes().to_vec())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer().short())
    }
}

impl PeerId {
    /// Checks that this peer signed `statement` under `domain`. Small-order keys and non-canonical signatures are refused.
    pub fn verify(&self, domain: &str, statement: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(self.as_bytes()).map_err(|_| BadSignature(*self))?;
        let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
        key.verify_strict(&digest(domain, statement), &signature).map_err(|_| BadSignature(*self))
    }
}

fn digest(domain: &str, statement: &[u8]) -> [u8; 32] {
    blake3::derive_key(domain, statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_statement_and_domain_only() {
        let alice = Identity::from_seed([1; 32]);
        let bob = Identity::from_seed([2; 32]);
        let signature = alice.sign("a", b"statement");
        assert_eq!(alice.peer().verify("a", b"statement", &signature), Ok(()));
        assert!(alice.peer().verify("b", b"statement", &signature).is_err());
        assert!(alice.peer().verify("a", b"another", &signature).is_err());
        assert!(bob.peer().verify("a", b"statement", &signature).is_err());
    }
}
