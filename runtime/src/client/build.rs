//! Builds and stacks as streams.

use bytes::Bytes;
use landfall_runtime_wire::agent::Reply;
use landfall_runtime_wire::build::BuildOutcome;
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::image::StackInfo;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::ClientError;
use super::stream::read_frames;
use crate::frames;

/// What a running build says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildOutput {
    /// Bytes of its standard output.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// Its program ended. The root is kept as long as the session is.
    Finished(BuildOutcome),
}

/// A build, running or finished. Dropping it kills the container and removes everything of it.
#[derive(Debug)]
pub struct BuildSession {
    incoming: mpsc::Receiver<std::io::Result<(Kind, Bytes)>>,
    _open: OwnedWriteHalf,
}

impl BuildSession {
    pub(super) fn new(stream: UnixStream) -> Self {
        let (read, open) = stream.into_split();
        Self { incoming: read_frames(read), _open: open }
    }

    /// What comes next, up to and including [`BuildOutput::Finished`]. Cancel-safe.
    pub async fn next(&mut self) -> Result<BuildOutput, ClientError> {
        match self.incoming.recv().await.ok_or(ClientError::HungUp)?.map_err(ClientError::Talk)? {
            (Kind::Stdout, bytes) => Ok(BuildOutput::Stdout(bytes)),
            (Kind::Stderr, bytes) => Ok(BuildOutput::Stderr(bytes)),
            (_, bytes) => match frames::parse(&bytes).map_err(ClientError::Talk)? {
                Reply::BuildFinished { outcome } => Ok(BuildOutput::Finished(outcome)),
                other => Err(ClientError::from_reply(other)),
            },
        }
    }
}

/// How far a stack is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackProgress {
    /// One line for people.
    Line(String),
    /// It is there.
    Ready(StackInfo),
}

/// A stack being made. Dropping it stops the work and removes what was half made.
#[derive(Debug)]
pub struct StackSession {
    incoming: mpsc::Receiver<std::io::Result<(Kind, Bytes)>>,
    _open: OwnedWriteHalf,
}

impl StackSession {
    pub(super) fn new(stream: UnixStream) -> Self {
        let (read, open) = stream.into_split();
        Self { incoming: read_frames(read), _open: open }
    }

    /// What comes next, up to and including [`StackProgress::Ready`]. Cancel-safe.
    pub async fn next(&mut self) -> Result<StackProgress, ClientError> {
        let (_, bytes) = self.incoming.recv().await.ok_or(ClientError::HungUp)?.map_err(ClientError::Talk)?;
        match frames::parse(&bytes).map_err(ClientError::Talk)? {
            Reply::Progress { line } => Ok(StackProgress::Line(line)),
            Reply::Stack { stack } => Ok(StackProgress::Ready(stack)),
            other => Err(ClientError::from_reply(other)),
        }
    }
}
