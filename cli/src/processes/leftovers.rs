//! Processes that outlived their supervisor: found by what was written down about them, and only ever signalled through a pidfd of
//! a process whose start time still matches, so that a reused pid is never hit.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The note about one process: `<run_dir>/<role>.pid`, holding pid and start time.
pub(crate) struct Note(PathBuf);

impl Note {
    /// The note of a role.
    pub(crate) fn of(run_dir: &Path, role: &str) -> Self {
        Self(run_dir.join(format!("{role}.pid")))
    }

    /// Writes down a running process.
    pub(crate) fn write(&self, pid: u32) -> std::io::Result<()> {
        let started = start_time(pid).ok_or_else(|| std::io::Error::other("the process ended at once"))?;
        // Others may write in this folder: what they laid at this place is not followed but replaced.
        self.clear();
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&self.0)?;
        file.write_all(format!("{pid} {started}\n").as_bytes())
    }

    /// Forgets it.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_file(&self.0);
    }

    /// The noted process, if it still runs.
    pub(crate) fn running(&self) -> Option<Pid> {
        let text = self.read().ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        (start_time(pid)? == started.parse::<u64>().ok()?).then(|| Pid::from_raw(i32::try_from(pid).ok()?)).flatten()
    }

    /// What we ourselves wrote there.
    fn read(&self) -> std::io::Result<String> {
        let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&self.0)?;
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(std::io::Error::other("somebody else wrote this note"));
        }
        std::io::read_to_string(file.take(64))
    }

    /// SIGTERM, then after `grace` SIGKILL; returns when the process is gone. `false` if none ran.
    pub(crate) fn stop(&self, grace: Duration) -> std::io::Result<bool> {
        let Some(pid) = self.running() else {
            self.clear();
            return Ok(false);
        };
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        // Between reading the note and opening the handle the pid may have changed hands.
        if self.running() != Some(pid) {
            return Ok(false);
        }
        let _ = pidfd_send_signal(&handle, Signal::TERM);
        if !ended_within(&handle, grace)? {
            let _ = pidfd_send_signal(&handle, Signal::KILL);
            ended_within(&handle, Duration::from_secs(10))?;
        }
        self.clear();
        Ok(true)
    }
}

/// Waits for a pidfd to become readable, which it does when the process ends.
fn ended_within(handle: &impl std::os::fd::AsFd, limit: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to start.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_noted_process_is_stopped_and_a_stranger_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let note = Note::of(dir.path(), "agent");
        note.write(child.id()).unwrap();
        assert!(note.running().is_some());

        // The same pid with another start time is another process.
        let stranger = Note::of(dir.path(), "router");
        fs::write(dir.path().join("router.pid"), format!("{} 1\n", child.id())).unwrap();
        assert!(!stranger.stop(Duration::from_secs(1)).unwrap());
        assert!(child.try_wait().unwrap().is_none());

        // A link that somebody laid is neither believed nor followed.
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, format!("{} 1\n", child.id())).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("server.pid")).unwrap();
        let laid = Note::of(dir.path(), "server");
        assert!(laid.running().is_none());
        laid.write(child.id()).unwrap();
        assert!(laid.running().is_some());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), format!("{} 1\n", child.id()));

        assert!(note.stop(Duration::from_secs(5)).unwrap());
        assert!(!child.wait().unwrap().success());
        assert!(!note.stop(Duration::from_secs(1)).unwrap());
    }
}
