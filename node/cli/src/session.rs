//! A node to talk to: the one that runs on the data directory, or else one in this process for as long as it takes.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    client::Client,
    console::Console,
    failure::Failure,
    holder::{Holder, Mode},
    host::{Host, NodeOptions, Running, StartFailure},
    settings::{Settings, any_port},
    surroundings::Interrupt,
};

/// How long another process may take between taking the data directory and answering, or ending.
const TAKE_OVER: Duration = Duration::from_secs(10);
/// How often to look in that time.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a node that ends waits for another member to hold what it wrote.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Most profiles that chats open by themselves.
const MAX_PROFILES: u32 = 16;

/// A node to talk to.
#[derive(Debug)]
pub(crate) struct Session<N> {
    pub(crate) client: Client,
    /// Which settings the node was found or started with.
    pub(crate) settings: Settings,
    whose: Whose<N>,
}

/// Whose node it is.
#[derive(Debug)]
enum Whose<N> {
    /// That of this process.
    Own(N),
    /// That of another process, and what that one is for, as far as it said so.
    Other(Option<Mode>),
}

impl<N: Running> Session<N> {
    /// Uses the node that runs on the data directory, or starts one with `mode`.
    pub(crate) async fn open<H: Host<Node = N>>(host: &H, settings: &Settings, mode: Mode) -> Result<Self, Failure> {
        let mut search = Search::new(host, settings, mode);
        loop {
            match search.look().await? {
                Seen::Other(client, of) if !search.waits_for(of) => return Ok(Self::of_other(client, settings, of)),
                Seen::Own(node) => return Self::of_own(node, settings.clone()).await,
                Seen::Other(..) | Seen::Nobody => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// As [`Session::open`], for one who chats: never shares the default node with another one who chats, but
    /// takes the next profile. `tries` is told each one before anything is done with it.
    pub(crate) async fn open_chat<H: Host<Node = N>>(
        host: &H,
        settings: &Settings,
        tries: impl Fn(&Settings),
    ) -> Result<Self, Failure> {
        for number in 1..=MAX_PROFILES {
            let profile = settings.profile(number)?;
            tries(&profile);
            if let Some(session) = Self::open_profile(host, &profile).await? {
                return Ok(session);
            }
        }
        Err(Failure::Failed(format!(
            "{MAX_PROFILES} chats run already beside {}; name a data directory with --data-dir",
            settings.data_dir.display()
        )))
    }

    /// Nothing if somebody else chats in this profile.
    async fn open_profile<H: Host<Node = N>>(host: &H, profile: &Settings) -> Result<Option<Self>, Failure> {
        let mut search = Search::new(host, profile, Mode::Chat);
        loop {
            match search.look().await? {
                Seen::Other(_, Some(Mode::Chat)) if !profile.data_dir_is_given => return Ok(None),
                Seen::Other(client, of) if !search.waits_for(of) => {
                    return Ok(Some(Self::of_other(client, profile, of)));
                }
                Seen::Own(node) => return Self::of_own(node, profile.clone()).await.map(Some),
                Seen::Other(..) | Seen::Nobody => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// A session with a node that was just started in this process.
    pub(crate) async fn of_own(node: N, settings: Settings) -> Result<Self, Failure> {
        let client = Client::attach(&settings.socket()).await?.ok_or_else(|| {
            Failure::Failed(format!("bug: the node started but does not answer at {}", settings.socket().display()))
        })?;
        Ok(Self { client, settings, whose: Whose::Own(node) })
    }

    fn of_other(client: Client, settings: &Settings, of: Option<Mode>) -> Self {
        Self { client, settings: settings.clone(), whose: Whose::Other(of) }
    }

    /// Whether the node is in this process, and ends with it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.whose, Whose::Own(_))
    }

    /// Finds a node again after the one of this session has gone: a daemon gets time to come back, which is handed
    /// to `say` as a sentence; the place of anybody else is taken. Not to be cancelled, unless the session is given up.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] if a daemon does not come back within 10 s: it can be tried again. Others are final.
    pub(crate) async fn recover<H: Host<Node = N>>(
        &mut self,
        host: &H,
        mode: Mode,
        say: impl FnOnce(String),
    ) -> Result<(), Failure> {
        sleep(LOOK_AGAIN).await;
        match &mut self.whose {
            Whose::Own(node) => {
                self.client = same_again(node, &self.settings).await?;
                Ok(())
            }
            Whose::Other(Some(Mode::Serve)) => {
                let (client, of) = daemon_again(&self.settings, say).await?;
                (self.client, self.whose) = (client, Whose::Other(of));
                Ok(())
            }
            Whose::Other(_) => {
                *self = Self::open(host, &self.settings, mode).await?;
                Ok(())
            }
        }
    }

    /// Ends the node if it is this process's own: that takes a moment when others still lack what it wrote.
    pub(crate) async fn close(self, console: &mut Console, interrupt: &mut Interrupt) -> Result<(), Failure> {
        self.close_within(PATIENCE, console, interrupt).await
    }

    /// As [`Session::close`], but waits for others no longer than `patience`.
    pub(crate) async fn close_within(
        self,
        patience: Duration,
        console: &mut Console,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        match self.whose {
            Whose::Own(node) => stop(node, patience, console, interrupt).await,
            Whose::Other(_) => Ok(()),
        }
    }
}

/// The search for a node on a data directory.
struct Search<'a, H> {
    host: &'a H,
    settings: &'a Settings,
    mode: Mode,
    begun: Instant,
    /// When another process's node answered last; at first, when the search began.
    answered: Instant,
}

/// What one look saw.
enum Seen<N> {
    /// The node of another process, and what that one is for.
    Other(Client, Option<Mode>),
    /// There was no node, and this process has started one.
    Own(N),
    /// Another process has taken the directory and does not answer: it has only begun, or is about to end.
    Nobody,
}

impl<'a, H: Host> Search<'a, H> {
    fn new(host: &'a H, settings: &'a Settings, mode: Mode) -> Self {
        let now = Instant::now();
        Self { host, settings, mode, begun: now, answered: now }
    }

    async fn look(&mut self) -> Result<Seen<H::Node>, Failure> {
        if let Some((client, of)) = answering(self.settings).await? {
            self.answered = Instant::now();
            return Ok(Seen::Other(client, of));
        }
        match self.host.start(node_options(self.settings, self.mode, any_port())).await {
            Ok(node) => Ok(Seen::Own(node)),
            Err(StartFailure::Held) if self.answered.elapsed() < TAKE_OVER => Ok(Seen::Nobody),
            Err(StartFailure::Held) => Err(held(self.settings)),
            Err(StartFailure::Failed(failure)) => Err(failure),
        }
    }

    /// Whether a node is better waited for than used, because it is about to end: one that ends in the middle takes
    /// the answer along. Whatever takes longer is used nevertheless.
    fn waits_for(&self, of: Option<Mode>) -> bool {
        ends_soon(of) && self.begun.elapsed() < TAKE_OVER
    }
}

/// The node of another process, if it answers, and what that process is for.
async fn answering(settings: &Settings) -> Result<Option<(Client, Option<Mode>)>, Failure> {
    let client = Client::attach(&settings.socket()).await?;
    Ok(client.map(|client| (client, Holder::read(&settings.data_dir).map(|holder| holder.mode))))
}

/// Who runs a node says what for before the node answers, and takes that back when it begins to end.
fn ends_soon(of: Option<Mode>) -> bool {
    matches!(of, None | Some(Mode::Command))
}

/// The node of this process, if only the connection to it broke.
async fn same_again<N: Running>(node: &mut N, settings: &Settings) -> Result<Client, Failure> {
    if let Some(client) = Client::attach(&settings.socket()).await? {
        return Ok(client);
    }
    // Why it has gone is worth more than that it has.
    timeout(TAKE_OVER, node.stopped()).await.unwrap_or(Ok(()))?;
    Err(Failure::Failed("the node was shut down; start the command again".to_owned()))
}

/// Waits for a daemon to come back. Whoever runs a node in its place will do, but for those who end soon.
async fn daemon_again(settings: &Settings, say: impl FnOnce(String)) -> Result<(Client, Option<Mode>), Failure> {
    let at = settings.data_dir.display();
    let deadline = Instant::now() + TAKE_OVER;
    let mut say = Some(say);
    loop {
        let is_last_look = Instant::now() >= deadline;
        if let Some((client, of)) = answering(settings).await?
            && (is_last_look || !ends_soon(of))
        {
            return Ok((client, of));
        }
        if is_last_look {
            let sentence = format!("the node on {at} has gone; start it again with p2p-chat serve");
            return Err(Failure::Unreachable(sentence));
        }
        if let Some(say) = say.take() {
            say(format!("the node on {at} has gone; waiting for it to come back"));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Shuts `node` down, waiting up to `patience` for another member to store what it wrote; says so if it takes long, and
/// what nobody else has. An interrupt ends the wait.
pub(crate) async fn stop<N: Running>(
    node: N,
    patience: Duration,
    console: &mut Console,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let mut shutdown = std::pin::pin!(node.shutdown(patience));
    let unreplicated = match timeout(console.waits.noticeable, &mut shutdown).await {
        Ok(result) => result?,
        Err(_) => {
            if patience > console.waits.noticeable {
                let limit = patience.as_secs();
                console.note(format!("waiting up to {limit} s for another member to store what this node wrote"));
            }
            tokio::select! {
                result = &mut shutdown => result?,
                () = interrupt.wait() => {
                    return Err(Failure::Failed(
                        "interrupted; what was sent is safe on this disk and goes out when the node runs again".to_owned(),
                    ));
                }
            }
        }
    };
    if unreplicated > 0 {
        let entries = if unreplicated == 1 { "1 entry is".to_owned() } else { format!("{unreplicated} entries are") };
        console.note(format!("{entries} on this disk only and will go out when the node runs again"));
    }
    Ok(())
}

/// How to start a node with these settings; `listen` holds where they say nothing.
pub(crate) fn node_options(settings: &Settings, mode: Mode, listen: SocketAddr) -> NodeOptions {
    NodeOptions {
        data_dir: settings.data_dir.clone(),
        mode,
        name: settings.name.clone(),
        name_is_given: settings.name_is_given,
        nds: settings.nds.clone(),
        embed_nds: mode == Mode::Chat && !settings.nds_are_given,
        listen: settings.listen.unwrap_or(listen),
        advertise: settings.advertise.clone(),
        preset: settings.preset,
        metrics: settings.metrics.clone(),
        otlp: settings.otlp.clone(),
    }
}

/// What to say when another process keeps the data directory.
pub(crate) fn held(settings: &Settings) -> Failure {
    let by = Holder::read(&settings.data_dir).map_or_else(String::new, |holder| format!(" (pid {})", holder.pid));
    Failure::Failed(format!(
        "the data directory {} is in use by another p2p-chat{by}; stop that one, or name another with --data-dir",
        settings.data_dir.display()
    ))
}
