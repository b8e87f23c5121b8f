//! While the disk fails, or where what it holds is damaged: nothing is taken in, and everybody who asks is told why.

use std::time::Duration;

use p2p_chat_store::StoreError;
use tracing::{error, info};

use super::Driver;
use crate::{
    bus::Happening,
    network::{
        Figures, Look, Message, Refused,
        load::{dormant, unreadable},
    },
};

/// How often a disk that failed is tried again.
const MEND_INTERVAL: Duration = Duration::from_secs(5);

impl Driver {
    pub(super) fn tell_broken(&self, problem: &StoreError) {
        let network = &self.network.name;
        if matches!(problem, StoreError::Damaged { .. }) {
            error!(%network, %problem, "what is stored is damaged; taking no part in this network");
        } else {
            error!(%network, %problem, "can't store; taking no part until the disk works again");
        }
        self.shared.update(0, None);
        self.network.counts.broken.set(1);
        let _ = self.network.bus().send(Happening::Broken(problem.to_string()));
    }

    pub(super) fn tell_mended(&self) {
        info!(network = %self.network.name, "the disk works again");
        self.network.counts.broken.set(0);
        let _ = self.network.bus().send(Happening::Mended);
    }

    /// The disk fails: refuses everything until it takes data again.
    pub(super) async fn wait_until_writable(&mut self, problem: &StoreError) {
        let mut tick = tokio::time::interval(MEND_INTERVAL);
        tick.tick().await;
        loop {
            tokio::select! {
                Some(message) = self.messages.recv() => self.refuse(message, problem).await,
                _ = tick.tick() => {
                    if self.store.check_writable(self.network.id).await.is_ok() {
                        return;
                    }
                }
            }
        }
    }

    async fn refuse(&self, message: Message, problem: &StoreError) {
        match message {
            Message::Request { reply, .. } | Message::Deliver { reply, .. } => {
                let _ = reply.send(Err(Refused::Unable(problem.to_string())));
            }
            Message::Look(reply) => {
                let snapshot = dormant(&self.setup, &self.store).await.ok().flatten();
                let snapshot = snapshot.unwrap_or_else(|| unreadable(&self.setup));
                let _ = reply.send(Look { snapshot, problem: Some(problem.to_string()) });
            }
            Message::Figures(reply) => {
                let _ = reply.send(Figures::default());
            }
            // Dropping the sender tells the caller to look for the reason.
            Message::Command { .. } | Message::Response { .. } | Message::Fetched { .. } | Message::WriteDown(_) => {}
        }
    }
}
