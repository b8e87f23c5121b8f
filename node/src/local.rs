//! The local API: what the command line, screens and bots call.

#[cfg(test)]
mod fixture;
mod follow;
mod history;
mod pages;
mod send;
mod show;
pub(crate) mod socket;
mod status;

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use p2p_chat_engine::{Command, CommandError, Done, Phase};
use p2p_chat_model::{Name, NetworkId, name::NameError};
use p2p_chat_proto::v1::{self, node_server};
use p2p_chat_store::{StoreError, Write};
use p2p_chat_traces::{Context, Kind, Span};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use crate::{
    directory::{Listed, LookupError},
    hub::{Hub, HubError},
    network::{Network, Unmet},
};

/// How long a leave waits for another member to hold everything, unless told otherwise.
const LEAVE_WAIT: Duration = Duration::from_secs(10);
/// How long a join may take in all, as `node.proto` promises.
const JOIN_WAIT: Duration = Duration::from_secs(15);
/// How long the answer to a join waits for the beginning of the log.
const SETTLE_WAIT: Duration = Duration::from_secs(1);
/// How long a shutdown waits, unless told otherwise.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) hub: Arc<Hub>,
    pub(crate) data_dir: PathBuf,
    /// Set to true, it ends the node.
    pub(crate) stop: watch::Sender<bool>,
}

type EventStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A duration from the wire; 0 means the default.
fn wait_of(ms: u32, default: Duration) -> Duration {
    if ms == 0 { default } else { Duration::from_millis(u64::from(ms)) }
}

fn network_name(text: &str) -> Result<Name, Status> {
    text.parse().map_err(|error: NameError| Status::invalid_argument(format!("the network's name is refused: {error}")))
}

/// The status of what went wrong with a network of this node. The one place where codes are chosen.
pub(crate) fn hub_status(error: HubError) -> Status {
    let text = error.to_string();
    match error {
        HubError::Unknown(_) => Status::not_found(text),
        HubError::Left(_) | HubError::Ambiguous(_) | HubError::StillIn(_) => Status::failed_precondition(text),
        HubError::Member(_) => Status::already_exists(text),
        HubError::Entering(_) => Status::aborted(text),
        HubError::Full | HubError::Unable(_) => Status::resource_exhausted(text),
        HubError::Store(error) => store_status(&error),
        HubError::Command(error) => command_status(&error),
    }
}

pub(crate) fn store_status(error: &StoreError) -> Status {
    let code = match error {
        StoreError::Corrupt { .. } | StoreError::Damaged { .. } => Code::DataLoss,
        _ => Code::ResourceExhausted,
    };
    Status::new(code, error.to_string())
}

pub(crate) fn unmet_status(error: &Unmet) -> Status {
    match error {
        Unmet::Command(error) => command_status(error),
        Unmet::Unable(problem) => Status::resource_exhausted(problem.clone()),
        Unmet::Stopping => Status::unavailable(error.to_string()),
    }
}

fn leave_status(error: &Unmet) -> Status {
    match error {
        Unmet::Command(CommandError::OnlyHere(_)) => {
            Status::failed_precondition(format!("{error}; try again when other members can be reached, or use --force"))
        }
        error => unmet_status(error),
    }
}

fn command_status(error: &CommandError) -> Status {
    let code = match error {
        CommandError::NameTaken => Code::AlreadyExists,
        CommandError::NoDiscovery(_) | CommandError::NoLeader(_) => Code::Unavailable,
        CommandError::NotReachable(_) | CommandError::OnlyHere(_) | CommandError::Left => Code::FailedPrecondition,
        CommandError::Refused(_) => Code::PermissionDenied,
        CommandError::Busy => Code::Aborted,
    };
    Status::new(code, error.to_string())
}

fn lookup_status(error: &LookupError) -> Status {
    match error {
        LookupError::Unknown(_) => Status::not_found(error.to_string()),
        LookupError::Ambiguous { .. } => Status::failed_precondition(error.to_string()),
        LookupError::Unreachable(_) => Status::unavailable(error.to_string()),
    }
}

fn ended<T>(span: &mut Span, result: &Result<T, HubError>) {
    if let Err(error) = result {
        span.fail(error);
    }
}

