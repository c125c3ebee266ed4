//! Bytes read and not yet used.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, ReadBuf};

use crate::budget::{Budget, BudgetVec, SMALL};

/// A window over a buffer that grows only as far as it is told to, and only while there is memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    data: BudgetVec,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { data: BudgetVec::new(SMALL, budget), start: 0, end: 0 }
    }

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

    /// Gives memory back that the next bytes do not need.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.data.release();
        }
    }

    /// Makes room for another read, growing to at most `max` bytes. False if there are as many already, or if memory is short; a buffer
    /// that holds less than [`SMALL`] always has room.
    pub(crate) fn make_room(&mut self, max: usize) -> bool {
        if self.len() >= max {
            return false;
        }
        if self.end < self.data.len() {
            return true;
        }
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
            return true;
        }
        let size = (self.data.len() * 4).clamp(SMALL, max.max(SMALL));
        let fits = self.data.fit(size);
        if fits {
            self.data.resize(size, 0);
        }
        fits
    }

    /// Reads once, into the room that was made; 0 at the end of the stream. Cancel-safe.
    pub(crate) async fn read<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> io::Result<usize> {
        let free = &mut self.data[self.end..];
        debug_assert!(!free.is_empty(), "callers make room first");
        let mut window = ReadBuf::new(free);
        std::future::poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut window)).await?;
        let count = window.filled().len();
        self.end += count;
        Ok(count)
    }

    /// Reads more of a body, of which nothing but the beginning of a line is left: that never needs a larger buffer. Cancel-safe.
    pub(crate) async fn read_body<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> io::Result<usize> {
        self.shrink();
        if !self.make_room(SMALL) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.read(reader).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_grows_while_there_is_memory_and_goes_on_without() {
        let budget = Budget::new(24 * 1024);
        let (mut one, mut two) = (Buffer::new(&budget), Buffer::new(&budget));
        let mut endless = tokio::io::repeat(b'x');
        for size in [8, 32] {
            assert!(one.make_room(1 << 20));
            one.read(&mut endless).await.unwrap();
            assert_eq!(one.len(), size * 1024);
        }
        assert!(!one.make_room(1 << 20), "no memory");
        two.make_room(SMALL);
        two.read(&mut endless).await.unwrap();
        assert!(!two.make_room(1 << 20) && !two.make_room(SMALL));
        two.consume(8000);
        assert_eq!(two.read_body(&mut endless).await.unwrap(), 8000, "what is used up makes room");
        one.shrink();
        assert_eq!(budget.used(), 24 * 1024, "what is not used yet stays");
        one.consume(one.len());
        one.shrink();
        assert_eq!(budget.used(), 0);
        assert!(two.make_room(1 << 20));
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
