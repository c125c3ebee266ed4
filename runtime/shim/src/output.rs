//! Output lines of a container in log mode. Whatever happens to the log, the app never waits and never notices (rule S15).
//!
//! Here, in the event loop, bytes become lines, and nothing waits for a disk: the log's files are [`writer`]'s, a thread behind a [`queue`].
//! What comes faster than the log may grow, or finds no room in the queue, is dropped in whole lines, counted and told as L12; what the disk
//! refuses, as L13.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use landfall_runtime_wire::ContainerId;
use landfall_runtime_wire::LogTarget;

use crate::rate::Rate;

mod queue;
mod writer;

use queue::{Piece, Queue, Why};

/// A line longer than this is cut here, so that an endless one needs no endless memory.
const LONGEST: usize = 10_000;

/// Bytes that may wait for a slow disk where no rate is given. Otherwise it is what the rate lets pass at once: as long as the disk takes that
/// much a second on average, nothing is lost that the rate let pass.
const ROOM: usize = 1024 * 1024;

/// The output of one container, split into lines.
pub(crate) struct Output {
    /// To the log, if there is one.
    queue: Option<Arc<Queue>>,
    partial: Vec<u8>,
    rate: Option<Rate>,
    ending: bool,
}

impl Output {
    /// Starts the log's thread: not before the container is made, as making it forks, and a process of two threads must not.
    pub(crate) fn start(target: Option<&LogTarget>, id: &ContainerId, bytes_per_second: Option<u64>) -> Result<Self, String> {
        let room = bytes_per_second.map_or(ROOM, |rate| usize::try_from(rate).unwrap_or(usize::MAX / 2).max(ROOM));
        let queue = target.map(|target| writer::start(target, id, room)).transpose()?;
        let rate = bytes_per_second.map(|rate| Rate::new(rate, Instant::now()));
        Ok(Self { queue, partial: Vec::new(), rate, ending: false })
    }

    /// Takes bytes; whole lines go to the log.
    pub(crate) fn take(&mut self, bytes: Vec<u8>) {
        let mut text = std::mem::take(&mut self.partial);
        if text.is_empty() {
            text = bytes;
        } else {
            text.extend_from_slice(&bytes);
        }
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = if text.len() - whole >= LONGEST { text.len() } else { whole };
        if whole == 0 {
            self.partial = text;
            // It may be all an app says today, in the buffer of a whole read.
            self.partial.shrink_to_fit();
        } else {
            self.partial = text[whole..].to_vec();
            text.truncate(whole);
            self.hand_over(text);
        }
    }

    /// From here on everything finds room: what an ended app left in its pipe is bounded by the pipe.
    pub(crate) fn ending(&mut self) {
        self.ending = true;
    }

    /// The output ended: what has no newline is a line too, and what was lost is told now.
    pub(crate) fn finish(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.hand_over(rest);
        }
        if let Some(queue) = &self.queue {
            queue.tell();
        }
    }

    /// Lines of the platform: they are not the app's, and no flood of it keeps them out.
    pub(crate) fn note(&self, lines: &[String]) {
        if let Some(queue) = &self.queue {
            for line in lines {
                queue.note(line);
            }
        }
    }

    /// How much was handed over until now; see [`Self::written`].
    pub(crate) fn mark(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.mark())
    }

    /// Whether all that was handed over until `mark` is in the log, or told as lost. If not, a SIGUSR1 tells when to ask again.
    pub(crate) fn written(&self, mark: u64) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.written(mark))
    }

    fn hand_over(&mut self, text: Vec<u8>) {
        let Some(queue) = &self.queue else { return };
        let count = lines(&text);
        if self.rate.as_mut().is_some_and(|rate| !rate.allows(text.len(), Instant::now())) {
            return queue.lost(Why::Flooded, count);
        }
        if !queue.push(Piece::App(Timestamp::now(), text.into_boxed_slice()), self.ending) {
            queue.lost(Why::Crowded, count);
        }
    }
}

/// How many lines a text becomes; one without newline at its end is one too.
fn lines(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    (ends + usize::from(text.last() != Some(&b'\n'))) as u64
}
