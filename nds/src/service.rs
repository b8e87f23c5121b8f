//! The calls of `p2pchat.v1.Discovery`.

use std::{net::IpAddr, sync::Arc, time::Instant};

use p2p_chat_model::NetworkId;
use p2p_chat_proto::v1::{self, discovery_server::Discovery};
use p2p_chat_traces::{Kind, Span, Traces};
use p2p_chat_transport::{Caller, Places};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::{
    config::Config,
    error::CallError,
    limiter::Limiter,
    metrics::Metrics,
    probe::{Pinger, Prober},
    registrar::{Command, Purpose, Registrar, Statement},
    registry::{Answers, Refusal, Verdict},
    watch::{self as changes, Changes},
    wire,
};

/// Most watchers at one time; see [`Places`] for what one address gets.
const MAX_WATCHERS: usize = 2_048;
/// Most answers to ListNetworks that are under way at one time, each of up to 2 MiB; shared in the same way.
const MAX_LISTS: usize = 64;
/// How often nodes are asked anew because the record changed while they were asked.
const MAX_ROUNDS: usize = 3;

/// The service.
pub(crate) struct Service<P> {
    registrar: Registrar,
    prober: Prober<P>,
    calls: Limiter,
    probing_calls: Limiter,
    lists: Places,
    pub(crate) watchers: Places,
    stopping: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    traces: Traces,
}

