//! Rule S7: the directories and files that get mounts inside the root are made by descriptors that follow no link, before anything mounts there.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Result, ShimError, call, on};

/// What must be a real directory in every root.
const DIRECTORIES: [(&str, u32); 6] =
    [("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("etc", 0o755), ("tmp", 0o1777), (".landfall", 0o755)];

/// A root being prepared.
pub(crate) struct Places {
    root: OwnedFd,
}

impl Places {
    /// Opens the root and makes sure of its directories. Whoever calls has the container root's file system ids.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let fd = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(on("open", root))?;
        let places = Self { root: fd };
        for (name, mode) in DIRECTORIES {
            Self::directory(&places.root, name, mode)?;
        }
        Ok(places)
    }

    /// An empty place for a file mount. A link there is replaced: Debian's `/etc/resolv.conf` often is one.
    pub(crate) fn file(&self, path: &Path) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        match fstatat(&parent, name.as_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG => return Ok(()),
            Ok(_) => unlinkat(&parent, name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(on("replace in the image", path))?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(on("look at", path)(errno)),
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&parent, name.as_str(), flags, Mode::from_bits_truncate(0o644)).map_err(on("make in the image", path)).map(drop)
    }

    /// An empty place for a directory mount.
    pub(crate) fn dir(&self, path: &Path) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        Self::directory(&parent, &name, 0o755).map(drop)
    }

    /// The directory a path is in, made where missing, and its last name.
    fn parent(&self, path: &Path) -> Result<(OwnedFd, String)> {
        let bad = || ShimError::Path { doing: "use as a mount point", path: path.into(), errno: Errno::EINVAL };
        let mut names = Vec::new();
        for component in path.strip_prefix("/").map_err(|_| bad())?.components() {
            let Component::Normal(name) = component else { return Err(bad()) };
            names.push(name.to_str().ok_or_else(bad)?.to_owned());
        }
        let last = names.pop().ok_or_else(bad)?;
        let mut dir = self.root.try_clone().map_err(|e| call("copy a descriptor")(crate::error::errno(&e)))?;
        for name in names {
            dir = Self::directory(&dir, &name, 0o755)?;
        }
        Ok((dir, last))
    }

    /// A real directory of that name, made if missing.
    fn directory(parent: &OwnedFd, name: &str, mode: u32) -> Result<OwnedFd> {
        let made = match mkdirat(parent, name, Mode::from_bits_truncate(0o700)) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(on("make in the image", name)(errno)),
        };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let dir = openat2(parent, name, how).map_err(|errno| {
            let what = match errno {
                Errno::ELOOP => "a symbolic link",
                Errno::ENOTDIR => "a file or a symbolic link",
                _ => "unreadable",
            };
            ShimError::Root { path: name.to_owned(), what }
        })?;
        if made {
            fchmod(&dir, Mode::from_bits_truncate(mode)).map_err(on("set the mode of", name))?;
        }
        Ok(dir)
    }
}
