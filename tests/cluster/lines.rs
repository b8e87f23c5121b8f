//! The lines that other tests cut are really dead, for those two ends only, and live again afterwards.

use crate::support::{Cluster, Lines, Process, lines::Seat, report::skip, wait::secs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_namespaces_is_dead_for_its_two_ends_only() {
    match Lines::wired() {
        Ok(lines) => cut_is_dead_for_its_two_ends_only(lines).await,
        Err(reason) => skip("a cut between namespaces is dead for its two ends only", reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_proxies_is_dead_for_its_two_ends_only() {
    cut_is_dead_for_its_two_ends_only(Lines::proxied()).await;
}

async fn cut_is_dead_for_its_two_ends_only(lines: Lines) {
    let cluster = Cluster::new(lines.clone()).await;
    let (alice, bob) = (lines.seat("alice", 1).await, lines.seat("bob", 1).await);
    for round in 0..2 {
        assert!(reaches(&cluster, "alice", &alice).await && reaches(&cluster, "bob", &bob).await, "round {round}");
        lines.cut(&["alice"], &["nds"]);
        assert!(!still_reaches(&cluster, "alice", &alice).await, "the cut line carries");
        assert!(reaches(&cluster, "bob", &bob).await, "the other line is cut too");
        lines.heal();
    }
    lines.cut_one_way("alice", "nds");
    assert!(!still_reaches(&cluster, "alice", &alice).await, "the cut direction carries");
    assert!(reaches(&cluster, "bob", &bob).await, "another line is cut too");
    lines.mend("alice", "nds");
    assert!(reaches(&cluster, "alice", &alice).await, "the line was mended and is still cut");
}

/// Whether a health probe of the discovery service by this host succeeds; a busy machine may take its time.
async fn reaches(cluster: &Cluster, name: &str, seat: &Seat) -> bool {
    probes(cluster, (name, seat), "20").await
}

/// The same over a line that is cut, where it would take its whole time.
async fn still_reaches(cluster: &Cluster, name: &str, seat: &Seat) -> bool {
    probes(cluster, (name, seat), "2").await
}

async fn probes(cluster: &Cluster, (name, seat): (&str, &Seat), timeout_secs: &str) -> bool {
    let args = ["health", &cluster.nds.url(), "--timeout", timeout_secs].map(str::to_owned);
    let mut probe = Process::start(name, &seat.prefix, &args, &cluster.logs());
    cluster.lines.spawned(name, probe.pid());
    probe.end(secs(30)).await.status.success()
}
