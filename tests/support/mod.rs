//! A cluster of real processes on this machine, and the hands that hurt it.
//!
//! - [`Cluster`]: a discovery service and nodes, each a child process, in a temporary directory of their own.
//! - [`lines`]: what lies between the processes, and how to cut it.
//! - [`Ledger`], [`Writer`], [`Recorder`], [`history`]: what was said, what was seen, and whether both agree.
//! - [`scrape`], [`collector`]: what a process tells a monitor, and a collector of traces.
//! - [`wait`]: the only place that lets time pass.

pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod disk;
pub(crate) mod history;
pub(crate) mod ledger;
pub(crate) mod lines;
pub(crate) mod nds;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod report;
pub(crate) mod scrape;
pub(crate) mod wait;
pub(crate) mod writer;

pub(crate) use cluster::{Cluster, LAB};
pub(crate) use ledger::Ledger;
pub(crate) use lines::Lines;
pub(crate) use nds::Nds;
pub(crate) use node::NodeProcess;
pub(crate) use process::Process;
pub(crate) use recorder::Recorder;
pub(crate) use report::figure;
pub(crate) use wait::{eventually, let_pass};
pub(crate) use writer::Writer;
