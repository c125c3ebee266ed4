//! What the kernel gives.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::Check;

pub(super) fn root() -> Check {
    if nix::unistd::geteuid().is_root() {
        Check::ok("root", "runs as root")
    } else {
        Check::fail("root", "not root: containers, bridges and cgroups cannot be made", "Run it with sudo")
    }
}

pub(super) fn version() -> Check {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let newer = Path::new("/run/reboot-required").exists();
    if version >= (5, 19) && newer {
        Check::warn("kernel", format!("Linux {release}, and a newer one is installed but does not run yet"), "Start it with: reboot")
    } else if version >= (5, 19) {
        Check::ok("kernel", format!("Linux {release}; all apps share it, so keep it patched: apt-get upgrade, then reboot"))
    } else {
        let said = format!("Linux {release}: idmapped mounts under overlayfs came with 5.19, and without them layers cannot be shared");
        Check::fail("kernel", said, "Boot a kernel of 5.19 or newer; Debian 12 has 6.1")
    }
}

/// Tries a real overlay in a mount namespace of its own.
pub(super) fn overlay() -> Check {
    let tried = std::thread::spawn(|| -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        for part in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(dir.path().join(part))?;
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let at = |part: &str| dir.path().join(part);
        let options = format!("lowerdir={},upperdir={},workdir={}", at("lower").display(), at("upper").display(), at("work").display());
        mount(Some("overlay"), &at("merged"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        nix::mount::umount2(&at("merged"), nix::mount::MntFlags::MNT_DETACH)?;
        Ok(())
    });
    match tried.join() {
        Ok(Ok(())) => Check::ok("overlay", "overlay mounts work"),
        Ok(Err(error)) => Check::fail(
            "overlay",
            format!("an overlay cannot be mounted ({error}): containers have no root"),
            "Load it with: modprobe overlay",
        ),
        Err(_) => Check::fail("overlay", "the trial mount failed", "Look into the kernel's log with: dmesg"),
    }
}

pub(super) fn namespaces() -> Check {
    let missing: Vec<_> = ["user", "pid", "net", "mnt", "ipc", "uts", "cgroup"]
        .into_iter()
        .filter(|kind| !Path::new("/proc/self/ns").join(kind).exists())
        .collect();
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if !missing.is_empty() {
        let said = format!("this kernel has no {} namespaces: containers cannot be kept apart", missing.join(", "));
        Check::fail("namespaces", said, "Boot a kernel with all namespaces, such as Debian's")
    } else if most.trim() == "0" {
        Check::fail("namespaces", "user namespaces are switched off", "Switch them on with: sysctl -w user.max_user_namespaces=60000")
    } else {
        Check::ok("namespaces", "user, pid, net, mount, ipc, uts and cgroup namespaces are there")
    }
}

pub(super) fn seccomp() -> Check {
    let there = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|actions| actions.contains("errno"));
    if there {
        Check::ok("seccomp", "system call filters work")
    } else {
        Check::fail(
            "seccomp",
            "this kernel has no system call filters: apps could reach all of it",
            "Boot a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

pub(super) fn cgroups() -> Check {
    let root = Path::new("/sys/fs/cgroup");
    let wanted = ["cpu", "memory", "pids"];
    let unified = std::fs::read_to_string(root.join("cgroup.controllers"));
    let (mode, there): (_, Vec<_>) = match unified {
        Ok(controllers) => ("v2", wanted.into_iter().filter(|name| controllers.split_whitespace().any(|word| word == *name)).collect()),
        Err(_) => ("v1", wanted.into_iter().filter(|name| root.join(name).is_dir()).collect()),
    };
    let missing: Vec<_> = wanted.into_iter().filter(|name| !there.contains(name)).collect();
    if missing.is_empty() {
        let hybrid = mode == "v1" && root.join("unified").is_dir();
        let mode = if hybrid { "v1 (hybrid: an empty v2 tree beside it)" } else { mode };
        return Check::ok("cgroups", format!("cgroup {mode} with cpu, memory and pids"));
    }
    let said = format!("cgroup {mode} without {}: that limit of a dyno size cannot be kept", missing.join(", "));
    Check::fail("cgroups", said, "Boot with cgroup_enable=memory swapaccount=1, or enable the controllers for this cgroup")
}

pub(super) fn resources() -> Check {
    const CAP_SYS_RESOURCE: u64 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok()).unwrap_or(0);
    if effective & (1 << CAP_SYS_RESOURCE) != 0 {
        Check::ok("resources", "hard limits can be raised")
    } else {
        let said = "without CAP_SYS_RESOURCE hard limits cannot be raised and the kernel may kill Landfall before an app when memory ends";
        Check::warn("resources", said, "Run the agent where CAP_SYS_RESOURCE is allowed, or live with it")
    }
}

pub(super) fn bridges() -> Check {
    match crate::net::try_links() {
        Ok(()) => Check::ok("network", "bridges and veth pairs can be made"),
        Err(error) => Check::fail("network", format!("{error}: dynos have no network"), "Load the modules with: modprobe bridge veth"),
    }
}

/// Each followed log and each push that waits takes one watch descriptor of the server's user.
pub(super) fn watches() -> Check {
    const ENOUGH: u64 = 512;
    let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    match text.trim().parse::<u64>() {
        Ok(instances) if instances >= ENOUGH => Check::ok("watches", format!("{instances} watch descriptors for each user")),
        Ok(instances) => {
            let said =
                format!("{instances} watch descriptors for each user: when more logs are followed than that, their lines come later");
            Check::warn("watches", said, format!("Raise it with: sysctl -w fs.inotify.max_user_instances={ENOUGH}"))
        }
        Err(_) => Check::warn("watches", "this kernel has no inotify: lines of logs come later", "Boot a kernel with CONFIG_INOTIFY_USER"),
    }
}
