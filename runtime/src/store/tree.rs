//! A layer directory as the tar it would be: hashed or written, byte for byte the same each time.
//!
//! Sorted by path; mtime 1980-01-01T00:00:01Z; ids as on disk, no names; no extended attributes. Overlay's deletions (0:0 devices, opaque
//! directories) become `.wh.` entries. Other devices, sockets and fifos are left out.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::Digest as _;

/// 1980-01-01T00:00:01Z, as the reference lifecycle uses: zip and make cannot take 0.
const MTIME: u64 = 315_532_801;

/// Digest and size of the tar of `fs`, which is never written.
pub(crate) fn diff_id(fs: &Path) -> io::Result<(String, u64)> {
    let mut sink = Hashing { hasher: sha2::Sha256::new(), size: 0 };
    write_tar(fs, &mut sink)?;
    Ok((format!("sha256:{}", hex::encode(sink.hasher.finalize())), sink.size))
}

struct Hashing {
    hasher: sha2::Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the tar of `fs`.
pub(crate) fn write_tar(fs: &Path, out: impl Write) -> io::Result<()> {
    let out = io::BufWriter::with_capacity(256 * 1024, out);
    let mut walk = Walk { tar: tar::Builder::new(out), linked: HashMap::new() };
    walk.children(fs, Path::new(""))?;
    walk.tar.into_inner()?.flush()
}

struct Walk<W: Write> {
    tar: tar::Builder<W>,
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Walk<W> {
    fn children(&mut self, dir: &Path, inside: &Path) -> io::Result<()> {
        let mut names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for name in names {
            self.entry(&dir.join(&name), &inside.join(&name))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, inside: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(path)?;
        let kind = meta.file_type();
        let mut header = tar::Header::new_gnu();
        header.set_mode(meta.mode() & 0o7777);
        header.set_uid(u64::from(meta.uid()));
        header.set_gid(u64::from(meta.gid()));
        header.set_mtime(MTIME);
        header.set_size(0);
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            self.tar.append_data(&mut header, inside, io::empty())?;
            if is_opaque(path) {
                self.marker(&inside.join(".wh..wh..opq"))?;
            }
            self.children(path, inside)
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            self.tar.append_link(&mut header, inside, fs::read_link(path)?)
        } else if kind.is_file() {
            if meta.nlink() > 1 {
                if let Some(first) = self.linked.get(&(meta.dev(), meta.ino())) {
                    header.set_entry_type(tar::EntryType::Link);
                    return self.tar.append_link(&mut header, inside, first);
                }
                self.linked.insert((meta.dev(), meta.ino()), inside.to_path_buf());
            }
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(meta.len());
            let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
            self.tar.append_data(&mut header, inside, file)
        } else if kind.is_char_device() && meta.rdev() == 0 {
            let mut name = std::ffi::OsString::from(".wh.");
            name.push(inside.file_name().unwrap_or_default());
            self.marker(&inside.with_file_name(name))
        } else {
            Ok(())
        }
    }

    fn marker(&mut self, inside: &Path) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0);
        header.set_mtime(MTIME);
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(&mut header, inside, io::empty())
    }
}

/// Does overlay hide the lower directories of the same name?
pub(crate) fn is_opaque(dir: &Path) -> bool {
    let mut value = [0; 4];
    matches!(rustix::fs::lgetxattr(dir, "trusted.overlay.opaque", &mut value), Ok(1..) if value[0] == b'y')
}

/// Is this overlay's mark for "deleted"?
pub(crate) fn is_whiteout(meta: &fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

/// Takes off a tree what no layer may hold: devices, set-id bits and extended attributes, overlay's marks among them. It was an upper directory,
/// nobody writes to it any more, and it becomes a layer where nothing lies below.
pub(crate) fn settle(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    if !kind.is_dir() && !kind.is_file() && !kind.is_symlink() {
        return fs::remove_file(path);
    }
    remove_attributes(path)?;
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            settle(&entry?.path())?;
        }
    } else if kind.is_file() && meta.mode() & 0o6000 != 0 {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o1777))?;
    }
    Ok(())
}

