//! Following a network: stored messages, then live ones, with notices between. Messages are read from the log, so a
//! reader that is slow misses none; of notices it may miss some.

use p2p_chat_engine::{Event, Roster};
use p2p_chat_model::{Epoch, NodeId, PeerId};
use p2p_chat_proto::v1::{self, NoticeKind, Start, event};
use p2p_chat_store::StoredMessage;
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};
use tonic::Status;

use super::{
    EventStream, Local, hub_status,
    pages::{PageSender, pages},
    show::{PAGE, is_shown, message, name_of},
    store_status,
};
use crate::{
    bus::Happening,
    network::{Network, wall_ms},
};

/// One network that is followed.
struct Follower {
    local: Local,
    network: Network,
    events: PageSender<v1::Event>,
    position: u64,
    roster: Roster,
}

impl Local {
    pub(super) async fn follow(&self, request: v1::SubscribeRequest) -> Result<EventStream<v1::Event>, Status> {
        let (events, stream) = pages();
        if request.network.is_empty() {
            if !matches!(request.start(), Start::Now | Start::Unspecified) {
                return Err(Status::invalid_argument("all networks together can be followed from now on only"));
            }
            for network in self.hub.entries().into_iter().filter_map(|entry| entry.network) {
                let follower = self.follower(network, &request, events.clone()).await?;
                tokio::spawn(follower.run());
            }
        } else {
            let network = self.hub.joined(&request.network).map_err(hub_status)?;
            let follower = self.follower(network, &request, events).await?;
            tokio::spawn(follower.run_alone());
        }
        Ok(Box::pin(stream))
    }

    async fn follower(
        &self,
        network: Network,
        request: &v1::SubscribeRequest,
        events: PageSender<v1::Event>,
    ) -> Result<Follower, Status> {
        let store = &self.hub.store;
        let position = match request.start() {
            Start::Now | Start::Unspecified => store.last_position(network.id).await,
            Start::Beginning => Ok(0),
            Start::Unread => store.read_position(network.id).await,
            // Beyond the end is what a client remembers of a log that is gone, or was set back.
            Start::Position => store.last_position(network.id).await.map(|last| last.min(request.after)),
        };
        let position = position.map_err(|error| store_status(&error))?;
        Ok(Follower { local: self.clone(), network, events, position, roster: Roster::default() })
    }
}

impl Follower {
    /// As [`Follower::run`], and says first where it begins.
    async fn run_alone(self) {
        if self.send(event::Event::BeginsAfter(self.position)).await {
            self.run().await;
        }
    }

    /// Ends when the reader, or the network, is gone.
    async fn run(mut self) {
        // Before the first look at the log, so that nothing falls between.
        let mut happenings = self.network.listen();
        if !self.send_stored().await || !self.send(event::Event::CaughtUp(true)).await {
            return;
        }
        loop {
            let going_on = tokio::select! {
                () = self.events.closed() => false,
                happening = happenings.recv() => match happening {
                    Ok(happening) => self.take(happening, &mut happenings).await,
                    Err(RecvError::Lagged(_)) => self.send_stored().await,
                    Err(RecvError::Closed) => false,
                },
            };
            if !going_on {
                return;
            }
        }
    }

