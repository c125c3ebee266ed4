//! Files of the images that no package brings, and what packages leave that nobody needs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use landfall_runtime_wire::agent::FaultCode;
use nix::mount::{MsFlags, mount};

use crate::disk::{make_dirs, remove_tree};
use crate::fault::{Doing as _, Result, fault};

/// The user of builds and apps, its home, and empty files for the runtime to fill.
pub(super) fn finish_run(root: &Path) -> Result<()> {
    let doing = || "finishing the run image";
    for (file, line) in
        [("etc/passwd", "app:x:1000:1000:app:/app:/bin/bash\n"), ("etc/group", "app:x:1000:\n"), ("etc/shadow", "app:!:19000::::::\n")]
    {
        fs::OpenOptions::new().append(true).open(root.join(file)).and_then(|mut file| file.write_all(line.as_bytes())).doing(doing())?;
    }
    make_dirs(root, Path::new("/app"), 1000).doing(doing())?;
    make_dirs(root, Path::new("/layers"), 1000).doing(doing())?;
    for dir in ["/cnb", "/platform"] {
        make_dirs(root, Path::new(dir), 0).doing(doing())?;
    }
    for file in ["etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/machine-id"] {
        remove_tree(&root.join(file))?;
        fs::write(root.join(file), "").doing(doing())?;
        fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o644)).doing(doing())?;
    }
    let sources = root.join("etc/apt/sources.list.d");
    make_dirs(root, Path::new("/etc/apt/sources.list.d"), 0).doing(doing())?;
    if !root.join("etc/apt/sources.list").exists() {
        fs::write(root.join("etc/apt/sources.list"), "").doing(doing())?;
    }
    if fs::read_dir(&sources).doing(doing())?.next().is_none() {
        fs::write(sources.join("local.list"), "# Further package sources go here.\n").doing(doing())?;
    }
    Ok(())
}

/// What apt and dpkg expect of a system, private to the calling thread's mount namespace.
pub(super) fn mount_for_apt(root: &Path) -> Result<()> {
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").doing("keeping services from starting")?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755)).doing("keeping services from starting")?;
    for dir in ["proc", "dev"] {
        fs::create_dir_all(root.join(dir)).doing(format!("making {dir}"))?;
    }
    mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, None::<&str>).doing("mounting /proc")?;
    for place in ["dev", "etc/resolv.conf"] {
        let from = Path::new("/").join(place);
        mount(Some(&from), &root.join(place), None::<&str>, MsFlags::MS_BIND, None::<&str>).doing(format!("binding /{place}"))?;
    }
    Ok(())
}

/// Drops caches, lists and logs; the sources stay.
pub(super) fn clean(root: &Path) -> Result<()> {
    for place in [
        "var/lib/apt/lists",
        "var/cache/apt",
        "var/cache/debconf",
        "var/cache/ldconfig",
        "var/log",
        "tmp",
        "var/tmp",
        "run",
        "usr/share/man",
        "usr/share/info",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ] {
        let path = root.join(place);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            for entry in fs::read_dir(&path).doing(format!("cleaning {place}"))?.flatten() {
                remove_tree(&entry.path())?;
            }
        } else if place.starts_with("etc") && meta.is_file() && place.contains("apt.conf") {
            remove_tree(&path)?;
        }
    }
    let dev = root.join("dev");
    if dev.is_dir() {
        remove_tree(&dev)?;
        fs::create_dir(&dev).doing("cleaning dev")?;
    }
    Ok(())
}

/// Name and version of the distribution, as os-release tells.
pub(super) fn distro(root: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(root.join("usr/lib/os-release")).doing("reading os-release of the run image")?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    // Testing and unstable have no version yet: their code name stands in.
    let name = value("ID").ok_or_else(|| fault(FaultCode::Invalid, "the run image's os-release names no distribution"))?;
    Ok((name, value("VERSION_ID").or_else(|| value("VERSION_CODENAME")).unwrap_or_default()))
}
