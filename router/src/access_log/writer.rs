//! The thread that writes request lines.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use landfall_logs::{LogIdentity, SegmentWriter};

use super::{AppLog, Entry, Queue};

/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(5);
/// Lines taken from the queue for one round of writes; a long one counts as several.
const BATCH: usize = 8192;
/// Files kept open; when there are more apps, those used longest ago are closed and opened again as needed.
const MAX_OPEN: usize = 256;

pub(super) fn run(queue: &Arc<Queue>) {
    let mut files = Files::default();
    loop {
        if !drain(queue, &mut files) {
            if queue.stop.load(Ordering::SeqCst) {
                return;
            }
            queue.asleep.store(true, Ordering::SeqCst);
            if queue.entries.is_empty() && queue.owing.is_empty() && !queue.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            queue.asleep.store(false, Ordering::SeqCst);
            if !queue.stop.load(Ordering::SeqCst) {
                std::thread::sleep(GATHER);
            }
        }
    }
}

/// Writes one batch. False if there was nothing to write.
fn drain(queue: &Queue, files: &mut Files) -> bool {
    let mut batches: HashMap<*const AppLog, (Arc<AppLog>, Vec<Entry>)> = HashMap::new();
    let mut taken = 0;
    while taken < BATCH {
        let Some(entry) = queue.entries.pop() else { break };
        taken += entry.weight();
        batches.entry(Arc::as_ptr(&entry.log)).or_insert_with(|| (Arc::clone(&entry.log), Vec::new())).1.push(entry);
    }
    while let Some(log) = queue.owing.pop() {
        batches.entry(Arc::as_ptr(&log)).or_insert_with(|| (log, Vec::new()));
    }
    let any = !batches.is_empty();
    for (log, entries) in batches.into_values() {
        let dropped = log.dropped.swap(0, Ordering::SeqCst);
        files.append(&log.dir, &entries, dropped);
        // Only now: until it is written, a line takes memory.
        let weight = entries.iter().map(Entry::weight).sum();
        log.queued.fetch_sub(weight, Ordering::Relaxed);
        queue.waiting.fetch_sub(weight, Ordering::Relaxed);
        for entry in entries {
            queue.spare(entry.text);
        }
    }
    any
}

/// Open segment writers.
#[derive(Default)]
struct Files {
    open: HashMap<Box<Path>, Open>,
    batches: u64,
    /// When a directory last could not be written, so that a full disk is reported once a minute and not for each batch.
    complained: Option<Instant>,
}

struct Open {
    writer: SegmentWriter,
    used: u64,
}

impl Files {
    fn append(&mut self, dir: &Path, entries: &[Entry], dropped: u64) {
        if let Err(error) = self.try_append(dir, entries, dropped) {
            self.open.remove(dir);
            if self.complained.is_none_or(|last| last.elapsed() > Duration::from_mins(1)) {
                self.complained = Some(Instant::now());
                tracing::warn!(dir = %dir.display(), error = %Chain(&error), "cannot write request lines; requests go on without them");
            }
        }
    }

    fn try_append(&mut self, dir: &Path, entries: &[Entry], dropped: u64) -> landfall_logs::Result<()> {
        self.batches += 1;
        let used = self.batches;
        if !self.open.contains_key(dir) {
            self.make_room();
            let identity = LogIdentity::new("heroku", "router").expect("two plain words");
            let writer = SegmentWriter::open(dir, "router", identity)?;
            self.open.insert(dir.into(), Open { writer, used });
        }
        let Some(open) = self.open.get_mut(dir) else { return Ok(()) };
        open.used = used;
        for entry in entries {
            let at = Timestamp::try_from(entry.at).unwrap_or_else(|_| Timestamp::now());
            open.writer.append(at, &entry.text)?;
        }
        if dropped > 0 {
            let line = format!("Error L12 (Local buffer overflow): {dropped} messages dropped");
            open.writer.append(Timestamp::now(), line.as_bytes())?;
        }
        open.writer.flush()
    }

    /// Closes the half that was not used for longest.
    fn make_room(&mut self) {
        if self.open.len() >= MAX_OPEN {
            let mut uses: Vec<u64> = self.open.values().map(|open| open.used).collect();
            let (_, &mut median, _) = uses.select_nth_unstable(MAX_OPEN / 2);
            self.open.retain(|_, open| open.used > median);
        }
    }
}

/// An error and all its causes on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