impl<P: Pinger> Service<P> {
    /// Watches end when `stopping` becomes true.
    pub(crate) fn new(
        config: &Config,
        registrar: Registrar,
        pinger: P,
        stopping: watch::Receiver<bool>,
        (metrics, traces): (Arc<Metrics>, Traces),
    ) -> Self {
        Self {
            registrar,
            prober: Prober::new(pinger, config.probe_timeout, metrics.clone()),
            calls: Limiter::new(config.calls_per_second),
            probing_calls: Limiter::new(config.probing_calls_per_second),
            lists: Places::new(MAX_LISTS),
            watchers: Places::new(MAX_WATCHERS),
            stopping,
            metrics,
            traces,
        }
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<IpAddr, CallError> {
        let caller = request.extensions().get::<Caller>().map(|caller| caller.remote);
        // Only connections that are not TCP have no address; they share one allowance.
        let caller = caller.map_or(IpAddr::from([0; 4]), |address| address.ip());
        allow(&self.calls, caller)?;
        Ok(caller)
    }

    /// Does what a statement wants, within `span`.
    async fn settle(&self, statement: Statement, caller: IpAddr, mut span: Span) -> Result<(), CallError> {
        if span.is_recorded() {
            span.set("network_id", statement.claim.network.short());
            span.set("epoch", statement.claim.view.epoch.to_string());
        }
        let settled = self.follow(statement, caller).await;
        if let Err(error) = &settled {
            span.fail(error);
        }
        settled
    }

    /// Asks nodes as often as it takes.
    async fn follow(&self, statement: Statement, caller: IpAddr) -> Result<(), CallError> {
        let is_paid_for = matches!(statement.purpose, Purpose::Create(_) | Purpose::Update(_));
        let command = Arc::new(Command::Follow(Box::new(statement)));
        let mut answers = Answers::new();
        for _ in 0..MAX_ROUNDS {
            let mut verdict = self.registrar.consider(&command, &answers)?;
            if matches!(verdict, Verdict::Accept(_)) {
                verdict = self.registrar.submit(command.clone(), answers.clone()).await?;
            }
            let Verdict::AskFirst(probes) = verdict else { return Ok(()) };
            if !is_paid_for {
                allow(&self.probing_calls, caller)?;
            }
            let asked = self.prober.ask(caller, probes, &mut answers).await;
            asked.map_err(|_| CallError::Busy("too many nodes are being called back"))?;
        }
        Err(CallError::Unsettled)
    }

    fn listed(&self, network: NetworkId) -> Result<v1::NetworkRecord, CallError> {
        self.registrar.read(|registry, now| {
            let record = registry.record(&network).ok_or(Refusal::Unknown(network))?;
            Ok(wire::record(record, registry.is_stale(record, now)))
        })
    }

    async fn create(&self, request: Request<v1::CreateNetworkRequest>) -> Result<v1::NetworkRecord, CallError> {
        let caller = self.admit(&request)?;
        allow(&self.probing_calls, caller)?;
        let cause = self.traces.incoming(request.metadata());
        let statement = verified(request.into_inner(), wire::create).await?;
        let network = statement.claim.network;
        let span = self.traces.begin("p2pchat.v1.Discovery/CreateNetwork", Kind::Server, cause.as_ref());
        self.settle(statement, caller, span).await?;
        let record = self.listed(network)?;
        let (name, epoch, leader) = (&record.name, record.epoch, &record.leader_address);
        tracing::info!(%caller, network = network.short(), name, epoch, leader, "network registered");
        Ok(record)
    }

    async fn update(&self, request: Request<v1::UpdateLeaderRequest>) -> Result<v1::UpdateLeaderResponse, CallError> {
        let caller = self.admit(&request)?;
        allow(&self.probing_calls, caller)?;
        let cause = self.traces.incoming(request.metadata());
        let statement = verified(request.into_inner(), wire::update).await?;
        let network = statement.claim.network;
        let span = self.traces.begin("p2pchat.v1.Discovery/UpdateLeader", Kind::Server, cause.as_ref());
        let refusal = answerable(&self.metrics, self.settle(statement, caller, span).await, caller, network)?;
        let record = self.listed(network)?;
        let accepted = refusal == v1::Refusal::Unspecified;
        if accepted {
            let (name, epoch, leader) = (&record.name, record.epoch, &record.leader_address);
            tracing::info!(%caller, network = network.short(), name, epoch, leader, "new leader registered");
        }
        Ok(v1::UpdateLeaderResponse { accepted, refusal: refusal.into(), record: Some(record) })
    }

    async fn renew(&self, request: Request<v1::RenewLeaseRequest>) -> Result<v1::RenewLeaseResponse, CallError> {
        let caller = self.admit(&request)?;
        let statement = wire::renew(request.get_ref())?;
        let network = statement.claim.network;
        // Every leader's every 10 s: no trace is made of it.
        let settled = self.settle(statement, caller, Span::default()).await;
        let refusal = answerable(&self.metrics, settled, caller, network)?;
        self.registrar.read(|registry, now| {
            let record = registry.record(&network).ok_or(Refusal::Unknown(network))?;
            Ok(v1::RenewLeaseResponse {
                accepted: refusal == v1::Refusal::Unspecified,
                refusal: refusal.into(),
                record: Some(wire::record(record, registry.is_stale(record, now))),
                serial: record.serial(),
            })
        })
    }

    async fn close(&self, request: Request<v1::CloseNetworkRequest>) -> Result<(), CallError> {
        let caller = self.admit(&request)?;
        let statement = wire::close(request.get_ref())?;
        let network = statement.claim.network;
        let cause = self.traces.incoming(request.metadata());
        let span = self.traces.begin("p2pchat.v1.Discovery/CloseNetwork", Kind::Server, cause.as_ref());
        self.settle(statement, caller, span).await?;
        tracing::info!(%caller, network = network.short(), "network closed");
        Ok(())
    }

    fn get(&self, request: Request<v1::GetNetworkRequest>) -> Result<v1::NetworkRecord, CallError> {
        self.admit(&request)?;
        match wire::key(request.into_inner())? {
            wire::Key::Network(network) => self.listed(network),
            wire::Key::Name(name) => self.registrar.read(|registry, now| {
                let record = registry.named(&name).ok_or(Refusal::UnknownName(name.clone()))?;
                Ok(wire::record(record, registry.is_stale(record, now)))
            }),
        }
    }

    /// A page, which has its place until it is read.
    fn list(
        &self,
        request: &Request<v1::ListNetworksRequest>,
    ) -> Result<Response<v1::ListNetworksResponse>, CallError> {
        let caller = self.admit(request)?;
        let place = self.lists.take(caller).map_err(|_| CallError::Busy("too many lists are being read"))?;
        let page = self.registrar.read(|registry, now| wire::page(registry, now, request.get_ref()))?;
        let mut response = Response::new(page);
        response.extensions_mut().insert(Arc::new(place));
        Ok(response)
    }

    fn watch(&self, request: &Request<v1::WatchNetworksRequest>) -> Result<Changes, CallError> {
        let caller = self.admit(request)?;
        let place = self.watchers.take(caller).map_err(|_| CallError::Busy("too many watchers"))?;
        Ok(changes::watch(self.registrar.clone(), self.stopping.clone(), place, changes::PATIENCE))
    }
}

fn allow(limiter: &Limiter, caller: IpAddr) -> Result<(), CallError> {
    if limiter.admit(caller, Instant::now()) { Ok(()) } else { Err(CallError::TooManyCalls) }
}

/// Checks a request with many signatures where that holds up nobody else.
async fn verified<T: Send + 'static>(
    request: T,
    decode: fn(&T) -> Result<Statement, CallError>,
) -> Result<Statement, CallError> {
    tokio::task::spawn_blocking(move || decode(&request)).await.unwrap_or(Err(CallError::Stopping))
}

