//! The log's files, in a thread of their own: a disk that hangs makes whoever writes to it wait in the kernel, and nobody else (rule S15).
//!
//! The thread ends with the process; nobody joins it, as nobody can wait for whom no signal reaches. While its disk hangs, neither can the
//! kernel end it: a shim that ended meanwhile is a zombie until the disk answers. Clients and init do not notice, as the thread has
//! descriptors of its own.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use landfall_logs::{LogConfig, LogIdentity, SegmentWriter};
use landfall_runtime_wire::{ContainerId, LogTarget};

use super::LONGEST;
use super::queue::{Lost, PAUSE, Piece, Queue, Round, Why};
use crate::sys;

/// The platform says little.
const PLATFORM: LogConfig = LogConfig { segment_bytes: 256 * 1024, segments: 2, line_bytes: LONGEST, batch_bytes: 1024 };
/// The thread's stack, in bytes; what it does not touch takes no memory.
const STACK: usize = 128 * 1024;
/// A second after a round of more pieces than this, the heap gives back what it took.
const MUCH: usize = 2;

/// Where the log is.
struct Target {
    dir: std::path::PathBuf,
    stem: String,
    identity: LogIdentity,
    /// The platform's lines are in a file of their own: a flood turns the app's over in a moment.
    platform_stem: String,
    platform: LogIdentity,
}

/// Starts the thread. What goes into the queue, of `room` bytes, comes to be in the log.
pub(super) fn start(target: &LogTarget, id: &ContainerId, room: usize) -> Result<Arc<Queue>, String> {
    let identity = |source: &str, name: &str| LogIdentity::new(source, name).map_err(|error| error.to_string());
    let target = Target {
        dir: target.dir.clone(),
        stem: format!("{}.{id}", target.name),
        identity: identity(&target.source, &target.name)?,
        platform_stem: format!("{}-platform.{id}", target.name),
        platform: identity("heroku", &target.name)?,
    };
    let queue = Arc::new(Queue::new(room));
    let ours = queue.clone();
    sys::one_heap();
    // All signals are blocked, in this thread and so in that one: they are the event loop's.
    let thread = std::thread::Builder::new().name("log".into()).stack_size(STACK).spawn(move || run(target, &ours));
    thread.map(|_| queue).map_err(|error| format!("could not start the log's thread: {error}"))
}

fn run(target: Target, queue: &Queue) {
    sys::own_descriptors();
    let mut files = Files { target, app: None, platform: None, tried: Instant::now() };
    files.open();
    let mut trim_at = None;
    loop {
        let Some(mut round) = queue.next(trim_at) else {
            sys::trim_heap();
            trim_at = None;
            continue;
        };
        if round.pieces.len() > MUCH {
            trim_at.get_or_insert_with(|| Instant::now() + PAUSE);
        }
        files.write(&mut round, queue);
        if queue.done(&round) {
            sys::wake_event_loop();
        }
    }
}

struct Files {
    target: Target,
    app: Option<SegmentWriter>,
    /// Opened when the platform has something to say.
    platform: Option<SegmentWriter>,
    tried: Instant,
}

impl Files {
    /// Opens the log. Where that fails (a full disk) it is tried again as lines come.
    fn open(&mut self) {
        self.tried = Instant::now();
        self.app = SegmentWriter::open(&self.target.dir, &self.target.stem, self.target.identity.clone()).ok();
    }

    fn write(&mut self, round: &mut Round, queue: &Queue) {
        for piece in std::mem::take(&mut round.pieces) {
            let cost = piece.cost();
            match piece {
                Piece::App(read, text) => self.append(read, &text, queue),
                Piece::Platform(line) => {
                    let _uncounted = self.say(&line, queue);
                }
            }
            queue.passed(cost);
        }
        self.flush(queue);
        for (why, Lost(lost)) in [Why::Flooded, Why::Crowded, Why::Failed].into_iter().zip(queue.losses(round)) {
            let Some((lines, since)) = lost else { continue };
            if !self.say(&notice(why, lines, since), queue) {
                queue.count(why, lines, since);
            }
        }
    }

    fn append(&mut self, read: Timestamp, text: &[u8], queue: &Queue) {
        if self.app.is_none() && self.tried.elapsed() >= PAUSE {
            self.open();
        }
        match &mut self.app {
            Some(writer) => {
                let _counted = writer.append(read, text);
            }
            None => queue.lost(Why::Failed, super::lines(text)),
        }
    }

    fn flush(&mut self, queue: &Queue) {
        if let Some(writer) = &mut self.app {
            let _counted = writer.flush();
            queue.lost(Why::Failed, writer.take_lost());
        }
    }

    /// A line of the platform, behind what the app said before. `false` = it could not be written; losses are told again then.
    fn say(&mut self, line: &str, queue: &Queue) -> bool {
        self.flush(queue);
        let target = &self.target;
        if self.platform.is_none() {
            self.platform = SegmentWriter::open_with(&target.dir, &target.platform_stem, target.platform.clone(), PLATFORM).ok();
        }
        let Some(writer) = &mut self.platform else { return false };
        writer.append(Timestamp::now(), line.as_bytes()).and_then(|()| writer.flush()).is_ok()
    }
}

/// Tells of losses, as Heroku words it.
fn notice(why: Why, lines: u64, since: Timestamp) -> String {
    let (code, reason) = match why {
        Why::Flooded => ("L12 (Local buffer overflow)", "the app writes more than its log takes."),
        Why::Crowded => ("L12 (Local buffer overflow)", "the log was not written in time; does the disk hang?"),
        Why::Failed => ("L13 (Local delivery error)", "the log could not be written; is the disk full?"),
    };
    format!("Error {code}: {lines} messages dropped since {since:.0}, {reason}")
}
