//! Writes a tree whose names and contents a stranger chose. Used for commits and archives alike: one set of rules.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{SourceError, SourceLimits, Tree};

/// Where apps live inside the container; absolute links to it stay in the tree.
const APP_DIR: &[u8] = b"/app";
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 2048;
const MAX_WARNINGS: usize = 20;

/// Fills one fresh directory.
pub(crate) struct TreeWriter {
    root: PathBuf,
    limits: SourceLimits,
    tree: Tree,
    links: Vec<(PathBuf, Vec<u8>)>,
}

impl TreeWriter {
    /// Makes `root`, which must not exist.
    pub(crate) fn create(root: &Path, limits: SourceLimits) -> Result<Self, SourceError> {
        fs::DirBuilder::new().mode(0o755).create(root).map_err(write_error(root))?;
        Ok(Self { root: root.to_owned(), limits, tree: Tree::default(), links: Vec::new() })
    }

    /// Something tolerated, to be told.
    pub(crate) fn warn(&mut self, text: String) {
        if self.tree.warnings.len() < MAX_WARNINGS {
            self.tree.warnings.push(text);
        }
    }

    /// A directory; its parents are made too. Existing is fine.
    pub(crate) fn dir(&mut self, path: &[u8]) -> Result<(), SourceError> {
        let relative = check_path(path, self.limits.depth)?;
        self.make_dirs(&relative)
    }

    /// Refuses a file of this size, if it must be, before its content is in memory.
    pub(crate) fn reserve(&self, size: u64) -> Result<(), SourceError> {
        if self.tree.bytes.saturating_add(size) > self.limits.bytes { Err(self.too_big()) } else { Ok(()) }
    }

    /// A plain file. `size` is what the sender says; never more is written.
    pub(crate) fn file(&mut self, path: &[u8], size: u64, executable: bool, mut content: impl Read) -> Result<(), SourceError> {
        let relative = check_path(path, self.limits.depth)?;
        self.count(size)?;
        if let Some(parent) = relative.parent() {
            self.make_dirs(parent)?;
        }
        let full = self.root.join(&relative);
        let mut file = Self::open_new(&full, path, executable)?;
        let copied = io::copy(&mut (&mut content).take(size), &mut file).map_err(write_error(&full))?;
        if copied != size {
            return Err(SourceError::entry(path, "is shorter than announced"));
        }
        Ok(())
    }