/// The refusal that is part of an answer; unspecified if there is none.
fn answerable(
    metrics: &Metrics,
    outcome: Result<(), CallError>,
    caller: IpAddr,
    network: NetworkId,
) -> Result<v1::Refusal, CallError> {
    let Err(error) = outcome else { return Ok(v1::Refusal::Unspecified) };
    let answer = match &error {
        CallError::Refused(refusal) => wire::refusal(refusal),
        _ => None,
    };
    let answer = answer.ok_or_else(|| error.clone())?;
    metrics.on_refused(&error);
    tracing::info!(%caller, network = network.short(), reason = %error, "refused");
    Ok(answer)
}

fn reply<T>(metrics: &Metrics, call: &'static str, outcome: Result<T, CallError>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|error| refused(metrics, call, error))
}

fn refused(metrics: &Metrics, call: &'static str, error: CallError) -> Status {
    metrics.on_refused(&error);
    match &error {
        // Frequent by nature, or as frequent as a caller likes.
        CallError::TooManyCalls | CallError::Refused(Refusal::Unknown(_) | Refusal::UnknownName(_)) => {
            tracing::debug!(call, reason = %error, "refused");
        }
        _ => tracing::info!(call, reason = %error, "refused"),
    }
    error.into()
}

#[tonic::async_trait]
impl<P: Pinger> Discovery for Service<P> {
    type WatchNetworksStream = Changes;

    async fn create_network(
        &self,
        request: Request<v1::CreateNetworkRequest>,
    ) -> Result<Response<v1::CreateNetworkResponse>, Status> {
        let record = self.create(request).await.map(Some);
        reply(&self.metrics, "CreateNetwork", record.map(|record| v1::CreateNetworkResponse { record }))
    }

    async fn list_networks(
        &self,
        request: Request<v1::ListNetworksRequest>,
    ) -> Result<Response<v1::ListNetworksResponse>, Status> {
        self.list(&request).map_err(|error| refused(&self.metrics, "ListNetworks", error))
    }

    async fn get_network(
        &self,
        request: Request<v1::GetNetworkRequest>,
    ) -> Result<Response<v1::GetNetworkResponse>, Status> {
        reply(
            &self.metrics,
            "GetNetwork",
            self.get(request).map(|record| v1::GetNetworkResponse { record: Some(record) }),
        )
    }

    async fn watch_networks(
        &self,
        request: Request<v1::WatchNetworksRequest>,
    ) -> Result<Response<Self::WatchNetworksStream>, Status> {
        reply(&self.metrics, "WatchNetworks", self.watch(&request))
    }

    async fn update_leader(
        &self,
        request: Request<v1::UpdateLeaderRequest>,
    ) -> Result<Response<v1::UpdateLeaderResponse>, Status> {
        reply(&self.metrics, "UpdateLeader", self.update(request).await)
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        reply(&self.metrics, "RenewLease", self.renew(request).await)
    }

    async fn close_network(
        &self,
        request: Request<v1::CloseNetworkRequest>,
    ) -> Result<Response<v1::CloseNetworkResponse>, Status> {
        reply(&self.metrics, "CloseNetwork", self.close(request).await.map(|()| v1::CloseNetworkResponse {}))
    }
}
