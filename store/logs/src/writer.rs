//! Appending lines to one segment file, and rotating it.

use std::path::Path;

use jiff::Timestamp;

use crate::{LogIdentity, Result};

/// Limits of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is closed once it has this many bytes. Default 4 MiB.
    pub segment_bytes: u64,
    /// How many segments one writer keeps, the open one included. Default 2; at least 2.
    pub segments: u32,
    /// Longer lines are split. Default 10,000 bytes (trust rule S15).
    pub line_bytes: usize,
    /// A batch is written by itself once it has this many bytes. Default 64 KiB.
    pub batch_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 4 * 1024 * 1024, segments: 2, line_bytes: 10_000, batch_bytes: 64 * 1024 }
    }
}

/// Appends lines to `<dir>/<stem>.log`. One writer per stem; the directory may have any number of writers, in any process.
#[derive(Debug)]
pub struct SegmentWriter {}

#[allow(unused_variables, clippy::todo)]
impl SegmentWriter {
    /// Opens (or goes on with) `<dir>/<stem>.log`; makes the directory.
    pub fn open(dir: &Path, stem: &str, identity: LogIdentity) -> Result<Self> {
        todo!()
    }
    /// Like [`Self::open`], with limits of your own.
    pub fn open_with(dir: &Path, stem: &str, identity: LogIdentity, config: LogConfig) -> Result<Self> {
        todo!()
    }
    /// Adds `text` to the batch, split into lines. `text` is whole lines: a newline at its end is optional. Written once the batch is
    /// full or [`Self::flush`] is called; never waits for a reader.
    pub fn append(&mut self, now: Timestamp, text: &[u8]) -> Result<()> {
        todo!()
    }
    /// As [`Self::append`], under another identity of the same writer (a router or server that writes several apps' platform lines).
    pub fn append_as(&mut self, now: Timestamp, identity: &LogIdentity, text: &[u8]) -> Result<()> {
        todo!()
    }
    /// Writes the batch with one `write(2)`.
    pub fn flush(&mut self) -> Result<()> {
        todo!()
    }
}
