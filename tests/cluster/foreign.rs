//! A client in another language, which knows nothing of this program's contract but what reflection tells it.

use std::{path::PathBuf, process::Command};

use crate::support::{Cluster, LAB, Lines, figure, report::skip};

const TEST: &str = "a foreign client finds its way by reflection";
/// How long the installation of these may take.
const INSTALL_SECS: &str = "180";
const PACKAGES: [&str; 3] = ["grpcio", "grpcio-reflection", "grpcio-health-checking"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_finds_its_way_by_reflection() {
    let python = match tokio::task::spawn_blocking(python).await.expect("the set-up does not panic") {
        Ok(python) => python,
        Err(reason) => return skip(TEST, reason),
    };
    let cluster = Cluster::of(Lines::Direct, &["alice", "bob"]).await;
    let (nds, node) = (cluster.nds.url(), cluster.node("alice").address.clone());
    let mut command = Command::new(python);
    command.args(["-c", include_str!("foreign.py"), nds.trim_start_matches("http://"), &node, LAB]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("python runs");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    for line in said.lines() {
        figure(line);
    }
}

/// A Python that has gRPC, in a virtual environment that is kept with the build.
fn python() -> Result<PathBuf, String> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("foreign-client");
    let python = home.join("bin/python");
    let ready = || run(Command::new(&python).args(["-c", "import grpc, grpc_reflection, grpc_health"]));
    if ready().is_err() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        // Where nothing comes from the network, it is tried for a while and then skipped.
        run(Command::new("timeout")
            .arg(INSTALL_SECS)
            .arg(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--retries",
                "1",
                "--timeout",
                "10",
            ])
            .args(PACKAGES))?;
        ready()?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
