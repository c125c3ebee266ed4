//! The agent's own overlay mounts: private to one helper thread, gone when it ends, never seen by another process.

use std::path::{Path, PathBuf};

use landfall_runtime_wire::agent::FaultCode;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::fault::{Doing as _, Result, fault};

/// A merged view to look at or to work in.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    /// Directory the long lower paths are relative to: mount options end at one page.
    pub(crate) layers: PathBuf,
    /// Top first.
    pub(crate) lowers: Vec<PathBuf>,
    /// Upper and work, to write.
    pub(crate) upper: Option<(PathBuf, PathBuf)>,
}

impl Overlay {
    /// Runs `work` on the merged view, on a thread with a mount namespace of its own; children it spawns are in that namespace too.
    pub(crate) fn with<T: Send + 'static>(self, at: PathBuf, work: impl FnOnce(&Path) -> Result<T> + Send + 'static) -> Result<T> {
        let helper = std::thread::Builder::new().name("overlay".to_owned()).spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).doing("making a private mount namespace")?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).doing("making mounts private")?;
            self.mount(&at)?;
            work(&at)
        });
        let joined = helper.doing("starting a helper thread")?.join();
        joined.unwrap_or_else(|_| Err(fault(FaultCode::Internal, "a helper of the agent failed")))
    }

    fn mount(&self, at: &Path) -> Result<()> {
        std::env::set_current_dir(&self.layers).doing("entering the layers")?;
        let short = |path: &Path| path.strip_prefix(&self.layers).unwrap_or(path).display().to_string();
        let mut lowers: Vec<_> = self.lowers.iter().map(|path| short(path)).collect();
        let filler = tempfile::tempdir().doing("making a directory")?;
        if lowers.len() == 1 && self.upper.is_none() {
            lowers.push(filler.path().display().to_string());
        }
        let mut options = format!("lowerdir={},index=off,metacopy=off,redirect_dir=off", lowers.join(":"));
        if let Some((upper, work)) = &self.upper {
            options = format!("{options},upperdir={},workdir={}", upper.display(), work.display());
        }
        if options.len() > 4000 {
            return Err(fault(FaultCode::Invalid, format!("{} layers are too many to mount", lowers.len())));
        }
        let flags = if self.upper.is_some() { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        mount(Some("overlay"), at, Some("overlay"), flags, Some(options.as_str())).doing(format!("mounting an overlay at {}", at.display()))
    }
}
