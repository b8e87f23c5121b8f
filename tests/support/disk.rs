//! Disks of their own for single nodes: a small one that can be filled up, and one that can fail while it is in use.

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

/// A file system in a file that goes read-only under open files when it fails, as those of real disks do. Dropping it
/// unmounts it.
pub(crate) struct FailingDisk {
    at: PathBuf,
    image: PathBuf,
}

impl FailingDisk {
    /// Makes and mounts one; `image` is where it is kept. An error if this machine won't have it.
    pub(crate) fn mount(at: &Path, image: &Path, mebibytes: u64) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let file = File::create(image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", &image.display().to_string()])?;
        let disk = Self { at: at.to_owned(), image: image.to_owned() };
        disk.attach()?;
        let switch = disk.switch()?;
        if switch.exists() { Ok(disk) } else { Err(format!("there is no {}", switch.display())) }
    }

    fn attach(&self) -> Result<(), String> {
        let options = ["-t", "ext4", "-o", "loop,errors=remount-ro"];
        let (image, at) = (self.image.display().to_string(), self.at.display().to_string());
        run("mount", &[options.as_slice(), &[&image, &at]].concat())
    }

    /// What makes the kernel believe that the file system is damaged.
    fn switch(&self) -> Result<PathBuf, String> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
        let at = self.at.display().to_string();
        let device = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let device = words.next()?.strip_prefix("/dev/")?;
            (words.next()? == at).then_some(device)
        });
        Ok(Path::new("/sys/fs/ext4").join(device.ok_or("it is not among the mounts")?).join("trigger_fs_error"))
    }

    /// From now on nothing can be written. What was synced is kept: it fails between two syncs, while writes wait,
    /// because ext4 can report success for a sync that it fails in the middle of.
    pub(crate) fn fail(&self) {
        let switch = self.switch().unwrap_or_else(|error| panic!("{error}"));
        let at = self.at.display().to_string();
        run("fsfreeze", &["--freeze", &at]).unwrap_or_else(|error| panic!("{error}"));
        let failed = fs::write(&switch, "1");
        run("fsfreeze", &["--unfreeze", &at]).unwrap_or_else(|error| panic!("{error}"));
        failed.unwrap_or_else(|error| panic!("could not write {}: {error}", switch.display()));
    }

    /// Checks and mounts it again. Nobody may use it.
    pub(crate) fn repair(&mut self) {
        run("umount", &[&self.at.display().to_string()]).unwrap_or_else(|error| panic!("{error}"));
        // In the namespaces of other tests it may still be mounted: a copy is a new disk to the kernel.
        let copy = self.image.with_extension("repaired");
        fs::copy(&self.image, &copy).expect("there is room for a copy");
        self.image = copy;
        let image = self.image.display().to_string();
        // Exits with 1 where it mended something.
        let checked = Command::new("e2fsck").args(["-f", "-y", &image]).output();
        let checked = checked.unwrap_or_else(|error| panic!("e2fsck: {error}"));
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        self.attach().unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for FailingDisk {
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
