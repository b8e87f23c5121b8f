//! A node as a process, and its local API.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use p2p_chat_proto::v1::{self, node_client::NodeClient};
use p2p_chat_transport::dial;
use rustix::process::Signal;
use tonic::{Request, Status, transport::Channel};

use super::{
    LAB, Lines, Process,
    lines::Seat,
    process::{Finished, START_DEADLINE},
    wait::{ensure, eventually, secs},
};

/// How long a call of the local API may take that waits for nobody else.
pub(crate) const CALL_DEADLINE: Duration = secs(10);

/// A node. It keeps its data and its address over restarts.
pub(crate) struct NodeProcess {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    /// Its identity: 64 hexadecimal digits; empty before its first start.
    pub(crate) peer: String,
    /// Where others reach it.
    pub(crate) address: String,
    pub(crate) listen: String,
    /// Whether it suspects others four times as late.
    pub(crate) is_patient: bool,
    logs: PathBuf,
    pub(crate) nds: String,
    seat: Seat,
    process: Option<Process>,
    lines: Lines,
}

impl NodeProcess {
    /// A node that was not started yet.
    pub(crate) async fn new(name: &str, dir: PathBuf, logs: &Path, nds: String, lines: &Lines) -> Self {
        let seat = lines.seat(name, 7500).await;
        Self {
            name: name.to_owned(),
            dir,
            peer: String::new(),
            address: String::new(),
            listen: seat.listen.clone(),
            is_patient: false,
            logs: logs.to_owned(),
            nds,
            seat,
            lines: lines.clone(),
            process: None,
        }
    }

    /// The arguments of `serve`, before those given to [`Self::start`].
    pub(crate) fn arguments(&self) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let mut words = vec!["serve", "--listen", &self.listen, "--data-dir", &dir, "--nds", &self.nds];
        words.extend(["--name", &self.name]);
        if let Some(advertise) = &self.seat.advertise {
            words.extend(["--advertise", advertise]);
        }
        if self.is_patient {
            words.extend(["--preset", "wan"]);
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// From its next start on it has these variables in its environment (`KEY=value`).
    pub(crate) fn with_environment(&mut self, variables: &[&str]) {
        self.seat.prefix.push("env".to_owned());
        self.seat.prefix.extend(variables.iter().map(|&variable| variable.to_owned()));
    }

    /// Starts it, and waits until it listens and its local API answers.
    pub(crate) async fn start(&mut self, more: &[&str]) {
        if let Err(finished) = self.try_start(more).await {
            panic!("{} ended instead of serving: {finished:?}", self.name);
        }
    }

    /// As [`Self::start`], for a start that may fail.
    pub(crate) async fn try_start(&mut self, more: &[&str]) -> Result<(), Finished> {
        let mut args = self.arguments();
        args.extend(more.iter().map(|&word| word.to_owned()));
        let mut process = Process::start(&self.name, &self.seat.prefix, &args, &self.logs);
        self.lines.spawned(&self.name, process.pid());
        self.listen = process.listening().await?;
        self.lines.listens(&self.name, &self.listen);
        self.process = Some(process);
        let what = format!("an answer from {}", self.name);
        let status = eventually(START_DEADLINE, what, async || self.status().await).await;
        assert!(self.peer.is_empty() || self.peer == status.peer, "{} changed its identity", self.name);
        (self.peer, self.address) = (status.peer, status.address);
        Ok(())
    }

    /// Starts it again: same data, same address, and not told of any network.
    pub(crate) async fn restart(&mut self) {
        self.start(&[]).await;
    }

    /// From its next start on it listens on another port.
    pub(crate) fn move_elsewhere(&mut self) {
        self.listen.clone_from(&self.seat.listen);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGSTOP: it stands still, its connections stay open.
    pub(crate) fn freeze(&self) {
        self.process().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.process().signal(Signal::CONT);
    }

    /// SIGTERM, and what it leaves.
    pub(crate) async fn terminate(&mut self) -> Finished {
        self.process().signal(Signal::TERM);
        self.end().await
    }

    /// What it leaves, once it has ended: somebody has told it to.
    pub(crate) async fn end(&mut self) -> Finished {
        let mut process = self.process.take().expect("the node runs");
        process.end(secs(30)).await
    }

    /// What it left, if it has ended although nobody ended it.
    pub(crate) fn fallen(&mut self) -> Option<Finished> {
        self.process.as_mut()?.finished()
    }

    /// Whether it was started and not ended by the test.
    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The running process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("the node runs")
    }

    /// The local API. The channel survives restarts of the node.
    pub(crate) fn client(&self) -> NodeClient<Channel> {
        NodeClient::new(dial::unix(self.dir.join("node.sock")))
    }

    /// Where it stands in everything.
    pub(crate) async fn status(&self) -> Result<v1::StatusResponse, String> {
        let status = self.client().status(call(v1::StatusRequest {})).await;
        status.map(tonic::Response::into_inner).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Where it stands in one network.
    pub(crate) async fn state_in(&self, network: &str) -> Result<v1::NetworkState, String> {
        let status = self.status().await?;
        let state = status.networks.into_iter().find(|state| state.name == network);
        state.ok_or_else(|| format!("{} does not know {network}", self.name))
    }

    /// Where it stands in the network of the tests.
    pub(crate) async fn state(&self) -> Result<v1::NetworkState, String> {
        self.state_in(LAB).await
    }

    /// Waits until it is in a network.
    pub(crate) async fn is_in(&self, network: &str) -> v1::NetworkState {
        eventually(secs(20), format!("{} in {network}", self.name), async || {
            let state = self.state_in(network).await?;
            ensure(state.phase() == v1::Phase::Joined && state.node_id > 0, || format!("{state:?}"))?;
            Ok(state)
        })
        .await
    }

    /// The members as it sees them.
    pub(crate) async fn members(&self) -> Result<Vec<v1::Member>, Status> {
        let request = v1::MembersRequest { network: LAB.to_owned() };
        Ok(self.client().members(call(request)).await?.into_inner().members)
    }

    /// One member as it sees it.
    pub(crate) async fn member(&self, name: &str) -> Result<v1::Member, String> {
        let members = self.members().await.map_err(|status| status.to_string())?;
        members.into_iter().find(|member| member.name == name).ok_or_else(|| format!("no member {name}"))
    }

    /// All messages of a network, in the order in which everybody sees them.
    pub(crate) async fn history_of(&self, network: &str) -> Result<Vec<v1::Message>, Status> {
        let mut request =
            Request::new(v1::HistoryRequest { network: network.to_owned(), limit: 0, ..Default::default() });
        request.set_timeout(secs(60));
        let mut stream = self.client().history(request).await?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// All messages of the network of the tests.
    pub(crate) async fn history(&self) -> Vec<v1::Message> {
        self.history_of(LAB).await.unwrap_or_else(|status| panic!("no history from {}: {status}", self.name))
    }

    /// Who has a message, as this node knows.
    pub(crate) async fn custody(&self, message: &str, member: &str) -> Result<v1::Custody, String> {
        let request = v1::InspectRequest { network: LAB.to_owned(), message: message.to_owned() };
        let response = self.client().inspect(call(request)).await.map_err(|status| status.to_string())?;
        let mut custody = response.into_inner().custody.into_iter();
        custody.find(|custody| custody.member_name == member).ok_or_else(|| format!("nothing about {member}"))
    }
}

/// A request with the usual deadline.
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}
