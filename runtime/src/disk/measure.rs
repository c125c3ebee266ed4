//! Measuring a tree that a stranger may be changing meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self as rfs, AtFlags, FileType, Mode};

use super::DIRECTORY;

/// Directories are entered down to this level, one open descriptor each; below, the tree counts as too deep.
pub(crate) const DEEPEST: usize = 256;

/// How much of a disk something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of blocks, as `du` counts.
    pub(crate) bytes: u64,
    /// Bytes that reading all files gives: more than `bytes` where files have holes.
    pub(crate) length: u64,
    /// Files, directories, links: an inode each.
    pub(crate) files: u64,
    /// Some directory is nested deeper than [`DEEPEST`], and what is below it was not counted.
    pub(crate) too_deep: bool,
}

impl std::ops::Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            length: self.length.saturating_add(other.length),
            files: self.files.saturating_add(other.files),
            too_deep: self.too_deep || other.too_deep,
        }
    }
}

/// What a tree takes. What vanishes meanwhile counts nothing. A file of many names counts once, if all its names are in the tree.
pub(crate) fn usage(path: &Path) -> Usage {
    let mut sum = Sum::default();
    if let Ok(dir) = rfs::open(path, DIRECTORY, Mode::empty()) {
        if let Ok(stat) = rfs::fstat(&dir) {
            sum.add(&stat);
        }
        // What cannot be read any more was removed.
        let _gone = sum.dir(dir, 0);
    }
    Usage {
        bytes: sum.blocks.div_ceil(SHARES).saturating_mul(512),
        length: sum.length.div_ceil(SHARES),
        files: sum.inodes.div_ceil(SHARES),
        too_deep: sum.too_deep,
    }
}

/// A file of n names adds an nth of itself for each: sums are kept in shares, so that halves and thirds add up.
const SHARES: u64 = 5040;

#[derive(Default)]
struct Sum {
    blocks: u64,
    length: u64,
    inodes: u64,
    too_deep: bool,
}

impl Sum {
    fn add(&mut self, stat: &rfs::Stat) {
        let kind = FileType::from_raw_mode(stat.st_mode);
        #[allow(clippy::useless_conversion, reason = "it is narrower on other machines")]
        let links = u64::from(stat.st_nlink);
        let names = if kind == FileType::Directory { 1 } else { links.clamp(1, SHARES) };
        let share = |whole: i64| whole.cast_unsigned().saturating_mul(SHARES) / names;
        self.blocks = self.blocks.saturating_add(share(stat.st_blocks));
        self.inodes += SHARES / names;
        if kind == FileType::RegularFile {
            self.length = self.length.saturating_add(share(stat.st_size));
        }
    }

    fn dir(&mut self, dir: OwnedFd, level: usize) -> io::Result<()> {
        let mut dir = rfs::Dir::new(dir)?;
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rfs::statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            self.add(&stat);
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            if level == DEEPEST {
                self.too_deep = true;
            } else if let Ok(child) = rfs::openat(dir.fd()?, name, DIRECTORY, Mode::empty()) {
                let _gone = self.dir(child, level + 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn hard_links_count_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let empty = usage(dir.path());
        assert_eq!((empty.files, empty.too_deep), (1, false));
        fs::write(dir.path().join("a"), vec![1; 1 << 20]).unwrap();
        let one = usage(dir.path());
        for name in ["b", "c", "d", "e"] {
            fs::hard_link(dir.path().join("a"), dir.path().join(name)).unwrap();
        }
        assert_eq!(usage(dir.path()), one);
        assert!(one.bytes >= empty.bytes + (1 << 20) && one.files == 2 && one.length == 1 << 20);
        std::os::unix::fs::symlink("/usr", dir.path().join("usr")).unwrap();
        assert_eq!(usage(dir.path()).files, 3);
        assert_eq!(usage(&dir.path().join("none")), Usage::default());
        fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
        let holes = usage(dir.path());
        assert!(holes.length > 1 << 40 && holes.bytes < 2 << 20);
    }

    #[test]
    fn what_is_too_deep_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = dir.path().to_owned();
        for _ in 0..DEEPEST {
            at.push("d");
        }
        fs::create_dir_all(&at).unwrap();
        assert_eq!(usage(dir.path()), Usage { files: DEEPEST as u64 + 1, ..usage(dir.path()) });
        assert!(!usage(dir.path()).too_deep);
        fs::create_dir(at.join("d")).unwrap();
        assert!(usage(dir.path()).too_deep);
    }
}
