//! Calling nodes back: does this node answer at this address, and does it lead?

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use p2p_chat_model::{Epoch, Identity};
use p2p_chat_proto::{
    convert::ToWire,
    v1::{self, liveness_client::LivenessClient},
};
use p2p_chat_transport::{
    DialError, DialSettings, Dialer, Places, TlsError, describe, sizes::MAX_STANDING_BYTES, status::dial_error,
};
use tokio::{task::JoinSet, time::timeout};
use tonic::Request;

use crate::{
    metrics::{Metrics, Probed},
    registry::{Answer, Answers, Probe},
};

/// Most nodes that are called back at the same time, over all callers; see [`Places`] for what one address gets.
pub const MAX_PROBES: usize = 64;

/// Asks a node whether it lives.
pub trait Pinger: Send + Sync + 'static {
    /// Pings once and says what came of it. The answer must be that of the key in the probe. Whoever calls this
    /// bounds its time. `None` if the node could not be asked, which says nothing about it.
    fn ping(&self, probe: &Probe) -> impl Future<Output = Option<Answer>> + Send;
}

/// Pings over TLS with the node's key pinned, under an identity that is made anew at every start: nodes tell a
/// stranger only that they live and what they lead.
#[derive(Debug, Clone)]
pub struct NodePinger {
    dialer: Dialer,
}

impl NodePinger {
    /// A pinger under `identity` that gives up connecting after `connect_timeout`.
    ///
    /// # Errors
    /// When no certificate can be made for the identity.
    pub fn new(identity: &Identity, connect_timeout: Duration) -> Result<Self, TlsError> {
        let settings = DialSettings { connect_timeout, ..DialSettings::default() };
        Ok(Self { dialer: Dialer::new(identity)?.with_settings(settings) })
    }
}

impl Pinger for NodePinger {
    async fn ping(&self, probe: &Probe) -> Option<Answer> {
        let channel = self.dialer.channel(probe.peer, &probe.address);
        let question = v1::PingRequest { network: probe.network.to_wire(), standing: None };
        let mut client = LivenessClient::new(channel).max_decoding_message_size(MAX_STANDING_BYTES);
        match client.ping(Request::new(question)).await {
            Ok(reply) => Some(Answer::Reached { leads_epoch: Epoch(reply.into_inner().leads_epoch) }),
            Err(status) => {
                let (peer, address, cause) = (probe.peer.short(), &probe.address, describe(&status));
                tracing::debug!(peer, %address, cause, "a node did not answer");
                (!matches!(dial_error(&status), Some(DialError::Lookups { .. }))).then_some(Answer::Unreachable)
            }
        }
    }
}

/// No probe can be made now. That says nothing about the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AllBusy;

/// Bounds a pinger in time and number.
#[derive(Debug)]
pub(crate) struct Prober<P> {
    pinger: Arc<P>,
    timeout: Duration,
    places: Places,
    metrics: Arc<Metrics>,
}

impl<P: Pinger> Prober<P> {
    pub(crate) fn new(pinger: P, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { pinger: pinger.into(), timeout, places: Places::new(MAX_PROBES), metrics }
    }

    /// Asks all questions at the same time, for this caller, and adds the answers. Ends within the timeout.
    pub(crate) async fn ask(&self, caller: IpAddr, probes: Vec<Probe>, answers: &mut Answers) -> Result<(), AllBusy> {
        let mut asked = JoinSet::new();
        for probe in probes {
            let place = self.places.take(caller).map_err(|_| {
                self.metrics.on_probed(Probed::NotMade);
                AllBusy
            })?;
            let (pinger, limit, metrics) = (self.pinger.clone(), self.timeout, self.metrics.clone());
            asked.spawn(async move {
                let begun = Instant::now();
                let answer = timeout(limit, pinger.ping(&probe)).await;
                metrics.probe_time.observe(begun.elapsed());
                metrics.on_probed(match &answer {
                    Ok(Some(Answer::Reached { .. })) => Probed::Reached,
                    Ok(Some(Answer::Unreachable)) => Probed::Unreachable,
                    Ok(None) => Probed::NotMade,
                    Err(_) => Probed::TimedOut,
                });
                drop(place);
                (probe, answer.unwrap_or(Some(Answer::Unreachable)))
            });
        }
        let mut all_were_asked = true;
        while let Some(asked) = asked.join_next().await {
            match asked {
                Ok((probe, Some(answer))) => _ = answers.insert(probe, answer),
                Ok((_, None)) => all_were_asked = false,
                // A ping that panicked has no answer; the decision will want it asked again.
                Err(_) => {}
            }
        }
        if all_were_asked { Ok(()) } else { Err(AllBusy) }
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::{NetworkId, PeerId};
    use tokio::sync::Semaphore;

    use super::*;

    /// Counts the questions, and answers none.
    struct Silent(Arc<Semaphore>);

    impl Pinger for Silent {
        async fn ping(&self, _: &Probe) -> Option<Answer> {
            self.0.add_permits(1);
            std::future::pending().await
        }
    }

    fn probes(count: u16) -> Vec<Probe> {
        let probe = |port| Probe {
            peer: PeerId::new([1; 32]),
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            network: NetworkId::new([2; 32]),
        };
        (1..=count).map(probe).collect()
    }

    fn caller(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_is_unreachable_after_the_timeout() {
        let prober = Prober::new(Silent(Semaphore::new(0).into()), Duration::from_millis(1), Arc::default());
        let mut answers = Answers::new();
        assert_eq!(prober.ask(caller(1), probes(2), &mut answers).await, Ok(()));
        assert_eq!(answers, probes(2).into_iter().map(|probe| (probe, Answer::Unreachable)).collect());
    }

    #[tokio::test]
    async fn probes_beyond_the_share_of_a_caller_are_not_made_and_prove_nothing() {
        let begun = Arc::new(Semaphore::new(0));
        let prober = Arc::new(Prober::new(Silent(begun.clone()), Duration::from_secs(60), Arc::default()));
        let mut tasks = Vec::new();
        for (number, share) in [(1, MAX_PROBES / 2), (2, MAX_PROBES / 8)] {
            let (busy, all) = (prober.clone(), probes(share as u16));
            tasks.push(tokio::spawn(async move { busy.ask(caller(number), all, &mut Answers::new()).await }));
            begun.acquire_many(share as u32).await.unwrap().forget();
            let mut answers = Answers::new();
            assert_eq!(prober.ask(caller(number), probes(1), &mut answers).await, Err(AllBusy));
            assert_eq!(answers, Answers::new());
        }
        let other = prober.clone();
        tasks.push(tokio::spawn(async move { other.ask(caller(3), probes(1), &mut Answers::new()).await }));
        let asked = timeout(Duration::from_secs(10), begun.acquire()).await;
        assert!(asked.is_ok(), "two addresses don't keep others from being called back");
        for task in tasks {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        // A caller that hangs up gives its places back.
        let freed = async {
            while prober.places.taken_by_all() > 0 {
                tokio::task::yield_now().await
            }
        };
        assert!(timeout(Duration::from_secs(10), freed).await.is_ok());
    }
}
