//! A small disk of its own for one node: a tmpfs that can be filled up.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted tmpfs. Dropping it unmounts it.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one. An error if this machine won't have it.
    pub(crate) fn mount(at: &Path, mebibytes: u32) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let size = format!("size={mebibytes}m,mode=700");
        let at_text = at.display().to_string();
        run("mount", &["-t", "tmpfs", "-o", &size, "p2p-chat-test", &at_text])?;
        Ok(Self { at: at.to_owned() })
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("the disk takes a file");
        let mut size = 1 << 16;
        while size > 0 {
            match file.write(&vec![0x55; size]) {
                Ok(1..) => {}
                Ok(0) => size /= 2,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("could not fill the disk: {error}"),
            }
        }
    }

    /// Gives the space back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler can be removed");
    }

    /// Makes it read-only, or writable again. Nothing may have files open for writing there.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        let remounted = run("mount", &["-o", how, &self.at.display().to_string()]);
        remounted.unwrap_or_else(|error| panic!("{error}"));
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", &self.at.display().to_string()]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("`{program} {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}
