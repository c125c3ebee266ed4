//! The files of a log directory, found and opened.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use crate::stamp;

/// One file, open. Its identity is the inode: rotation changes the name only.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) stem: String,
    pub(crate) inode: u64,
    pub(crate) file: File,
}

/// Opens every segment in the directory. Rotation while we look could hide a file (renamed to a name we had passed), so it looks until
/// two looks agree; a directory that never rests gives its last look. No directory = no segments.
pub(crate) fn open_all(dir: &Path) -> Result<Vec<Segment>> {
    const LOOKS: usize = 8;
    let mut found: Vec<Segment> = Vec::new();
    for _ in 0..LOOKS {
        let look = look(dir)?;
        let known = found.len();
        for segment in look {
            if !found.iter().any(|other| other.inode == segment.inode) {
                found.push(segment);
            }
        }
        if found.len() == known {
            break;
        }
    }
    Ok(found)
}

fn look(dir: &Path) -> Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(stem) else { continue };
        if !entry.file_type()?.is_file() {
            continue;
        }
        match File::open(entry.path()) {
            Ok(file) => found.push(Segment { stem: stem.to_owned(), inode: file.metadata()?.ino(), file }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// `web.1.log` and `web.1.log.2` → `web.1`.
pub(crate) fn stem(name: &str) -> Option<&str> {
    if let Some(stem) = name.strip_suffix(".log") {
        return Some(stem);
    }
    let (rest, number) = name.rsplit_once('.')?;
    number.bytes().all(|b| b.is_ascii_digit()).then_some(rest)?.strip_suffix(".log")
}

impl Segment {
    /// Offset of the first line stamped after `seen`; lines are in order, so halving finds it.
    pub(crate) fn offset_after(&self, seen: i64) -> Result<u64> {
        let (mut low, mut high) = (0, self.file.metadata()?.len());
        if seen == i64::MIN {
            return Ok(0);
        }
        // Invariant: every line that starts before `low` was seen; no line that starts at or after `high` was.
        while low < high {
            let middle = low + (high - low) / 2;
            match self.line_at_or_after(middle)? {
                Some((start, next, micros)) if start < high => {
                    if micros <= seen {
                        low = next;
                    } else {
                        high = middle;
                    }
                }
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first stamped line that starts at or after `offset`: its start, the start of what follows, its time.
    fn line_at_or_after(&self, offset: u64) -> Result<Option<(u64, u64, i64)>> {
        const CHUNK: usize = 16 * 1024;
        // Starting one byte early tells whether a line starts exactly here.
        let mut start = offset.saturating_sub(1);
        let mut skip_first = offset > 0;
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = self.file.read_at(&mut chunk, start)?;
            chunk.truncate(length);
            let Some(end) = memchr::memchr(b'\n', &chunk) else {
                if length < CHUNK {
                    return Ok(None);
                }
                start += length as u64;
                skip_first = true;
                continue;
            };
            let next = start + end as u64 + 1;
            let line = &chunk[..end];
            let micros = stamp::is_stamped(line).then(|| std::str::from_utf8(&line[..stamp::LEN]).ok().and_then(stamp::micros)).flatten();
            if let (false, Some(micros)) = (skip_first, micros) {
                return Ok(Some((start, next, micros)));
            }
            skip_first = false;
            start = next;
        }
    }
}
