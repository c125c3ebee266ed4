//! What the file system says of every entry of a tree: kept when it is good, compared later. Comparing lists nothing and hashes nothing,
//! as a container's start waits for it.
//!
//! As bytes: of the root what [`facts`] gives, then its entries, then a zero. An entry is its name, ended by a zero, and its facts; a directory's
//! entries follow it, ended by a zero. A directory whose entries come, go or change their names has another time, so none is listed to compare.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Enough to find what is in it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of [`facts`].
const FACTS: usize = 60;

/// Looks at all of a tree.
pub(super) fn survey(fs: &Path) -> io::Result<Vec<u8>> {
    let mut survey = Vec::new();
    let root = rustix::fs::open(fs, DIRECTORY, Mode::empty())?;
    survey.extend(facts(&rustix::fs::fstat(&root)?));
    list(&mut survey, root.as_fd())?;
    Ok(survey)
}

fn list(survey: &mut Vec<u8>, dir: BorrowedFd<'_>) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        survey.extend(name.to_bytes_with_nul());
        survey.extend(facts(&stat));
        if is_directory(&stat) {
            list(survey, rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?.as_fd())?;
        }
    }
    survey.push(0);
    Ok(())
}

/// The first entry of a tree that is not as a survey of it says. A torn survey fits nothing.
pub(super) fn first_change(fs: &Path, survey: &[u8]) -> Option<PathBuf> {
    let mut expected = Expected(survey);
    let Some(root) =
        rustix::fs::open(fs, PLACE, Mode::empty()).ok().filter(|root| rustix::fs::fstat(root).is_ok_and(|stat| expected.is(&stat)))
    else {
        return Some(PathBuf::new());
    };
    match compare(&mut expected, root.as_fd()) {
        Ok(()) => (!expected.0.is_empty()).then(PathBuf::new),
        Err(path) => Some(path),
    }
}

fn compare(expected: &mut Expected<'_>, dir: BorrowedFd<'_>) -> Result<(), PathBuf> {
    loop {
        let name = expected.name().ok_or_else(PathBuf::new)?;
        if name.is_empty() {
            return Ok(());
        }
        let here = || PathBuf::from(OsStr::from_bytes(name.to_bytes()));
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| here())?;
        if !expected.is(&stat) {
            return Err(here());
        }
        if is_directory(&stat) {
            let below = rustix::fs::openat(dir, name, PLACE, Mode::empty()).map_err(|_| here())?;
            compare(expected, below.as_fd()).map_err(|path| here().join(path))?;
        }
    }
}

/// The rest of a survey.
struct Expected<'a>(&'a [u8]);

impl<'a> Expected<'a> {
    fn name(&mut self) -> Option<&'a CStr> {
        let name = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = self.0.get(name.count_bytes() + 1..)?;
        Some(name)
    }

    fn is(&mut self, stat: &Stat) -> bool {
        let Some((expected, rest)) = self.0.split_first_chunk::<FACTS>() else { return false };
        self.0 = rest;
        *expected == facts(stat)
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Inode, size, device, mode, owner, and the times of the last change of content and of inode. No program can set the last one.
fn facts(stat: &Stat) -> [u8; FACTS] {
    let mut facts = [0; FACTS];
    let mut at = 0;
    let mut put = |number: &[u8]| {
        facts[at..at + number.len()].copy_from_slice(number);
        at += number.len();
    };
    for number in [stat.st_ino, stat.st_size.cast_unsigned(), stat.st_rdev, stat.st_mtime.cast_unsigned(), stat.st_ctime.cast_unsigned()] {
        put(&number.to_le_bytes());
    }
    // The nanoseconds of a second fit.
    for number in [stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_nsec as u32, stat.st_ctime_nsec as u32] {
        put(&number.to_le_bytes());
    }
    facts
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/lib/empty")).unwrap();
        fs::write(dir.path().join("usr/lib/libc.so"), "as it was made").unwrap();
        fs::write(dir.path().join("usr/README"), "").unwrap();
        std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
        dir
    }

    #[test]
    fn what_nobody_touched_fits() {
        let tree = tree();
        assert_eq!(first_change(tree.path(), &survey(tree.path()).unwrap()), None);
    }

    #[test]
    fn whatever_changes_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        fn set_back(fs: &Path) {
            let file = fs.join("usr/lib/libc.so");
            let before = fs::metadata(&file).unwrap().modified().unwrap();
            fs::write(&file, "as it was MADE").unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
        }
        type Change = fn(&Path);
        let changes: [(&str, Change); 9] = [
            ("usr/lib/libc.so", set_back),
            ("usr/lib", |fs| fs::write(fs.join("usr/lib/more"), "").unwrap()),
            ("usr/lib/empty", |fs| fs::create_dir(fs.join("usr/lib/empty/dir")).unwrap()),
            ("usr/lib", |fs| fs::remove_file(fs.join("usr/lib/libc.so")).unwrap()),
            ("usr/lib", |fs| fs::rename(fs.join("usr/lib/libc.so"), fs.join("usr/lib/libm.so")).unwrap()),
            ("usr/README", |fs| fs::set_permissions(fs.join("usr/README"), fs::Permissions::from_mode(0o777)).unwrap()),
            ("usr/README", |fs| std::os::unix::fs::chown(fs.join("usr/README"), Some(1), None).unwrap()),
            ("", |fs| fs::write(fs.join("more"), "").unwrap()),
            ("", |fs| fs::rename(fs, fs.with_extension("gone")).unwrap()),
        ];
        for (number, (named, change)) in changes.into_iter().enumerate() {
            let tree = tree();
            let root = tree.path().join("root");
            fs::create_dir(&root).unwrap();
            fs::rename(tree.path().join("usr"), root.join("usr")).unwrap();
            let survey = survey(&root).unwrap();
            change(&root);
            assert_eq!(first_change(&root, &survey).as_deref(), Some(Path::new(named)), "change {number}");
        }
    }

    #[test]
    fn a_torn_survey_fits_nothing() {
        let tree = tree();
        let whole = survey(tree.path()).unwrap();
        for length in 0..whole.len() {
            assert!(first_change(tree.path(), &whole[..length]).is_some(), "{length} bytes of it");
        }
        assert!(first_change(tree.path(), &[whole.as_slice(), &[0]].concat()).is_some());
    }
}
