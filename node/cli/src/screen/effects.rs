//! Carrying out effects against the node, each in a task of its own that reports back.

use std::{collections::BTreeMap, time::Duration};

use p2p_chat_proto::v1;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tonic::{Code, Status};

use super::{
    model::{
        Way,
        timeline::{Key, Message, PAGE, Part},
    },
    update::{Answer, Effect, Input, MATCHES},
};
use crate::{
    client::{Client, Incoming},
    commands::networks::{Entered, ensure_in, ensure_joined},
    failure::Failure,
};

/// How long the node may take to write an own message down.
const SEND: Duration = Duration::from_secs(10);
/// How long a leave waits for another member to have what is here.
const LEAVE: Duration = Duration::from_secs(10);
/// How long a search may take.
const SEARCH: Duration = Duration::from_secs(60);
/// How long what was said last may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What a task reports.
#[derive(Debug)]
pub(super) enum Report {
    /// To be taken in.
    Input(Box<Input>),
    /// The node has gone.
    Gone,
}

/// Carries effects out, at one node after the other.
pub(super) struct Runner {
    /// The node that is there, if one is.
    client: Option<Client>,
    reports: mpsc::Sender<Report>,
    subscriptions: BTreeMap<String, AbortHandle>,
    /// By network: what is said there goes out in the order in which it was said, whatever becomes of the node between.
    speakers: BTreeMap<String, mpsc::UnboundedSender<Words>>,
    /// What must not be cut off at the end: own messages, and what was read.
    words: JoinSet<()>,
}

/// An own message on its way to the node that was there when it was said.
struct Words {
    client: Client,
    token: u64,
    text: String,
}

impl Runner {
    pub(super) fn new(reports: mpsc::Sender<Report>) -> Self {
        Self { client: None, reports, subscriptions: BTreeMap::new(), speakers: BTreeMap::new(), words: JoinSet::new() }
    }

    /// There is a node.
    pub(super) fn go_on(&mut self, client: Client) {
        self.client = Some(client);
    }

    /// The node has gone. What was asked of it is answered with that.
    pub(super) fn let_go(&mut self) {
        self.client = None;
        self.end_subscriptions();
    }

    fn end_subscriptions(&mut self) {
        for task in std::mem::take(&mut self.subscriptions).into_values() {
            task.abort();
        }
    }

