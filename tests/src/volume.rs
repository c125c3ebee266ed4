//! A small file system in a file, mounted for one instance, to be filled to its last block.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run::Run;

/// A mounted file system; unmounted and removed when dropped, with its loop device.
pub struct Volume {
    image: PathBuf,
    at: PathBuf,
}

impl Volume {
    /// An ext4 of `mib` MiB at `at`, its blocks in the file `image`.
    pub fn mount(image: &Path, at: &Path, mib: u64) -> Result<Self> {
        fs::File::create(image)?.set_len(mib << 20)?;
        let volume = Self { image: image.to_owned(), at: at.to_owned() };
        fs::create_dir_all(at)?;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        // No reserve for root: what runs as root shall find it as full as everybody else.
        Run::new("mkfs.ext4", &["-q", "-F", "-m", "0", "--", &path(image)]).ok()?;
        Run::new("mount", &["-o", "loop", "--", &path(image), &path(at)]).ok().context("mounting through a loop device")?;
        Ok(volume)
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

    /// Does something while every block that comes free is taken at once; afterwards all is given back.
    pub fn kept_full<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.fill()?;
        let outcome = std::thread::scope(|scope| {
            // Work that panics drops it, too: the filler ends in any case.
            let (working, ended) = mpsc::channel::<()>();
            let filler = scope.spawn(move || -> Result<()> {
                while ended.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                    self.fill()?;
                }
                Ok(())
            });
            let outcome = work();
            drop(working);
            filler.join().map_err(|_| anyhow::anyhow!("filling panicked"))??;
            outcome
        });
        self.free()?;
        outcome
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
        // Lazily: whatever a failed test left running keeps nothing else from being cleaned up.
        let _gone = Run::new("umount", &["--lazy", &self.at.to_string_lossy()]).done();
        let _gone = fs::remove_file(&self.image);
    }
}
