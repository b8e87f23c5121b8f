//! Values as columns.

use p2p_chat_model::{EntryHash, NetworkId, PeerId};
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};

/// A `u64` in a column that sorts by it. SQLite's integers end at 2^63 - 1, and a member may sign any number: what is
/// greater becomes a big-endian blob, because SQLite sorts every blob after every integer. Columns have type `ANY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(pub(crate) u64);

impl ToSql for Number {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match i64::try_from(self.0) {
            Ok(small) => Value::Integer(small),
            Err(_) => Value::Blob(self.0.to_be_bytes().to_vec()),
        };
        Ok(ToSqlOutput::Owned(value))
    }
}

impl FromSql for Number {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(small) => u64::try_from(small).map(Self).map_err(|_| FromSqlError::OutOfRange(small)),
            ValueRef::Blob(bytes) => {
                let array = bytes.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Self(u64::from_be_bytes(array)))
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// 32 bytes in a column.
pub(crate) struct Id(pub(crate) [u8; 32]);

impl From<Id> for PeerId {
    fn from(id: Id) -> Self {
        Self::new(id.0)
    }
}

impl From<Id> for NetworkId {
    fn from(id: Id) -> Self {
        Self::new(id.0)
    }
}

impl From<Id> for EntryHash {
    fn from(id: Id) -> Self {
        Self::new(id.0)
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn every_number_is_kept_and_sorts_by_its_value() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (n ANY) STRICT; CREATE INDEX t_n ON t (n)").unwrap();
        let numbers = [u64::MAX, 0, 1 << 63, 7, (1 << 63) - 1, 255, 256, u64::MAX - 1, (1 << 63) + 256];
        for n in numbers {
            db.execute("INSERT INTO t VALUES (?1)", [Number(n)]).unwrap();
        }
        let sorted = |sql: &str| -> Vec<u64> {
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get::<_, Number>(0)).unwrap();
            rows.map(|n| n.unwrap().0).collect()
        };
        let mut expected = numbers;
        expected.sort_unstable();
        assert_eq!(sorted("SELECT n FROM t ORDER BY n"), expected);
        let above: u64 = db
            .query_row("SELECT count(*) FROM t WHERE n > ?1", [Number(256)], |row| row.get::<_, Number>(0))
            .unwrap()
            .0;
        assert_eq!(above, 5);
    }
}
