//! Reading all files of a log as one.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::{Line, Result};

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
    pub fn matches(&self, _line: &Line) -> bool {
        todo!()
    }
}

/// A place in the log to resume from: everything up to it was seen. Its text form is an opaque word for an event id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {}

impl std::fmt::Display for Cursor {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

impl FromStr for Cursor {
    type Err = crate::BadIdentity;
    fn from_str(_text: &str) -> std::result::Result<Self, Self::Err> {
        todo!()
    }
}

/// A log directory, to be read. The directory need not exist yet.
#[derive(Clone, Debug)]
pub struct Reader {}

#[allow(unused_variables, clippy::todo)]
impl Reader {
    /// Looks at a directory.
    pub fn new(dir: &Path) -> Self {
        todo!()
    }
    /// The last `count` lines that pass, oldest first, and the place after them.
    pub fn last(&self, count: usize, filter: &Filter) -> Result<(Vec<Line>, Cursor)> {
        todo!()
    }
    /// Goes on from a place: no line lost, none doubled.
    pub fn follow(&self, from: Cursor, filter: Filter) -> Result<Follow> {
        todo!()
    }
}

/// New lines as they are written. Its fd becomes readable when there may be new ones (an inotify fd: wrap it in tokio's `AsyncFd`).
#[derive(Debug)]
pub struct Follow {}

#[allow(unused_variables, clippy::todo)]
impl Follow {
    /// Every new line there is now, in order, up to about 1,000; never blocks. Call it until it returns none, then wait for the fd.
    pub fn poll(&mut self) -> Result<Vec<Line>> {
        todo!()
    }
    /// Blocks until there are new lines or the time is over (then: none).
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Line>> {
        todo!()
    }
    /// The place after the last line returned.
    pub fn cursor(&self) -> &Cursor {
        todo!()
    }
}

impl AsFd for Follow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
