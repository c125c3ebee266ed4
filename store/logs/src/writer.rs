//! Appending lines to one segment file, and rotating it.
//!
//! `<stem>.log` is the open segment. When it is full, or the machine's clock was set, it becomes `<stem>.log.1` (and `.1` becomes `.2`, …, the
//! oldest are removed).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;

use crate::clock::{self, Clocks, TOLERANCE};
use crate::line::clean_text;
use crate::segment::{end, existing, give_to_owner_of, shift};
use crate::stamp::Stamp;
use crate::{LogError, LogIdentity, Result};

/// Segments that closed because a clock was set and not because they were full; more of them go although they take no room.
const EXTRA: u32 = 8;

/// Limits of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is closed once it has this many bytes. Default 4 MiB.
    pub segment_bytes: u64,
    /// How many full segments one writer keeps, the open one included. Default 2; fewer count as 2.
    pub segments: u32,
    /// Longer lines are split. Default 10,000 bytes (trust rule S15); fewer than 16 count as 16.
    pub line_bytes: usize,
    /// A batch is written by itself once it has this many bytes. Default 64 KiB.
    pub batch_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 4 * 1024 * 1024, segments: 2, line_bytes: 10_000, batch_bytes: 64 * 1024 }
    }
}

/// Appends lines to `<dir>/<stem>.log`. One writer per stem; the directory may have any number of writers, in any process. Stamps grow
/// strictly within a file; when the clock was set, a new one begins. Dropping it writes what is batched.
#[derive(Debug)]
pub struct SegmentWriter {
    path: PathBuf,
    file: File,
    size: u64,
    identity: LogIdentity,
    config: LogConfig,
    batch: Vec<u8>,
    batched: u64,
    lost: u64,
    clocks: Clocks,
    /// The place of the moment whose monotonic time is 0.
    axis: i64,
    /// How far places lie after stamps in the open segment.
    shift: i64,
    last_place: i64,
    stamp: Stamp,
}

impl SegmentWriter {
    /// Opens (or goes on with) `<dir>/<stem>.log`; makes the directory.
    pub fn open(dir: &Path, stem: &str, identity: LogIdentity) -> Result<Self> {
        Self::open_with(dir, stem, identity, LogConfig::default())
    }

    /// Like [`Self::open`], with limits of your own.
    pub fn open_with(dir: &Path, stem: &str, identity: LogIdentity, config: LogConfig) -> Result<Self> {
        Self::open_by(dir, stem, identity, config, clock::machine)
    }

    /// Like [`Self::open_with`], with clocks of your own.
    pub(crate) fn open_by(dir: &Path, stem: &str, identity: LogIdentity, config: LogConfig, clocks: Clocks) -> Result<Self> {
        let path = dir.join(format!("{stem}.log"));
        let plain = !stem.is_empty() && !stem.starts_with('.') && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !plain {
            return Err(LogError::new(
                "open",
                path,
                std::io::Error::other("a log's file name may hold only letters, digits, dot, dash and underscore"),
            ));
        }
        std::fs::create_dir_all(dir).map_err(|error| LogError::new("make", dir, error))?;
        let axis = clock::axis(dir, clocks());
        let mut file = segment(&path).map_err(|error| LogError::new("open", &path, error))?;
        let (size, shift, mut last_place) = resume(&mut file).map_err(|error| LogError::new("read", &path, error))?;
        if size == 0
            && let Ok(previous) = existing(&old(&path, 1))
        {
            last_place = place(&previous).map_err(|error| LogError::new("read", &path, error))?.1;
        }
        let config = LogConfig { segments: config.segments.max(2), line_bytes: config.line_bytes.max(16), ..config };
        let batch = Vec::with_capacity(config.batch_bytes + config.line_bytes);
        Ok(Self {
            path,
            file,
            size,
            identity,
            config,
            batch,
            batched: 0,
            lost: 0,
            clocks,
            axis,
            shift,
            last_place,
            stamp: Stamp::default(),
        })
    }

    /// Adds `text` to the batch, split into lines. `text` is whole lines: a newline at its end is optional. Written once the batch is
    /// full or [`Self::flush`] is called; never waits for a reader. Lines that find no room are counted ([`Self::take_lost`]), and those
    /// after them are tried all the same.
    pub fn append(&mut self, now: Timestamp, text: &[u8]) -> Result<()> {
        let identity = self.identity.clone();
        self.append_as(now, &identity, text)
    }

