//! People at terminals, and the discovery service between them.

use std::path::{Path, PathBuf};

use p2p_chat_proto::v1::{self, node_client::NodeClient};
use p2p_chat_transport::dial;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    support::{
        LAB, Lines, Nds, eventually,
        node::call,
        process::BINARY,
        report::skip,
        wait::{ensure, secs},
    },
    terminal::{Size, Terminal},
};

/// What most terminals are at least.
pub(crate) const USUAL: Size = (100, 30);

/// A discovery service, and room for people's data.
pub(crate) struct Scene {
    nds: Nds,
    dir: TempDir,
}

impl Scene {
    /// Nothing where there is no tmux: the test is skipped, and that is said.
    pub(crate) async fn new() -> Option<Self> {
        if let Err(reason) = Terminal::are_there() {
            skip(std::thread::current().name().unwrap_or("a test of the screen"), reason);
            return None;
        }
        let dir = tempfile::Builder::new().prefix("p2p-").tempdir().expect("a temporary directory can be made");
        let nds = Nds::start(dir.path().join("nds"), dir.path(), &Lines::Direct, false).await;
        Some(Self { nds, dir })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The discovery service's URL.
    pub(crate) fn nds(&self) -> String {
        self.nds.url()
    }

    /// The command line with which somebody enters the network of the tests.
    pub(crate) fn chat_line(&self, name: &str) -> Vec<String> {
        let data = self.data(name).display().to_string();
        let nds = self.nds.url();
        let words =
            [BINARY, "chat", LAB, "--nds", &nds, "--data-dir", &data, "--name", name, "--listen", "127.0.0.1:0"];
        words.map(str::to_owned).into()
    }

    /// The arguments with which somebody's node serves, and founds the network of the tests.
    pub(crate) fn serve_words(&self, name: &str) -> Vec<String> {
        let data = self.data(name).display().to_string();
        let nds = self.nds.url();
        let words = ["serve", "--create", LAB, "--nds", &nds, "--data-dir", &data, "--name", name];
        words.into_iter().chain(["--listen", "127.0.0.1:0"]).map(str::to_owned).collect()
    }

    /// Somebody sits down, starts a chat, and is in the network.
    pub(crate) async fn chat(&self, name: &str, size: Size) -> Terminal {
        let line = self.chat_line(name);
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let terminal = Terminal::start(name, self.dir.path(), size, &words).await;
        self.is_in(name).await;
        shows_network(&terminal).await;
        terminal
    }

    /// A shell at a terminal, for chats that are started and left.
    pub(crate) async fn shell(&self, name: &str, size: Size) -> Terminal {
        let terminal = Terminal::start(name, self.dir.path(), size, &["/bin/sh"]).await;
        terminal.shows("$").await;
        terminal
    }

    /// Waits until somebody's node is in the network; says which process it is.
    pub(crate) async fn is_in(&self, name: &str) -> Pid {
        eventually(secs(30), format!("{name} in {LAB}"), async || {
            let status = self.status(name).await?;
            let state = status.networks.iter().find(|state| state.name == LAB);
            let is_in = state.is_some_and(|state| state.phase() == v1::Phase::Joined && state.node_id > 0);
            ensure(is_in, || format!("{state:?}"))?;
            Pid::from_raw(status.pid.cast_signed()).ok_or_else(|| "no process".to_owned())
        })
        .await
    }

    /// Sends a signal to somebody's chat.
    pub(crate) async fn signal(&self, name: &str, signal: Signal) {
        let pid = self.is_in(name).await;
        kill_process(pid, signal).unwrap_or_else(|error| panic!("could not signal {name}: {error}"));
    }

    async fn status(&self, name: &str) -> Result<v1::StatusResponse, String> {
        let mut client = NodeClient::new(dial::unix(self.data(name).join("node.sock")));
        let status = client.status(call(v1::StatusRequest {})).await;
        status.map(tonic::Response::into_inner).map_err(|error| error.to_string())
    }

    /// Where somebody's node keeps its data.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Waits until a chat shows its network: its node may be in before, but until then nothing can be said there.
pub(crate) async fn shows_network(terminal: &Terminal) {
    let is_shown = |screen: &str| screen.lines().next().is_some_and(|title| title.trim_end().ends_with(" here"));
    terminal.until("the network", is_shown).await;
}

/// Says something in a chat, and waits until it is stored. Before that it is in the input line, then shown with `…`.
pub(crate) async fn says(terminal: &Terminal, text: &str) {
    let is_stored = |row: &str| {
        let around = row.split_once(text);
        around.is_some_and(|(before, after)| before.ends_with("│ ") && !after.trim_start().starts_with('…'))
    };
    terminal.enters(text);
    // Rows are drawn from above: once the input line is without it, the row of the message is whole.
    let is_there = |screen: &str| screen.matches(text).count() == 1 && screen.lines().any(is_stored);
    terminal.until(&format!("{text:?}, which is stored,"), is_there).await;
}
