//! Who runs the node of a data directory: a small file beside the lock, for others to decide what to do.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

const FILE: &str = "node.json";

/// What the process that runs the node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It serves until it is told to stop.
    Serve,
    /// Somebody chats in it.
    Chat,
    /// Somebody listens in it, until interrupted.
    Listen,
    /// It carries out one command.
    Command,
}

/// The process that runs the node of a data directory: `DATA_DIR/node.json`, `{"pid":1,"mode":"serve"}`.
///
/// The file says what the holder of the lock is for; that the lock is held it does not say. It is there before the node
/// answers, and removed when the node begins to end: a node that answers without it is not worth using any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// What it is for.
    pub mode: Mode,
}

impl Holder {
    /// This process.
    pub fn this_process(mode: Mode) -> Self {
        Self { pid: std::process::id(), mode }
    }

    /// Where the file is.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Writes the file, at once and whole. To be called by the process that has just taken the lock, before the
    /// local API's socket answers.
    ///
    /// # Errors
    /// When the directory can't be written.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let draft = data_dir.join(format!("{FILE}.new"));
        fs::write(&draft, serde_json::to_vec(self)?)?;
        fs::rename(draft, Self::file(data_dir))
    }

    /// Reads the file; nothing if it is absent or makes no sense.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let text = fs::read(Self::file(data_dir)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Removes the file. To be called when the node begins to end.
    ///
    /// # Errors
    /// When the directory can't be written. That the file is not there is no error.
    pub fn remove(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(Self::file(data_dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Holder::read(dir.path()), None);
        let holder = Holder { pid: 7, mode: Mode::Chat };
        holder.write(dir.path()).expect("written");
        assert_eq!(Holder::read(dir.path()), Some(holder));
        let text = fs::read_to_string(dir.path().join(FILE)).expect("read");
        assert_eq!(text, r#"{"pid":7,"mode":"chat"}"#);
        fs::write(dir.path().join(FILE), "{").expect("written");
        assert_eq!(Holder::read(dir.path()), None);
        Holder::remove(dir.path()).expect("removed");
        Holder::remove(dir.path()).expect("already gone");
    }
}