impl Local {
    /// What the user wants of a network; `cause` is what the caller says of it.
    fn span(&self, name: &'static str, network: &Name, cause: Option<Context>) -> Span {
        let mut span = self.hub.traces.begin(name, Kind::Internal, cause.as_ref());
        span.set("network", network.to_string());
        span
    }

    async fn create_network(&self, wanted: &str, cause: Option<Context>) -> Result<v1::NetworkInfo, Status> {
        let name = network_name(wanted)?;
        self.check_outside(wanted).await?;
        let mut span = self.span("create", &name, cause);
        let created = self.hub.create(name.clone(), span.context()).await;
        ended(&mut span, &created);
        let id = created.map_err(|error| match error {
            HubError::Command(CommandError::NameTaken) => Status::already_exists(format!(
                "a network named {name} is registered already; join it, or choose another name"
            )),
            error => hub_status(error),
        })?;
        let network = self.hub.active(&id).ok_or_else(|| Status::aborted("the network ended at once"))?;
        self.describe(&network).await
    }

    /// Refuses to enter a network twice. One that the node is just leaving can be entered in a moment, and of one that it
    /// is just entering nobody knows yet whether it will be in.
    async fn check_outside(&self, wanted: &str) -> Result<(), Status> {
        let Ok(network) = self.hub.joined(wanted) else { return Ok(()) };
        Err(match network.look().await.map(|look| look.snapshot.phase) {
            None | Some(Phase::Leaving) => {
                Status::aborted(format!("this node is just leaving {}; try again in a moment", network.name))
            }
            Some(Phase::Founding | Phase::Joining) => hub_status(HubError::Entering(network.name)),
            Some(Phase::Joined | Phase::Left) => hub_status(HubError::Member(network.name)),
        })
    }

    async fn join_network(&self, wanted: &str, cause: Option<Context>) -> Result<v1::JoinNetworkResponse, Status> {
        if wanted.parse::<NetworkId>().is_err() {
            network_name(wanted)?;
        }
        self.check_outside(wanted).await?;
        let deadline = Instant::now() + JOIN_WAIT;
        timeout_at(deadline, self.join_listed(wanted, deadline, cause)).await.map_err(|_| {
            let seconds = JOIN_WAIT.as_secs();
            Status::deadline_exceeded(format!(
                "joining {wanted} takes longer than {seconds} s; see `p2p-chat status` whether the node is in"
            ))
        })?
    }

    async fn join_listed(
        &self,
        wanted: &str,
        deadline: Instant,
        cause: Option<Context>,
    ) -> Result<v1::JoinNetworkResponse, Status> {
        let Listed { id, name, record, .. } =
            self.hub.directory.find(wanted).await.map_err(|error| lookup_status(&error))?;
        let mut span = self.span("join", &name, cause);
        let limit = deadline.saturating_duration_since(Instant::now()).saturating_sub(SETTLE_WAIT);
        let joined = self.hub.join((id, name), record, limit, span.context()).await;
        ended(&mut span, &joined);
        drop(span);
        let outcome = joined.map_err(hub_status)?;
        let Done::Joined(node) = outcome.done else {
            return Err(Status::internal("bug: a join ended as something else"));
        };
        let network = self.hub.active(&id).ok_or_else(|| Status::aborted("the network was left at once"))?;
        self.wait_until_settled(&network).await;
        Ok(v1::JoinNetworkResponse { network: Some(self.describe(&network).await?), node_id: node.0 })
    }

    /// Gives a new member a moment to fetch what names the others.
    async fn wait_until_settled(&self, network: &Network) {
        let mut happenings = network.listen();
        let deadline = Instant::now() + SETTLE_WAIT;
        while network.look().await.is_some_and(|look| !look.snapshot.writable) {
            if timeout_at(deadline, happenings.recv()).await.is_err() {
                return;
            }
        }
    }

    async fn leave_network(&self, request: v1::LeaveNetworkRequest) -> Result<v1::LeaveNetworkResponse, Status> {
        let network = self.hub.joined(&request.network).map_err(hub_status)?;
        let wait = wait_of(request.timeout_ms, LEAVE_WAIT);
        let leave = Command::Leave { wait_ms: wait.as_millis() as u64, force: request.force };
        let outcome = network.command(leave, None, None).await;
        match outcome.map_err(|error| leave_status(&error))?.done {
            Done::Left { unreplicated, closed } => Ok(v1::LeaveNetworkResponse { unreplicated, closed }),
            _ => Err(Status::internal("bug: a leave ended as something else")),
        }
    }
}

