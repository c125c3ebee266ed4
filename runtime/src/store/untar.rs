//! The one reader of foreign tars (S12), for checking and for unpacking: the same code decides both.
//!
//! Refused: absolute paths, `..`, anything below a link, hard links to what this tar did not bring, devices and fifos, more than the limits.
//! Dropped: set-id bits, extended attributes.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// Most of everything one tar may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TarLimits {
    /// Bytes of all files together. Default 8 GiB.
    pub(crate) bytes: u64,
    /// Entries. Default 1,000,000.
    pub(crate) entries: u64,
    /// Directories below each other. Default 128.
    pub(crate) depth: usize,
}

impl Default for TarLimits {
    fn default() -> Self {
        Self { bytes: 8 << 30, entries: 1_000_000, depth: 128 }
    }
}

/// Why a tar was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// It cannot be read or written.
    #[error("reading the tar")]
    Io(#[from] io::Error),
    /// It holds something it must not.
    #[error("{path:?} {why}")]
    Refused {
        /// Which entry.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Reads a whole tar. With a destination (an empty directory nobody else can write) it is unpacked there, without one only checked.
pub(crate) fn read(tar: impl Read, to: Option<&Path>, limits: TarLimits) -> Result<(), TarError> {
    let mut archive = tar::Archive::new(tar);
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut files = HashSet::new();
    let mut links = HashSet::new();
    let mut dir_modes = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let raw = entry.path()?.into_owned();
        let refuse = |why| TarError::Refused { path: raw.clone(), why };
        let path = inside(&raw, limits.depth).map_err(refuse)?;
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        if entries > limits.entries {
            return Err(refuse("is one entry too many"));
        }
        if bytes > limits.bytes {
            return Err(refuse("makes the tar larger than allowed"));
        }
        if path.ancestors().skip(1).any(|parent| links.contains(parent)) {
            return Err(refuse("lies below a link"));
        }
        let header = entry.header().clone();
        let mode = header.mode()? & 0o1777;
        let owner = (u32::try_from(header.uid()?).unwrap_or(u32::MAX), u32::try_from(header.gid()?).unwrap_or(u32::MAX));
        if owner.0 > 65_534 || owner.1 > 65_534 {
            return Err(refuse("belongs to an id above 65534"));
        }
        let target = to.map(|to| to.join(&path));
        if let (Some(to), Some(parent)) = (to, path.parent()) {
            crate::disk::make_dirs(to, parent, 0)?;
        }
        match header.entry_type() {
            tar::EntryType::Directory => {
                if files.contains(&path) {
                    return Err(refuse("is a file and a directory"));
                }
                if let Some(target) = &target {
                    if path.as_os_str().is_empty() {
                        continue;
                    }
                    if links.remove(&path) {
                        fs::remove_file(target)?;
                    }
                    if !target.exists() {
                        fs::create_dir(target)?;
                    }
                    std::os::unix::fs::lchown(target, Some(owner.0), Some(owner.1))?;
                    dir_modes.push((target.clone(), mode));
                }
            }
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                links.remove(&path);
                files.insert(path);
                if let Some(target) = &target {
                    clear(target)?;
                    let mut file =
                        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(target)?;
                    io::copy(&mut entry, &mut file)?;
                    file.set_permissions(fs::Permissions::from_mode(mode))?;
                    std::os::unix::fs::lchown(target, Some(owner.0), Some(owner.1))?;
                } else {
                    io::copy(&mut entry, &mut io::sink())?;
                }
            }
            tar::EntryType::Symlink => {
                let to = entry.link_name()?.ok_or_else(|| refuse("is a link to nothing"))?.into_owned();
                if leaves(&path, &to) {
                    return Err(refuse("is a link that leaves the root"));
                }
                files.remove(&path);
                if let Some(target) = &target {
                    clear(target)?;
                    std::os::unix::fs::symlink(&to, target)?;
                    std::os::unix::fs::lchown(target, Some(owner.0), Some(owner.1))?;
                }
                links.insert(path);
            }
            tar::EntryType::Link => {
                let first = entry.link_name()?.ok_or_else(|| refuse("is a link to nothing"))?.into_owned();
                let first = inside(&first, limits.depth).map_err(refuse)?;
                if !files.contains(&first) {
                    return Err(refuse("is a hard link to a file this tar did not bring"));
                }
                if let (Some(to), Some(target)) = (to, &target) {
                    clear(target)?;
                    fs::hard_link(to.join(&first), target)?;
                }
                files.insert(path);
            }
            tar::EntryType::Block | tar::EntryType::Char => return Err(refuse("is a device")),
            tar::EntryType::Fifo => return Err(refuse("is a named pipe")),
            tar::EntryType::XGlobalHeader => {}
            _ => return Err(refuse("is of an unknown kind")),
        }
    }
    for (dir, mode) in dir_modes.into_iter().rev() {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The path without `./`, or why it is refused.
fn inside(path: &Path, depth: usize) -> Result<PathBuf, &'static str> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err("is an absolute path"),
            Component::ParentDir => return Err("holds .."),
        }
    }
    if clean.components().count() > depth { Err("lies too deep") } else { Ok(clean) }
}

/// Does a link at `path` climb above the root? Absolute ones stay in the root they are resolved in.
fn leaves(path: &Path, to: &Path) -> bool {
    let mut depth = if to.is_absolute() { 0 } else { path.components().count() as i64 - 1 };
    for part in to.components() {
        match part {
            Component::ParentDir if to.is_absolute() && depth == 0 => {}
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// A later entry of the same name replaces an earlier file or link.
fn clear(target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(path: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, path, kind, link);
        builder.into_inner().unwrap()
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, link: &str) {
        let mut header = tar::Header::new_gnu();
        // The builder refuses bad paths, so the name is written as an attacker would.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o6755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
    }

    fn why(tar: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let checked = read(tar, None, TarLimits::default()).map_err(|e| e.to_string());
        let unpacked = read(tar, Some(dir.path()), TarLimits::default()).map_err(|e| e.to_string());
        assert_eq!(checked, unpacked, "checking and unpacking must agree");
        checked.err().unwrap_or_default()
    }

    #[test]
    fn what_is_refused() {
        use tar::EntryType as T;
        for (path, kind, link, expected) in [
            ("/etc/passwd", T::Regular, "", "absolute"),
            ("a/../../x", T::Regular, "", ".."),
            ("dev/sda", T::Block, "", "device"),
            ("dev/null", T::Char, "", "device"),
            ("pipe", T::Fifo, "", "named pipe"),
            ("a/b", T::Symlink, "../../x", "leaves the root"),
            ("hard", T::Link, "etc/passwd", "did not bring"),
        ] {
            assert!(why(&one(path, kind, link)).contains(expected), "{path}: {}", why(&one(path, kind, link)));
        }
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, "dev", T::Symlink, "/dev");
        add(&mut builder, "dev/x", T::Regular, "");
        assert!(why(&builder.into_inner().unwrap()).contains("below a link"));
    }

    #[test]
    fn set_id_bits_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        read(one("su", tar::EntryType::Regular, "").as_slice(), Some(dir.path()), TarLimits::default()).unwrap();
        assert_eq!(fs::metadata(dir.path().join("su")).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_escape(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let outer = tempfile::tempdir().unwrap();
            let dir = outer.path().join("root");
            fs::create_dir(&dir).unwrap();
            let _any = read(bytes.as_slice(), Some(&dir), TarLimits::default());
            prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        }
    }
}
