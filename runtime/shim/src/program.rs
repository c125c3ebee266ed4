//! The standard streams of one program in the container (the main one or an exec), and who is attached to them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};

use crate::error::{Result, call};

/// Output kept while nobody is attached. Before the first client came the program then waits; after the last one left, the oldest goes.
const BACKLOG: usize = 1024 * 1024;
/// Input taken from a client before it has to wait.
pub(crate) const INPUT: usize = 256 * 1024;

/// Which of a program's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Standard output, or the terminal.
    Out,
    /// Standard error.
    Err,
}

/// A program's streams as the shim holds them.
#[derive(Default)]
pub(crate) struct Program {
    /// Where its input is written.
    pub(crate) input: Option<OwnedFd>,
    /// Where its output is read; the terminal's master if it has one.
    pub(crate) output: Option<OwnedFd>,
    /// Where its errors are read.
    pub(crate) errors: Option<OwnedFd>,
    /// It has a terminal.
    pub(crate) terminal: bool,
    /// Its streams are there.
    pub(crate) started: bool,
    /// The attached client.
    pub(crate) client: Option<u64>,
    pending_input: VecDeque<u8>,
    input_ended: bool,
    backlog: VecDeque<(Side, Vec<u8>)>,
    backlog_bytes: usize,
    /// Somebody was attached once.
    joined: bool,
}

/// The container's ends of three pipes: input, output, errors.
pub(crate) type Ends = [OwnedFd; 3];

impl Program {
    /// Not started yet.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { terminal, ..Self::default() }
    }

    /// Makes one pipe for both its outputs, so that lines keep the order in which they were written. Its standard input is empty.
    pub(crate) fn make_log_pipe(&mut self) -> Result<Ends> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(call("make a pipe"));
        let ((theirs_in, _), (ours_out, theirs_out)) = (pipe()?, pipe()?);
        nonblocking(&ours_out)?;
        let theirs_err = theirs_out.try_clone().map_err(|error| call("copy a descriptor")(crate::error::errno(&error)))?;
        (self.output, self.started) = (Some(ours_out), true);
        Ok([theirs_in, theirs_out, theirs_err])
    }

    /// Makes its three pipes.
    pub(crate) fn make_pipes(&mut self) -> Result<Ends> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(call("make a pipe"));
        let ((theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err)) = (pipe()?, pipe()?, pipe()?);
        for fd in [&ours_in, &ours_out, &ours_err] {
            nonblocking(fd)?;
        }
        (self.input, self.output, self.errors, self.started) = (Some(ours_in), Some(ours_out), Some(ours_err), true);
        self.pump();
        Ok([theirs_in, theirs_out, theirs_err])
    }

    /// The terminal's master arrived.
    pub(crate) fn terminal_made(&mut self, master: OwnedFd) -> Result<()> {
        nonblocking(&master)?;
        self.input = Some(master.try_clone().map_err(|e| call("copy a descriptor")(crate::error::errno(&e)))?);
        self.output = Some(master);
        self.started = true;
        self.pump();
        Ok(())
    }

    /// Reads one piece. `None` = nothing there now (or the stream ended and is closed).
    pub(crate) fn read(&mut self, side: Side) -> Option<Vec<u8>> {
        let slot = if side == Side::Out { &mut self.output } else { &mut self.errors };
        let mut buffer = vec![0; 32 * 1024];
        match read(slot.as_ref()?, &mut buffer) {
            // A terminal whose last user is gone answers EIO.
            Ok(0) | Err(Errno::EIO) => {
                *slot = None;
                None
            }
            Ok(count) => {
                buffer.truncate(count);
                Some(buffer)
            }
            Err(_) => None,
        }
    }

    /// Whether its output must wait for the first client.
    pub(crate) fn waits_for_client(&self) -> bool {
        !self.joined && self.backlog_bytes >= BACKLOG
    }

    /// Keeps output for a later client.
    pub(crate) fn keep(&mut self, side: Side, bytes: Vec<u8>) {
        self.backlog_bytes += bytes.len();
        self.backlog.push_back((side, bytes));
        while self.joined && self.backlog_bytes > BACKLOG {
            let Some((_, oldest)) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= oldest.len();
        }
    }

    /// A client is attached from now on. Who was before.
    pub(crate) fn join(&mut self, client: u64) -> Option<u64> {
        self.joined = true;
        self.client.replace(client)
    }

    /// What was kept.
    pub(crate) fn kept(&mut self) -> Vec<(Side, Vec<u8>)> {
        self.backlog_bytes = 0;
        std::mem::take(&mut self.backlog).into()
    }

    /// Takes input from the client; empty = the end.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            if self.terminal {
                // What Ctrl-D types: the terminal makes it an end of file.
                self.pending_input.push_back(4);
            } else {
                self.input_ended = true;
            }
        }
        self.pending_input.extend(bytes);
        self.pump();
    }

    /// Bytes that wait for the program to read.
    pub(crate) fn waiting_input(&self) -> usize {
        self.pending_input.len()
    }

    /// Writes waiting input as far as it goes.
    pub(crate) fn pump(&mut self) {
        while let Some(input) = &self.input {
            let (front, _) = self.pending_input.as_slices();
            if front.is_empty() {
                if self.input_ended {
                    self.input = None;
                }
                return;
            }
            match write(input, front) {
                Ok(count) => {
                    self.pending_input.drain(..count);
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.input = None;
                    self.pending_input.clear();
                }
            }
        }
        // Input may come before the streams do.
        if self.started {
            self.pending_input.clear();
        }
    }
}

fn nonblocking(fd: &OwnedFd) -> Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL).map_err(call("read descriptor flags"))?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(call("set descriptor flags")).map(drop)
}
