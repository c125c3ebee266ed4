//! The container's root: an overlay of idmapped clones, so that on disk every id is the container's own.
//!
//! The clones get one-letter names in the shim's private tmpfs and the overlay is mounted from there by relative names: one path that works from
//! kernel 5.19 on, and a hundred layers fit in mount(2)'s page of options.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use landfall_runtime_wire::shim::{BLOCK_SIZE, RootRecipe};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Result, ShimError, call, errno, on};
use crate::idmap::user_namespace;
use crate::sys;

/// Mounts the root at `target`; `scratch` is an empty directory in the shim's tmpfs.
pub(crate) fn mount_root(recipe: &RootRecipe, user_base: u32, scratch: &Path, target: &Path) -> Result<()> {
    let block = [(0, user_base, BLOCK_SIZE)];
    let mapping = user_namespace(&block, &block)?;
    let parent = upper_parent(recipe)?;
    let clone = |source: &Path, name: &str, mapping: std::os::fd::BorrowedFd<'_>| -> Result<()> {
        let place = scratch.join(name);
        std::fs::create_dir(&place).map_err(|e| on("make directory", &place)(errno(&e)))?;
        let tree = sys::idmapped_clone(source, mapping).map_err(on(
            "map ids of (kernel 5.19 and a file system with idmapped mounts, such as ext4, xfs or btrfs, are needed)",
            source,
        ))?;
        sys::attach_mount(&tree, &place).map_err(on("attach a mount at", &place))
    };
    clone(&parent, "u", mapping.as_fd())?;
    let mut names: Vec<String> = Vec::new();
    if let Some(source) = &recipe.source {
        let ids = |host: u32, inside: u32| {
            let own = (host, user_base + inside, 1);
            if host == 0 || inside == 0 { vec![own] } else { vec![(0, user_base, 1), own] }
        };
        let ns = user_namespace(&ids(source.host_uid, source.container_uid), &ids(source.host_gid, source.container_gid))?;
        clone(&source.dir, "s", ns.as_fd())?;
        names.push("s".into());
    }
    for (index, lower) in recipe.lowers.iter().enumerate() {
        let name = index.to_string();
        clone(lower, &name, mapping.as_fd())?;
        names.push(name);
    }
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let volatile = if recipe.volatile { ",volatile" } else { "" };
    let options = format!("lowerdir={},upperdir=u/{},workdir=u/{}{volatile}", names.join(":"), last(&recipe.upper), last(&recipe.work));
    let before = std::env::current_dir().map_err(|e| call("read the working directory")(errno(&e)))?;
    std::env::set_current_dir(scratch).map_err(|e| on("enter", scratch)(errno(&e)))?;
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    // The overlay works on upper and work with the ids it is mounted with, and host root has no id in the block: it must be the container's root.
    let mounted = sys::with_fs_ids(user_base, user_base, || mount(Some("overlay"), target, Some("overlay"), flags, Some(options.as_str())))
        .and_then(|mounted| mounted)
        .map_err(on("mount the overlay of", &recipe.upper));
    std::env::set_current_dir(&before).map_err(|e| on("enter", &before)(errno(&e)))?;
    mounted?;
    // The overlay holds its own clones; nothing else needs a path to the layers.
    for name in names.iter().map(String::as_str).chain(["u"]) {
        umount2(&scratch.join(name), MntFlags::MNT_DETACH).map_err(on("detach", scratch.join(name)))?;
    }
    Ok(())
}

/// Upper and work must share a mount, so their common directory is cloned.
fn upper_parent(recipe: &RootRecipe) -> Result<PathBuf> {
    let bad = |path: &Path| ShimError::Path {
        doing: "use as upper and work directory (they must be beside each other)",
        path: path.into(),
        errno: Errno::EINVAL,
    };
    let parent = recipe.upper.parent().ok_or_else(|| bad(&recipe.upper))?;
    if recipe.lowers.is_empty() || recipe.work.parent() != Some(parent) {
        return Err(bad(&recipe.work));
    }
    for dir in [&recipe.upper, &recipe.work] {
        match std::fs::create_dir(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(on("make directory", dir)(errno(&e))),
            _ => {}
        }
    }
    Ok(parent.to_owned())
}
