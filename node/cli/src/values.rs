//! Values that are checked on the way in: before anything starts, with one sentence that says what is wrong.

use std::{fmt, net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use p2p_chat_model::{Name, limits::MAX_TEXT_BYTES, view::Address};

/// Where a gRPC service listens without TLS: prints as `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceUrl(Address);

impl ServiceUrl {
    /// The `HOST:PORT` in it.
    pub fn address(&self) -> &Address {
        &self.0
    }
}

/// A text that is no [`ServiceUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServiceUrlError {
    /// Another scheme.
    #[error("only http:// (plaintext HTTP/2) is understood")]
    Scheme,
    /// Not an address.
    #[error("expected http://HOST:PORT or HOST:PORT, with a port from 1 to 65535")]
    Address,
}

impl FromStr for ServiceUrl {
    type Err = ServiceUrlError;

    fn from_str(text: &str) -> Result<Self, ServiceUrlError> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(ServiceUrlError::Scheme),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        rest.parse().map(Self).map_err(|_| ServiceUrlError::Address)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// Reads the address to listen on; port 0 lets the system choose.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, for example 0.0.0.0:7500".to_owned())
}

/// Reads an address to listen on that may be a name; port 0 lets the system choose.
pub(crate) fn bind_address(text: &str) -> Result<String, String> {
    let is_well_formed = match text.rsplit_once(':') {
        Some((host, port)) => {
            let is_bare = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
            let fits = host.chars().all(|c| c.is_ascii_graphic() && !"/?#@".contains(c));
            !host.is_empty() && is_bare && fits && port.parse::<u16>().is_ok()
        }
        None => false,
    };
    if is_well_formed { Ok(text.to_owned()) } else { Err("expected HOST:PORT, for example 127.0.0.1:9500".to_owned()) }
}

/// Reads a network given by name or by id.
pub(crate) fn network(text: &str) -> Result<String, String> {
    if is_network_id(text) {
        return Ok(text.to_owned());
    }
    text.parse::<Name>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Whether `network` has the form of a network's id.
pub(crate) fn is_network_id(network: &str) -> bool {
    network.parse::<p2p_chat_model::NetworkId>().is_ok()
}

/// `word` as a shell takes it for one word, so that a hint can be typed as it is shown.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Reads a whole number of seconds, from 1 to 86,400.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<NonZeroU32>().ok().filter(|seconds| seconds.get() <= 86_400);
    let seconds = seconds.ok_or_else(|| "expected whole seconds from 1 to 86400".to_owned())?;
    Ok(Duration::from_secs(seconds.get().into()))
}

/// Milliseconds as the wire wants them.
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Checks the text of a message: more than white space, at most 64 KiB.
pub(crate) fn message_text(text: String) -> Result<String, String> {
    match text.len() {
        _ if text.trim().is_empty() => Err("a message must not be empty".to_owned()),
        size if size > MAX_TEXT_BYTES => {
            Err(format!("a message has at most {MAX_TEXT_BYTES} bytes, this one has {size}; send it in parts"))
        }
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_urls_are_checked_and_normalised() {
        let url = |text: &str| text.parse::<ServiceUrl>().map(|url| url.to_string());
        assert_eq!(url("http://nds:7400/"), Ok("http://nds:7400".to_owned()));
        assert_eq!(url("[::1]:7400"), Ok("http://[::1]:7400".to_owned()));
        assert_eq!(url("https://nds:7400"), Err(ServiceUrlError::Scheme));
        for bad in ["", "http://", "nds", "nds:0", "nds:70000", "http://nds:7400/path", "a b:1", "x@y:1"] {
            assert_eq!(url(bad), Err(ServiceUrlError::Address), "{bad}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        assert!(message_text(String::new()).is_err());
        assert!(message_text(" \t\n\u{a0}".to_owned()).is_err());
        assert!(message_text("x".repeat(MAX_TEXT_BYTES)).is_ok());
        assert!(message_text("x".repeat(MAX_TEXT_BYTES + 1)).is_err());
    }

    #[test]
    fn words_are_quoted_for_a_shell_where_they_need_it() {
        for plain in ["lab", "größe-2", "a.b/c"] {
            assert_eq!(quoted(plain), plain);
        }
        let words = [("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x;y", "'$x;y'"), ("~", "'~'"), ("", "''")];
        for (word, expected) in words {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("3"), Ok(Duration::from_secs(3)));
        for bad in ["0", "-1", "86401", "1.5", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