    /// Passes a happening on, and the deliveries right behind it together: one look at the log has them all.
    async fn take(&mut self, happening: Happening, happenings: &mut Receiver<Happening>) -> bool {
        let is_delivery = |happening: &Happening| matches!(happening, Happening::Event(Event::Delivered { .. }));
        if !is_delivery(&happening) {
            return self.pass_on(happening).await;
        }
        let mut other = None;
        while other.is_none() {
            match happenings.try_recv() {
                Ok(next) if is_delivery(&next) => {}
                Ok(next) => other = Some(next),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.send_stored().await
            && match other {
                Some(other) => self.pass_on(other).await,
                None => true,
            }
    }

    async fn send(&self, event: event::Event) -> bool {
        self.events.send(Ok(vec![v1::Event { event: Some(event) }])).await.is_ok()
    }

    /// Sends what the log has beyond the last message sent.
    async fn send_stored(&mut self) -> bool {
        loop {
            let page = self.local.hub.store.arrivals_after(self.network.id, self.position, PAGE).await;
            let page: Vec<StoredMessage> = match page {
                Ok(page) => page,
                Err(error) => {
                    let _ = self.events.send(Err(store_status(&error))).await;
                    return false;
                }
            };
            let Some(last) = page.last().map(|stored| stored.position) else { return true };
            let unknown = page.iter().any(|stored| self.roster.member(&stored.author).is_none());
            if unknown || page.iter().any(|stored| stored.kind != p2p_chat_model::EntryKind::Text) {
                self.look_at_roster().await;
            }
            let shown = page.iter().filter(|stored| is_shown(stored.kind));
            let shown = shown.map(|stored| message(self.network.name.as_str(), &self.roster, stored));
            let events = shown.map(|message| v1::Event { event: Some(event::Event::Message(message)) });
            let events = events.collect();
            // Not kept while a slow reader is waited for.
            drop(page);
            if self.events.send(Ok(events)).await.is_err() {
                return false;
            }
            self.position = last;
        }
    }

    async fn look_at_roster(&mut self) {
        if let Some(look) = self.network.look().await {
            self.roster = look.snapshot.roster;
        }
    }

    async fn pass_on(&mut self, happening: Happening) -> bool {
        let event = match happening {
            Happening::Event(event) => event,
            Happening::Broken(problem) => return self.notice(NoticeKind::Broken, None, 0, problem).await,
            Happening::Mended => {
                return self.notice(NoticeKind::Mended, None, 0, "the disk works again".to_owned()).await;
            }
        };
        match event {
            Event::Delivered { .. } => self.send_stored().await,
            Event::Acked { peer, upto } => {
                let acknowledged = v1::Acknowledged {
                    network: self.network.name.to_string(),
                    member_peer: peer.to_string(),
                    member_name: self.called(&peer).await,
                    seq: upto,
                };
                self.send(event::Event::Acknowledged(acknowledged)).await
            }
            Event::Abandoned => true,
            Event::Stopped => false,
            event => self.tell(event).await,
        }
    }

    async fn tell(&mut self, event: Event) -> bool {
        match event {
            Event::Joined(peer, node) => self.about(NoticeKind::Joined, peer, node, "joined").await,
            Event::Left(peer) => self.about(NoticeKind::Left, peer, NodeId(0), "left").await,
            Event::DroppedOut(peer, node) => {
                self.about(NoticeKind::DroppedOut, peer, node, "dropped out; it will catch up on return").await
            }
            Event::Returned(peer, node) => self.about(NoticeKind::Returned, peer, node, "is back").await,
            Event::LeaderChanged { leader, node, epoch, after_ms } => {
                let called = self.called(&leader).await;
                let text = format!("{called} leads now (epoch {epoch}, after {after_ms} ms)");
                let about = Some((leader, node, epoch));
                self.notice(NoticeKind::LeaderChanged, about, after_ms, text).await
            }
            Event::Leaderless(epoch) => {
                let text = format!("the leader of epoch {epoch} can't be reached; messages still flow");
                self.notice(NoticeKind::Leaderless, None, epoch.0, text).await
            }
            Event::LeaderBack(leader) => self.about(NoticeKind::LeaderBack, leader, NodeId(0), "leads as before").await,
            Event::Outside => {
                let text = "this node dropped out of the view and asks to be let in again".to_owned();
                self.notice(NoticeKind::Outside, None, 0, text).await
            }
            Event::CatchingUp { missing, from } => {
                let text = format!("fetching {missing} missing entries from {}", self.called(&from).await);
                self.notice(NoticeKind::CatchingUp, Some((from, NodeId(0), Epoch(0))), missing, text).await
            }
            Event::CaughtUp => self.notice(NoticeKind::CaughtUp, None, 0, "all caught up".to_owned()).await,
            Event::Equivocation { author, seq } => {
                let what = format!("wrote two entries under number {seq}; its feed is frozen there");
                self.about(NoticeKind::Equivocation, author, NodeId(0), &what).await
            }
            // For the leader's operator, who finds it in the log and the status.
            Event::Unlisted(..) => true,
            Event::Delivered { .. } | Event::Acked { .. } | Event::Abandoned | Event::Stopped => true,
        }
    }

    async fn called(&mut self, peer: &PeerId) -> String {
        if self.roster.member(peer).is_none() {
            self.look_at_roster().await;
        }
        name_of(&self.roster, peer)
    }

    async fn about(&mut self, kind: NoticeKind, peer: PeerId, node: NodeId, what: &str) -> bool {
        let text = format!("{} {what}", self.called(&peer).await);
        self.notice(kind, Some((peer, node, Epoch(0))), 0, text).await
    }

    async fn notice(
        &mut self,
        kind: NoticeKind,
        about: Option<(PeerId, NodeId, Epoch)>,
        number: u64,
        text: String,
    ) -> bool {
        let member_name = match &about {
            Some((peer, ..)) => self.called(peer).await,
            None => String::new(),
        };
        let notice = v1::Notice {
            network: self.network.name.to_string(),
            kind: kind.into(),
            member_name,
            member_peer: about.map_or(String::new(), |(peer, ..)| peer.to_string()),
            node_id: about.map_or(0, |(_, node, _)| node.0),
            epoch: about.map_or(0, |(.., epoch)| epoch.0),
            number,
            text,
            time_ms: wall_ms(),
        };
        self.send(event::Event::Notice(notice)).await
    }
}
