//! Trees on disk: removing, copying, measuring. Links are never followed.

mod copy;
mod held;
mod measure;
mod meter;
mod remove;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{self as rfs, Mode, OFlags};

use crate::fault::{Doing as _, Result};

pub(crate) use copy::{Owner, copy_open, copy_tree};
pub(crate) use held::held_open;
pub(crate) use measure::{DEEPEST, Usage, usage};
pub(crate) use meter::{Allowance, Meter, Sampler};
pub(crate) use remove::remove_tree;

/// How a directory of a stranger is opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How names of a stranger are followed: down, and through no link.
const BENEATH: rfs::ResolveFlags = rfs::ResolveFlags::BENEATH.union(rfs::ResolveFlags::NO_SYMLINKS).union(rfs::ResolveFlags::NO_MAGICLINKS);

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

/// A real directory below `root`, without a link on the way to it. `None` if there is none, or a link.
pub(crate) fn dir_inside(root: &Path, path: &Path) -> io::Result<Option<OwnedFd>> {
    let root = rfs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match rfs::openat2(&root, path, DIRECTORY, Mode::empty(), BENEATH) {
        Ok(dir) => Ok(Some(dir)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A regular file below `root`; no component may be a link. `None` if there is none.
pub(crate) fn open_inside(root: &Path, path: &Path) -> io::Result<Option<fs::File>> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let dir = rfs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rfs::openat2(&dir, path, flags, Mode::empty(), BENEATH) {
        Ok(file) => fs::File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(Some(file))
}

/// The content of such a file, of at most `max` bytes.
pub(crate) fn read_inside(root: &Path, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    open_inside(root, path)?.map(|file| read(file, max)).transpose()
}

/// All of a file of at most `max` bytes.
pub(crate) fn read(file: fs::File, max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(io::Error::other(format!("it is longer than {max} bytes")));
    }
    Ok(content)
}
