//! A small file system in a file, mounted for one instance, to be filled to its last block.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::Run;

/// A mounted file system; unmounted and removed when dropped, with its loop device.
pub struct Volume {
    image: PathBuf,
    at: PathBuf,
    binds: Vec<PathBuf>,
}

impl Volume {
    /// An ext4 of `mib` MiB at `at`, its blocks in the file `image`.
    pub fn mount(image: &Path, at: &Path, mib: u64) -> Result<Self> {
        fs::File::create(image)?.set_len(mib << 20)?;
        let volume = Self { image: image.to_owned(), at: at.to_owned(), binds: Vec::new() };
        fs::create_dir_all(at)?;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        // No reserve for root: what runs as root shall find it as full as everybody else.
        Run::new("mkfs.ext4", &["-q", "-F", "-m", "0", "--", &path(image)]).ok()?;
        Run::new("mount", &["-o", "loop", "--", &path(image), &path(at)]).ok().context("mounting through a loop device")?;
        Ok(volume)
    }

    /// Shows a directory of another file system at a place in this one.
    pub fn bind(&mut self, from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        Run::new("mount", &["--bind", "--", &from.to_string_lossy(), &to.to_string_lossy()]).ok()?;
        self.binds.push(to.to_owned());
        Ok(())
    }

    /// Takes every block there is; once more to take what was freed since.
    pub fn fill(&self) -> Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(self.ballast())?;
        let mut end = file.metadata()?.len();
        for bite in [64 << 20, 1 << 20, 4 << 10] {
            loop {
                match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), end, bite) {
                    Ok(()) => end += bite,
                    Err(rustix::io::Errno::NOSPC) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives all of it back.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    /// Bytes that are free now.
    pub fn left(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.at)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        for mount in self.binds.iter().rev().chain([&self.at]) {
            // Lazily: whatever a failed test left running keeps nothing else from being cleaned up.
            let _gone = Run::new("umount", &["--lazy", &mount.to_string_lossy()]).done();
        }
        let _gone = fs::remove_file(&self.image);
    }
}
