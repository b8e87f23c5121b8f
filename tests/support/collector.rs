//! An OpenTelemetry collector in the test's hand: keeps the spans that processes export to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{self, ResourceSpans, span::SpanKind},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// What is said of something, as text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A span, ids in hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// What is said of the process: `service.name` and the rest.
    pub(crate) resource: Attributes,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) attributes: Attributes,
    /// The spans it is linked to, and what is said of each link.
    pub(crate) links: Vec<(String, Attributes)>,
    /// Nanoseconds since 1970.
    pub(crate) time: (u64, u64),
    pub(crate) failure: Option<String>,
}

impl Span {
    /// Something that is said of it.
    pub(crate) fn says(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// The name of the node it is of; of a discovery service, its service name.
    pub(crate) fn node(&self) -> &str {
        let name = self.resource.get("p2p_chat.name").or_else(|| self.resource.get("service.name"));
        name.map_or("", String::as_str)
    }
}

/// A collector that runs. Dropping it closes its port.
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        Self::on(listener)
    }

    /// One that listens there.
    pub(crate) fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let spans = Arc::default();
        let service = TraceServiceServer::new(Keeping(Arc::clone(&spans)));
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        Self { url, spans, serving: tokio::spawn(async move { drop(serving.await) }) }
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one span, so far, of which this is true.
    pub(crate) fn one(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Result<Span, String> {
        let mut found: Vec<Span> = self.spans().into_iter().filter(is_it).collect();
        match (found.pop(), found.len()) {
            (Some(span), 0) => Ok(span),
            (None, _) => Err(format!("no span is {what}")),
            (Some(_), more) => Err(format!("{} spans are {what}", more + 1)),
        }
    }

    /// The one child of `parent` of this name, at this node.
    pub(crate) fn child(&self, parent: &Span, node: &str, name: &str, kind: SpanKind) -> Result<Span, String> {
        let what = format!("{name} ({kind:?}) at {node} under {} at {}", parent.name, parent.node());
        let child = self.one(&what, |span| {
            span.parent == parent.id && span.name == name && span.node() == node && span.kind == kind
        })?;
        assert_eq!(child.trace, parent.trace, "{what} is of another trace");
        Ok(child)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Keeping(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Keeping {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let came = request.into_inner().resource_spans.into_iter().flat_map(read);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(came);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(of_process: ResourceSpans) -> impl Iterator<Item = Span> {
    let resource = attributes(of_process.resource.unwrap_or_default().attributes);
    of_process.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| {
        let status = span.status.clone().unwrap_or_default();
        let failed = status.code() == v1::status::StatusCode::Error;
        Span {
            resource: resource.clone(),
            kind: span.kind(),
            name: span.name,
            trace: hex::encode(span.trace_id),
            id: hex::encode(span.span_id),
            parent: hex::encode(span.parent_span_id),
            attributes: attributes(span.attributes),
            links: span
                .links
                .into_iter()
                .map(|link| (hex::encode(link.span_id), attributes(link.attributes)))
                .collect(),
            time: (span.start_time_unix_nano, span.end_time_unix_nano),
            failure: failed.then_some(status.message),
        }
    })
}

fn attributes(list: Vec<KeyValue>) -> Attributes {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("nobody reads attributes such as {other:?}"),
    };
    list.into_iter().map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect()
}
