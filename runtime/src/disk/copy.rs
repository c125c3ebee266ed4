//! Copying a tree.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{self as rfs, AtFlags, FileType, Mode, OFlags};

use super::DIRECTORY;

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
    copy_open(&rfs::open(from, DIRECTORY, Mode::empty())?, to, owner)
}

/// As [`copy_tree`], of a directory that is open already.
pub(crate) fn copy_open(from: &OwnedFd, to: &Path, owner: Owner) -> io::Result<()> {
    let stat = rfs::fstat(from)?;
    copy_dir(from, to, owner, &mut Linked::new())?;
    settle_copy(to, &stat, owner)
}

type Linked = std::collections::HashMap<(u64, u64), std::path::PathBuf>;

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
