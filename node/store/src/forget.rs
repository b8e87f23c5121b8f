//! Forgetting a network. Nobody finds it any more once that is committed. What it leaves in the file is deleted after
//! that in slices, a transaction each, with commits of other networks in between. What a crash or a full disk leaves of it
//! is deleted from the next start on, or once the disk works again; whoever forgets the network again waits for that.

use p2p_chat_model::NetworkId;
use rusqlite::{Connection, OptionalExtension};

use crate::error::Fault;

/// Rows that one slice deletes.
const SLICE_ROWS: i64 = 1_000;
/// Bytes of runs that one slice deletes, but for the last run.
const SLICE_BYTES: i64 = 512 << 10;

/// Tables whose rows may be large: how rows are picked, with their sizes, and deleted.
const LARGE: [(&str, &str); 2] = [
    // As they were written, so that one slice changes few pages.
    (
        "SELECT key, length(bytes) FROM run WHERE network = ?1 ORDER BY rank LIMIT ?2",
        "DELETE FROM run WHERE network = ?1 AND key = ?2",
    ),
    (
        "SELECT author, length(bytes) FROM fork WHERE network = ?1 LIMIT ?2",
        "DELETE FROM fork WHERE network = ?1 AND author = ?2",
    ),
];
/// Tables of small rows, and what tells the rows of one network apart.
const SMALL: [(&str, &str); 4] =
    [("stretch", "position"), ("roster", "author, seq"), ("ack", "peer, upto"), ("feed", "author")];

/// Hides a network from whoever reads and from the check at the start. Its row goes last: while it is there, under an id
/// that nobody knows, no other network gets its key. Returns that, if there is such a network.
pub(crate) fn hide(db: &Connection, network: NetworkId) -> Result<Option<i64>, Fault> {
    let sql = "UPDATE network SET id = randomblob(32), read = -1, state = NULL WHERE id = ?1 RETURNING key";
    Ok(db.query_row(sql, [network.as_bytes()], |row| row.get(0)).optional()?)
}

/// The keys of the networks that are hidden.
pub(crate) fn hidden(db: &Connection) -> Result<Vec<i64>, Fault> {
    let mut query = db.prepare_cached("SELECT key FROM network WHERE read < 0 ORDER BY key")?;
    Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Deletes a slice of what a hidden network leaves. Says whether that was the last.
pub(crate) fn delete_slice(db: &Connection, network: i64) -> Result<bool, Fault> {
    let (mut rows, mut bytes) = (SLICE_ROWS, SLICE_BYTES);
    for (pick, delete) in LARGE {
        let mut pick = db.prepare_cached(pick)?;
        let picked: Vec<(i64, i64)> =
            pick.query_map((network, rows), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut delete = db.prepare_cached(delete)?;
        for (key, len) in picked {
            delete.execute((network, key))?;
            (rows, bytes) = (rows - 1, bytes - len);
            if rows == 0 || bytes <= 0 {
                return Ok(false);
            }
        }
    }
    for (table, key) in SMALL {
        let mut delete = db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE network = ?1 AND ({key}) IN
                 (SELECT {key} FROM {table} WHERE network = ?1 LIMIT ?2)"
        ))?;
        rows -= delete.execute((network, rows))? as i64;
        if rows == 0 {
            return Ok(false);
        }
    }
    db.execute("DELETE FROM network WHERE key = ?1", [network])?;
    db.execute(
        "DELETE FROM peer WHERE key NOT IN (SELECT author FROM feed UNION SELECT peer FROM ack
             UNION SELECT author FROM fork
             UNION SELECT relay FROM ack WHERE relay IS NOT NULL)",
        [],
    )?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FILE_NAME, open_writer, plan};

    #[test]
    fn no_slice_looks_at_more_than_it_deletes() {
        let directory = tempfile::tempdir().unwrap();
        let db = open_writer(&directory.path().join(FILE_NAME), None).unwrap();
        for (pick, delete) in LARGE {
            let plan = plan(&db, pick) + &plan(&db, delete);
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
