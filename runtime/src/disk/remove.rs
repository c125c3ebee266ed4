//! Removing a tree.

use std::fs;
use std::io;
use std::path::Path;

use crate::fault::{Doing as _, Result};

/// Removes a tree, or nothing if there is none. `std` walks by directory descriptors without following links.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.doing(format!("removing {}", path.display()))
}