/// Removes the extended attributes of an entry, of a link its own: access lists too, which are kept as such. No digest covers any of them.
fn remove_attributes(path: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    let mut names = match rustix::fs::llistxattr_query(path) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        length => vec![0; length?],
    };
    let length = rustix::fs::llistxattr(path, names.as_mut_slice())?;
    // Labels are of the host's security modules: no build can set them, and some of them nobody can remove.
    let label = |name: &[u8]| name.starts_with(b"security.") && name != b"security.capability";
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && !label(name)) {
        match rustix::fs::lremovexattr(path, name) {
            // Some are of the file system's own.
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes devices, sockets and fifos that a package manager left in an upper directory; deletion marks stay.
pub(crate) fn settle_devices(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            settle_devices(&path)?;
        } else if !kind.is_file() && !kind.is_symlink() && !is_whiteout(&fs::symlink_metadata(&path)?) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_has_an_equal_id() {
        let make = |first: &str, second: &str| {
            let dir = tempfile::tempdir().unwrap();
            for name in [first, second] {
                fs::write(dir.path().join(name), name).unwrap();
            }
            let long = dir.path().join("d".repeat(120));
            fs::create_dir(&long).unwrap();
            fs::write(long.join("e".repeat(120)), "deep").unwrap();
            std::os::unix::fs::symlink("/elsewhere", dir.path().join("link")).unwrap();
            fs::hard_link(dir.path().join("a"), dir.path().join("z")).unwrap();
            dir
        };
        let (one, two) = (make("a", "b"), make("b", "a"));
        assert_eq!(diff_id(one.path()).unwrap(), diff_id(two.path()).unwrap());
        fs::write(two.path().join("b"), "changed").unwrap();
        assert_ne!(diff_id(one.path()).unwrap(), diff_id(two.path()).unwrap());
    }

    #[test]
    fn what_no_digest_covers_is_taken_off() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("opaque")).unwrap();
        fs::write(tree.join("file"), "x").unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        // acl(5) as the kernel keeps it: version 2; owner rwx, user 1000 r, group r, mask r, others none.
        let entry = |tag: u16, may: u16, id: u32| [&tag.to_le_bytes()[..], &may.to_le_bytes(), &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let entries = [entry(1, 7, none), entry(2, 4, 1000), entry(4, 4, none), entry(16, 4, none), entry(32, 0, none)].concat();
        let list = [&2_u32.to_le_bytes()[..], &entries].concat();
        let set = |path: &Path, name: &str, value: &[u8]| {
            rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        };
        set(&tree.join("opaque"), "trusted.overlay.opaque", b"y");
        set(&tree.join("opaque"), "system.posix_acl_default", &list);
        for path in [&tree, &tree.join("file"), &outside] {
            set(path, "user.note", b"a build's");
            set(path, "user.another", b"");
            set(path, "system.posix_acl_access", &list);
        }
        set(&tree.join("link"), "trusted.note", b"x");
        settle(&tree).unwrap();
        let left = |path: &Path| rustix::fs::llistxattr_query(path).unwrap();
        for path in [tree.clone(), tree.join("opaque"), tree.join("file"), tree.join("link")] {
            assert_eq!(left(&path), 0, "{}", path.display());
        }
        assert!(!is_opaque(&tree.join("opaque")) && left(&outside) > 0, "and no link is followed");
    }

    #[test]
    fn the_written_tar_is_the_hashed_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), vec![7; 100_000]).unwrap();
        let mut written = Vec::new();
        write_tar(dir.path(), &mut written).unwrap();
        let (id, size) = diff_id(dir.path()).unwrap();
        assert_eq!(size, written.len() as u64);
        assert_eq!(id, format!("sha256:{}", hex::encode(sha2::Sha256::digest(&written))));
    }
}
