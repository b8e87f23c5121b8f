//! Everything that is stored or shown was written by its author, bytes equal, and bears the author's signature.

use std::collections::BTreeMap;

use p2p_chat_model::{EntryHash, PeerId, Run, Seq, Signature};

use super::{Finding, ledger::Ledger};

/// A run of somebody else is on disk.
pub(crate) fn check_run(ledger: &Ledger, name: &str, run: &Run) -> Finding {
    let mut entries = (run.first..).zip(&run.entries);
    entries.try_for_each(|(seq, (hash, _))| check_delivered(ledger, name, (run.author, seq), *hash))
}

/// An entry of somebody else is delivered.
pub(crate) fn check_delivered(ledger: &Ledger, name: &str, place: (PeerId, Seq), hash: EntryHash) -> Finding {
    let (author, seq) = place;
    match ledger.entry(author, seq) {
        _ if ledger.has_said(author, seq, hash) => Ok(()),
        Some(_) => Err(format!("{name} has another entry {seq} of {author:?} than that one wrote")),
        None => Err(format!("{name} has entry {seq} of {author:?}, who never wrote it")),
    }
}

/// A run of somebody else is on disk with this signature; one that was found genuine before need not be verified again.
pub(crate) fn check_signature(genuine: &mut BTreeMap<EntryHash, Signature>, name: &str, run: &Run) -> Finding {
    if genuine.get(&run.head()) == Some(&run.signature) {
        return Ok(());
    }
    match Run::decode(&run.encode()) {
        Ok(decoded) if decoded == *run => {
            genuine.insert(run.head(), run.signature);
            Ok(())
        }
        Ok(_) => Err(format!("{name} has a run of {:?} that reads differently once written", run.author)),
        Err(error) => Err(format!("{name} has stored a run of {:?}: {error}", run.author)),
    }
}
