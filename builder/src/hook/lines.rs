//! Lines on their way to a pusher who may not be reading (trust rule G6): a bounded queue that loses lines, never time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::push::LineSink;

/// Lines that may wait. With [`MAX_LINE`] this bounds the memory of one push to 4 MiB.
const MAX_WAITING: usize = 1024;
const MAX_LINE: usize = 4096;

/// The writers' end.
#[derive(Debug)]
pub(super) struct LineQueue {
    sender: mpsc::Sender<String>,
    lost: AtomicU64,
}

pub(super) fn line_queue() -> (LineQueue, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (LineQueue { sender, lost: AtomicU64::new(0) }, receiver)
}

impl LineSink for LineQueue {
    fn line(&self, text: &str) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let note = format!("       ({lost} lines left out: they came faster than they were read. All of them: landfall builds:output)");
            if self.sender.try_send(note).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.lost.fetch_sub(lost, Ordering::Relaxed);
        }
        let end = text.floor_char_boundary(MAX_LINE);
        if self.sender.try_send(text[..end].to_owned()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_says_how_many() {
        let (queue, mut reader) = line_queue();
        for number in 0..MAX_WAITING + 5 {
            queue.line(&number.to_string());
        }
        for _ in 0..3 {
            reader.try_recv().unwrap();
        }
        queue.line("after");
        let rest: Vec<String> = std::iter::from_fn(|| reader.try_recv().ok()).collect();
        assert_eq!(rest.len(), MAX_WAITING - 3 + 2);
        assert!(rest[rest.len() - 2].contains("(5 lines left out"), "{}", rest[rest.len() - 2]);
        assert_eq!(rest[rest.len() - 1], "after");
    }
}
