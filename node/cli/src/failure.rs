//! How a command can end other than well, and the exit codes of DESIGN §7.

use tonic::{Code, Status};

/// What went wrong, as one sentence for a person. The kind decides the exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Something did not work.
    #[error("{0}")]
    Failed(String),
    /// The command was called wrongly; nothing was started.
    #[error("{0}")]
    Usage(String),
    /// There is no such network, member or message.
    #[error("{0}")]
    NotFound(String),
    /// The caller may not do this.
    #[error("{0}")]
    NotAllowed(String),
    /// What was waited for did not happen in time.
    #[error("{0}")]
    TimedOut(String),
    /// A node, the leader or the discovery service could not be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Whoever read the output has gone (`| head`): not an error, but there is nothing left to do.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    /// The exit code: 0 output closed · 1 failed · 2 usage · 3 not found · 4 not allowed · 5 timed out · 6 unreachable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::NotAllowed(_) => 4,
            Self::TimedOut(_) => 5,
            Self::Unreachable(_) => 6,
        }
    }

    /// Whether what was asked for may have been done all the same: nobody has answered that it was not.
    pub(crate) fn leaves_open(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Unreachable(_))
    }

    /// A failure of the same kind with another sentence.
    pub(crate) fn retold(self, sentence: String) -> Self {
        match self {
            Self::Failed(_) => Self::Failed(sentence),
            Self::Usage(_) => Self::Usage(sentence),
            Self::NotFound(_) => Self::NotFound(sentence),
            Self::NotAllowed(_) => Self::NotAllowed(sentence),
            Self::TimedOut(_) => Self::TimedOut(sentence),
            Self::Unreachable(_) => Self::Unreachable(sentence),
            Self::OutputClosed => Self::OutputClosed,
        }
    }
}

impl From<Status> for Failure {
    /// The one place where a gRPC code becomes a kind of failure, and with it an exit code.
    fn from(status: Status) -> Self {
        let sentence = match status.message() {
            "" => format!("the node answered {:?} without a reason", status.code()),
            message => message.to_owned(),
        };
        match status.code() {
            Code::InvalidArgument => Self::Usage(sentence),
            Code::NotFound => Self::NotFound(sentence),
            Code::PermissionDenied | Code::Unauthenticated => Self::NotAllowed(sentence),
            Code::DeadlineExceeded => Self::TimedOut(sentence),
            Code::Unavailable => Self::Unreachable(sentence),
            _ => Self::Failed(sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grpc_code_has_its_exit_code() {
        let exit_code = |code: i32| Failure::from(Status::new(Code::from_i32(code), "why")).exit_code();
        let codes: Vec<u8> = (1..=16).map(exit_code).collect();
        //                    canceled unknown invalid deadline missing exists denied ...    unavailable, unauthenticated
        assert_eq!(codes, [1, 1, 2, 5, 3, 1, 4, 1, 1, 1, 1, 1, 1, 6, 1, 4]);
    }

    #[test]
    fn only_an_answer_settles_what_was_done() {
        let leaves_open = |code| Failure::from(Status::new(code, "why")).leaves_open();
        assert!(leaves_open(Code::Unavailable) && leaves_open(Code::DeadlineExceeded));
        assert!(!leaves_open(Code::ResourceExhausted) && !leaves_open(Code::PermissionDenied));
    }

    #[test]
    fn a_failure_is_never_without_a_sentence() {
        let failure = Failure::from(Status::new(Code::Internal, ""));
        assert_eq!(failure.to_string(), "the node answered Internal without a reason");
    }
}
