//! What a failed call really failed of. tonic shows "transport error" and keeps the cause in the chain behind it.

use std::{error::Error, io};

use p2p_chat_model::name::printable;
use tonic::{Code, Status};

use crate::DialError;

/// What tonic says when a deadline that the caller set ran out.
const TIMEOUT_EXPIRED: &str = "Timeout expired";

/// The cause of a failed call in words for a person, safe to print on a terminal:
/// - no connection: the [`DialError`], with the address;
/// - a connection lost during the call: "the connection broke: ...";
/// - a deadline that ran out here: "timed out: ...";
/// - else what the other side said.
pub fn describe(status: &Status) -> String {
    if let Some(error) = dial_error(status) {
        return printable(&error.to_string());
    }
    if is_expired(status) {
        return "timed out: no answer within the deadline of the call".to_owned();
    }
    if let Some(cause) = chain(status).last() {
        let cause = cause.downcast_ref::<io::Error>().map_or_else(|| cause.to_string(), reason);
        return printable(&format!("the connection broke: {cause}"));
    }
    match status.message() {
        "" => status.code().description().to_owned(),
        message => printable(message),
    }
}

/// Why the connection for this call could not be made; `None` if the call failed of something else.
pub fn dial_error(status: &Status) -> Option<&DialError> {
    chain(status).find_map(|cause| cause.downcast_ref())
}

/// Whether the call failed without an answer from the other side: no connection, a connection lost, or a deadline that
/// ran out. The status codes alone don't tell: the other side may use each of them, and tonic gives a lost connection
/// `UNKNOWN` and an expired deadline `CANCELLED`. What was asked for may have happened all the same.
pub fn is_unanswered(status: &Status) -> bool {
    status.source().is_some() || is_expired(status)
}

fn is_expired(status: &Status) -> bool {
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) && status.message() == TIMEOUT_EXPIRED
}

/// The errors behind a status, outermost first.
fn chain(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        // An `io::Error` presents what it wraps as itself, and its source as its own.
        Some(wrapped) => wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)),
        None => error.source(),
    })
}

/// What the system said, without its numbers: "connection refused".
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let known_by_number = error.raw_os_error().is_some();
    match chars.next() {
        Some(first) if known_by_number => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_said_is_shown_harmless() {
        assert_eq!(describe(&Status::not_found("no network `lab`")), "no network `lab`");
        assert_eq!(describe(&Status::not_found("a\u{1b}[2J")), "a\\u{1b}[2J");
        assert_eq!(describe(&Status::unavailable("")), Code::Unavailable.description());
    }

    #[test]
    fn the_innermost_cause_of_a_broken_connection_is_shown() {
        let outer = io::Error::other(io::Error::from_raw_os_error(104));
        assert_eq!(describe(&Status::from_error(Box::new(outer))), "the connection broke: connection reset by peer");
    }
}
