//! The thread that writes request lines.

use std::collections::HashMap;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use landfall_logs::{LogIdentity, SegmentWriter};

use super::{AppLog, Entry, Queue};

/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(5);
/// Lines taken from the queue for one round of writes.
const BATCH: usize = 8192;
/// Files kept open; when there are more apps, all are closed and opened again as needed.
const MAX_OPEN: usize = 256;

pub(super) fn run(queue: &Arc<Queue>) {
    let mut files = Files::default();
    loop {
        if !drain(queue, &mut files) {
            if queue.stop.load(Ordering::SeqCst) {
                return;
            }
            queue.asleep.store(true, Ordering::SeqCst);
            if queue.entries.is_empty() && !queue.stop.load(Ordering::SeqCst) {
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
    let mut batches: HashMap<PathBuf, (Arc<AppLog>, Vec<Entry>)> = HashMap::new();
    for _ in 0..BATCH {
        let Some(entry) = queue.entries.pop() else { break };
        entry.log.queued.fetch_sub(1, Ordering::Relaxed);
        if let Some((_, entries)) = batches.get_mut(&entry.log.dir) {
            entries.push(entry);
        } else {
            batches.insert(entry.log.dir.clone(), (Arc::clone(&entry.log), vec![entry]));
        }
    }
    let any = !batches.is_empty();
    for (dir, (log, entries)) in batches {
        let dropped = log.dropped.swap(0, Ordering::Relaxed);
        files.append(&dir, &entries, dropped);
        for mut entry in entries {
            entry.text.clear();
            if entry.text.capacity() <= 4096 {
                let _ = queue.spare.push(entry.text);
            }
        }
    }
    any
}

/// Open segment writers.
#[derive(Default)]
struct Files {
    open: HashMap<PathBuf, SegmentWriter>,
    /// When a directory last could not be written, so that a full disk is reported once a minute and not for each batch.
    complained: Option<Instant>,
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
        if self.open.len() >= MAX_OPEN && !self.open.contains_key(dir) {
            self.open.clear();
        }
        let writer = match self.open.entry(dir.to_owned()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let identity = LogIdentity::new("heroku", "router").expect("two plain words");
                entry.insert(SegmentWriter::open(dir, "router", identity)?)
            }
        };
        for entry in entries {
            let at = Timestamp::try_from(entry.at).unwrap_or_else(|_| Timestamp::now());
            writer.append(at, &entry.text)?;
        }
        if dropped > 0 {
            let line = format!("Error L12 (Local buffer overflow): {dropped} messages dropped");
            writer.append(Timestamp::now(), line.as_bytes())?;
        }
        writer.flush()
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
