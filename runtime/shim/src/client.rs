//! One connection to the shim's socket: frames in, frames out, never blocking.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use landfall_runtime_wire::frame::{self, HEADER, Kind};
use landfall_runtime_wire::shim::ShimEvent;

/// With more than this unsent, a client is slow: what it watches is not read on.
pub(crate) const SLOW: usize = 256 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its first frame has not come.
    New,
    /// Told of each change.
    Watcher,
    /// Waits for the container's end.
    Stopper,
    /// Joined to the program of that number.
    Attached(u32),
    /// Answered; closed when all is sent.
    Done,
}

/// A connected client.
pub(crate) struct Client {
    /// For poll.
    pub(crate) stream: UnixStream,
    /// What it is for.
    pub(crate) role: Role,
    input: Vec<u8>,
    output: VecDeque<u8>,
}

impl Client {
    /// Fresh from accept.
    pub(crate) fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, role: Role::New, input: Vec::new(), output: VecDeque::new() })
    }

    /// Reads what is there, at most one buffer. `false` = hung up.
    pub(crate) fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// The next whole frame. `Err` = the peer does not speak our language.
    pub(crate) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, frame::FrameError> {
        let Some((header, rest)) = self.input.split_first_chunk::<HEADER>() else { return Ok(None) };
        let (kind, length) = frame::parse_header(*header)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let body = body.to_vec();
        self.input.drain(..HEADER + length);
        Ok(Some((kind, body)))
    }

    /// Queues bytes.
    pub(crate) fn bytes(&mut self, kind: Kind, bytes: &[u8]) {
        self.output.extend(frame::header(kind, bytes.len()));
        self.output.extend(bytes);
    }

    /// Queues an event.
    pub(crate) fn event(&mut self, event: &ShimEvent) {
        self.output.extend(frame::json(event));
    }

    /// Queues the last event.
    pub(crate) fn finish(&mut self, event: &ShimEvent) {
        self.event(event);
        self.role = Role::Done;
    }

    /// Bytes not sent yet.
    pub(crate) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Sends as much as goes. `false` = hung up, or done with it.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            match self.stream.write(front) {
                Ok(0) => return false,
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        if self.output.capacity() > SLOW {
            self.output = VecDeque::new();
        }
        self.role != Role::Done
    }
}
