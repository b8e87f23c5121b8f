//! Traces: spans for an OpenTelemetry collector (OTLP over gRPC), and the trace context that travels with calls.
//!
//! Off unless [`Traces::export`] was called: then a span is `None`, no attribute is computed, and nothing travels. What
//! spans there are, and with which attributes, is in `docs/operations.md`.
//!
//! Exporting never holds up whoever ends a span. Finished spans wait in a queue of bounded length for a thread of the
//! SDK; what finds it full, or no collector, is lost, and the log says so once.

mod context;
mod export;

use std::fmt;

use opentelemetry::{
    Context as OtelContext, KeyValue,
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::metadata::MetadataMap;

pub use context::Context;
pub use export::{ExportError, MAX_QUEUE};
pub use opentelemetry::Value;

/// Most links of one span; more are left out.
pub const MAX_LINKS: usize = 64;

/// Where spans go. By default nowhere. Clones are cheap.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Exporting>);

#[derive(Debug, Clone)]
struct Exporting {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// What a span is to its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work within one process.
    Internal,
    /// A call, on the side that makes it.
    Client,
    /// A call, on the side that answers it.
    Server,
}

impl Traces {
    fn of(provider: SdkTracerProvider) -> Self {
        Self(Some(Exporting { tracer: provider.tracer("p2p-chat"), provider }))
    }

    /// Whether spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span; it ends when it is dropped. Without a parent it is the root of a new trace.
    pub fn begin(&self, name: &'static str, kind: Kind, parent: Option<&Context>) -> Span {
        let Some(exporting) = &self.0 else { return Span::default() };
        let kind = match kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Client => SpanKind::Client,
            Kind::Server => SpanKind::Server,
        };
        let under = OtelContext::new();
        let under = parent.map_or_else(|| under.clone(), |parent| under.with_remote_span_context(parent.span()));
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        Span(Some(Box::new(exporting.tracer.build_with_context(builder, &under))), 0)
    }

    /// The trace context that came with a call. Nothing if spans go nowhere, or if what came is no context.
    pub fn incoming(&self, metadata: &MetadataMap) -> Option<Context> {
        self.0.as_ref()?;
        Context::parse(metadata.get(context::HEADER)?.as_encoded_bytes())
    }
}

/// Something that takes time. Dropping it ends it. The default one is of nothing.
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>, usize);

impl Span {
    /// Whether what is said of it reaches anybody: what costs something to say can be left out if not.
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    /// Says something of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Says that `context` caused it too, beside its parent, and why. At most [`MAX_LINKS`].
    pub fn link(&mut self, context: &Context, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = self.0.as_mut().filter(|_| self.1 < MAX_LINKS) {
            span.add_link(context.span(), vec![KeyValue::new(key, value)]);
            self.1 += 1;
        }
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: &impl fmt::Display) {
        if let Some(span) = self.0.as_mut().filter(|span| span.is_recording()) {
            span.set_status(Status::error(why.to_string()));
        }
    }

    /// What to name as the parent of what it causes.
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|span| Context::of(span.span_context().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_go_nowhere_have_no_context_and_hear_of_none() {
        let traces = Traces::default();
        let mut metadata = MetadataMap::new();
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        metadata.insert(context::HEADER, header.parse().expect("it is ASCII"));
        assert_eq!(traces.incoming(&metadata), None);
        let parent = Context::parse(header.as_bytes());
        let span = traces.begin("send", Kind::Internal, parent.as_ref());
        assert!(parent.is_some() && !traces.is_on() && !span.is_recorded());
        assert_eq!(span.context(), None);
    }
}
