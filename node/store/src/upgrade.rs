//! Takes files of an earlier format over.

use rusqlite::{Connection, TransactionBehavior};

use crate::{
    error::Fault,
    schema::{FORMAT, STRETCHES},
    sound,
    stretch::{Placed, Stretch},
};

/// From format 1, which had a row for each delivered entry. Takes some seconds and about 100 MB a million entries, for as
/// long as it takes; if there is no room, or the result is not sound, the file stays as it is.
pub(crate) fn from_rows(db: &mut Connection) -> Result<(), Fault> {
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "secure_delete", true)?;
    let upgrade = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    upgrade.execute_batch(STRETCHES)?;
    join_rows(&upgrade)?;
    upgrade.execute_batch(&format!("DROP TABLE timeline; PRAGMA user_version = {FORMAT};"))?;
    sound::check(&upgrade)?;
    Ok(upgrade.commit()?)
}

fn join_rows(db: &Connection) -> Result<(), Fault> {
    let mut query = db.prepare(
        "SELECT t.position, t.author, t.seq, t.lamport, t.kind, t.arrived_ms, t.late, t.tag, p.id, t.network
         FROM timeline t CROSS JOIN peer p ON p.key = t.author ORDER BY t.network, t.position",
    )?;
    let mut rows = query.query([])?;
    let mut open: Option<(i64, Stretch)> = None;
    while let Some(row) = rows.next()? {
        let (network, placed): (i64, _) = (row.get(9)?, Placed::of_row(row)?);
        let [_, _, tag @ ..] = row.get::<_, i64>(7)?.to_be_bytes();
        if open.as_mut().is_some_and(|(of, stretch)| *of == network && stretch.take(&placed, tag)) {
            continue;
        }
        if let Some((network, stretch)) = open.replace((network, Stretch::new(placed, tag))) {
            stretch.insert(db, network)?;
        }
    }
    open.map_or(Ok(()), |(network, stretch)| stretch.insert(db, network))
}
