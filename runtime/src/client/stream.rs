//! Long conversations: watching, and joined standard streams.

use bytes::Bytes;
use landfall_runtime_wire::agent::{Control, Reply};
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::{ContainerEvent, ExitStatus, TermSize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{ClientError, raw};
use crate::frames;

/// Frames read ahead of the caller.
const READ_AHEAD: usize = 16;

type Incoming = mpsc::Receiver<std::io::Result<(Kind, Bytes)>>;

/// Reads frames in a task of their own, so that `next` may be cancelled without losing half a frame. The task ends with the stream or
/// the receiver; while the receiver is full it stops reading, so a slow caller slows the sender.
pub(super) fn read_frames(mut stream: OwnedReadHalf) -> Incoming {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                frame = frames::read(&mut stream) => frame,
                () = sender.closed() => return,
            };
            let last = !matches!(frame, Ok(Some(_)));
            if let Some(frame) = frame.transpose()
                && sender.send(frame).await.is_err()
            {
                return;
            }
            if last {
                return;
            }
        }
    });
    receiver
}

/// A watch on every container.
#[derive(Debug)]
pub struct Watch {
    incoming: Incoming,
    _open: OwnedWriteHalf,
}

impl Watch {
    pub(super) fn new(stream: UnixStream) -> Self {
        let (read, open) = stream.into_split();
        Self { incoming: read_frames(read), _open: open }
    }

    /// The next event; the first is a snapshot. `None` when the agent ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<ContainerEvent, ClientError>> {
        let reply = match self.incoming.recv().await? {
            Ok((_, bytes)) => frames::parse::<Reply>(&bytes),
            Err(error) => Err(error),
        };
        Some(match reply {
            Ok(Reply::Event { event }) => Ok(event),
            Ok(other) => Err(ClientError::from_reply(other)),
            Err(error) => Err(ClientError::Talk(error)),
        })
    }
}

/// What comes out of a joined process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes of standard output, or of the terminal.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// It ended; nothing follows.
    Exited(ExitStatus),
}

/// Joined standard streams, both ways.
#[derive(Debug)]
pub struct Attached {
    /// Towards the process.
    pub input: AttachedInput,
    /// From the process.
    pub output: AttachedOutput,
}

impl Attached {
    pub(super) fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self { input: AttachedInput { stream: write }, output: AttachedOutput { incoming: read_frames(read) } }
    }
}

/// The way towards the process. Dropping both ways hangs up.
#[derive(Debug)]
pub struct AttachedInput {
    stream: OwnedWriteHalf,
}

impl AttachedInput {
    /// Writes to its standard input. Waits while the process does not read. An empty slice writes nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for piece in bytes.chunks(64 * 1024) {
            frames::write(&mut self.stream, Kind::Stdin, piece).await.map_err(ClientError::Talk)?;
        }
        Ok(())
    }

    /// End of its standard input.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        frames::write(&mut self.stream, Kind::Stdin, &[]).await.map_err(ClientError::Talk)
    }

    /// The terminal has a new size.
    pub async fn resize(&mut self, size: TermSize) -> Result<(), ClientError> {
        self.control(Control::Resize { size }).await
    }

    /// Sends it a signal by number.
    pub async fn signal(&mut self, signal: i32) -> Result<(), ClientError> {
        self.control(Control::Signal { signal }).await
    }

    async fn control(&mut self, control: Control) -> Result<(), ClientError> {
        frames::write_json(&mut self.stream, &control).await.map_err(ClientError::Talk)?;
        self.stream.flush().await.map_err(ClientError::Talk)
    }
}

/// The way from the process.
#[derive(Debug)]
pub struct AttachedOutput {
    incoming: Incoming,
}

impl AttachedOutput {
    /// What comes next; after [`Output::Exited`] there is nothing. `Err(HungUp)` if the connection ends before that. Cancel-safe.
    pub async fn next(&mut self) -> Result<Output, ClientError> {
        let (kind, bytes) = self.incoming.recv().await.ok_or(ClientError::HungUp)?.map_err(ClientError::Talk)?;
        if let Some(output) = raw(kind, bytes.clone()) {
            return Ok(output);
        }
        match frames::parse(&bytes).map_err(ClientError::Talk)? {
            Reply::Exited { status } => Ok(Output::Exited(status)),
            other => Err(ClientError::from_reply(other)),
        }
    }
}
