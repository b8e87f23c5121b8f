//! `chat` in line mode: lines in are sent, what others say is printed.

mod line;
pub(crate) mod words;

use std::{collections::BTreeSet, io, time::Duration};

use p2p_chat_proto::v1::{self, event::Event};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    commands::networks::{Entered, ensure_in, state_of},
    console::{Console, one_line},
    failure::Failure,
    follow::{Follower, Next},
    holder::Mode,
    host::Host,
    input::{self, Line},
    render::{message, text},
    run::{Run, interrupted},
    session::Session,
    settings::Settings,
};

/// How long what was shown may stay unread in the node's memory.
const MARK_READ_AFTER: Duration = Duration::from_millis(100);
/// Where a chat begins in the log.
const START: v1::Start = v1::Start::Unread;
/// Own messages that may be on their way back.
const MAX_UNSEEN: usize = 4_096;

/// `p2p-chat chat`
pub(crate) async fn chat<H: Host>(run: &mut Run<'_, H>, settings: &Settings, network: String) -> Result<(), Failure> {
    let session = tokio::select! {
        session = Session::open_chat(run.host, settings, |_| {}) => session?,
        () = run.interrupt.wait() => return Err(interrupted()),
    };
    if session.settings.data_dir == settings.data_dir {
        run.explain_what_is_ignored(&session);
    } else {
        let (name, at) = (&session.settings.name, session.settings.data_dir.display());
        run.console.aside(format!("your other chat goes on; this one is {name}, with its data in {at}"))?;
    }
    let Some((me, follower)) = begin(run, session, &network).await? else { return Ok(()) };
    let lines = input::lines(run.take_input())?;
    let mut chat = Chat {
        follower,
        lines,
        network,
        me,
        unseen: BTreeSet::new(),
        is_live: false,
        marked: 0,
        mark_at: None,
        closing: None,
        last_words: run.console.waits.last_words,
        somebody_types: run.input_is_terminal,
        typed_is_visible: run.typed_is_visible,
        unsent: None,
    };
    let host = run.host;
    let console = &mut run.console;
    let result = tokio::select! {
        result = chat.talk(host, console) => result,
        () = run.interrupt.wait() => chat.broken_off(),
    };
    // Failing to remember what was read costs nothing but reading it again.
    let _ = chat.mark_read().await;
    let closed = chat.follower.session.close(&mut run.console, &mut run.interrupt).await;
    let unsent = chat.unsent.map(|first| first.retold("not all lines were sent; see above".to_owned()));
    result.and(closed).and(unsent.map_or(Ok(()), Err))
}

/// Gets into the network and begins to follow it. Returns this node's identity and what follows; nothing if whoever
/// types gives up meanwhile. Wherever nothing comes of it, the session is closed.
async fn begin<H: Host>(
    run: &mut Run<'_, H>,
    session: Session<H::Node>,
    network: &str,
) -> Result<Option<(String, Follower<H::Node>)>, Failure> {
    let entered = tokio::select! {
        entered = enter(&session, network, &mut run.console) => entered,
        () = run.interrupt.wait() => Err(interrupted()),
    };
    let begun = match entered {
        Ok(me) => tokio::select! {
            incoming = session.client.subscribe(network, START, 0) => {
                incoming.map(|incoming| Some((me, incoming))).map_err(Failure::from)
            }
            // As later on: only a script may have more to say.
            () = run.interrupt.wait() => if run.input_is_terminal { Ok(None) } else { Err(interrupted()) },
        },
        Err(failure) => Err(failure),
    };
    match begun {
        Ok(Some((me, incoming))) => Ok(Some((me, Follower::new(session, network, START, incoming)))),
        Ok(None) => session.close(&mut run.console, &mut run.interrupt).await.map(|()| None),
        Err(failure) => {
            // Why it failed is worth more than how the node ended.
            let _ = session.close(&mut run.console, &mut run.interrupt).await;
            Err(failure)
        }
    }
}

