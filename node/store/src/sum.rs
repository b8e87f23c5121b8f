//! Checksums. SQLite notices a page that makes no sense, but not one in which a byte has become another.

use p2p_chat_model::{NetworkId, Run};

use crate::error::Fault;

/// Before a state with a checksum. What was written without one begins with the engine's format, 1.
const SUMMED: u8 = 0xfe;
const UNSUMMED: u8 = 1;
const SUM_BYTES: usize = 8;

/// What is kept of a run. Its last hash covers all that its encoding holds, but for the signature and, in a genesis, the
/// network.
pub(crate) fn of_run(run: &Run) -> i64 {
    let head = run.head();
    i64::from_be_bytes(sum(&[b"signed", run.network.as_bytes(), head.as_bytes(), run.signature.as_bytes()]))
}

/// Whether a digest is a run's: as it is kept now, or as it was in earlier versions, of all the bytes or, at first, the
/// beginning of the last hash.
pub(crate) fn is_of_run(digest: i64, run: &Run, bytes: &[u8]) -> bool {
    let head = || run.head().as_bytes().iter().take(SUM_BYTES).fold(0, |digest, byte| digest << 8 | i64::from(*byte));
    digest == of_run(run) || digest == i64::from_be_bytes(sum(&[b"run", bytes])) || digest == head()
}

/// A state as it is stored.
pub(crate) fn seal(network: NetworkId, state: &[u8]) -> Vec<u8> {
    [&[SUMMED][..], &sum(&[network.as_bytes(), state]), state].concat()
}

/// The state that was stored.
pub(crate) fn unseal(network: NetworkId, stored: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let sealed = match stored.split_first() {
        Some((&UNSUMMED, _)) => return Ok(stored),
        Some((&SUMMED, rest)) => rest.split_at_checked(SUM_BYTES),
        _ => None,
    };
    match sealed {
        Some((found, state)) if found == sum(&[network.as_bytes(), state]) => Ok(state.to_vec()),
        _ => Err(Fault::Corrupt(format!("the state of network {} is not what was written", network.short()))),
    }
}

fn sum(parts: &[&[u8]]) -> [u8; SUM_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("p2p-chat v1 stored");
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    let mut sum = [0; SUM_BYTES];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_or_not_at_all() {
        let network = NetworkId::new([7; 32]);
        let sealed = seal(network, b"state");
        assert_eq!(unseal(network, sealed.clone()).unwrap(), b"state");
        assert!(unseal(NetworkId::new([8; 32]), sealed.clone()).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(network, damaged).is_err(), "bit {bit}");
        }
        assert_eq!(unseal(network, vec![1, 2, 3]).unwrap(), [1, 2, 3], "of an earlier version");
        assert!(unseal(network, Vec::new()).is_err());
    }
}
