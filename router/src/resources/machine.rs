//! How much memory there is: of the machine, or as much of it as our control group may use.

use std::fs;
use std::path::Path;

/// Bytes; all there can be if nobody tells.
pub(super) fn memory() -> usize {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = total(&file("/proc/meminfo")).unwrap_or(usize::MAX);
    allowed(&file("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")).map_or(machine, |allowed| machine.min(allowed))
}

/// Of proc_meminfo(5), which counts in KiB.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok()?.checked_mul(1024)
}

/// The smallest limit among our control group and those it is in, as cgroups(7) names them: `0::/path` in version 2,
/// `4:memory:/path` in version 1.
fn allowed(cgroup: &str, mount: &Path) -> Option<usize> {
    let limits = cgroup.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (mount.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        // Within a container the path may be the host's, and not be there: what contains us is then at the mount itself.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse::<usize>().ok()).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells() {
        assert_eq!(total("MemTotal:       24683840 kB\nMemFree:        1 kB\n"), Some(24_683_840 * 1024));
        assert_eq!(total(""), None);
        assert!((1 << 20..usize::MAX).contains(&memory()));
    }

    #[test]
    fn the_smallest_group_counts_in_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, limit: &str| {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        };
        put("system.slice/memory.max", "1073741824\n");
        put("system.slice/router/memory.max", "max\n");
        assert_eq!(allowed("0::/system.slice/router\n", dir.path()), Some(1 << 30));
        assert_eq!(allowed("0::/\n", dir.path()), None);

        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("memory/a/memory.limit_in_bytes", "2097152\n");
        assert_eq!(allowed("5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n", dir.path()), Some(2 << 20));
        assert_eq!(allowed("4:memory:/of/the/host\n", dir.path()), Some(9_223_372_036_854_771_712));
        assert_eq!(allowed("nonsense", dir.path()), None);
    }
}
