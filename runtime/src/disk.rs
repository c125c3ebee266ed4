//! Trees on disk: removing, copying, measuring. Links are never followed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{self as rfs, AtFlags, FileType, Mode, OFlags};

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

/// A directory whose parts can be reached by those who know their names, and listed by root only: a container's root, which is no root
/// here, walks through it to its mounts.
pub(crate) fn passage_dir(path: &Path) -> Result<()> {
    let doing = || format!("making {}", path.display());
    fs::create_dir_all(path).doing(doing())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711)).doing(doing())
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
/// sockets and fifos are left out. `to` must not exist or be an empty directory of ours. The source is walked by descriptors, so its owner
/// cannot lead us out of it by swapping a directory for a link. Blocks are shared where the file system can.
pub(crate) fn copy_tree(from: &Path, to: &Path, owner: Owner) -> io::Result<()> {
    let dir = rfs::open(from, DIRECTORY, Mode::empty())?;
    let stat = rfs::fstat(&dir)?;
    copy_dir(&dir, to, owner, &mut Linked::new())?;
    settle_copy(to, &stat, owner)
}

type Linked = std::collections::HashMap<(u64, u64), std::path::PathBuf>;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn copy_dir(from: &OwnedFd, to: &Path, owner: Owner, linked: &mut Linked) -> io::Result<()> {
    match fs::create_dir(to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for entry in rfs::Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let target = to.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let stat = rfs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => copy_dir(&rfs::openat(from, name, DIRECTORY, Mode::empty())?, &target, owner, linked)?,
            FileType::Symlink => {
                let text = rfs::readlinkat(from, name, Vec::new())?;
                std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(text.to_bytes()), &target)?;
            }
            FileType::RegularFile => {
                if let Some(first) = linked.get(&(stat.st_dev, stat.st_ino)) {
                    fs::hard_link(first, &target)?;
                    continue;
                }
                if stat.st_nlink > 1 {
                    linked.insert((stat.st_dev, stat.st_ino), target.clone());
                }
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut source = fs::File::from(rfs::openat(from, name, flags, Mode::empty())?);
                if !source.metadata()?.is_file() {
                    continue;
                }
                let mut copy =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&target)?;
                if rfs::ioctl_ficlone(&copy, &source).is_err() {
                    io::copy(&mut source, &mut copy)?;
                }
            }
            _ => continue,
        }
        settle_copy(&target, &stat, owner)?;
    }
    Ok(())
}

fn settle_copy(to: &Path, stat: &rfs::Stat, owner: Owner) -> io::Result<()> {
    let (uid, gid) = match owner {
        Owner::Keep => (stat.st_uid, stat.st_gid),
        Owner::All(uid, gid) => (uid, gid),
    };
    std::os::unix::fs::lchown(to, Some(uid), Some(gid))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        fs::set_permissions(to, fs::Permissions::from_mode(stat.st_mode & 0o1777))?;
    }
    let time = |seconds, nanos| rfs::Timespec { tv_sec: seconds, tv_nsec: nanos as i64 };
    let times = rfs::Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rfs::utimensat(rfs::CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
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

/// A regular file below `root` of at most `max` bytes; no component may be a link. `None` if there is none.
pub(crate) fn read_inside(root: &Path, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let path = path.strip_prefix("/").unwrap_or(path);
    let dir = rfs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = rfs::ResolveFlags::BENEATH | rfs::ResolveFlags::NO_SYMLINKS | rfs::ResolveFlags::NO_MAGICLINKS;
    let file = match rfs::openat2(&dir, path, flags, Mode::empty(), resolve) {
        Ok(file) => fs::File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(io::Error::other(format!("it is longer than {max} bytes")));
    }
    Ok(Some(content))
}