/// Gets into the network and says who is here. Returns this node's identity.
async fn enter<N: crate::host::Running>(
    session: &Session<N>,
    network: &str,
    console: &mut Console,
) -> Result<String, Failure> {
    let client = &session.client;
    let entered = ensure_in(client, network).await?;
    let status = client.status().await?;
    for service in status.discovery.iter().filter(|service| service.embedded) {
        let url = one_line(&service.url);
        console.aside(format!("no discovery service was found, so this chat hosts one at {url}"))?;
    }
    let (name, peer, address) =
        (one_line(&status.name), one_line(text::short(&status.peer)), one_line(&status.address));
    console.aside(format!("you are {name} ({peer}) at {address}"))?;
    let how = match entered {
        Entered::Already => "back in",
        Entered::UnderWay => "not yet in",
        Entered::Joined => "joined",
        Entered::Founded => "founded",
    };
    if let Some(state) = state_of(&status, network) {
        let (name, leader) = (one_line(&state.name), text::leadership(state));
        let (active, members) = (state.active, state.members);
        console.aside(format!("{how} {name}: {active} of {members} members active, {leader}"))?;
        if !state.problem.is_empty() {
            console.note(one_line(&state.problem));
        }
    }
    console.flush()?;
    Ok(status.peer)
}

/// One conversation.
struct Chat<N> {
    follower: Follower<N>,
    lines: mpsc::Receiver<io::Result<Line>>,
    network: String,
    /// This node's identity.
    me: String,
    /// Own messages that have not come back yet.
    unseen: BTreeSet<String>,
    /// Whether everything stored has been shown.
    is_live: bool,
    /// Up to where the node knows what was read.
    marked: u64,
    mark_at: Option<Instant>,
    /// Set at the end of the input: until when to wait for what is still to be shown.
    closing: Option<Instant>,
    /// How long that is at the most.
    last_words: Duration,
    somebody_types: bool,
    typed_is_visible: bool,
    /// Why a line that nobody types again was not sent.
    unsent: Option<Failure>,
}

impl<N: crate::host::Running> Chat<N> {
    /// Until the input ends.
    async fn talk<H: Host<Node = N>>(&mut self, host: &H, console: &mut Console) -> Result<(), Failure> {
        loop {
            if self.closing.is_some() && self.is_live && self.unseen.is_empty() {
                return Ok(());
            }
            let (mark_at, closing) = (self.mark_at, self.closing);
            tokio::select! {
                next = self.follower.next() => match next? {
                    Next::Event(event) => {
                        self.show(event, console)?;
                        if closing.is_some() && !self.is_live {
                            self.close();
                        }
                    }
                    Next::Lost => {
                        console.note("the connection to the node broke; going on where it was");
                        self.follower.recover(host, Mode::Chat, |sentence| console.note(sentence)).await?;
                    }
                },
                line = self.lines.recv(), if closing.is_none() => match line {
                    Some(Ok(line)) => self.take(line, console).await?,
                    Some(Err(error)) => return Err(input::unreadable(&error)),
                    None => self.close(),
                },
                () = sleep_until(mark_at.unwrap_or_else(Instant::now)), if mark_at.is_some() => {
                    if let Err(failure) = self.mark_read().await {
                        tracing::warn!(%failure, "what was read could not be marked as read");
                    }
                }
                () = sleep_until(closing.unwrap_or_else(Instant::now)), if closing.is_some() => return Ok(()),
            }
        }
    }

    fn show(&mut self, event: Event, console: &mut Console) -> Result<(), Failure> {
        match event {
            Event::Message(message) => {
                self.mark_at.get_or_insert_with(|| Instant::now() + MARK_READ_AFTER);
                let is_of_this_chat = message.author == self.me && self.unseen.remove(&message.id);
                let is_seen_already = is_of_this_chat && self.typed_is_visible;
                // A notice says it in the moment; the entry is for those who read it later.
                let is_told_by_notice = self.is_live && !console.json && message.kind != "text";
                if !is_seen_already && !is_told_by_notice {
                    message::print(&message, console)?;
                }
            }
            Event::Notice(notice) => message::print_notice(&notice, console)?,
            Event::Acknowledged(_) | Event::BeginsAfter(_) => {}
            Event::CaughtUp(_) => self.is_live = true,
        }
        console.flush()
    }

    fn close(&mut self) {
        self.closing = Some(Instant::now() + self.last_words);
    }

    /// How a chat ends that is interrupted: lines that nobody types again may have been read, and are not said.
    fn broken_off(&self) -> Result<(), Failure> {
        if self.somebody_types || self.closing.is_some() { Ok(()) } else { Err(interrupted()) }
    }

    async fn mark_read(&mut self) -> Result<(), Failure> {
        self.mark_at = None;
        let position = self.follower.position();
        if position > self.marked {
            self.follower.session.client.mark_read(&self.network, position).await?;
            self.marked = position;
        }
        Ok(())
    }
}