    /// As [`Self::append`], under another identity (a server that writes lines of several parts of the platform).
    pub fn append_as(&mut self, now: Timestamp, identity: &LogIdentity, text: &[u8]) -> Result<()> {
        let reading = (self.clocks)();
        let here = reading.monotonic + self.axis;
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
        if (here - reading.wall - self.shift).abs() > TOLERANCE
            && let Err(error) = self.turn(here - reading.wall)
        {
            self.lost += lines.count() as u64;
            return Err(error);
        }
        let mut outcome = Ok(());
        // What was said before the clock was set was not said a day ago, nor in a day.
        let now = now.as_microsecond().saturating_add(self.shift).min(here);
        for line in lines {
            let line = clean_text(line.strip_suffix(b"\r").unwrap_or(line));
            let mut rest = &*line;
            loop {
                let (part, more) = rest.split_at(rest.floor_char_boundary(self.config.line_bytes));
                self.line(now, identity, part);
                rest = more;
                if self.batch.len() >= self.config.batch_bytes {
                    outcome = outcome.and(self.flush());
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        outcome
    }

    /// The clock was set: from here on places and stamps differ by another amount, which a segment says in its first line.
    fn turn(&mut self, shift: i64) -> Result<()> {
        self.flush()?;
        if self.size > 0 {
            self.rotate()?;
        }
        self.shift = if shift.abs() > TOLERANCE { shift } else { 0 };
        Ok(())
    }

    fn line(&mut self, place: i64, identity: &LogIdentity, text: &str) {
        self.last_place = place.max(self.last_place + 1);
        self.batch.extend_from_slice(self.stamp.set(self.last_place - self.shift));
        self.batch.push(b' ');
        self.batch.extend_from_slice(identity.source().as_bytes());
        self.batch.push(b'[');
        self.batch.extend_from_slice(identity.name().as_bytes());
        self.batch.extend_from_slice(b"]: ");
        self.batch.extend_from_slice(text.as_bytes());
        self.batch.push(b'\n');
        self.batched += 1;
    }

    /// Lines that could not be written since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Writes the batch with one `write(2)`. If that fails (a full disk), the batch is dropped, the file is cut back to whole lines, and
    /// the next call tries again.
    pub fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.write_batch();
        if written.is_err() {
            self.lost += self.batched;
        }
        self.batch.clear();
        self.batched = 0;
        written
    }

    fn write_batch(&mut self) -> Result<()> {
        let bytes = self.batch.len() as u64;
        if self.size > 0 && self.size + bytes > self.config.segment_bytes {
            self.rotate()?;
        }
        if self.size == 0 && self.shift != 0 {
            self.batch.splice(0..0, clock::mark(self.shift).into_bytes());
        }
        let bytes = self.batch.len() as u64;
        if let Err(error) = self.file.write_all(&self.batch) {
            // A torn last line is skipped by readers anyway; cutting it only keeps the file tidy.
            if self.file.set_len(self.size).is_err() {
                self.size += bytes;
            }
            return Err(LogError::new("write", &self.path, error));
        }
        self.size += bytes;
        Ok(())
    }

    /// Makes room for a new segment. A try that found no room for the new file is gone on with: what was moved is not moved again.
    fn rotate(&mut self) -> Result<()> {
        if self.path.exists() {
            let fail = |error| LogError::new("rotate", &self.path, error);
            let most = u64::from(self.config.segments - 1) * self.config.segment_bytes;
            let closed = (1..).map_while(|number| Some((number, std::fs::metadata(old(&self.path, number)).ok()?.len())));
            let mut bytes = self.size;
            let mut kept = 0;
            for (number, size) in closed {
                bytes += size;
                if bytes <= most && number < self.config.segments + EXTRA {
                    kept = number;
                } else {
                    std::fs::remove_file(old(&self.path, number)).map_err(fail)?;
                }
            }
            for number in (1..=kept).rev() {
                std::fs::rename(old(&self.path, number), old(&self.path, number + 1)).map_err(fail)?;
            }
            std::fs::rename(&self.path, old(&self.path, 1)).map_err(fail)?;
        }
        self.file = segment(&self.path).map_err(|error| LogError::new("open", &self.path, error))?;
        self.size = 0;
        Ok(())
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        // Nobody is left to tell; whoever must know calls flush first.
        let _ = self.flush();
    }
}

fn old(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The shim is root in a directory that the server owns: a link laid there leads it nowhere (trust rule S8).
fn segment(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() > 1 {
        return Err(std::io::Error::other("it is a link, or no file"));
    }
    if let Some(dir) = path.parent() {
        give_to_owner_of(dir, &file)?;
    }
    Ok(file)
}

/// Size, shift and last place (0 = none) of a file to go on with; a torn last line is ended, so that ours starts a new one.
fn resume(file: &mut File) -> std::io::Result<(u64, i64, i64)> {
    let end = end(file)?;
    let (shift, last) = place(file)?;
    if end.torn {
        file.write_all(b"\n")?;
        return Ok((end.size + 1, shift, last));
    }
    Ok((end.size, shift, last))
}

/// Shift and last place (0 = none) of a file some earlier writer left.
fn place(file: &File) -> std::io::Result<(i64, i64)> {
    let shift = shift(file)?;
    Ok((shift, end(file)?.last.map_or(0, |last| last.saturating_add(shift))))
}

#[cfg(test)]
mod tests;
