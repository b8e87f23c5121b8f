//! Runs: what every member takes from every other, and what it reads back from its disk.

use p2p_chat_model::{EntryHash, EntryKind, Identity, NetworkId, Run, RunError};

use super::{limits, valid};

pub(crate) fn check(bytes: &[u8]) {
    let _ = decode(bytes);
    let Ok(run) = Run::decode_trusted(bytes) else { return };
    assert_eq!(run.encode(), bytes, "a stored run is not what it was");
    // Whoever has a key can sign whatever he likes.
    let identity = valid::identity_of(&run.author).unwrap_or(valid::identity(0));
    for network in networks(&run, identity) {
        let entries = run.entries.iter().map(|(_, entry)| entry.clone()).collect();
        let signed = Run::sign(identity, network, run.first, run.previous, entries);
        let taken = decode(&signed.encode());
        assert!(!matches!(taken, Err(RunError::Forged(_))), "a genuine signature is refused");
    }
}

/// The run's network, and the one that its first entry founds.
fn networks(run: &Run, identity: &Identity) -> Vec<NetworkId> {
    let mut networks = vec![run.network];
    if let Some((_, entry)) = run.entries.first()
        && entry.header.kind == EntryKind::Genesis
    {
        let hash = entry.hash(run.network, identity.peer(), 1, EntryHash::NONE);
        networks.push(NetworkId::new(*hash.as_bytes()));
    }
    networks
}

fn decode(bytes: &[u8]) -> Result<Run, RunError> {
    let decoded = Run::decode(bytes);
    assert_eq!(Run::decode(bytes), decoded, "the second look says something else");
    match &decoded {
        Ok(run) => {
            limits::run(run, bytes);
            assert_eq!(Run::decode_trusted(bytes).as_ref(), Ok(run));
            let mut forged = bytes.to_vec();
            *forged.last_mut().expect("a run has bytes") ^= 0x20;
            assert!(matches!(Run::decode(&forged), Err(RunError::Forged(_))), "a forged signature passes");
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert!(Run::decode(&longer).is_err() && Run::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        Err(error) => limits::sentence(&error.to_string()),
    }
    decoded
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let crowd = (0..40).map(|number| valid::text(5 + number, "t", &[(0, 1 + number), (2, 3)])).collect();
    let large = valid::text(1 << 40, &"y".repeat(65_536), &[(0, 3), (1, 4), (3, u64::MAX)]);
    let runs = [
        valid::alices_feed(),
        valid::bobs_feed(),
        valid::feed(2, None, vec![crowd]),
        valid::feed(3, None, vec![vec![large]]),
    ];
    runs.iter().flatten().map(Run::encode).collect()
}
