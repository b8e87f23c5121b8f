//! The trace context, and its form in the metadata of a call: the header `traceparent` of W3C Trace Context, level 1.
//! Its companion `tracestate`, which others may fill as they like, is neither read nor passed on.

use std::sync::Arc;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tonic::codegen::http::HeaderValue;

/// The name of the header.
pub(crate) const HEADER: &str = p2p_chat_transport::observe::TRACEPARENT;
/// The length of the header in version 00, in bytes. Later versions may only add to it.
const LEN: usize = 55;

/// Which span caused something, here or at another node. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context(Arc<SpanContext>);

impl Context {
    pub(crate) fn of(span: SpanContext) -> Self {
        Self(Arc::new(span))
    }

    pub(crate) fn span(&self) -> SpanContext {
        SpanContext::clone(&self.0)
    }

    /// Reads a header; nothing unless it is one to the letter.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let (head, rest) = header.split_at_checked(LEN)?;
        let text = std::str::from_utf8(head).ok()?;
        let parts: Vec<&str> = text.split('-').collect();
        let &[version, trace, span, flags] = parts.as_slice() else { return None };
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if lengths != [2, 32, 16, 2] || !parts.iter().all(is_hex) {
            return None;
        }
        let fits = match version {
            "00" => rest.is_empty(),
            "ff" => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        (fits && context.is_valid()).then(|| Self::of(context))
    }

    /// The header for a call that this causes.
    pub fn header(&self) -> Option<HeaderValue> {
        let (trace, span) = (self.0.trace_id(), self.0.span_id());
        let flags = u8::from(self.0.is_sampled());
        HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn again(header: &str) -> Option<String> {
        let header = Context::parse(header.as_bytes())?.header()?;
        Some(header.to_str().expect("it is text").to_owned())
    }

    #[test]
    fn a_header_is_read_and_written_again() {
        assert_eq!(again(GOOD).as_deref(), Some(GOOD));
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(again(&unsampled).as_deref(), Some(&*unsampled));
        // Flags that are not known yet, and a later version, whose additions are not.
        assert_eq!(again(&GOOD.replace("-01", "-ff")).as_deref(), Some(GOOD));
        assert_eq!(again(&format!("cc{}-what-will-be", &GOOD[2..])).as_deref(), Some(GOOD));
    }

    #[test]
    fn what_is_no_header_to_the_letter_is_nothing() {
        let long = GOOD.repeat(200);
        let bad = [
            "",
            "-",
            "00",
            "00---01",
            &GOOD[..54],
            &long,
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &format!(" {GOOD}"),
            &format!("cc{}x", &GOOD[2..]),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replacen("00-", "+0-", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace("0af7", "0ag7"),
            &GOOD.replace("0af7", "+af7"),
            &GOOD.replace("-01", "-0g"),
            &GOOD.replace('-', "_"),
            &GOOD.replace("c-b", "-cb"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            &"-".repeat(55),
            &"é".repeat(28),
        ];
        for header in bad {
            assert_eq!(Context::parse(header.as_bytes()), None, "{header:?}");
        }
        assert_eq!(Context::parse(&[0xff; 55]), None);
        assert_eq!(Context::parse(&[0; 55]), None);
    }
}
