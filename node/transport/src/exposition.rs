//! The page for a monitor: `GET /metrics` over HTTP/1.1, and nothing else. For a network that the operator trusts: it has
//! neither encryption nor identities, and says how many networks there are and what they are named.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Method, Request, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use p2p_chat_metrics::CONTENT_TYPE;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::codegen::{Bytes, http::Response};

/// The path of the page.
pub const PATH: &str = "/metrics";
/// Most connections at one time; more are closed at once.
pub const MAX_SCRAPES: usize = 16;
/// How long a client may take for the headers of its request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take in all, with the answer read.
pub const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most headers of a request, and most bytes of all of them.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Pause after an accept that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The port of the page could not be had.
#[derive(Debug, thiserror::Error)]
#[error("can't serve metrics on {at} ({source}); choose another address with --metrics, or stop what uses it")]
pub struct ExpositionError {
    at: String,
    source: io::Error,
}

/// Takes the port `at` (`HOST:PORT`; port 0 lets the system choose).
///
/// # Errors
/// When the name is unknown, or the port is taken or not this user's.
pub async fn bind(at: &str) -> Result<TcpListener, ExpositionError> {
    TcpListener::bind(at).await.map_err(|source| ExpositionError { at: at.to_owned(), source })
}

/// Serves what `page` gives, anew for each scrape, until `stop` completes. One request a connection.
pub async fn serve<F, P>(listener: TcpListener, page: P, stop: impl Future<Output = ()>)
where
    P: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = String> + Send,
{
    match listener.local_addr() {
        Ok(address) => tracing::info!(url = %format_args!("http://{address}{PATH}"), "serving metrics"),
        Err(error) => tracing::warn!(%error, "serving metrics, but the system does not say where"),
    }
    let (page, places) = (Arc::new(page), Arc::new(Semaphore::new(MAX_SCRAPES)));
    let mut stop = pin!(stop);
    let mut scrapes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            Some(_) = scrapes.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, remote)), Ok(place)) => {
                let page = Arc::clone(&page);
                scrapes.spawn(async move {
                    if timeout(SCRAPE_TIMEOUT, answer(stream, &*page)).await.is_err() {
                        tracing::debug!(%remote, "a scrape took too long");
                    }
                    drop(place);
                });
            }
            (Ok((_, remote)), Err(_)) => tracing::debug!(%remote, "too many scrapes at one time"),
            (Err(error), _) => {
                tracing::warn!(%error, "could not accept a scrape");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn answer<F: Future<Output = String> + Send>(stream: TcpStream, page: &(impl Fn() -> F + Sync)) {
    let respond = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(respond(&request, page).await));
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), respond)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a scrape failed");
    }
}

async fn respond<F: Future<Output = String>>(
    request: &Request<Incoming>,
    page: &impl Fn() -> F,
) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.uri().path(), request.method()) {
        (PATH, &Method::GET) => (StatusCode::OK, CONTENT_TYPE, page().await),
        (PATH, _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is understood\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "there is only /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET"));
    }
    response
}
