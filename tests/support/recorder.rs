//! What a node shows, in the order in which it shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use p2p_chat_proto::v1::{self, event, node_client::NodeClient};
use tokio::{task::JoinHandle, time::sleep};
use tonic::{Status, transport::Channel};

use super::{
    Ledger, NodeProcess,
    history::quoted,
    wait::{eventually, secs},
};

/// How long something may take to be shown: the machine may be busy.
const PATIENCE: Duration = secs(60);
/// Between tries to subscribe again at a node that is down.
const RETRY: Duration = Duration::from_millis(50);

/// A subscription from the first message on, taken up again where it broke. Dropping it ends it.
pub(crate) struct Recorder {
    pub(crate) name: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What came.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<(Instant, v1::Message)>,
    pub(crate) notices: Vec<(Instant, v1::Notice)>,
}

impl Recorder {
    /// Begins to record what a node shows of a network.
    pub(crate) fn start(node: &NodeProcess, network: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn(record(node.client(), network.to_owned(), Arc::clone(&seen)));
        Self { name: node.name.clone(), seen, task }
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// The newest message of anybody but `author`: what `author` has read, and may quote.
    pub(crate) fn newest_not_by(&self, author: &str) -> Option<String> {
        let seen = self.seen();
        let mut messages = seen.messages.iter().rev().map(|(_, message)| message);
        messages
            .find(|message| message.author_name != author && message.kind == "text")
            .map(|message| message.id.clone())
    }

    /// Waits for a notice about a member (about anybody, if that is empty).
    pub(crate) async fn notice(&self, kind: v1::NoticeKind, member: &str) -> v1::Notice {
        eventually(PATIENCE, format!("the notice {kind:?} about {member:?} at {}", self.name), async || {
            let seen = self.seen();
            let mut notices = seen.notices.iter().map(|(_, notice)| notice);
            let wanted = |notice: &&v1::Notice| notice.kind() == kind && [&notice.member_name, ""].contains(&member);
            notices.find(wanted).cloned().ok_or_else(|| format!("there were {:?}", seen.notices))
        })
        .await
    }

    /// How many notices of a kind there were so far.
    pub(crate) fn notices(&self, kind: v1::NoticeKind) -> usize {
        self.seen().notices.iter().filter(|(_, notice)| notice.kind() == kind).count()
    }

    /// Waits until there were more notices of a kind than `before`.
    pub(crate) async fn another_notice(&self, kind: v1::NoticeKind, before: usize) {
        eventually(PATIENCE, format!("another notice {kind:?} at {}", self.name), async || {
            let (now, seen) = (self.notices(kind), self.seen());
            if now > before { Ok(()) } else { Err(format!("there were {:?}", seen.notices)) }
        })
        .await;
    }

    /// Waits until a text is shown.
    pub(crate) async fn shows(&self, text: &str) {
        eventually(PATIENCE, format!("the showing of {text:?} at {}", self.name), async || {
            let seen = self.seen();
            let shown = seen.messages.iter().any(|(_, message)| message.text == text);
            shown.then_some(()).ok_or_else(|| format!("{} other messages are shown", seen.messages.len()))
        })
        .await
    }

    /// Waits until so many messages have been shown.
    pub(crate) async fn has_shown(&self, messages: usize) {
        eventually(PATIENCE, format!("the showing of {messages} messages at {}", self.name), async || {
            let shown = self.seen().messages.len();
            if shown >= messages { Ok(()) } else { Err(format!("{shown} are shown")) }
        })
        .await
    }

    /// From the call of Send to the showing here, for the texts of an author that were tried in a span of time.
    pub(crate) fn latencies(&self, ledger: &Ledger, author: &str, since: Instant, until: Instant) -> Vec<Duration> {
        let tried = self.tried(ledger, author, since, until).into_iter();
        tried.filter_map(|(tried, shown)| Some(shown?.saturating_duration_since(tried))).collect()
    }

    /// As [`Self::latencies`] until now, and of the texts that are not shown yet how long they have waited.
    pub(crate) fn latencies_and_waits(&self, ledger: &Ledger, author: &str, since: Instant) -> Vec<Duration> {
        let now = Instant::now();
        let tried = self.tried(ledger, author, since, now).into_iter();
        tried.map(|(tried, shown)| shown.unwrap_or(now).saturating_duration_since(tried)).collect()
    }

    /// When an author tried its texts in a span of time, and when each was shown here.
    fn tried(&self, ledger: &Ledger, author: &str, since: Instant, until: Instant) -> Vec<(Instant, Option<Instant>)> {
        let seen = self.seen();
        let shown: BTreeMap<&str, Instant> = seen.messages.iter().map(|(at, message)| (&*message.text, *at)).collect();
        let book = ledger.lock();
        let tried =
            book.attempted.iter().filter(|(_, tried)| tried.author == author && tried.at >= since && tried.at <= until);
        tried.map(|(text, tried)| (tried.at, shown.get(&**text).copied())).collect()
    }

    /// Checks the order of showing: each message once, each author's in sequence, each after what it quotes.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_order(self.seen().messages.iter().map(|(_, message)| message))
            .map_err(|error| format!("shown live at {}: {error}", self.name))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks an order of showing.
pub(crate) fn check_order<'a>(messages: impl IntoIterator<Item = &'a v1::Message>) -> Result<(), String> {
    let (mut ids, mut positions) = (BTreeSet::new(), BTreeMap::new());
    for message in messages {
        let last = positions.insert(&message.author, message.seq).unwrap_or(0);
        if message.seq != last + 1 {
            let v1::Message { author_name, seq, text, .. } = message;
            return Err(format!("entry {seq} of {author_name} ({text:?}) comes after its entry {last}"));
        }
        if let Some(quoted) = quoted(&message.text).filter(|quoted| !ids.contains(*quoted)) {
            return Err(format!("{:?} is shown before what it answers to, {quoted}", message.text));
        }
        if !ids.insert(&*message.id) {
            return Err(format!("message {} is shown twice", message.id));
        }
    }
    Ok(())
}

async fn record(mut client: NodeClient<Channel>, network: String, seen: Arc<Mutex<Seen>>) {
    loop {
        // The end of the stream, or an error: the node is down, or cut this reader off for being slow.
        let _ = follow(&mut client, &network, &seen).await;
        sleep(RETRY).await;
    }
}

async fn follow(client: &mut NodeClient<Channel>, network: &str, seen: &Mutex<Seen>) -> Result<(), Status> {
    let last = lock(seen).messages.last().map(|(_, message)| message.position);
    let start = if last.is_some() { v1::Start::Position } else { v1::Start::Beginning };
    let request =
        v1::SubscribeRequest { network: network.to_owned(), start: start.into(), after: last.unwrap_or_default() };
    let mut stream = client.subscribe(request).await?.into_inner();
    while let Some(v1::Event { event }) = stream.message().await? {
        let mut seen = lock(seen);
        match event {
            Some(event::Event::Message(message)) => seen.messages.push((Instant::now(), message)),
            Some(event::Event::Notice(notice)) => seen.notices.push((Instant::now(), notice)),
            Some(event::Event::Acknowledged(_) | event::Event::CaughtUp(_) | event::Event::BeginsAfter(_)) | None => {}
        }
    }
    Ok(())
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
