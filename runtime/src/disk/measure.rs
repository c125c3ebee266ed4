//! Measuring a tree.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes a tree takes on disk. What vanishes meanwhile counts nothing.
pub(crate) fn usage(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    own + fs::read_dir(path).map_or(0, |entries| entries.flatten().map(|entry| usage(&entry.path())).sum())
}