    /// A symbolic link; made in [`Self::finish`].
    pub(crate) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), SourceError> {
        let relative = check_path(path, self.limits.depth)?;
        if !stays_inside(path, target) {
            let to = super::error::printable(target);
            return Err(SourceError::entry(path, format!("is a link that leaves the source tree (it points to \"{to}\")")));
        }
        self.count(0)?;
        self.links.push((relative, target.to_vec()));
        Ok(())
    }

    /// A hard link to a file written before: the file once more.
    pub(crate) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), SourceError> {
        let refuse = || SourceError::entry(path, "is a hard link to something that is not a file of this archive");
        let from = self.root.join(check_path(target, self.limits.depth).map_err(|_| refuse())?);
        // No link exists yet in the tree, so this cannot leave it.
        let meta = fs::symlink_metadata(&from).map_err(|_| refuse())?;
        if !meta.is_file() {
            return Err(refuse());
        }
        let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o100 != 0;
        let content = File::open(&from).map_err(write_error(&from))?;
        self.file(path, meta.len(), executable, content)
    }

    /// Makes the links and says what there is now.
    pub(crate) fn finish(mut self) -> Result<Tree, SourceError> {
        for (relative, target) in std::mem::take(&mut self.links) {
            if let Some(parent) = relative.parent() {
                self.make_dirs(parent)?;
            }
            let full = self.root.join(&relative);
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), &full).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => twice(relative.as_os_str().as_bytes()),
                _ => write_error(&full)(error),
            })?;
        }
        Ok(self.tree)
    }

    fn open_new(full: &Path, path: &[u8], executable: bool) -> Result<File, SourceError> {
        let mode = if executable { 0o755 } else { 0o644 };
        OpenOptions::new().write(true).create_new(true).mode(mode).open(full).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => twice(path),
            _ => write_error(full)(error),
        })
    }

    fn make_dirs(&mut self, relative: &Path) -> Result<(), SourceError> {
        let mut full = self.root.clone();
        for part in relative {
            full.push(part);
            match fs::DirBuilder::new().mode(0o755).create(&full) {
                Ok(()) => self.count(0)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let meta = fs::symlink_metadata(&full).map_err(write_error(&full))?;
                    if !meta.is_dir() {
                        return Err(twice(relative.as_os_str().as_bytes()));
                    }
                }
                Err(error) => return Err(write_error(&full)(error)),
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), SourceError> {
        self.tree.entries += 1;
        self.tree.bytes = self.tree.bytes.saturating_add(bytes);
        if self.tree.entries > self.limits.entries {
            return Err(SourceError::TooMuch { limit: self.limits.entries, unit: "files" });
        }
        if self.tree.bytes > self.limits.bytes {
            return Err(self.too_big());
        }
        Ok(())
    }

    fn too_big(&self) -> SourceError {
        const MB: u64 = 1024 * 1024;
        let bytes = self.limits.bytes;
        if bytes < MB {
            SourceError::TooMuch { limit: bytes, unit: "bytes" }
        } else {
            SourceError::TooMuch { limit: bytes / MB, unit: "MB" }
        }
    }
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> SourceError {
    move |source| SourceError::Write { path: path.to_owned(), source }
}

fn twice(path: &[u8]) -> SourceError {
    SourceError::entry(path, "appears twice, as different things")
}

/// A relative path of plain names. A leading `./` and a trailing `/` are tolerated (tar writes them).
fn check_path(path: &[u8], depth: usize) -> Result<PathBuf, SourceError> {
    let refuse = |rule: &str| Err(SourceError::entry(path, rule));
    let mut trimmed = path;
    while let Some(rest) = trimmed.strip_prefix(b"./") {
        trimmed = rest;
    }
    trimmed = trimmed.strip_suffix(b"/").unwrap_or(trimmed);
    if trimmed.is_empty() || trimmed.len() > MAX_PATH {
        return refuse("has no usable name");
    }
    if trimmed.starts_with(b"/") {
        return refuse("is an absolute path");
    }
    let mut clean = PathBuf::new();
    for (level, part) in trimmed.split(|byte| *byte == b'/').enumerate() {
        match part {
            b"" | b"." => return refuse("has an empty part in its path"),
            b".." => return refuse("climbs out of the source tree with \"..\""),
            _ if part.eq_ignore_ascii_case(b".git") => return refuse("is git's own directory, which cannot be part of a source"),
            _ if part.contains(&0) => return refuse("has a zero byte in its name"),
            _ if part.len() > MAX_NAME => return refuse("has a name longer than 255 bytes"),
            _ if level >= depth => return refuse("is nested too deep"),
            _ => clean.push(OsStr::from_bytes(part)),
        }
    }
    Ok(clean)
}

/// Whether a link at `path` points to a place in the tree, judged by its text alone. Links that pass through other links are judged when they
/// are followed, which only the app's own container does.
fn stays_inside(path: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target.contains(&0) || target.len() > MAX_PATH {
        return false;
    }
    let (mut depth, rest) = if let Some(rest) = target.strip_prefix(APP_DIR) {
        if !(rest.is_empty() || rest.starts_with(b"/")) {
            return false;
        }
        (0_i64, rest)
    } else if target.starts_with(b"/") {
        return false;
    } else {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").count();
        (parts as i64 - 1, target)
    };
    for part in rest.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_are_judged_by_their_text() {
        for good in
            [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d"), ("a", "/app/x"), ("a", "/app"), ("a/b", "c/../../d"), ("./a/b", "../c")]
        {
            assert!(stays_inside(good.0.as_bytes(), good.1.as_bytes()), "{good:?}");
        }
        for bad in
            [("a", "../b"), ("a", "/etc/passwd"), ("a/b", "../../c"), ("a", "/apple"), ("a", "/app/../etc"), ("a", ""), ("a", "b/../../a")]
        {
            assert!(!stays_inside(bad.0.as_bytes(), bad.1.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let mut writer = TreeWriter::create(&scratch.path().join("t"), SourceLimits::default()).unwrap();
        writer.link(b"d", b"e").unwrap();
        writer.file(b"d/f", 1, false, &b"x"[..]).unwrap();
        let error = writer.finish().unwrap_err();
        assert_eq!(error.to_string(), "\"d\" appears twice, as different things");
        assert!(scratch.path().join("t/d/f").symlink_metadata().unwrap().is_file());
    }

    proptest! {
        /// Whatever the name, the file lands below the root or is refused.
        #[test]
        fn no_name_escapes(path in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), Just(b'a'), any::<u8>()], 0..24)) {
            if let Ok(clean) = check_path(&path, 64) {
                prop_assert!(clean.is_relative());
                prop_assert!(clean.components().all(|part| matches!(part, std::path::Component::Normal(name) if !name.eq_ignore_ascii_case(".git"))));
                prop_assert!(clean.components().count() > 0);
            }
        }

        /// A link that passes resolves inside, by the kernel's own arithmetic without links.
        #[test]
        fn no_link_escapes(depth in 0_usize..4, target in "[./a]{1,16}") {
            let path = format!("{}x", "d/".repeat(depth));
            if stays_inside(path.as_bytes(), target.as_bytes()) {
                let mut level = depth as i64;
                prop_assert!(!target.starts_with('/') );
                for part in target.split('/') {
                    match part { "" | "." => {}, ".." => level -= 1, _ => level += 1 }
                    prop_assert!(level >= 0);
                }
            }
        }
    }
}
