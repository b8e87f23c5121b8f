//! The stage of the demo: a temporary directory, a discovery service, and nodes.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use p2p_chat_proto::v1::{self, discovery_client::DiscoveryClient};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::{process::Process, until};
use crate::{
    client::Client,
    commands::health::root_cause,
    failure::Failure,
    settings::{SOCKET, VARIABLES},
};

/// The network of the demo.
pub(super) const NETWORK: &str = "lab";
const CALL: Duration = Duration::from_secs(5);

/// Everything that runs. Fields go in order: processes before their data.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) nds: Process,
    discovery: DiscoveryClient<Channel>,
    program: PathBuf,
    dir: TempDir,
}

/// A node of the demo.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) name: &'static str,
    pub(super) client: Client,
    pub(super) process: Process,
}

impl Stage {
    /// Starts a discovery service in a new temporary directory.
    pub(super) async fn set() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("cannot set the demo up: {error}; check TMPDIR"));
        let program = std::env::current_exe().map_err(failed)?;
        let dir = tempfile::Builder::new().prefix("p2p-chat-demo-").tempdir().map_err(failed)?;
        let nds = Process::start(command(&program, dir.path(), "nds", &["nds"]), "nds", log(dir.path(), "nds")).await?;
        let channel = Endpoint::from_shared(format!("http://{}", nds.address))
            .map_err(|error| Failure::Failed(format!("bug: {}: {error}", nds.address)))?
            .connect_timeout(CALL)
            .timeout(CALL)
            .connect_lazy();
        Ok(Self { nds, discovery: DiscoveryClient::new(channel), program, dir })
    }

    /// Starts a node, for the first time or again.
    pub(super) async fn enter(&self, name: &'static str, how: &[&str]) -> Result<Actor, Failure> {
        let url = format!("http://{}", self.nds.address);
        let mut args = vec!["serve", "--nds", &url, "--name", name];
        args.extend_from_slice(how);
        let command = command(&self.program, self.dir.path(), name, &args);
        let process = Process::start(command, name, log(self.dir.path(), name)).await?;
        let socket = self.dir.path().join(name).join(SOCKET);
        let client = until(&format!("the start of {name}"), async || Client::attach(&socket).await).await?;
        Ok(Actor { name, client, process })
    }

    /// What the discovery service has on record of the network.
    pub(super) async fn record(&self) -> Result<Option<v1::NetworkRecord>, Failure> {
        let request = v1::ListNetworksRequest { page_size: 0, page_token: String::new() };
        let records = self.discovery.clone().list_networks(request).await.map_err(|status| {
            let why = std::error::Error::source(&status).map_or_else(|| status.message().to_owned(), root_cause);
            Failure::Unreachable(format!("the discovery service at {} failed: {why}", self.nds.address))
        })?;
        Ok(records.into_inner().records.into_iter().find(|record| record.name == NETWORK))
    }
}

impl Actor {
    /// Where the node stands in the network, if it is in it.
    pub(super) async fn state(&self) -> Result<Option<v1::NetworkState>, Failure> {
        let status = self.client.status().await?;
        let mut networks = status.networks.into_iter();
        Ok(networks.find(|state| state.name == NETWORK && state.phase() == v1::Phase::Joined && state.node_id > 0))
    }

    /// The ids of the texts in the node's history, in its order.
    pub(super) async fn history(&self) -> Result<Vec<String>, Failure> {
        let mut messages = self.client.history(NETWORK, 0).await?;
        let mut ids = Vec::new();
        while let Some(message) = messages.next().await? {
            if message.kind == "text" {
                ids.push(message.id);
            }
        }
        Ok(ids)
    }
}

fn command(program: &Path, dir: &Path, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"]).arg(dir.join(name));
    // Nothing of the user's own configuration plays a part.
    VARIABLES.iter().fold(&mut command, |command, variable| command.env_remove(variable));
    command.env("XDG_CONFIG_HOME", dir);
    command
}

fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_users_environment_reaches_a_process_of_the_demo() {
        let command = command(Path::new("p2p-chat"), Path::new("/demo"), "alice", &["serve"]);
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect();
        for variable in ["P2P_CHAT_DATA_DIR", "P2P_CHAT_NDS", "P2P_CHAT_METRICS", "P2P_CHAT_OTLP"] {
            assert!(removed.contains(&std::ffi::OsStr::new(variable)), "{variable} is not removed: {removed:?}");
        }
    }
}
