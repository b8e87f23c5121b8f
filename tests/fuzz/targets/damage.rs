//! Damage to the files of a database: what disks, crashes and careless people do.

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::{Connection, types::Value};
use tempfile::TempDir;

use super::choices::Choices;

/// SQLite's page size, unless a database asks for another.
const PAGE_BYTES: usize = 4_096;

/// The files of a database, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The files in a directory, but for those that only say who uses it.
pub(crate) fn read(directory: &Path) -> Files {
    let mut files = Files::new();
    for file in fs::read_dir(directory).expect("the directory can be read") {
        let path = file.expect("the directory can be read").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.ends_with("-shm") && !name.ends_with(".lock") {
            files.insert(name, fs::read(&path).expect("the file can be read"));
        }
    }
    files
}

/// A directory with these files, in memory where the system has such a place.
pub(crate) fn write(files: &Files) -> TempDir {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = directory.expect("a directory");
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).expect("the directory is writable");
    }
    directory
}

/// Damages one of the files.
pub(crate) fn bytes(files: &mut Files, choices: &mut Choices<'_>) {
    let which = choices.below(files.len());
    let noise: [u8; 8] = choices.array();
    let Some((_, bytes)) = files.iter_mut().nth(which) else { return };
    let pages = bytes.len().div_ceil(PAGE_BYTES).max(1);
    let page = choices.below(pages) * PAGE_BYTES;
    let at = (page + choices.below(PAGE_BYTES)).min(bytes.len());
    match choices.below(10) {
        0..4 if at < bytes.len() => bytes[at] ^= 1 << (noise[0] % 8),
        4 if at < bytes.len() => bytes[at] = noise[0],
        5 => bytes.truncate(at),
        6 => {
            let end = (at + 1 + usize::from(noise[1]) * 8).min(bytes.len());
            bytes[at.min(end)..end].fill(noise[0]);
        }
        7 => {
            // A page in the place of another, as of a write that went astray.
            let from = choices.below(pages) * PAGE_BYTES;
            let copy = bytes[from..(from + PAGE_BYTES).min(bytes.len())].to_vec();
            let end = (page + copy.len()).min(bytes.len());
            bytes[page..end].copy_from_slice(&copy[..end - page]);
        }
        8 => bytes.extend(noise.iter().cycle().take(1 + 16 * choices.below(512))),
        _ => {
            let end = (at + noise.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&noise[..end - at]);
        }
    }
}

/// Damages a row: another value, of another size or kind. Where SQLite refuses it, nothing happens.
pub(crate) fn rows(file: &Path, choices: &mut Choices<'_>) {
    let Ok(db) = Connection::open(file) else { return };
    let tables = names(&db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    let Some(table) = tables.get(choices.below(tables.len())) else { return };
    let columns = names(&db, &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"));
    let Some(column) = columns.get(choices.below(columns.len())) else { return };
    // Some tables have no row ids; every one has its columns.
    let of_row = columns.iter().map(|name| format!("{table}.{name} IS pick.{name}")).collect::<Vec<_>>().join(" AND ");
    let pick = format!("(SELECT * FROM {table} ORDER BY 1, 2 LIMIT 1 OFFSET {}) AS pick", choices.below(64));
    let exists = format!("EXISTS (SELECT 1 FROM {pick} WHERE {of_row})");
    let old: Value = db.query_row(&format!("SELECT {column} FROM {pick}"), [], |row| row.get(0)).unwrap_or(Value::Null);
    let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {exists}");
    let new = value(old, choices);
    // A state that is not there is one that was not written yet: nothing tells the two apart.
    if column != "state" || new != Value::Null {
        let _ = db.execute(&sql, [new]);
    }
}

fn names(db: &Connection, sql: &str) -> Vec<String> {
    let read = || {
        let mut statement = db.prepare(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        names.collect::<rusqlite::Result<Vec<String>>>()
    };
    read().unwrap_or_default()
}

fn value(old: Value, choices: &mut Choices<'_>) -> Value {
    let number = choices.number();
    match (choices.below(6), old) {
        (0, _) => Value::Null,
        (1, _) => Value::Integer(number.cast_signed()),
        (2, _) => Value::Blob(vec![choices.byte(); choices.below(80)]),
        (3, _) => Value::Text("é".repeat(choices.below(80))),
        (_, Value::Integer(old)) => Value::Integer(old.wrapping_add(number.cast_signed() % 3 - 1)),
        (kind, Value::Blob(mut old)) => {
            let at = choices.below(old.len().clamp(1, 65_536)).min(old.len());
            match kind {
                4 => old.truncate(at),
                _ if at < old.len() => old[at] ^= 1 << (number % 8),
                _ => old.push(0),
            }
            Value::Blob(old)
        }
        (_, Value::Text(old)) => Value::Text(old + "!"),
        (_, other) => other,
    }
}
