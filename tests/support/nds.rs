//! The discovery service as a process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use p2p_chat_proto::v1::{self, discovery_client::DiscoveryClient, get_network_request::Key};
use p2p_chat_transport::dial;
use tonic::{Code, Status, transport::Channel};

use super::{
    Lines, Process,
    lines::Seat,
    wait::{eventually, secs},
};

/// A discovery service. It keeps its address over restarts.
pub(crate) struct Nds {
    pub(crate) dir: PathBuf,
    logs: PathBuf,
    seat: Seat,
    address: String,
    process: Option<Process>,
    lines: Lines,
    is_patient: bool,
}

impl Nds {
    /// Starts one whose data is in `dir`; one that is patient waits for nodes that it calls back for four times as long.
    pub(crate) async fn start(dir: PathBuf, logs: &Path, lines: &Lines, is_patient: bool) -> Self {
        let seat = lines.seat("nds", 7400).await;
        let address = seat.listen.clone();
        let (logs, lines) = (logs.to_owned(), lines.clone());
        let mut nds = Self { dir, logs, seat, address, process: None, lines, is_patient };
        nds.restart().await;
        nds
    }

    /// Starts it again on the same data and address.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(&[]).await;
    }

    /// As [`Self::restart`], with more arguments.
    pub(crate) async fn restart_with(&mut self, more: &[&str]) {
        let dir = self.dir.display().to_string();
        let words = ["nds", "--listen", &self.address, "--data-dir", &dir, "--metrics", "127.0.0.1:0"];
        let patience: &[&str] = if self.is_patient { &["--preset", "wan"] } else { &[] };
        let args: Vec<String> = words.iter().chain(patience).chain(more).map(|&word| word.to_owned()).collect();
        let mut process = Process::start("nds", &self.seat.prefix, &args, &self.logs);
        self.lines.spawned("nds", process.pid());
        self.address = process.listening().await.unwrap_or_else(|end| panic!("the discovery service ended: {end:?}"));
        self.lines.listens("nds", &self.address);
        self.process = Some(process);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Whether it was started and not ended by the test.
    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the discovery service runs")
    }

    /// Resident memory now and at its highest, in KiB.
    pub(crate) fn memory_kib(&self) -> (u64, u64) {
        self.process.as_ref().expect("the discovery service runs").memory_kib()
    }

    /// Takes its disk away; only while it is down.
    pub(crate) fn wipe(&self) {
        assert!(self.process.is_none(), "the discovery service still runs");
        fs::remove_dir_all(&self.dir).expect("its data can be deleted");
    }

    /// The URL that nodes use.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.seat.advertise.as_ref().unwrap_or(&self.address))
    }

    /// Its port, to speak to directly. Not reachable from here when it is in a network namespace.
    pub(crate) fn channel(&self) -> Channel {
        dial::plaintext(&format!("http://{}", self.address)).expect("its address is one")
    }

    /// What it has on record of a network.
    pub(crate) async fn record(&self, name: &str) -> Result<v1::NetworkRecord, Status> {
        let mut request = tonic::Request::new(v1::GetNetworkRequest { key: Some(Key::Name(name.to_owned())) });
        request.set_timeout(secs(5));
        let response = DiscoveryClient::new(self.channel()).get_network(request).await?;
        response.into_inner().record.ok_or_else(|| Status::new(Code::Internal, "an answer without a record"))
    }

    /// Waits until the record of `network` is as wanted.
    pub(crate) async fn lists(
        &self,
        network: &str,
        what: &str,
        wanted: impl Fn(&v1::NetworkRecord) -> bool,
    ) -> v1::NetworkRecord {
        // A renewal may take 18 s to come: they are 10 s apart, and one that fails takes its time.
        eventually(secs(60), format!("a record at the discovery service: {what}"), async || {
            let record = self.record(network).await.map_err(|status| status.to_string())?;
            if wanted(&record) { Ok(record) } else { Err(format!("the record is {record:?}")) }
        })
        .await
    }
}
