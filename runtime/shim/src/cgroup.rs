//! One container's cgroups in every hierarchy, v1 and v2: reading, killing, removing. The low-level runtime makes them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use landfall_runtime_wire::shim::ShimStats;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{EventfdFlags, eventfd};

/// A cgroup path in the hierarchies that hold it.
pub(crate) struct Cgroups {
    dirs: Vec<PathBuf>,
}

/// Where hierarchies are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut fields = left.split(' ').skip(3);
            let (root, place) = (fields.next()?, fields.next()?);
            (root == "/" && matches!(right.split(' ').next()?, "cgroup" | "cgroup2")).then(|| PathBuf::from(place))
        })
        .collect();
    found.dedup();
    found
}

impl Cgroups {
    /// Those of `path`, from the root of each hierarchy.
    pub(crate) fn find(path: &Path) -> Self {
        let relative = path.strip_prefix("/").unwrap_or(path);
        Self { dirs: hierarchies().into_iter().map(|root| root.join(relative)).filter(|dir| dir.is_dir()).collect() }
    }

    /// Makes `path` in each hierarchy and moves this process there. Where that is refused (cpuset without cpus, say), it stays.
    pub(crate) fn join(path: &Path) {
        let relative = path.strip_prefix("/").unwrap_or(path);
        for root in hierarchies().into_iter().filter(|root| !root.ends_with("cpuset")) {
            let dir = root.join(relative);
            if std::fs::create_dir_all(&dir).is_ok() {
                let _ = std::fs::write(dir.join("cgroup.procs"), "0");
            }
        }
    }

    /// Nothing of the container goes to swap: its memory limit is all it gets. libcontainer cannot say that on v2, where 0 means "not asked".
    pub(crate) fn refuse_swap(&self, memory_bytes: u64) -> std::io::Result<()> {
        // v2 counts swap apart, v1 together with memory. A kernel that does not count it has neither file, and nothing can be done.
        for (file, most) in [("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", memory_bytes)] {
            for path in self.dirs.iter().map(|dir| dir.join(file)).filter(|path| path.exists()) {
                std::fs::write(path, most.to_string())?;
            }
        }
        Ok(())
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.dirs.iter().find_map(|dir| std::fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok())
    }

    fn field(&self, file: &str, field: &str) -> Option<u64> {
        self.dirs.iter().find_map(|dir| {
            let text = std::fs::read_to_string(dir.join(file)).ok()?;
            text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
        })
    }

    /// What the container uses now.
    pub(crate) fn stats(&self) -> ShimStats {
        let cpu = self.number("cpuacct.usage").or_else(|| self.field("cpu.stat", "usage_usec").map(|usec| usec * 1000));
        ShimStats {
            cpu_ns: cpu.unwrap_or(0),
            memory_bytes: self.number("memory.usage_in_bytes").or_else(|| self.number("memory.current")).unwrap_or(0),
            pids: self.number("pids.current").unwrap_or(0),
            oom_kills: self.field("memory.oom_control", "oom_kill").or_else(|| self.field("memory.events", "oom_kill")).unwrap_or(0),
        }
    }

    /// Memory is memory: what is swapped out counts too. Where the kernel does not count swap there is nothing to write.
    pub(crate) fn no_swap(&self, limit: u64) {
        for dir in &self.dirs {
            let _v1 = std::fs::write(dir.join("memory.memsw.limit_in_bytes"), limit.to_string());
            let _v2 = std::fs::write(dir.join("memory.swap.max"), "0");
        }
    }

    /// From now on the kernel's out-of-memory killer takes all processes or none: v2 does that itself, of v1 the descriptor tells when one
    /// is killed.
    pub(crate) fn one_for_all(&self) -> Option<OwnedFd> {
        if self.dirs.iter().any(|dir| std::fs::write(dir.join("memory.oom.group"), "1").is_ok()) {
            return None;
        }
        self.dirs.iter().find_map(|dir| {
            let control = std::fs::File::open(dir.join("memory.oom_control")).ok()?;
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            let request = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            std::fs::write(dir.join("cgroup.event_control"), request).ok()?;
            Some(event)
        })
    }

    fn processes(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .dirs
            .iter()
            .filter_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .filter(|pid| *pid > 1)
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Freezes, kills all, thaws. One call reaches every process; what ends slowly is gone when [`Self::remove`] succeeds.
    pub(crate) fn kill(&self) {
        for dir in &self.dirs {
            if std::fs::write(dir.join("cgroup.kill"), "1").is_ok() {
                return;
            }
        }
        let freezer = self.dirs.iter().map(|dir| dir.join("freezer.state")).find(|file| file.exists());
        if let Some(freezer) = &freezer {
            let _ = std::fs::write(freezer, "FROZEN");
        }
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Some(freezer) = &freezer {
            let _ = std::fs::write(freezer, "THAWED");
        }
    }

    /// Kills what is left and removes the directories of all hierarchies. `Err` = something stayed busy for `patience`.
    pub(crate) fn remove(&self, patience: Duration) -> Result<(), PathBuf> {
        let end = Instant::now() + patience;
        loop {
            let Some(busy) = self.dirs.iter().find(|dir| !remove_tree(dir)) else { return Ok(()) };
            if Instant::now() > end {
                return Err(busy.clone());
            }
            self.kill();
            // The kernel tells nobody when a cgroup of v1 empties; ended processes leave within a few milliseconds.
            let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(2_u8));
        }
    }
}

/// Removes a cgroup and those below it. `false` = some process is still in one.
fn remove_tree(dir: &Path) -> bool {
    let busy = |errno: Errno| errno != Errno::ENOENT;
    let remove = || nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, dir, nix::unistd::UnlinkatFlags::RemoveDir);
    if !remove().is_err_and(busy) {
        return true;
    }
    let below = std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    for entry in below {
        remove_tree(&entry.path());
    }
    !remove().is_err_and(busy)
}
