//! What every server of p2p-chat has in common: its bounds, gRPC reflection and health.

use std::{sync::Arc, time::Duration};

use tonic::transport::{Server, server::Router};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder;
use tower::layer::util::{Identity, Stack};

use crate::{
    answers::Answers,
    bodies::Bodies,
    observe::{Calls, Observe},
    sizes::MAX_NAME_BYTES,
};

/// Most calls that one connection has open at one time; more wait at the client.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 128;

/// Largest header list of a call, in bytes: everything p2p-chat sends is in messages.
pub const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;

/// Most calls that a client may have opened and reset before they were accepted (CVE-2023-44487); beyond it the
/// connection is closed.
pub const MAX_PENDING_RESETS: usize = 20;

/// Most calls that this side resets because of a client's errors; beyond it the connection is closed.
pub const MAX_LOCAL_RESETS: usize = 256;

/// How long a connection may be silent before it is probed, and how long the probe may stay unanswered. Together they
/// bound how long a dead client keeps its place.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How much a client may send on a connection before it is read, in bytes: the largest hand-over of entries.
const WINDOW_BYTES: u32 = 256 * 1024;

/// What lies between a server's connections and its services.
pub type Bounds = Stack<Observe, Stack<Bodies, Stack<Answers, Identity>>>;

/// A descriptor set that reflection can't serve.
#[derive(Debug, thiserror::Error)]
#[error("bug: the descriptors of the wire contract could not be read ({0})")]
pub struct DescriptorError(#[from] tonic_reflection::server::Error);

/// A server with the bounds above and HTTP/2 keepalive, for TCP and for the Unix socket. Its calls are counted in `calls`.
pub fn base(calls: &Arc<Calls>) -> Server<Bounds> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .layer(Answers::default())
        .layer(Bodies::default())
        .layer(Observe(Arc::clone(calls)))
}

/// [`base`] with gRPC reflection (v1 and v1alpha) and `grpc.health.v1`.
///
/// `services` are the full names (`SERVICE_NAME` in the generated modules) of what the caller adds to the router:
/// reflection lists exactly them and its own two, and health reports them, and the server as a whole, as serving
/// until the reporter is told otherwise.
pub async fn common_services(
    services: &[&str],
    calls: &Arc<Calls>,
) -> Result<(Router<Bounds>, HealthReporter), DescriptorError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in services {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
    let v1 = reflection(services).build_v1()?.max_decoding_message_size(MAX_NAME_BYTES);
    let v1alpha = reflection(services).build_v1alpha()?.max_decoding_message_size(MAX_NAME_BYTES);
    let router = base(calls)
        .add_service(health_service.max_decoding_message_size(MAX_NAME_BYTES))
        .add_service(v1)
        .add_service(v1alpha);
    Ok((router, health))
}

fn reflection(services: &[&str]) -> Builder<'static> {
    use tonic_health::pb::health_server::SERVICE_NAME as HEALTH;
    use tonic_reflection::pb::{
        v1::{self, server_reflection_server::SERVICE_NAME as REFLECTION},
        v1alpha::{self, server_reflection_server::SERVICE_NAME as REFLECTION_ALPHA},
    };

    let builder = Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(p2p_chat_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(v1alpha::FILE_DESCRIPTOR_SET);
    let names = services.iter().chain(&[HEALTH, REFLECTION, REFLECTION_ALPHA]);
    names.fold(builder, |builder, name| builder.with_service_name(*name))
}
