//! Identifiers. Each prints as it is shown to users and parses back from that.

use std::{fmt, str::FromStr};

/// Position of an entry in its author's feed; the first is 1, there are no gaps. 0 means "none yet".
pub type Seq = u64;

/// A malformed identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {expected}, got {got}")]
pub struct IdError {
    what: &'static str,
    expected: &'static str,
    got: String,
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits: for people, not for comparison.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError {
                    what: $what,
                    expected: "32 bytes",
                    got: format!("{} bytes", bytes.len()),
                })
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError {
                    what: $what,
                    expected: "64 hexadecimal digits",
                    got: format!("{} characters", text.chars().count()),
                })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 64];
                let text = hex::encode_to_slice(self.0, &mut digits).ok().and_then(|()| str::from_utf8(&digits).ok());
                f.write_str(text.unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
    };
}

bytes_id! {
    /// A node's Ed25519 public key (RFC 8032): its identity everywhere, for ever.
    PeerId, "a peer id"
}
bytes_id! {
    /// A network: the hash of its genesis entry.
    NetworkId, "a network id"
}
bytes_id! {
    /// BLAKE3 hash of an entry, chained to the entry before it in the same feed.
    EntryHash, "an entry hash"
}

impl EntryHash {
    /// What the first entry of a feed names as its predecessor.
    pub const NONE: Self = Self([0; 32]);
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// The number a member holds in the view; given at join, never reused. The lowest active one leads.
    NodeId
}
number_id! {
    /// The fencing number of a leader's reign; grows by at least one with every new leader.
    Epoch
}

/// What users call an entry by: a UUID (version 8, RFC 9562) made from the first 16 bytes of its hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Wraps 16 bytes as stored by [`MessageId::as_bytes`].
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the UUID.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<EntryHash> for MessageId {
    fn from(hash: EntryHash) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.0[..16]);
        Self(uuid::Uuid::new_v8(bytes).into_bytes())
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::from_str(text).map(|id| Self(id.into_bytes())).map_err(|_| IdError {
            what: "a message id",
            expected: "a UUID",
            got: format!("{} characters", text.chars().count()),
        })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_back_from_what_they_print() {
        let peer = PeerId::new([0xab; 32]);
        assert_eq!(peer.to_string().parse(), Ok(peer));
        assert_eq!(peer.short(), "abababab");
        let message = MessageId::from(EntryHash::new([7; 32]));
        assert_eq!(message.to_string(), "07070707-0707-8707-8707-070707070707");
        assert_eq!(message.to_string().parse(), Ok(message));
    }

    #[test]
    fn malformed_ids_say_what_was_expected() {
        let error = "abc".parse::<PeerId>().expect_err("too short");
        assert_eq!(error.to_string(), "a peer id must be 64 hexadecimal digits, got 3 characters");
        let error = NetworkId::try_from(&[1u8, 2][..]).expect_err("too short");
        assert_eq!(error.to_string(), "a network id must be 32 bytes, got 2 bytes");
    }
}