#[async_trait]
impl node_server::Node for Local {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.status_now().await))
    }

    async fn create(&self, request: Request<v1::CreateRequest>) -> Result<Response<v1::CreateResponse>, Status> {
        let cause = self.hub.traces.incoming(request.metadata());
        let network = Some(self.create_network(&request.into_inner().network, cause).await?);
        Ok(Response::new(v1::CreateResponse { network }))
    }

    async fn join(
        &self,
        request: Request<v1::JoinNetworkRequest>,
    ) -> Result<Response<v1::JoinNetworkResponse>, Status> {
        let cause = self.hub.traces.incoming(request.metadata());
        Ok(Response::new(self.join_network(&request.into_inner().network, cause).await?))
    }

    async fn leave(
        &self,
        request: Request<v1::LeaveNetworkRequest>,
    ) -> Result<Response<v1::LeaveNetworkResponse>, Status> {
        Ok(Response::new(self.leave_network(request.into_inner()).await?))
    }

    async fn forget(&self, request: Request<v1::ForgetRequest>) -> Result<Response<v1::ForgetResponse>, Status> {
        let entries = self.hub.forget(&request.into_inner().network).await.map_err(hub_status)?;
        Ok(Response::new(v1::ForgetResponse { entries }))
    }

    async fn networks(&self, _: Request<v1::NetworksRequest>) -> Result<Response<v1::NetworksResponse>, Status> {
        Ok(Response::new(self.networks_now().await))
    }

    async fn members(&self, request: Request<v1::MembersRequest>) -> Result<Response<v1::MembersResponse>, Status> {
        let members = self.members_of(&request.into_inner().network).await?;
        Ok(Response::new(v1::MembersResponse { members }))
    }

    async fn send(&self, request: Request<v1::SendRequest>) -> Result<Response<v1::SendResponse>, Status> {
        let cause = self.hub.traces.incoming(request.metadata());
        Ok(Response::new(self.send_text(request.into_inner(), cause).await?))
    }

    type SendStreamStream = EventStream<v1::SendOutcome>;

    async fn send_stream(
        &self,
        requests: Request<Streaming<v1::SendRequest>>,
    ) -> Result<Response<Self::SendStreamStream>, Status> {
        let cause = self.hub.traces.incoming(requests.metadata());
        Ok(Response::new(self.send_texts(requests.into_inner(), cause)))
    }

    type SubscribeStream = EventStream<v1::Event>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Ok(Response::new(self.follow(request.into_inner()).await?))
    }

    type HistoryStream = EventStream<v1::Message>;

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Result<Response<Self::HistoryStream>, Status> {
        Ok(Response::new(self.history_of(request.into_inner()).await?))
    }

    async fn inspect(&self, request: Request<v1::InspectRequest>) -> Result<Response<v1::InspectResponse>, Status> {
        Ok(Response::new(self.inspect_message(request.into_inner()).await?))
    }

    async fn mark_read(&self, request: Request<v1::MarkReadRequest>) -> Result<Response<v1::MarkReadResponse>, Status> {
        let request = request.into_inner();
        let entry = self.hub.find(&request.network).map_err(hub_status)?;
        if entry.network.is_none() {
            // No task has this network: a commit that failed here earlier says nothing of the next one.
            self.hub.store.check_writable(entry.id).await.map_err(|error| store_status(&error))?;
        }
        let write = Write::MarkRead { position: request.position };
        let marked = self.hub.store.commit(entry.id, vec![write]).await;
        marked.map_err(|error| match error {
            // This contradicts nothing that is stored: nothing is, as the network was forgotten in the meantime.
            StoreError::Refused { .. } => hub_status(HubError::Unknown(entry.name.to_string())),
            error => store_status(&error),
        })?;
        Ok(Response::new(v1::MarkReadResponse {}))
    }

    async fn shutdown(&self, request: Request<v1::ShutdownRequest>) -> Result<Response<v1::ShutdownResponse>, Status> {
        let wait = wait_of(request.into_inner().timeout_ms, SHUTDOWN_WAIT);
        let unreplicated = self.wait_replicated(wait).await;
        self.stop.send_replace(true);
        Ok(Response::new(v1::ShutdownResponse { unreplicated }))
    }
}

#[cfg(test)]
mod tests;
