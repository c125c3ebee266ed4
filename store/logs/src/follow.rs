//! New lines as they are written, over all files, across rotation.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;

use crate::segment::{Segment, open_all};
use crate::{Cursor, Filter, Line, LogError, Result, clock};

/// Most bytes taken from one file in one round: bounds memory, and lets other files have their turn.
const ROUND_BYTES: usize = 256 * 1024;

/// Between two looks where nothing can be watched.
const BLIND: Duration = Duration::from_millis(250);

/// New lines as they are written. The directory may come later, and is never made here: it may be a destroyed app's.
/// [`Follow::news`] becomes readable when there may be new ones (an inotify fd: wrap it in tokio's `AsyncFd`). Where the kernel gives no such
/// descriptor (a user may have so many, 128 by default) there is none, and whoever waits looks again after a while.
/// A reader that is slower than two whole segments of a writer misses lines: a writer never waits.
#[derive(Debug)]
pub struct Follow {
    dir: PathBuf,
    filter: Filter,
    cursor: Cursor,
    inotify: Option<OwnedFd>,
    /// The directory itself is watched, not what it will appear in.
    watched: bool,
    files: Vec<Tracked>,
    looked: bool,
}

#[derive(Debug)]
struct Tracked {
    segment: Segment,
    offset: u64,
    /// How far its places lie after its stamps.
    shift: i64,
    /// Start of a line whose end is not written yet.
    torn: Vec<u8>,
    /// Read, not yet given out.
    lines: VecDeque<Line>,
    /// Whether the last round took all there was.
    drained: bool,
    listed: bool,
}

impl Follow {
    pub(crate) fn start(dir: PathBuf, cursor: Cursor, filter: Filter) -> Self {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        let mut this = Self { dir, filter, cursor, inotify, watched: false, files: Vec::new(), looked: false };
        if !this.watch()
            && let (Some(inotify), Some(parent)) = (&this.inotify, this.dir.parent())
        {
            // Without it too one looks again; it only takes longer.
            let _ = inotify::add_watch(inotify, parent, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO);
        }
        this
    }

    /// Watches the directory, once it is there.
    fn watch(&mut self) -> bool {
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE;
        if !self.watched
            && let Some(inotify) = &self.inotify
        {
            self.watched = inotify::add_watch(inotify, &self.dir, events).is_ok();
            self.looked &= !self.watched;
        }
        self.watched
    }

    /// New lines there are now, oldest first; never blocks. Call it until it returns none, then wait for the fd.
    pub fn poll(&mut self) -> Result<Vec<Line>> {
        loop {
            // Events first, files after: what is written in between wakes us once too often, never once too rarely.
            if self.drain_events()? || !self.watch() || !self.looked {
                self.look()?;
            }
            let mut progress = false;
            for tracked in &mut self.files {
                progress |= tracked.read().map_err(|error| LogError::new("read", &self.dir, error))?;
            }
            let lines = self.merge();
            self.files.retain(|tracked| tracked.listed || !tracked.drained || !tracked.lines.is_empty());
            if !lines.is_empty() || !progress {
                return Ok(lines);
            }
        }
    }

    /// Blocks until there are new lines or the time is over (then: none).
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Line>> {
        let deadline = Instant::now() + timeout;
        loop {
            let lines = self.poll()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !lines.is_empty() || left.is_zero() {
                return Ok(lines);
            }
            // Unwatched files are looked at again and again.
            let left = if self.watched { left } else { left.min(BLIND) };
            let time = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
            let Some(inotify) = &self.inotify else {
                std::thread::sleep(left);
                continue;
            };
            match rustix::event::poll(&mut [PollFd::new(inotify, PollFlags::IN)], Some(&time)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(LogError::new("watch", &self.dir, error.into())),
            }
        }
    }

    /// The place after the last line returned.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Readable when there may be new lines. `None`: the kernel had no such descriptor left.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Empties the event queue; whether there was anything in it.
    fn drain_events(&mut self) -> Result<bool> {
        let Some(inotify) = &self.inotify else { return Ok(false) };
        let mut buffer = [0u8; 16 * 1024];
        let mut any = false;
        loop {
            match rustix::io::read(inotify, &mut buffer[..]) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(any),
                Ok(_) => any = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(LogError::new("watch", &self.dir, error.into())),
            }
        }
    }

    /// Finds new files, and notes which are gone. A file we hold keeps its inode, so the inode is its name.
    fn look(&mut self) -> Result<()> {
        let fail = |error| LogError::new("read", &self.dir, error);
        let found = open_all(&self.dir).map_err(fail)?;
        let inodes: HashSet<u64> = found.iter().map(|segment| segment.inode).collect();
        for tracked in &mut self.files {
            tracked.listed = inodes.contains(&tracked.segment.inode);
        }
        for segment in found {
            if self.files.iter().any(|tracked| tracked.segment.inode == segment.inode) {
                continue;
            }
            let offset = segment.offset_after(self.cursor.seen(&segment.stem)).map_err(fail)?;
            let shift = segment.shift().map_err(fail)?;
            self.files.push(Tracked { segment, offset, shift, torn: Vec::new(), lines: VecDeque::new(), drained: false, listed: true });
        }
        self.looked = true;
        Ok(())
    }

    /// Takes lines in order. What is later than the end of a file that has more to read waits for that file's next round.
    fn merge(&mut self) -> Vec<Line> {
        let limit = self.files.iter().filter(|file| !file.drained).filter_map(|file| file.lines.back()).map(|line| line.place).min();
        let mut taken: Vec<Line> = Vec::new();
        for file in &mut self.files {
            let mut newest = None;
            while file.lines.front().is_some_and(|line| limit.is_none_or(|limit| line.place <= limit)) {
                let Some(line) = file.lines.pop_front() else { break };
                newest = Some(line.place);
                if self.filter.matches(&line) {
                    taken.push(line);
                }
            }
            if let Some(place) = newest {
                self.cursor.see(&file.segment.stem, place);
            }
        }
        taken.sort_by_key(|line| line.place);
        taken
    }
}

impl Tracked {
    /// One round of reading. Whether there was anything.
    fn read(&mut self) -> std::io::Result<bool> {
        if self.lines.len() * 64 > ROUND_BYTES {
            // Enough waits here already for other files to catch up.
            return Ok(false);
        }
        let mut chunk = vec![0; ROUND_BYTES];
        let length = self.segment.file.read_at(&mut chunk, self.offset)?;
        self.offset += length as u64;
        self.drained = length < ROUND_BYTES;
        let mut rest = &chunk[..length];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.torn.is_empty() {
                take(&rest[..end], &mut self.shift, &mut self.lines);
            } else {
                self.torn.extend_from_slice(&rest[..end]);
                take(&self.torn, &mut self.shift, &mut self.lines);
                self.torn.clear();
            }
            rest = &rest[end + 1..];
        }
        self.torn.extend_from_slice(rest);
        Ok(length > 0)
    }
}

/// One whole line of a file.
fn take(line: &[u8], shift: &mut i64, lines: &mut VecDeque<Line>) {
    match clock::shift_of(line) {
        // The file was empty when it was found.
        Some(said) => *shift = said,
        None => lines.extend(Line::parse(line, *shift)),
    }
}
