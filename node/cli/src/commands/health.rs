//! `health`: the standard gRPC health check (grpc.health.v1), in plaintext.

use std::{error::Error, time::Duration};

use tonic::{Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{failure::Failure, host::Host, render::json, run::Run, values::ServiceUrl};

/// `p2p-chat health`: fails unless the service as a whole is SERVING.
pub(crate) async fn check<H: Host>(url: &ServiceUrl, limit: Duration, run: &mut Run<'_, H>) -> Result<(), Failure> {
    let status = tokio::select! {
        status = tokio::time::timeout(limit, ask(url)) => status,
        () = run.interrupt.wait() => return Err(crate::run::interrupted()),
    };
    let address = url.address();
    let status = status.map_err(|_| {
        let limit = limit.as_secs();
        Failure::Unreachable(format!("{address} did not answer within {limit} s; check that it runs there"))
    })??;
    let word = status.as_str_name();
    if run.console.json {
        run.console.object(&json::Health { address: address.as_str(), status: word })?;
    } else {
        run.console.line(word)?;
    }
    match status {
        ServingStatus::Serving => Ok(()),
        _ => Err(Failure::Unreachable(format!("{address} answers but does not serve; look at its log"))),
    }
}

async fn ask(url: &ServiceUrl) -> Result<ServingStatus, Failure> {
    let channel = Endpoint::from_shared(url.to_string())
        .map_err(|error| Failure::Usage(format!("{url} is not an address: {error}; use HOST:PORT")))?
        .connect()
        .await
        .map_err(|error| unreachable(url, root_cause(&error)))?;
    let request = HealthCheckRequest { service: String::new() };
    let response = HealthClient::new(channel).check(request).await;
    Ok(response.map_err(|status| no_check(url, &status))?.into_inner().status())
}

fn no_check(url: &ServiceUrl, status: &Status) -> Failure {
    let why = match status.source() {
        Some(source) => root_cause(source),
        None => status.message().to_owned(),
    };
    unreachable(url, why)
}

fn unreachable(url: &ServiceUrl, why: String) -> Failure {
    let address = url.address();
    Failure::Unreachable(format!("{address} can't be asked for its health: {why}; check that it runs there"))
}

/// The innermost error, where the reason is.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}
