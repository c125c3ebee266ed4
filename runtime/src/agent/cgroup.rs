//! What the kernel counts for one container, read from its cgroups (v1 or v2); and having it ready for the moves of a start.

use std::path::{Path, PathBuf};

/// The directories of one container's cgroups.
#[derive(Debug)]
pub(super) struct Cgroup {
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// Those of container `id` under `parent`, in every hierarchy that has one.
    pub(super) fn of(parent: &str, id: &str) -> Self {
        Self::below(Path::new("/sys/fs/cgroup"), parent, id)
    }

    fn below(root: &Path, parent: &str, id: &str) -> Self {
        let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let dirs = hierarchies.chain([root.to_path_buf()]).map(|hierarchy| hierarchy.join(parent).join(id));
        Self { dirs: dirs.filter(|dir| dir.is_dir()).collect() }
    }

    /// The processes in it.
    pub(super) fn processes(&self) -> Vec<i32> {
        let lists = self.dirs.iter().filter_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok());
        let mut lists = lists.map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>());
        lists.find(|pids| !pids.is_empty()).unwrap_or_default()
    }

    /// Memory that the kernel cannot take back: what processes have, what lies in tmpfs, what is swapped out. Not the cache of files.
    pub(super) fn memory_held(&self) -> Option<u64> {
        self.dirs.iter().find_map(|dir| {
            let stat = std::fs::read_to_string(dir.join("memory.stat")).ok()?;
            let field = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
            // v1 has totals of what is below; v2's numbers are totals.
            let held = match field("total_rss") {
                Some(rss) => rss + field("total_shmem").unwrap_or(0) + field("total_swap").unwrap_or(0),
                None => field("anon")? + field("shmem").unwrap_or(0) + number(&dir.join("memory.swap.current")).unwrap_or(0),
            };
            Some(held)
        })
    }
}

/// Moves this process to the cgroup it is in: nothing changes, but it waits in place of those who move next.
///
/// The first move for a while waits until each processor has let go of what it runs (an RCU grace period, about 8 ms on an idle machine;
/// `percpu_down_write` of `cgroup_threadgroup_rwsem`); a move soon after another waits for nothing. A start has two, of its shim and of its first process.
pub(super) fn wait_for_moves() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if let Some(list) = own_list(Path::new("/sys/fs/cgroup"), &own) {
        // Refused, it has gained nothing and lost nothing.
        let _refused = std::fs::write(list, std::process::id().to_string());
    }
}

/// The `cgroup.procs` of one cgroup that this process is in, by the words of `/proc/self/cgroup`. One lock is behind all hierarchies.
fn own_list(root: &Path, own: &str) -> Option<PathBuf> {
    own.lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .map(|(controllers, path)| root.join(controllers).join(path.trim_start_matches('/')).join("cgroup.procs"))
        .find(|list| list.is_file())
}

fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_own_cgroup_is_found_in_either_version() {
        let root = tempfile::tempdir().unwrap();
        let make = |dir: &str| {
            let dir = root.path().join(dir);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("cgroup.procs"), "").unwrap();
            dir.join("cgroup.procs")
        };
        assert_eq!(own_list(root.path(), "0::/system.slice/agent.service\n"), None);
        let second = make("system.slice/agent.service");
        assert_eq!(own_list(root.path(), "0::/system.slice/agent.service\n"), Some(second));
        let first = make("pids/a:b");
        assert_eq!(own_list(root.path(), "9:name=systemd:/\n8:cpu,cpuacct:/gone\n7:pids:/a:b\n0::/\n"), Some(first));
    }

    #[test]
    fn both_versions_are_read() {
        let root = tempfile::tempdir().unwrap();
        let make = |dir: &str, file: &str, text: &str| {
            let dir = root.path().join(dir);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(file), text).unwrap();
        };
        make(
            "memory/p/one",
            "memory.stat",
            "cache 900\nrss 1\nshmem 2\nswap 4\ntotal_cache 900\ntotal_rss 10\ntotal_shmem 20\ntotal_swap 40\n",
        );
        make("pids/p/one", "cgroup.procs", "7\n8\n");
        let one = Cgroup::below(root.path(), "p", "one");
        assert_eq!((one.memory_held(), one.processes()), (Some(70), vec![7, 8]));
        make("p/two", "memory.stat", "anon 100\nfile 900\nshmem 200\n");
        make("p/two", "memory.swap.current", "400\n");
        let two = Cgroup::below(root.path(), "p", "two");
        assert_eq!((two.memory_held(), two.processes()), (Some(700), vec![]));
        assert_eq!(Cgroup::below(root.path(), "p", "none").memory_held(), None);
    }
}
