//! An app's log on disk: the line format, the writer, and the merged reader. No tokio.
//!
//! A log is a directory of append-only segment files, one per writer. Every line is exactly what a person sees:
//!
//! ```text
//! 2026-01-02T03:04:05.123456+00:00 app[web.1]: text
//! ```
//!
//! Files merge by their first column, so any process may write without asking another ([`SegmentWriter`]), and whoever reads
//! ([`Reader`]) sees one log. A writer never waits for a reader. A clock that is set changes what the column says and not the order; see `clock`.
//!
//! Not here: where an app's directory is, who may read it, how a line travels to a terminal.

mod clock;
mod cursor;
mod error;
mod follow;
mod identity;
mod line;
mod prune;
mod reader;
mod segment;
mod stamp;
mod writer;

pub use cursor::{BadCursor, Cursor};
pub use error::{LogError, Result};
pub use follow::Follow;
pub use identity::{BadIdentity, LogIdentity};
pub use line::{Line, clean_text};
pub use prune::{Limits, Pruned, prune};
pub use reader::{Filter, Reader, SourceFilter};
pub use writer::{LogConfig, SegmentWriter};
