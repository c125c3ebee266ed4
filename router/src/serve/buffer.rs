//! Bytes read and not yet used.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, ReadBuf};

/// Size at first, and while a connection is idle.
const SMALL: usize = 8 * 1024;
/// Size for bodies.
const LARGE: usize = 64 * 1024;

/// A window over a buffer that grows only as far as it is told to.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives memory back while nothing is expected.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.data.len() > SMALL {
            self.data = Vec::new();
        }
    }

    /// Whether another read could add something without growing beyond `max`.
    pub(crate) fn has_room(&self, max: usize) -> bool {
        self.len() < max
    }

    /// Makes room, growing to at most `max` bytes.
    fn reserve(&mut self, max: usize) {
        if self.end < self.data.len() {
            return;
        }
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        } else {
            let size = (self.data.len() * 4).clamp(SMALL, max.max(SMALL));
            self.data.resize(size, 0);
        }
    }

    /// Reads once; 0 at the end of the stream. Cancel-safe.
    pub(crate) async fn read<R: AsyncRead + Unpin>(&mut self, reader: &mut R, max: usize) -> io::Result<usize> {
        self.reserve(max);
        let free = &mut self.data[self.end..];
        debug_assert!(!free.is_empty(), "callers ask for room first");
        let mut window = ReadBuf::new(free);
        std::future::poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut window)).await?;
        let count = window.filled().len();
        self.end += count;
        Ok(count)
    }

    /// The same, with the size for bodies.
    pub(crate) async fn read_body<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> io::Result<usize> {
        self.read(reader, LARGE).await
    }
}
