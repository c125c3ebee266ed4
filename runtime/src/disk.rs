//! Trees on disk: removing, copying, measuring. Links are never followed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::fault::{Doing as _, Result};

/// Removes a tree, or nothing if there is none. `std` walks by directory descriptors without following links.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.doing(format!("removing {}", path.display()))
}

/// A directory only root may look into.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).doing(format!("making {}", path.display()))
}

/// Whose files copies are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// As in the original.
    Keep,
    /// All the same.
    All(u32, u32),
}

/// Copies a tree: files, directories, links, hard links between its own files. Set-id bits and extended attributes are dropped; devices,
/// sockets and fifos are left out. `to` must not exist or be an empty directory. Sharing blocks where the file system can.
pub(crate) fn copy_tree(from: &Path, to: &Path, owner: Owner) -> io::Result<()> {
    let mut linked = std::collections::HashMap::new();
    copy_entry(from, to, owner, &mut linked)
}

type Linked = std::collections::HashMap<(u64, u64), std::path::PathBuf>;

fn copy_entry(from: &Path, to: &Path, owner: Owner, linked: &mut Linked) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if kind.is_dir() {
        if let Err(error) = fs::create_dir(to)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_entry(&entry.path(), &to.join(entry.file_name()), owner, linked)?;
        }
    } else if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        if meta.nlink() > 1 {
            if let Some(first) = linked.get(&(meta.dev(), meta.ino())) {
                return fs::hard_link(first, to);
            }
            linked.insert((meta.dev(), meta.ino()), to.to_path_buf());
        }
        let mut source = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
        let mut target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(to)?;
        if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
            io::copy(&mut source, &mut target)?;
        }
    } else {
        return Ok(());
    }
    let (uid, gid) = match owner {
        Owner::Keep => (meta.uid(), meta.gid()),
        Owner::All(uid, gid) => (uid, gid),
    };
    std::os::unix::fs::lchown(to, Some(uid), Some(gid))?;
    if !kind.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o1777))?;
    }
    let time = |seconds, nanos| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = rustix::fs::Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    rustix::fs::utimensat(rustix::fs::CWD, to, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Bytes a tree takes on disk. What vanishes meanwhile counts nothing.
pub(crate) fn usage(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    own + fs::read_dir(path).map_or(0, |entries| entries.flatten().map(|entry| usage(&entry.path())).sum())
}

/// Bytes free for us on the file system of `path`.
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Makes `path` (absolute, as seen inside) a directory under `root` with all parents; new ones get the owner. A component that is a link
/// or a file is an error.
pub(crate) fn make_dirs(root: &Path, path: &Path, owner: u32) -> io::Result<std::path::PathBuf> {
    let mut at = root.to_path_buf();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => at.push(name),
            std::path::Component::RootDir | std::path::Component::CurDir => continue,
            _ => return Err(io::Error::other(format!("{} holds ..", path.display()))),
        }
        match fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(io::Error::other(format!("{} is no directory", at.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&at)?;
                fs::set_permissions(&at, fs::Permissions::from_mode(0o755))?;
                std::os::unix::fs::lchown(&at, Some(owner), Some(owner))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}
