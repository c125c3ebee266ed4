//! Where a deploy's lines go once the build has ended: to whoever waits, and to the end of the build's log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use landfall_builder::push::Lines;

/// Most bytes of a release phase and a rollout that are kept in a build's log. Whoever waits sees all of it.
const KEPT: usize = 4 * 1024 * 1024;

/// Both at once.
pub(super) struct JobLines {
    waiting: Lines,
    log: Mutex<Option<Log>>,
}

struct Log {
    file: File,
    left: usize,
}

impl JobLines {
    /// Opens the build's log for appending; a log that cannot be written is no reason to stop.
    pub(super) fn new(waiting: Lines, log: &Path) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(log).ok();
        Self { waiting, log: Mutex::new(log.map(|file| Log { file, left: KEPT })) }
    }

    /// One line as it is.
    pub(super) fn line(&self, text: &str) {
        self.waiting.line(text);
        self.log_only(text);
    }

    /// The words of a refusal: git shows them to the pusher, so here they go to the log only.
    pub(super) fn refused(&self, words: &[String]) -> landfall_builder::push::PushRefused {
        let refused = landfall_builder::push::PushRefused::new(words.join("\n"));
        for line in refused.message.lines() {
            self.log_only(&format!(" !     {line}"));
        }
        refused
    }

    fn log_only(&self, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(Log { file, left }) = log.as_mut() else { return };
        let rest = left.checked_sub(text.len() + 1);
        let text = if rest.is_some() { text } else { " !     The build log is full; more output is not kept." };
        *left = rest.unwrap_or_default();
        if writeln!(file, "{text}").is_err() || rest.is_none() {
            *log = None;
        }
    }

    /// `-----> step`.
    pub(super) fn step(&self, text: &str) {
        self.line(&format!("-----> {text}"));
    }

    /// Seven spaces of detail.
    pub(super) fn detail(&self, text: &str) {
        self.line(&format!("       {text}"));
    }

    /// ` !     problem`.
    pub(super) fn problem(&self, text: &str) {
        self.line(&format!(" !     {text}"));
    }
}
