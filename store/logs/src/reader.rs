//! Reading all files of a log as one.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::segment::{Segment, open_all};
use crate::{Cursor, Follow, Line, LogError, Result};

/// Whose lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFilter {
    /// The app's own.
    App,
    /// The platform's: `heroku` and `landfall` are one.
    Platform,
}

/// Which lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `None` = both.
    pub source: Option<SourceFilter>,
    /// A dyno's name (`web.1`) or a process type (`web`).
    pub dyno: Option<String>,
}

impl Filter {
    /// Whether a line passes.
    pub fn matches(&self, line: &Line) -> bool {
        let source = match self.source {
            None => true,
            Some(SourceFilter::App) => line.source() == "app",
            Some(SourceFilter::Platform) => matches!(line.source(), "heroku" | "landfall"),
        };
        let dyno = self.dyno.as_deref().is_none_or(|wanted| {
            let name = line.name();
            name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
        });
        source && dyno
    }
}

/// A log directory, to be read. The directory need not exist yet.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// Looks at a directory.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The last `count` lines that pass, oldest first, and the place after them.
    pub fn last(&self, count: usize, filter: &Filter) -> Result<(Vec<Line>, Cursor)> {
        let fail = |error| LogError::new("read", &self.dir, error);
        let mut lines = Vec::new();
        let mut cursor = Cursor::default();
        for segment in open_all(&self.dir).map_err(fail)? {
            let (found, newest) = tail(&segment, count, filter).map_err(fail)?;
            lines.extend(found);
            if let Some(newest) = newest {
                cursor.see(&segment.stem, newest);
            }
        }
        lines.sort_by_key(|line: &Line| line.place);
        lines.drain(..lines.len().saturating_sub(count));
        Ok((lines, cursor))
    }

    /// Goes on from a place: no line lost, none doubled. A default [`Cursor`] starts with the oldest line there is.
    pub fn follow(&self, from: Cursor, filter: Filter) -> Follow {
        Follow::start(self.dir.clone(), from, filter)
    }
}

/// The last `count` lines of one segment that pass, and the place of its newest whole line. Reads from the end, as little as it takes.
fn tail(segment: &Segment, count: usize, filter: &Filter) -> std::io::Result<(Vec<Line>, Option<i64>)> {
    const FIRST_LOOK: u64 = 64 * 1024;
    let size = segment.file.metadata()?.len();
    let shift = segment.shift()?;
    let mut look = FIRST_LOOK;
    loop {
        let start = size.saturating_sub(look);
        let mut bytes = vec![0; (size - start) as usize];
        segment.file.read_exact_at(&mut bytes, start)?;
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1);
        let first = if start == 0 { 0 } else { memchr::memchr(b'\n', &bytes).map_or(whole, |end| end + 1).min(whole) };
        let lines: Vec<Line> = bytes[first..whole].split(|byte| *byte == b'\n').filter_map(|line| Line::parse(line, shift)).collect();
        let newest = lines.last().map(|line| line.place);
        let mut passed: Vec<Line> = lines.into_iter().filter(|line| filter.matches(line)).collect();
        if start == 0 || (passed.len() >= count && newest.is_some()) {
            passed.drain(..passed.len().saturating_sub(count));
            return Ok((passed, newest));
        }
        look = look.saturating_mul(4);
    }
}
