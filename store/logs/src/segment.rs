//! The files of a log directory, found and opened.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::{clock, stamp};

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
        match existing(&entry.path()) {
            Ok(file) => found.push(Segment { stem: stem.to_owned(), inode: file.metadata()?.ino(), file }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A file of a log, to read. Who reads may be root (the shim) in a directory that the server owns: a link or a pipe laid there leads it
/// nowhere and holds it up for nothing (trust rule S8).
pub(crate) fn existing(path: &Path) -> Result<File> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::LOOP.raw_os_error()) => Err(error),
        _ => Err(ErrorKind::NotFound.into()),
    }
}

/// `web.1.log` and `web.1.log.2` → `web.1`.
pub(crate) fn stem(name: &str) -> Option<&str> {
    if let Some(stem) = name.strip_suffix(".log") {
        return Some(stem);
    }
    let (rest, number) = name.rsplit_once('.')?;
    number.bytes().all(|b| b.is_ascii_digit()).then_some(rest)?.strip_suffix(".log")
}

/// A writer that is root (the shim) gives its files to whoever owns the directory, so that the server reads, rotates and removes all alike.
pub(crate) fn give_to_owner_of(dir: &Path, file: &File) -> Result<()> {
    let (owner, now) = (std::fs::metadata(dir)?, file.metadata()?);
    if (owner.uid(), owner.gid()) != (now.uid(), now.gid()) {
        // Not root, not ours to give: the file is as good as it can be.
        let _ = std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(())
}

/// How far the places of a file's lines lie after their stamps: its first line says so, if they do.
pub(crate) fn shift(file: &File) -> Result<i64> {
    const LONGEST: usize = 64;
    let mut head = [0; LONGEST];
    let length = file.read_at(&mut head, 0)?;
    let line = memchr::memchr(b'\n', &head[..length]).map(|end| &head[..end]);
    Ok(line.and_then(clock::shift_of).unwrap_or(0))
}

/// What a file ends with.
pub(crate) struct End {
    pub(crate) size: u64,
    /// The stamp of its last line.
    pub(crate) last: Option<i64>,
    /// Somebody died in the middle of a line.
    pub(crate) torn: bool,
}

/// Looks at the end of a file.
pub(crate) fn end(file: &File) -> Result<End> {
    const TAIL: u64 = 64 * 1024;
    let size = file.metadata()?.len();
    let start = size.saturating_sub(TAIL);
    let mut tail = vec![0; (size - start) as usize];
    let length = file.read_at(&mut tail, start)?;
    tail.truncate(length);
    let last = tail
        .rsplit(|byte| *byte == b'\n')
        .find(|line| stamp::is_stamped(line))
        .and_then(|line| std::str::from_utf8(&line[..stamp::LEN]).ok())
        .and_then(stamp::micros);
    Ok(End { size, last, torn: tail.last().is_some_and(|byte| *byte != b'\n') })
}

impl Segment {
    /// How far its lines' places lie after their stamps, in microseconds.
    pub(crate) fn shift(&self) -> Result<i64> {
        shift(&self.file)
    }

    /// The place of its last whole line.
    pub(crate) fn newest(&self) -> Result<Option<i64>> {
        let Some(last) = end(&self.file)?.last else { return Ok(None) };
        Ok(Some(last.saturating_add(self.shift()?)))
    }

    /// Offset of the first line whose place is after `seen`; lines are in order, so halving finds it.
    pub(crate) fn offset_after(&self, seen: i64) -> Result<u64> {
        let (mut low, mut high) = (0, self.file.metadata()?.len());
        if seen == i64::MIN {
            return Ok(0);
        }
        let seen = seen.saturating_sub(self.shift()?);
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
