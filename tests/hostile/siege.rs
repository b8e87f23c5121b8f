//! Servers under attack, and honest clients that want to be served meanwhile.

use std::time::{Duration, Instant};

use p2p_chat_model::Identity;
use p2p_chat_proto::v1;
use p2p_chat_transport::Dialer;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::{
    frames::Port,
    support::{Cluster, LAB, Lines, let_pass, wait::secs},
    table::request,
};

const NAMES: [&str; 2] = ["alice", "bob"];
/// How long an honest call may take while servers are attacked. Generous: the attack and the attacked share the machine.
const HONEST_DEADLINE: Duration = secs(10);

/// A discovery service, and alice, who is attacked, and bob, who is not.
pub(crate) struct Siege {
    cluster: Cluster,
    /// A connection from before the attack.
    standing: Channel,
    before_kib: u64,
}

impl Siege {
    /// With the machine for itself.
    pub(crate) async fn lay() -> Self {
        let mut cluster = Cluster::alone(Lines::Direct).await;
        cluster.found(&NAMES).await;
        cluster.ledger.say(cluster.node("bob"), "before the siege").await.expect("nobody attacks yet");
        cluster.rest(&NAMES).await;
        let standing = channel(&cluster);
        let mut siege = Self { cluster, standing, before_kib: 0 };
        siege.all_are_served().await;
        siege.before_kib = siege.peak_kib();
        siege
    }

    /// The ports that strangers reach: plaintext and TLS of a node, and the discovery service's.
    pub(crate) fn ports(&self) -> Vec<Port> {
        let [plain, tls] = Port::of_node(self.cluster.node("alice"));
        let url = self.cluster.nds.url();
        vec![plain, tls, Port::Plain(url.trim_start_matches("http://").to_owned())]
    }

    /// Honest calls go through: on a connection that stands, on a new one, to both servers.
    pub(crate) async fn all_are_served(&self) {
        for (how, channel) in [("standing", self.standing.clone()), ("new", channel(&self.cluster))] {
            let ping = v1::PingRequest { network: Vec::new().into(), standing: None };
            let begun = Instant::now();
            let mut client = v1::liveness_client::LivenessClient::new(channel);
            let pinged = tokio::time::timeout(HONEST_DEADLINE, client.ping(request(ping))).await;
            assert!(
                matches!(pinged, Ok(Ok(_))),
                "a ping on a {how} connection after {:?}: {pinged:?}",
                begun.elapsed()
            );
        }
        let found = tokio::time::timeout(HONEST_DEADLINE, self.cluster.nds.record(LAB)).await;
        assert!(matches!(found, Ok(Ok(_))), "the discovery service answers {found:?}");
    }

    /// Keeps an attack up for a while, with honest calls all the time. Returns how often one was served.
    pub(crate) async fn during<T>(&self, attack: impl Future<Output = T>, at_least: Duration) -> (T, usize) {
        let (done, mut is_done) = watch::channel(false);
        let attacking = async {
            let (outcome, ()) = tokio::join!(attack, let_pass(at_least));
            done.send_replace(true);
            outcome
        };
        let serving = async {
            let mut served = 0;
            while !*is_done.borrow_and_update() {
                self.all_are_served().await;
                served += 1;
                // Not so often that the honest clients are the flood.
                let _ = tokio::time::timeout(Duration::from_millis(100), is_done.changed()).await;
            }
            served
        };
        tokio::join!(attacking, serving)
    }

    /// How much more memory the attacked servers have taken at their highest than before.
    pub(crate) fn grown_mib(&self) -> u64 {
        self.peak_kib().saturating_sub(self.before_kib) / 1024
    }

    fn peak_kib(&self) -> u64 {
        self.cluster.node("alice").process().memory_kib().1 + self.cluster.nds.memory_kib().1
    }

    /// The group is as it was, and goes on.
    pub(crate) async fn lift(self) {
        let said = self.cluster.ledger.say_and_wait(self.cluster.node("bob"), "after the siege", v1::Wait::All).await;
        said.expect("alice takes it");
        self.cluster.assert_histories(&NAMES).await;
    }
}

/// A new connection to alice, by somebody with a key.
fn channel(cluster: &Cluster) -> Channel {
    let alice = cluster.node("alice");
    let dialer = Dialer::new(&Identity::from_seed([0x42; 32])).expect("the key makes a certificate");
    dialer.channel(alice.peer.parse().expect("a peer id"), &alice.address.parse().expect("an address"))
}
