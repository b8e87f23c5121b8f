//! What can go wrong, and what callers are told.

use std::sync::Arc;

use p2p_chat_proto::convert::FieldError;
use p2p_chat_transport::{TlsError, server::DescriptorError};
use tonic::{Code, Status};

use crate::{config::ConfigError, registry::Refusal, store::StoreError};

/// Why the service could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NdsError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The record could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The identity for calling nodes back could not be made.
    #[error("can't call nodes back: {0}")]
    Tls(#[from] TlsError),
    /// The descriptors for gRPC reflection are not readable.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// The server failed.
    #[error("the discovery service stopped serving: {0}; start it again")]
    Server(#[from] tonic::transport::Error),
    /// A task of the service ended on its own.
    #[error("bug: {0} of the discovery service ended; start it again")]
    Ended(&'static str),
}

/// Why a call fails.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("this discovery service can't store anything now, so nothing was changed ({0})")]
    Disk(Arc<StoreError>),
    #[error("too many calls from your address; wait a second and try again")]
    TooManyCalls,
    #[error("this discovery service is busy ({0}); wait a second and try again")]
    Busy(&'static str),
    #[error("the record of the network keeps changing; look at it and try again")]
    Unsettled,
    #[error("too slow for the changes of this discovery service; watch again")]
    Lagged,
    #[error("this discovery service is shutting down; use another one or try again later")]
    Stopping,
}

/// Why calls are refused, in a word each: the label of a counter. [`CallError::reason`] is the place in here.
pub(crate) const REASONS: [&str; 27] = [
    "leaderless",
    "expected_epoch",
    "genesis",
    "not_creator",
    "not_admitted",
    "name_taken",
    "registered",
    "gone",
    "epoch_too_high",
    "full",
    "unreachable",
    "unknown",
    "unknown_name",
    "epoch",
    "not_active",
    "leader_alive",
    "not_leader",
    "outdated",
    "others_active",
    "malformed",
    "forged",
    "disk",
    "too_many_calls",
    "busy",
    "unsettled",
    "lagged",
    "stopping",
];

impl CallError {
    /// The place of the reason in [`REASONS`].
    pub(crate) fn reason(&self) -> usize {
        match self {
            Self::Refused(refusal) => match refusal {
                Refusal::Leaderless(_) => 0,
                Refusal::ExpectedEpoch { .. } => 1,
                Refusal::Genesis { .. } => 2,
                Refusal::NotCreator { .. } => 3,
                Refusal::NotAdmitted { .. } => 4,
                Refusal::NameTaken { .. } => 5,
                Refusal::Registered { .. } => 6,
                Refusal::Gone { .. } => 7,
                Refusal::EpochTooHigh { .. } => 8,
                Refusal::Full(_) => 9,
                Refusal::Unreachable { .. } => 10,
                Refusal::Unknown(_) => 11,
                Refusal::UnknownName(_) => 12,
                Refusal::Epoch { .. } => 13,
                Refusal::NotActive(_) => 14,
                Refusal::LeaderAlive { .. } => 15,
                Refusal::NotLeader { .. } => 16,
                Refusal::Outdated { .. } => 17,
                Refusal::OthersActive { .. } => 18,
            },
            Self::Field(FieldError::Bad { .. }) => 19,
            Self::Field(FieldError::Forged { .. }) => 20,
            Self::Disk(_) => 21,
            Self::TooManyCalls => 22,
            Self::Busy(_) => 23,
            Self::Unsettled => 24,
            Self::Lagged => 25,
            Self::Stopping => 26,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Field(FieldError::Bad { .. }) => Code::InvalidArgument,
            Self::Field(FieldError::Forged { .. }) => Code::Unauthenticated,
            Self::Refused(refusal) => refusal_code(refusal),
            Self::Disk(error) if error.is_full() => Code::ResourceExhausted,
            Self::Disk(_) | Self::Stopping => Code::Unavailable,
            Self::TooManyCalls | Self::Busy(_) => Code::ResourceExhausted,
            Self::Unsettled | Self::Lagged => Code::Aborted,
        }
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Leaderless(_) | Refusal::ExpectedEpoch { .. } | Refusal::Genesis { .. } => Code::InvalidArgument,
        Refusal::NotCreator { .. } | Refusal::NotAdmitted { .. } => Code::PermissionDenied,
        Refusal::NotActive(_) | Refusal::NotLeader { .. } => Code::PermissionDenied,
        Refusal::NameTaken { .. } | Refusal::Registered { .. } => Code::AlreadyExists,
        Refusal::Unknown(_) | Refusal::UnknownName(_) => Code::NotFound,
        Refusal::Full(_) => Code::ResourceExhausted,
        Refusal::Gone { .. }
        | Refusal::EpochTooHigh { .. }
        | Refusal::Unreachable { .. }
        | Refusal::Epoch { .. }
        | Refusal::LeaderAlive { .. }
        | Refusal::Outdated { .. }
        | Refusal::OthersActive { .. } => Code::FailedPrecondition,
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
