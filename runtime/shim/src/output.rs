//! Output lines of a container in log mode. Whatever happens to the log, the app never waits and never notices (rule S15).
//!
//! What comes faster than the log takes it is dropped in whole lines, counted and told as L12; what the disk refuses, as L13.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use landfall_logs::{LogConfig, LogIdentity, SegmentWriter};
use landfall_runtime_wire::ContainerId;
use landfall_runtime_wire::LogTarget;

use crate::rate::Rate;

/// A line longer than this is cut here, so that an endless one needs no endless memory.
const LONGEST: usize = 10_000;
/// The platform says little.
const PLATFORM: LogConfig = LogConfig { segment_bytes: 256 * 1024, segments: 2, line_bytes: LONGEST, batch_bytes: 1024 };
/// Between two lines that tell of losses, and between two tries to open a log that cannot be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// The output of one container, split into lines.
pub(crate) struct Output {
    target: Option<Target>,
    writer: Option<SegmentWriter>,
    /// Opened when the platform has something to say.
    platform: Option<SegmentWriter>,
    partial: Vec<u8>,
    rate: Option<Rate>,
    flooded: Lost,
    failed: Lost,
    opened_at: Instant,
}

/// Where the log is.
struct Target {
    dir: std::path::PathBuf,
    stem: String,
    identity: LogIdentity,
    /// The platform's lines are in a file of their own: a flood turns the app's over in a moment.
    platform_stem: String,
    platform: LogIdentity,
}

/// Lines that went nowhere.
#[derive(Default)]
struct Lost {
    lines: u64,
    since: Option<Timestamp>,
    due: Option<Instant>,
}

impl Lost {
    fn add(&mut self, lines: u64) {
        if lines > 0 {
            self.lines += lines;
            self.since.get_or_insert_with(Timestamp::now);
            self.due.get_or_insert_with(|| Instant::now() + PAUSE);
        }
    }

    /// The notice that tells of them, as Heroku words it.
    fn notice(&mut self, code: &str, why: &str) -> Option<String> {
        let since = self.since?;
        self.due = Some(Instant::now() + PAUSE);
        Some(format!("Error {code}: {} messages dropped since {since:.0}, {why}", self.lines))
    }
}

impl Output {
    /// Opens the log. Where that fails (a full disk) it is tried again as lines come.
    pub(crate) fn open(target: Option<&LogTarget>, id: &ContainerId, bytes_per_second: Option<u64>) -> std::result::Result<Self, String> {
        let identity = |source: &str, name: &str| LogIdentity::new(source, name).map_err(|error| error.to_string());
        let target = match target {
            Some(target) => Some(Target {
                dir: target.dir.clone(),
                stem: format!("{}.{id}", target.name),
                identity: identity(&target.source, &target.name)?,
                platform_stem: format!("{}-platform.{id}", target.name),
                platform: identity("heroku", &target.name)?,
            }),
            None => None,
        };
        let now = Instant::now();
        let mut output = Self {
            target,
            writer: None,
            platform: None,
            partial: Vec::new(),
            rate: bytes_per_second.map(|rate| Rate::new(rate, now)),
            flooded: Lost::default(),
            failed: Lost::default(),
            opened_at: now,
        };
        output.try_open();
        Ok(output)
    }

    fn try_open(&mut self) {
        self.opened_at = Instant::now();
        if let Some(target) = &self.target {
            self.writer = SegmentWriter::open(&target.dir, &target.stem, target.identity.clone()).ok();
        }
    }

    /// Takes bytes; whole lines are appended.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let whole = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = if partial.len() - whole >= LONGEST { partial.len() } else { whole };
        if whole > 0 {
            self.append(&partial[..whole]);
            partial.drain(..whole);
        }
        self.partial = partial;
    }

    /// The output ended: what has no newline is a line too.
    pub(crate) fn finish(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.append(&rest);
        }
        self.tell_losses();
        self.flush();
    }

    /// Lines of the platform: they are not the app's, and no flood of it keeps them out.
    pub(crate) fn note(&mut self, lines: &[String]) {
        for line in lines {
            self.platform_line(line);
        }
        self.flush();
    }

    /// Writes the batch.
    pub(crate) fn flush(&mut self) {
        self.flush_app();
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.tell_losses();
        }
    }

    fn flush_app(&mut self) {
        if let Some(writer) = &mut self.writer {
            let _counted = writer.flush();
            self.failed.add(writer.take_lost());
        }
    }

    /// When losses are to be told, if there are any.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.flooded.due, self.failed.due].into_iter().flatten().min()
    }

    fn append(&mut self, text: &[u8]) {
        if self.target.is_none() {
            return;
        }
        let lines = lines(text);
        let now = Instant::now();
        if self.rate.as_mut().is_some_and(|rate| !rate.allows(text.len(), now)) {
            return self.flooded.add(lines);
        }
        if self.writer.is_none() && now >= self.opened_at + PAUSE {
            self.try_open();
        }
        match &mut self.writer {
            Some(writer) => {
                let _counted = writer.append(Timestamp::now(), text);
                self.failed.add(writer.take_lost());
            }
            None => self.failed.add(lines),
        }
    }

    fn tell_losses(&mut self) {
        let flood = self.flooded.notice("L12 (Local buffer overflow)", "the app writes more than its log takes.");
        let failure = self.failed.notice("L13 (Local delivery error)", "the log could not be written; is the disk full?");
        if flood.is_some_and(|notice| self.platform_line(&notice)) {
            self.flooded = Lost::default();
        }
        if failure.is_some_and(|notice| self.platform_line(&notice)) {
            self.failed = Lost::default();
        }
    }

    /// Behind what the app said before. `false` = it could not be written; it is not counted, as losses are told again.
    fn platform_line(&mut self, text: &str) -> bool {
        self.flush_app();
        let Some(target) = &self.target else { return false };
        if self.platform.is_none() {
            self.platform = SegmentWriter::open_with(&target.dir, &target.platform_stem, target.platform.clone(), PLATFORM).ok();
        }
        let Some(writer) = &mut self.platform else { return false };
        writer.append(Timestamp::now(), text.as_bytes()).and_then(|()| writer.flush()).is_ok()
    }
}

/// How many lines a text becomes; one without newline at its end is one too.
fn lines(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    (ends + usize::from(text.last() != Some(&b'\n'))) as u64
}
