//! Exporting: the way from a finished span to the collector, which may be slow, or away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter as Export},
};
use p2p_chat_transport::{UrlError, dial::plaintext};
use tokio::runtime::Handle;
use tracing::{debug, info, warn};

use crate::Traces;

/// Finished spans that may wait to be exported; more are lost.
pub const MAX_QUEUE: usize = 2_048;
/// Spans in one export.
const BATCH: usize = 512;
/// How long a finished span waits for others, at most.
const DELAY: Duration = Duration::from_secs(1);
/// How long one export may take; then its spans are lost.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process may wait for the last export.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Spans can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The collector's URL makes no sense.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A setting of the environment makes no sense.
    #[error("traces can't be exported ({0}); correct the OTEL_EXPORTER_OTLP_ variables of the environment")]
    Setting(#[from] ExporterBuildError),
}

impl Traces {
    /// Exports spans to the collector at `url` (`http://HOST:PORT`), under the name of this service, with what is true of
    /// all spans of the process. Connects when there is something to export, and again whenever that was lost. To be
    /// called inside a Tokio runtime of several threads.
    ///
    /// # Errors
    /// A URL or an environment variable that makes no sense. That the collector is away is none.
    pub fn export(
        url: &str,
        service: &'static str,
        of_process: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, ExportError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_channel(plaintext(url)?)
            // A collector that comes back gets what is new; to hold back for it what is old would hold up both.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let exporter =
            Watched { exporter: Arc::new(exporter), runtime: Handle::current(), url: url.to_owned(), lost: 0.into() };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let of_process = of_process.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let resource = Resource::builder().with_service_name(service).with_attributes(of_process).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .build();
        info!(%url, "exporting traces");
        Ok(Self::of(provider))
    }

    /// Exports what has ended, within 2 s, and nothing more from now on.
    pub async fn stop(&self) {
        let Some(exporting) = self.0.clone() else { return };
        let stopped = tokio::task::spawn_blocking(move || exporting.provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if let Ok(Err(error)) = stopped.await {
            warn!(%error, "the last spans were not exported");
        }
    }
}

/// An exporter whose failures are told once, not with every batch: a collector that is away is no emergency.
#[derive(Debug)]
struct Watched {
    exporter: Arc<SpanExporter>,
    /// The thread that exports is not of the runtime, and time limits need one.
    runtime: Handle,
    url: String,
    /// Spans lost since the collector last answered.
    lost: AtomicU64,
}

impl Export for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (exporter, count) = (Arc::clone(&self.exporter), batch.len() as u64);
        let attempt = async move { tokio::time::timeout(EXPORT_TIMEOUT, exporter.export(batch)).await };
        let problem = match self.runtime.spawn(attempt).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Err(_)) => Some(OTelSdkError::Timeout(EXPORT_TIMEOUT).to_string()),
            // The process is about to end.
            Err(_) => return Ok(()),
        };
        let url = &self.url;
        match problem {
            Some(error) if self.lost.fetch_add(count, Ordering::Relaxed) == 0 => {
                warn!(%url, %error, "can't export spans; they are lost until the collector answers");
            }
            Some(error) => debug!(%url, %error, count, "more spans are lost"),
            None => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => info!(%url, lost, "exporting spans again"),
            },
        }
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nobody else holds it before the first export.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}