    /// Waits a moment for what was said last. Takes what becomes of it out of `reported`, which nobody else empties now.
    pub(super) async fn finish(mut self, reported: &mut mpsc::Receiver<Report>, mut take: impl FnMut(Report)) {
        self.end_subscriptions();
        // Each ends when it has said everything.
        self.speakers.clear();
        let last_words = async {
            loop {
                tokio::select! {
                    ended = self.words.join_next() => if ended.is_none() { return },
                    Some(report) = reported.recv() => take(report),
                }
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
    }

    /// Carries one effect out; those that are the terminal's are not for here. Returns the answer where there is no node.
    pub(super) fn run(&mut self, effect: Effect) -> Option<Answer> {
        while self.words.try_join_next().is_some() {}
        let Some(client) = self.client.clone() else { return refused(effect) };
        let task = Task { client: client.clone(), reports: self.reports.clone() };
        match effect {
            Effect::Send { network, token, text } => {
                let speaker = self.speakers.entry(network).or_insert_with_key(|network| {
                    let (speaker, words) = mpsc::unbounded_channel();
                    self.words.spawn(speak(network.clone(), words, self.reports.clone()));
                    speaker
                });
                // It listens for as long as there is a speaker.
                let _ = speaker.send(Words { client, token, text });
            }
            Effect::MarkRead { network, position } => {
                self.words.spawn(async move {
                    if let Err(status) = task.client.mark_read(&network, position).await {
                        tracing::warn!(%status, "what was read could not be marked as read");
                    }
                });
            }
            Effect::Subscribe { network } => {
                let handle = tokio::spawn(task.follow(network.clone())).abort_handle();
                if let Some(before) = self.subscriptions.insert(network, handle) {
                    before.abort();
                }
            }
            effect => drop(tokio::spawn(task.ask(effect))),
        }
        None
    }
}

/// What becomes of an effect while there is no node: whoever waits for it is told. Nothing where nobody does.
pub(super) fn refused(effect: Effect) -> Option<Answer> {
    let away = || Failure::Unreachable("the node is not there yet; a moment".to_owned());
    match effect {
        Effect::Networks { token } => Some(Answer::Networks { token, result: Err(away()) }),
        Effect::Enter { token, network, .. } => Some(Answer::Entered { token, network, result: Err(away()) }),
        Effect::Leave { token, network, .. } => Some(Answer::Left { token, network, result: Err(away()) }),
        Effect::Load { network, part } => Some(Answer::Loaded { network, part, result: Err(away()) }),
        Effect::Search { network, text, .. } => Some(Answer::Found { network, text, result: Err(away()) }),
        Effect::Send { network, token, .. } => Some(Answer::Sent { network, token, result: Err(away()) }),
        Effect::Inspect { message, .. } => Some(Answer::Inspected { message, result: Err(away()) }),
        // Asked again when there is a node.
        Effect::Status | Effect::Members { .. } | Effect::Subscribe { .. } | Effect::MarkRead { .. } => None,
        Effect::Ring | Effect::Edit(_) | Effect::Suspend | Effect::Redraw | Effect::Quit => None,
    }
}

/// Says one thing after the other.
async fn speak(network: String, mut words: mpsc::UnboundedReceiver<Words>, reports: mpsc::Sender<Report>) {
    while let Some(Words { client, token, text }) = words.recv().await {
        let result = client.send(&network, text, v1::Wait::None, SEND).await.map_err(Failure::from);
        let task = Task { client, reports: reports.clone() };
        task.answer(Answer::Sent { network: network.clone(), token, result }).await;
    }
}

/// One effect that is being carried out.
struct Task {
    client: Client,
    reports: mpsc::Sender<Report>,
}

impl Task {
    async fn report(&self, report: Report) {
        // Nobody listens any more at the end.
        let _ = self.reports.send(report).await;
    }

    async fn answer(&self, answer: Answer) {
        self.report(Report::Input(Box::new(Input::Answer(answer)))).await;
    }

    /// Asks the node something.
    async fn ask(self, effect: Effect) {
        let client = &self.client;
        let answer = match effect {
            Effect::Status => {
                let result = client.status().await;
                if result.as_ref().is_err_and(|status| status.code() == Code::Unavailable) {
                    return self.report(Report::Gone).await;
                }
                Answer::Status(result.map_err(Failure::from))
            }
            Effect::Members { network } => {
                let result = client.members(&network).await.map_err(Failure::from);
                Answer::Members { network, result }
            }
            Effect::Networks { token } => {
                Answer::Networks { token, result: client.networks().await.map_err(Failure::from) }
            }
            Effect::Enter { token, network, way } => {
                let result = match way {
                    Way::Join => ensure_joined(client, &network).await,
                    Way::Found => client.create(&network).await.map(|_| Entered::Founded),
                    Way::JoinOrFound => ensure_in(client, &network).await,
                };
                Answer::Entered { token, network, result: result.map_err(Failure::from) }
            }
            Effect::Leave { token, network, force } => {
                let result = client.leave(&network, LEAVE, force).await.map_err(Failure::from);
                Answer::Left { token, network, result }
            }
            Effect::Load { network, part } => {
                let result = self.load(&network, part).await.map_err(Failure::from);
                Answer::Loaded { network, part, result }
            }
            Effect::Search { network, text, before } => {
                let result = self.search(&network, &text, before).await;
                Answer::Found { network, text, result }
            }
            Effect::Inspect { network, message } => {
                let result = client.inspect(&network, &message).await.map_err(Failure::from);
                Answer::Inspected { message, result }
            }
            other => return tracing::error!(?other, "bug: this effect is not for the node"),
        };
        self.answer(answer).await;
    }

    async fn load(&self, network: &str, part: Part) -> Result<Vec<Message>, Status> {
        let request = |limit| v1::HistoryRequest { network: network.to_owned(), limit, ..Default::default() };
        let before = |key: Key, limit| v1::HistoryRequest { before: Some(key.cursor()), ..request(limit) };
        let after = |key: Key, limit| v1::HistoryRequest { after: Some(key.cursor()), ..request(limit) };
        match part {
            Part::Newest => self.page(request(PAGE)).await,
            Part::Before(key) => self.page(before(key, PAGE)).await,
            Part::After(key) => self.page(after(key, PAGE)).await,
            Part::Around(key) => {
                let mut messages = self.page(before(key, PAGE / 2)).await?;
                messages.extend(self.page(after(key.before(), PAGE / 2)).await?);
                Ok(messages)
            }
        }
    }

    async fn search(&self, network: &str, text: &str, before: Option<Key>) -> Result<Vec<Message>, Failure> {
        let request = v1::HistoryRequest {
            network: network.to_owned(),
            limit: MATCHES,
            before: before.map(|key| key.cursor()),
            contains: text.to_owned(),
            ..Default::default()
        };
        let patience = || Failure::TimedOut(format!("the search took longer than {} s", SEARCH.as_secs()));
        timeout(SEARCH, self.page(request)).await.map_err(|_| patience())?.map_err(Failure::from)
    }

    async fn page(&self, request: v1::HistoryRequest) -> Result<Vec<Message>, Status> {
        let mut incoming = self.client.history_page(request).await?;
        let mut messages = Vec::new();
        while let Some(message) = incoming.next().await? {
            messages.extend(Message::from_wire(message));
        }
        Ok(messages)
    }

    /// Passes on what happens in a network, until that ends.
    async fn follow(self, network: String) {
        let subscribed = self.client.subscribe(&network, v1::Start::Now, 0).await;
        let (incoming, result) = match subscribed {
            Ok(incoming) => (Some(incoming), Ok(())),
            Err(status) => (None, Err(Failure::from(status))),
        };
        self.answer(Answer::Subscribed { network: network.clone(), result }).await;
        if let Some(incoming) = incoming {
            self.pass_on(network, incoming).await;
        }
    }

    async fn pass_on(&self, network: String, mut incoming: Incoming<v1::Event>) {
        loop {
            match incoming.next().await {
                Ok(Some(v1::Event { event: Some(event) })) => {
                    let input = Input::Event { network: network.clone(), event };
                    self.report(Report::Input(Box::new(input))).await;
                }
                // An event of a kind that this version does not know.
                Ok(Some(v1::Event { event: None })) => {}
                Err(status) if status.code() == Code::Unavailable => return self.report(Report::Gone).await,
                Err(status) => {
                    tracing::warn!(%status, "the events of a network broke off");
                    break;
                }
                Ok(None) => break,
            }
        }
        self.report(Report::Input(Box::new(Input::Ended(network)))).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// How long what has to happen may take.
    const SOON: Duration = Duration::from_secs(20);

    fn says(text: &str, token: u64) -> Effect {
        Effect::Send { network: "lab".to_owned(), token, text: text.to_owned() }
    }

    async fn answered(reported: &mut mpsc::Receiver<Report>) -> Option<u64> {
        match timeout(SOON, reported.recv()).await.expect("in time") {
            Some(Report::Input(input)) => match *input {
                Input::Answer(Answer::Sent { token, .. }) => Some(token),
                _ => None,
            },
            _ => None,
        }
    }

    #[tokio::test]
    async fn what_is_said_to_the_next_node_waits_for_what_was_said_to_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let silent = UnixListener::bind(dir.path().join("silent")).expect("a socket");
        let dead = UnixListener::bind(dir.path().join("dead")).expect("a socket");
        let client_of =
            async |name: &str| Client::attach(&dir.path().join(name)).await.expect("usable").expect("there");
        let (to_silent, to_dead) = (client_of("silent").await, client_of("dead").await);
        drop(dead);
        let (reports, mut reported) = mpsc::channel(16);
        let mut runner = Runner::new(reports);
        assert!(matches!(runner.run(says("zero", 0)), Some(Answer::Sent { token: 0, .. })), "there is no node");
        runner.go_on(to_silent);
        assert!(runner.run(says("one", 1)).is_none());
        runner.let_go();
        runner.go_on(to_dead);
        assert!(runner.run(says("two", 2)).is_none());
        // Asked of the same node later, and failed: what was said to it before could have failed by now.
        assert!(runner.run(Effect::Status).is_none());
        let first = timeout(SOON, reported.recv()).await.expect("in time");
        assert!(matches!(first, Some(Report::Gone)), "the first one is still on its way");
        assert!(reported.try_recv().is_err(), "the first one is still on its way");
        drop(silent);
        assert_eq!(answered(&mut reported).await, Some(1));
        assert_eq!(answered(&mut reported).await, Some(2));
    }
}
