//! One line for each request, in the app's own log. Requests never wait for it: lines go through a bounded queue to one thread
//! that writes them in batches. What does not fit is dropped, counted, and owned up to with an L12 line.

mod line;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::SystemTime;

use crossbeam_queue::{ArrayQueue, SegQueue};

pub(crate) use line::Line;

/// Buffers kept for reuse, and the largest that are.
const SPARE: usize = 1024;
const LARGEST_SPARE: usize = 1024;
/// Bytes of text that count as one line: most have less.
const LINE_TEXT: usize = 512;
/// Memory that each line of a queue may take.
pub(crate) const LINE: usize = LINE_TEXT + size_of::<Entry>() + 16;

/// Where one app's lines go.
#[derive(Debug)]
pub(crate) struct AppLog {
    dir: Box<Path>,
    /// Lines that are not written yet.
    queued: AtomicUsize,
    /// Not yet owned up to.
    dropped: AtomicU64,
}

impl AppLog {
    /// The log for `dir`: the same as before unless the directory changed.
    pub(crate) fn keep_or_open(old: Option<&Arc<Self>>, dir: Option<&Path>) -> Option<Arc<Self>> {
        let dir = dir?;
        if let Some(old) = old.filter(|old| *old.dir == *dir) {
            return Some(Arc::clone(old));
        }
        Some(Arc::new(Self { dir: dir.into(), queued: AtomicUsize::new(0), dropped: AtomicU64::new(0) }))
    }
}

#[derive(Debug)]
struct Entry {
    log: Arc<AppLog>,
    at: SystemTime,
    text: Vec<u8>,
}

impl Entry {
    /// As how many lines it counts.
    fn weight(&self) -> usize {
        self.text.capacity().div_ceil(LINE_TEXT).max(1)
    }
}

/// Grows with what waits in it, up to `max`.
#[derive(Debug)]
struct Queue {
    entries: SegQueue<Entry>,
    /// Lines that are not written yet.
    waiting: AtomicUsize,
    max: usize,
    /// Logs that lost lines since they last owned up to it.
    owing: SegQueue<Arc<AppLog>>,
    spare: ArrayQueue<Vec<u8>>,
    asleep: AtomicBool,
    stop: AtomicBool,
    dropped: AtomicU64,
}

impl Queue {
    /// Keeps a buffer for another line.
    fn spare(&self, mut text: Vec<u8>) {
        text.clear();
        if text.capacity() <= LARGEST_SPARE {
            let _ = self.spare.push(text);
        }
    }
}

/// The queue and the thread behind it.
#[derive(Debug)]
pub(crate) struct AccessLog {
    queue: Arc<Queue>,
    per_app: usize,
    writer: Thread,
    join: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    pub(crate) fn start(queue: usize, per_app: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            entries: SegQueue::new(),
            waiting: AtomicUsize::new(0),
            max: queue.max(1),
            owing: SegQueue::new(),
            spare: ArrayQueue::new(SPARE),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&queue);
        let join = std::thread::Builder::new().name("router-log".to_owned()).spawn(move || writer::run(&theirs))?;
        Ok(Self { queue, per_app, writer: join.thread().clone(), join: std::sync::Mutex::new(Some(join)) })
    }

    /// Takes one line. Never waits.
    pub(crate) fn push(&self, log: &Arc<AppLog>, line: &Line<'_>) {
        let mut text = self.queue.spare.pop().unwrap_or_else(|| Vec::with_capacity(LINE_TEXT));
        line.write(&mut text);
        let entry = Entry { log: Arc::clone(log), at: SystemTime::now(), text };
        let weight = entry.weight();
        if log.queued.fetch_add(weight, Ordering::Relaxed) + weight > self.per_app {
            log.queued.fetch_sub(weight, Ordering::Relaxed);
            return self.drop_line(entry);
        }
        if self.queue.waiting.fetch_add(weight, Ordering::Relaxed) + weight > self.queue.max {
            self.queue.waiting.fetch_sub(weight, Ordering::Relaxed);
            log.queued.fetch_sub(weight, Ordering::Relaxed);
            return self.drop_line(entry);
        }
        self.queue.entries.push(entry);
        self.wake();
    }

    fn wake(&self) {
        if self.queue.asleep.swap(false, Ordering::SeqCst) {
            self.writer.unpark();
        }
    }

    fn drop_line(&self, entry: Entry) {
        self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        self.queue.spare(entry.text);
        if entry.log.dropped.fetch_add(1, Ordering::SeqCst) == 0 {
            self.queue.owing.push(entry.log);
            self.wake();
        }
    }

    /// Bytes set aside for the lines that are not written yet.
    pub(crate) fn memory(&self) -> usize {
        self.queue.waiting.load(Ordering::Relaxed) * LINE
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued, and ends. Blocks for as long as that takes: call it when no request is left.
    pub(crate) fn finish(&self) {
        self.queue.stop.store(true, Ordering::SeqCst);
        self.writer.unpark();
        let join = self.join.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(join) = join
            && join.join().is_err()
        {
            tracing::error!("the thread that writes request lines panicked");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.finish();
    }
}
