//! Reading the small files of the contract, with the file's name in every error.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::Failure;

/// Text of a file; `None` if it is not there.
pub(crate) fn text(path: &Path, code: u8) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::new(code, format!("cannot read {}: {e}", path.display()))),
    }
}

/// A TOML file; the default if it is not there.
pub(crate) fn toml_or_default<T: DeserializeOwned + Default>(path: &Path, code: u8) -> Result<T, Failure> {
    let Some(text) = text(path, code)? else { return Ok(T::default()) };
    toml::from_str(&text)
        .map_err(|e| Failure::new(code, format!("{} is not what the buildpack contract allows: {}", path.display(), e.message())))
}

/// Entries of a directory by name; empty if it is not there.
pub(crate) fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    found.sort();
    found
}

/// The last part of a path as text.
pub(crate) fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}

/// A buildpack id as a directory name.
pub(crate) fn escaped(id: &str) -> String {
    id.replace('/', "_")
}
