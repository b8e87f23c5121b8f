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
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long the wait is worth a word.
const NOTICEABLE: Duration = Duration::from_millis(1_500);
/// Most profiles that chats open by themselves.
const MAX_PROFILES: u32 = 16;

/// A node to talk to.
#[derive(Debug)]
pub(crate) struct Session<N> {
    pub(crate) client: Client,
    /// Which settings the node was found or started with.
    pub(crate) settings: Settings,
    own: Option<N>,
}

impl<N: Running> Session<N> {
    /// Uses the node that runs on the data directory, or starts one with `mode`.
    pub(crate) async fn open<H: Host<Node = N>>(host: &H, settings: &Settings, mode: Mode) -> Result<Self, Failure> {
        let deadline = Instant::now() + TAKE_OVER;
        loop {
            if let Some(client) = Client::attach(&settings.socket()).await? {
                return Ok(Self { client, settings: settings.clone(), own: None });
            }
            match host.start(node_options(settings, mode, any_port())).await {
                Ok(node) => return Self::of_own(node, settings.clone()).await,
                Err(StartFailure::Held) if Instant::now() < deadline => sleep(LOOK_AGAIN).await,
                Err(StartFailure::Held) => return Err(held(settings)),
                Err(StartFailure::Failed(failure)) => return Err(failure),
            }
        }
    }

    /// As [`Session::open`], for one who chats: never shares the default node with another one who chats, but
    /// takes the next profile.
    pub(crate) async fn open_chat<H: Host<Node = N>>(host: &H, settings: &Settings) -> Result<Self, Failure> {
        for number in 1..=MAX_PROFILES {
            let profile = settings.profile(number)?;
            if let Some(session) = Self::open_profile(host, profile).await? {
                return Ok(session);
            }
        }
        Err(Failure::Failed(format!(
            "{MAX_PROFILES} chats run already beside {}; name a data directory with --data-dir",
            settings.data_dir.display()
        )))
    }

    /// Nothing if somebody else chats in this profile.
    async fn open_profile<H: Host<Node = N>>(host: &H, profile: Settings) -> Result<Option<Self>, Failure> {
        let deadline = Instant::now() + TAKE_OVER;
        loop {
            let client = Client::attach(&profile.socket()).await?;
            let is_last_look = Instant::now() >= deadline;
            match (client, Holder::read(&profile.data_dir).map(|holder| holder.mode)) {
                (Some(_), Some(Mode::Chat)) if !profile.data_dir_is_given => return Ok(None),
                // It is about to end: better to wait for that than to lose the node in the middle.
                (Some(_), Some(Mode::Command)) if !is_last_look => sleep(LOOK_AGAIN).await,
                (Some(client), _) => return Ok(Some(Self { client, settings: profile, own: None })),
                (None, _) => match host.start(node_options(&profile, Mode::Chat, any_port())).await {
                    Ok(node) => return Self::of_own(node, profile).await.map(Some),
                    Err(StartFailure::Held) if is_last_look => return Err(held(&profile)),
                    Err(StartFailure::Held) => sleep(LOOK_AGAIN).await,
                    Err(StartFailure::Failed(failure)) => return Err(failure),
                },
            }
        }
    }

    /// A session with a node that was just started in this process.
    pub(crate) async fn of_own(node: N, settings: Settings) -> Result<Self, Failure> {
        let client = Client::attach(&settings.socket()).await?.ok_or_else(|| {
            Failure::Failed(format!("bug: the node started but does not answer at {}", settings.socket().display()))
        })?;
        Ok(Self { client, settings, own: Some(node) })
    }

    /// Whether the node is in this process, and ends with it.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Finds a node again after the one of this session has gone: a daemon gets time to come back, the place of
    /// anybody else is taken. Not to be cancelled, unless the session is given up.
    pub(crate) async fn recover<H: Host<Node = N>>(&mut self, host: &H, mode: Mode) -> Result<(), Failure> {
        let was_daemon = Holder::read(&self.settings.data_dir).is_some_and(|holder| holder.mode == Mode::Serve);
        sleep(LOOK_AGAIN).await;
        let deadline = Instant::now() + TAKE_OVER;
        while self.own.is_some() || was_daemon {
            if let Some(client) = Client::attach(&self.settings.socket()).await? {
                self.client = client;
                return Ok(());
            }
            if let Some(node) = &mut self.own {
                // Why it has gone is worth more than that it has.
                timeout(TAKE_OVER, node.stopped()).await.unwrap_or(Ok(()))?;
                return Err(Failure::Failed("the node was shut down; start the command again".to_owned()));
            }
            if Instant::now() >= deadline {
                let at = self.settings.data_dir.display();
                let sentence = format!("the node on {at} has gone; start it again with p2p-chat serve");
                return Err(Failure::Unreachable(sentence));
            }
            sleep(LOOK_AGAIN).await;
        }
        *self = Self::open(host, &self.settings, mode).await?;
        Ok(())
    }

    /// Ends the node if it is this process's own: that takes a moment when others still lack what it wrote.
    pub(crate) async fn close(self, console: &mut Console, interrupt: &mut Interrupt) -> Result<(), Failure> {
        match self.own {
            Some(node) => stop(node, console, interrupt).await,
            None => Ok(()),
        }
    }
}

/// Shuts `node` down; says so if it takes long, and what nobody else has. An interrupt ends the wait.
pub(crate) async fn stop<N: Running>(node: N, console: &mut Console, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let mut shutdown = std::pin::pin!(node.shutdown(PATIENCE));
    let unreplicated = match timeout(NOTICEABLE, &mut shutdown).await {
        Ok(result) => result?,
        Err(_) => {
            let limit = PATIENCE.as_secs();
            console.note(format!("waiting up to {limit} s for another member to store what this node wrote"));
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
