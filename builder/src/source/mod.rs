//! From what was sent to a directory the build can read.
//!
//! Everything here runs on the host over bytes a stranger chose. So: caps on bytes, entries and depth; only plain files, directories and
//! links that stay inside; links are made last, so that nothing is ever written through one; no submodule is fetched; `.git` never appears.

mod blob;
mod checkout;
mod error;
mod ignore;
mod read;
mod writer;

pub use checkout::checkout;
pub(crate) use checkout::open;
pub use error::SourceError;
pub(crate) use error::printable;
pub use ignore::SlugIgnore;
pub use read::read_file;
pub(crate) use writer::TreeWriter;

/// What a source tree may hold at most (trust rules S12, R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// All files together, in bytes. Default 1 GiB (twice what Heroku's largest slug may be).
    pub bytes: u64,
    /// Files, directories and links. Default 200,000.
    pub entries: u64,
    /// Directories within directories. Default 64.
    pub depth: usize,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024 * 1024, entries: 200_000, depth: 64 }
    }
}

/// What a checkout or an extraction made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// What was tolerated, for the build log.
    pub warnings: Vec<String>,
}
