//! The whole service on a listener.

use std::{pin::pin, time::Duration};

use p2p_chat_model::Identity;
use p2p_chat_proto::v1::discovery_server::{DiscoveryServer, SERVICE_NAME};
use p2p_chat_transport::{Limits, incoming, server::common_services, tls::server_config};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    NdsError,
    clock::Clock,
    config::Config,
    metrics::{Metrics, Monitor},
    probe::{NodePinger, Pinger},
    registrar::{Command, Registrar},
    registry::{Answers, Change, Verdict},
    service::Service,
    store::Store,
};

/// How long open calls may take to end after the shutdown began.
const GRACE: Duration = Duration::from_secs(3);
/// How often is looked for leases that ran out and networks to purge.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Runs a Node Discovery Service on `listener` until `shutdown` completes: gRPC over plaintext HTTP/2, with gRPC
/// reflection (v1 and v1alpha) and `grpc.health.v1`; tells `monitor` what it does. When it returns, the database is closed and its directory is
/// free. Dropping the future ends the service too; whatever it answered is on disk either way.
///
/// # Errors
/// Settings that make no sense; a database that can't be opened, is in use, damaged, or not this program's; a server
/// that fails.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    monitor: Monitor,
) -> Result<(), NdsError> {
    let identity = Identity::from_seed(rand::random());
    let pinger = NodePinger::new(&identity, config.probe_timeout)?;
    serve_with(config, listener, shutdown, pinger, monitor).await
}

/// As [`serve`], with another way of calling nodes back.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    pinger: impl Pinger,
    monitor: Monitor,
) -> Result<(), NdsError> {
    config.check()?;
    let Monitor { metrics, traces } = monitor;
    let clock = Clock::start();
    let (dir, terms) = (config.data_dir.clone(), config.terms());
    let opened = tokio::task::spawn_blocking(move || {
        let store = Store::open(&dir)?;
        let registry = store.load(terms, clock.now())?.listening_since(clock.now());
        tracing::info!(file = %store.file().display(), networks = registry.len(), "record opened");
        Ok::<_, NdsError>((store, registry))
    });
    let (store, registry) = opened.await.map_err(|_| NdsError::Ended("the task that opens the record"))??;
    let file = store.file().to_owned();
    let (registrar, mut writer) = Registrar::start(store, registry, clock, metrics.clone());

    let (stop, mut stopping) = watch::channel(false);
    let service = Service::new(&config, registrar.clone(), pinger, stopping.clone(), (metrics.clone(), traces));
    metrics.on_started(registrar.clone(), service.watchers.clone(), file);
    let (router, _health) = common_services(&[SERVICE_NAME], &metrics.calls).await?;
    // Nobody has to know this service's key; a client that begins with TLS is served as well.
    let tls = server_config(&Identity::from_seed(rand::random()))?;
    let connections = incoming(listener, tls, Limits::default()).counting(&metrics.traffic);
    let router = router.add_service(DiscoveryServer::new(service));
    let serving = router.serve_with_incoming_shutdown(connections, async {
        shutdown.await;
        stop.send_replace(true);
    });
    let overdue = async {
        // An error means that the sender is gone, and then the server has ended.
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
        sleep(GRACE).await;
    };
    let served = tokio::select! {
        served = pin!(serving) => served.map_err(Into::into),
        () = overdue => Ok(()),
        () = upkeep(&registrar, &metrics) => Err(NdsError::Ended("the upkeep")),
        () = writer.ended() => Err(NdsError::Ended("the writer")),
    };
    metrics.on_stopped();
    writer.stop().await;
    if served.is_ok() {
        tracing::info!("the discovery service has stopped");
    }
    served
}

/// Tells watchers of leases that ran out, and purges; for ever.
async fn upkeep(registrar: &Registrar, metrics: &Metrics) {
    let mut ticks = interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = registrar.read(|_, now| now);
    loop {
        ticks.tick().await;
        let (lapsed, now) = registrar.read(|registry, now| (registry.lapsed(seen, now), now));
        registrar.announce(lapsed);
        seen = now;
        purge(registrar, metrics).await;
    }
}

async fn purge(registrar: &Registrar, metrics: &Metrics) {
    let is_due =
        matches!(registrar.consider(&Command::Upkeep, &Answers::new()), Ok(Verdict::Accept(due)) if !due.is_empty());
    if !is_due {
        return;
    }
    match registrar.submit(Command::Upkeep.into(), Answers::new()).await {
        Ok(Verdict::Accept(changes)) => {
            for change in changes {
                let network = change.network().short();
                if matches!(change, Change::Remove(_)) {
                    metrics.purged.increment();
                    tracing::info!(network, "purged: nobody renewed it");
                } else {
                    tracing::debug!(network, "forgot an old network's last epoch: there are too many");
                }
            }
        }
        Ok(Verdict::Standing | Verdict::AskFirst(_)) => {}
        Err(error) => tracing::warn!(%error, "networks that are due could not be purged"),
    }
}
