//! Somebody who keeps talking, whatever happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use p2p_chat_proto::v1;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Ledger, NodeProcess, Recorder};

/// Says something at a steady rate through the local API. A call that fails is counted, and never repeated: its
/// text may have been stored. Most texts answer to the newest message that the author has read.
pub(crate) struct Writer {
    name: String,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Counts>,
    recorder: Arc<Recorder>,
}

/// How it went.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) acknowledged: usize,
    pub(crate) failed: usize,
}

impl Writer {
    /// Begins to talk.
    pub(crate) fn start(node: &NodeProcess, ledger: &Ledger, per_second: u32) -> Self {
        Self::start_about("", node, ledger, per_second)
    }

    /// Begins to talk about something that the author has not talked about before: no text may be said twice.
    pub(crate) fn start_about(topic: &str, node: &NodeProcess, ledger: &Ledger, per_second: u32) -> Self {
        let (stop, recorder) = (Arc::default(), Arc::new(Recorder::start(node, &ledger.network)));
        let talking = talk(
            node.client(),
            (node.name.clone(), topic.to_owned()),
            ledger.clone(),
            per_second,
            Arc::clone(&recorder),
            Arc::clone(&stop),
        );
        Self { name: node.name.clone(), stop, task: tokio::spawn(talking), recorder }
    }

    /// What its node shows.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Ends the talk.
    pub(crate) async fn stop(self) -> (Counts, Arc<Recorder>) {
        self.stop.store(true, Ordering::Relaxed);
        let counts = self.task.await.unwrap_or_else(|error| panic!("the writer at {} failed: {error}", self.name));
        (counts, self.recorder)
    }
}

async fn talk(
    client: v1::node_client::NodeClient<tonic::transport::Channel>,
    (name, topic): (String, String),
    ledger: Ledger,
    per_second: u32,
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
) -> Counts {
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut counts = Counts::default();
    for number in 1.. {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = match recorder.newest_not_by(&name) {
            Some(answered) => format!("{name} says {topic}{number} re:{answered}"),
            None => format!("{name} says {topic}{number}"),
        };
        match ledger.send(client.clone(), &name, &text, v1::Wait::None).await {
            Ok(_) => counts.acknowledged += 1,
            Err(_) => counts.failed += 1,
        }
    }
    counts
}
