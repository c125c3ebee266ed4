//! Removing a tree that a stranger filled: any depth, with a bounded number of open directories and of frames on the stack.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self as rfs, AtFlags, FileType, Mode, RenameFlags};

use super::DIRECTORY;
use crate::fault::{Doing as _, Result};

/// Directories nested deeper than this are first moved to the top. Path names end at about 2,000 levels; whoever climbs by `chdir` does not.
const NESTED: usize = 64;

/// Removes a tree, or nothing if there is none. The tree is walked by descriptors; no link is followed.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => remove_dir(path),
        Ok(_) => fs::remove_file(path),
    };
    result.doing(format!("removing {}", path.display()))
}

fn remove_dir(path: &Path) -> io::Result<()> {
    let top = rfs::open(path, DIRECTORY, Mode::empty())?;
    let mut moved = Moved { top: &top, next: 0 };
    // What was moved to the top in one round goes in the next.
    while moved.empty(&top, 0)? {}
    fs::remove_dir(path)
}

/// The top of the tree, and the number of the next directory that is moved there.
struct Moved<'a> {
    top: &'a OwnedFd,
    next: u64,
}

impl Moved<'_> {
    /// Removes all that is in `dir`, or moves it to the top. `false` = there was nothing.
    fn empty(&mut self, dir: &OwnedFd, level: usize) -> io::Result<bool> {
        let mut any = false;
        for entry in rfs::Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            any = true;
            let kind = match entry.file_type() {
                FileType::Unknown => FileType::from_raw_mode(rfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
                known => known,
            };
            if kind != FileType::Directory {
                gone(rfs::unlinkat(dir, name, AtFlags::empty()))?;
            } else if level < NESTED {
                self.empty(&rfs::openat(dir, name, DIRECTORY, Mode::empty())?, level + 1)?;
                gone(rfs::unlinkat(dir, name, AtFlags::REMOVEDIR))?;
            } else {
                self.move_up(dir, name)?;
            }
        }
        Ok(any)
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
        loop {
            let target = format!(".removed-{}", self.next);
            self.next += 1;
            match rfs::renameat_with(dir, name, self.top, target, RenameFlags::NOREPLACE) {
                Err(rustix::io::Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    }
}

fn gone(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `mkdir d; cd d` does it, over and over.
    fn nest(path: &Path, levels: usize) {
        let mut dir = rfs::open(path, DIRECTORY, Mode::empty()).unwrap();
        for level in 0..levels {
            rfs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
            if level % 100 == 0 {
                rfs::symlinkat("/etc", &dir, "link").unwrap();
                drop(rfs::openat(&dir, "file", rfs::OFlags::CREATE | rfs::OFlags::WRONLY, Mode::RUSR).unwrap());
            }
            dir = rfs::openat(&dir, "d", DIRECTORY, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes_and_what_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::create_dir(tree.join(".removed-0")).unwrap();
        nest(&tree, 3_000);
        // Deeper than names reach, and a stack on which no frame may be left for each level.
        let path = tree.clone();
        std::thread::Builder::new().stack_size(128 * 1024).spawn(move || remove_tree(&path).unwrap()).unwrap().join().unwrap();
        assert!(!tree.exists() && Path::new("/etc/passwd").exists());
        remove_tree(&tree).unwrap();
        std::os::unix::fs::symlink(dir.path(), &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(dir.path().exists() && tree.symlink_metadata().is_err());
    }
}
