//! Programs and space.

use std::path::Path;
use std::process::Command;

use super::Check;
use crate::config::AgentConfig;

/// Below this a build or a stack fails soon.
const LITTLE: u64 = 2 << 30;
/// Below this a stack does not fit.
const TOO_LITTLE: u64 = 512 << 20;

/// First line of what a program says of itself.
fn said(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// Who starts Landfall when the machine boots (sd_booted(3)).
pub(super) fn init() -> Check {
    if Path::new("/run/systemd/system").is_dir() {
        Check::ok("init", "booted with systemd, which starts Landfall at each boot")
    } else {
        let said = "this machine was not booted with systemd: Landfall does not come back by itself after a reboot";
        Check::warn("init", said, "After a boot, start it with: landfall up")
    }
}

pub(super) fn nft() -> Check {
    match said("nft", "--version") {
        Some(version) => Check::ok("nft", version),
        None => Check::fail(
            "nft",
            "nftables is not installed: dynos cannot be kept from each other",
            "Install it with: apt-get install nftables",
        ),
    }
}

pub(super) fn mmdebstrap() -> Check {
    match said("mmdebstrap", "--version") {
        Some(version) => Check::ok("mmdebstrap", version),
        None => Check::warn(
            "mmdebstrap",
            "mmdebstrap is not installed: no new stacks can be made",
            "Install it with: apt-get install mmdebstrap",
        ),
    }
}

pub(super) fn git() -> Check {
    let Some(line) = said("git", "--version") else {
        return Check::fail("git", "git is not installed: nothing can be pushed", "Install it with: apt-get install git");
    };
    let version: Vec<u32> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    if version.as_slice() >= [2, 30].as_slice() {
        Check::ok("git", line)
    } else {
        Check::warn(
            "git",
            format!("{line} is old; its receive-pack has known holes"),
            "Upgrade it with: apt-get install --only-upgrade git",
        )
    }
}

pub(super) fn disk(config: &AgentConfig) -> Check {
    let dir = config.data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let Ok(free) = crate::disk::free(dir) else {
        return Check::warn("disk", format!("cannot tell how much is free at {}", dir.display()), "Look with: df -h");
    };
    let said = format!("{:.1} GiB free for images at {}", free as f64 / f64::from(1 << 30), dir.display());
    match free {
        ..TOO_LITTLE => Check::fail("disk", format!("{said}: a stack does not fit"), "Free some space or move data_dir in landfall.toml"),
        TOO_LITTLE..LITTLE => {
            Check::warn("disk", format!("{said}: builds will fail soon"), "Free some space or move data_dir in landfall.toml")
        }
        _ => Check::ok("disk", said),
    }
}

/// Layers that were found to have another content than their digest (rule R17).
pub(super) fn images(config: &AgentConfig) -> Check {
    let damaged = crate::store::damaged_layers(&config.images_dir());
    if damaged.is_empty() {
        return Check::ok("images", "no layer of an image was found damaged");
    }
    let said = format!("damaged on disk, and not started from any more: {}", damaged.join(", "));
    Check::warn(
        "images",
        said,
        "Check the disk (dmesg), then push the apps that say R17 again, or make their base image with: landfall stacks:create",
    )
}

pub(super) fn programs(config: &AgentConfig) -> Check {
    let missing: Vec<_> = ["landfall-shim", "landfall-init"].into_iter().filter(|name| !config.libexec_dir.join(name).is_file()).collect();
    if missing.is_empty() {
        Check::ok("programs", format!("Landfall's own programs are in {}", config.libexec_dir.display()))
    } else {
        let said = format!("{} is not in {}: no container can start", missing.join(" and "), config.libexec_dir.display());
        Check::fail("programs", said, "Install them with: make up")
    }
}
