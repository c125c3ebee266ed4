//! The agent's client: one connection a request, so a slow answer never delays another and hanging up means "never mind".

mod build;
mod error;
mod stream;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use landfall_runtime_wire::agent::{ContainerStats, Hello, Reply, Request, VERSION};
use landfall_runtime_wire::build::{BuildSpec, CommittedImage, ExportPlan};
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::image::{GcReport, ImageInfo, StackInfo};
use landfall_runtime_wire::{ContainerId, ContainerInfo, ContainerSpec, ExecSpec, ExitStatus};
use tokio::net::UnixStream;

pub use build::{BuildOutput, BuildSession, StackProgress, StackSession};
pub use error::ClientError;
pub use stream::{Attached, AttachedInput, AttachedOutput, Output, Watch};

use crate::frames;

/// Answers that need no waiting for a container's own pace come within this.
const ANSWER: Duration = Duration::from_secs(30);
/// Commits, imports, exports and collections read and write whole trees.
const LONG: Duration = Duration::from_mins(15);

/// A client of the agent behind one socket. Cheap to clone; holds no connection.
#[derive(Clone, Debug)]
pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// A client of the agent that listens on `socket`. Nothing is opened yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Does the agent answer?
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.done(Request::Ping, ANSWER).await
    }

    /// Makes and starts a container; returns once its process runs. The same id again gives the existing one back.
    pub async fn start(&self, spec: ContainerSpec) -> Result<ContainerInfo, ClientError> {
        match self.ask(Request::Start { spec: Box::new(spec) }, ANSWER).await? {
            Reply::Container { container } => Ok(container),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// SIGTERM to every process of the container, SIGKILL after `grace`; returns when it exited, with its status.
    pub async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<ExitStatus, ClientError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        match self.ask(Request::Stop { id: id.clone(), grace_ms }, grace.saturating_add(ANSWER)).await? {
            Reply::Stopped { status } => Ok(status),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Forgets a container (killing it if it still runs); all of it is gone when this returns. Not an error if it never was.
    pub async fn remove(&self, id: &ContainerId) -> Result<(), ClientError> {
        self.done(Request::Remove { id: id.clone() }, ANSWER).await
    }

    /// Every container.
    pub async fn list(&self) -> Result<Vec<ContainerInfo>, ClientError> {
        match self.ask(Request::List, ANSWER).await? {
            Reply::Containers { containers } => Ok(containers),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Every container, then each change. Ends when the agent dies or this watcher falls too far behind: watch again then.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        Ok(Watch::new(self.open(Request::Watch).await?))
    }

    /// Joins the container's standard streams.
    pub async fn attach(&self, id: &ContainerId) -> Result<Attached, ClientError> {
        self.join(Request::Attach { id: id.clone() }).await
    }

    /// Runs a further process in the container, attached. Hanging up ends it.
    pub async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> Result<Attached, ClientError> {
        self.join(Request::Exec { id: id.clone(), spec }).await
    }

    /// What each running container uses now.
    pub async fn stats(&self) -> Result<Vec<ContainerStats>, ClientError> {
        match self.ask(Request::Stats, ANSWER).await? {
            Reply::Stats { stats } => Ok(stats),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Runs a build. Keep the session until [`Agent::build_commit`] returned: dropping it discards the build, wherever it is.
    pub async fn build(&self, spec: BuildSpec) -> Result<BuildSession, ClientError> {
        Ok(BuildSession::new(self.open(Request::Build { spec: Box::new(spec) }).await?))
    }

    /// One regular file of a finished build, at most `max_bytes` long. `Ok(None)` if there is none.
    pub async fn build_file(&self, id: &ContainerId, path: impl Into<PathBuf>, max_bytes: u64) -> Result<Option<Vec<u8>>, ClientError> {
        let work = async {
            let mut stream = self.open(Request::BuildFile { id: id.clone(), path: path.into(), max_bytes }).await?;
            let mut content = Vec::new();
            loop {
                match frames::read(&mut stream).await.map_err(ClientError::Talk)?.ok_or(ClientError::HungUp)? {
                    (Kind::Stdout, bytes) => content.extend_from_slice(&bytes),
                    (_, bytes) => match frames::parse::<Reply>(&bytes).map_err(ClientError::Talk)? {
                        Reply::Done => return Ok(Some(content)),
                        Reply::Failed { fault } if fault.code == landfall_runtime_wire::agent::FaultCode::NotFound => return Ok(None),
                        other => return Err(ClientError::from_reply(other)),
                    },
                }
            }
        };
        tokio::time::timeout(ANSWER, work).await.map_err(|_| ClientError::Deadline(ANSWER))?
    }

    /// Makes an image of a finished build.
    pub async fn build_commit(&self, id: &ContainerId, plan: ExportPlan) -> Result<CommittedImage, ClientError> {
        match self.ask(Request::BuildCommit { id: id.clone(), plan: Box::new(plan) }, LONG).await? {
            Reply::Committed { image } => Ok(image),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Drops what is left of a build. Not an error if nothing is.
    pub async fn build_discard(&self, id: &ContainerId) -> Result<(), ClientError> {
        self.done(Request::BuildDiscard { id: id.clone() }, ANSWER).await
    }

    /// Every image.
    pub async fn images(&self) -> Result<Vec<ImageInfo>, ClientError> {
        match self.ask(Request::Images, ANSWER).await? {
            Reply::Images { images } => Ok(images),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// One image by digest or reference.
    pub async fn image(&self, image: &str) -> Result<ImageInfo, ClientError> {
        match self.ask(Request::Image { image: image.to_owned() }, ANSWER).await? {
            Reply::Image { image } => Ok(*image),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Makes a one-layer image of an uncompressed tar or a directory on the agent's host. Root only.
    pub async fn image_import(&self, reference: &str, from: impl Into<PathBuf>) -> Result<ImageInfo, ClientError> {
        match self.ask(Request::ImageImport { reference: reference.to_owned(), from: from.into() }, LONG).await? {
            Reply::Image { image } => Ok(*image),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Writes an image as an OCI image layout tar to a file on the agent's host. Root only.
    pub async fn image_export(&self, image: &str, to: impl Into<PathBuf>) -> Result<(), ClientError> {
        self.done(Request::ImageExport { image: image.to_owned(), to: to.into() }, LONG).await
    }

    /// Removes images and layers that nothing needs. Stacks and images of existing containers and builds are always kept.
    pub async fn image_gc(&self, keep_images: Vec<String>, keep_layers: Vec<String>) -> Result<GcReport, ClientError> {
        match self.ask(Request::ImageGc { keep_images, keep_layers }, LONG).await? {
            Reply::Collected { report } => Ok(report),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Every stack, by name.
    pub async fn stacks(&self) -> Result<Vec<StackInfo>, ClientError> {
        match self.ask(Request::Stacks, ANSWER).await? {
            Reply::Stacks { stacks } => Ok(stacks),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Makes the base images of a Debian suite, or finds them already there.
    pub async fn stack_create(&self, name: &str, suite: &str) -> Result<StackSession, ClientError> {
        Ok(StackSession::new(self.open(Request::StackCreate { name: name.to_owned(), suite: suite.to_owned() }).await?))
    }

    async fn join(&self, request: Request) -> Result<Attached, ClientError> {
        let work = async {
            let mut stream = self.open(request).await?;
            match next_reply(&mut stream).await? {
                Reply::Attached => Ok(Attached::new(stream)),
                other => Err(ClientError::unexpected(&other)),
            }
        };
        tokio::time::timeout(ANSWER, work).await.map_err(|_| ClientError::Deadline(ANSWER))?
    }

    async fn done(&self, request: Request, deadline: Duration) -> Result<(), ClientError> {
        match self.ask(request, deadline).await? {
            Reply::Done => Ok(()),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    async fn ask(&self, request: Request, deadline: Duration) -> Result<Reply, ClientError> {
        let work = async { next_reply(&mut self.open(request).await?).await };
        tokio::time::timeout(deadline, work).await.map_err(|_| ClientError::Deadline(deadline))?
    }

    async fn open(&self, request: Request) -> Result<UnixStream, ClientError> {
        let connect = |source| ClientError::Connect { socket: self.socket.clone(), source };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(connect)?;
        frames::write_json(&mut stream, &Hello { version: VERSION, request }).await.map_err(ClientError::Talk)?;
        Ok(stream)
    }
}

/// The next JSON frame as a reply; a fault becomes an error.
async fn next_reply(stream: &mut UnixStream) -> Result<Reply, ClientError> {
    let (_, bytes) = frames::read(stream).await.map_err(ClientError::Talk)?.ok_or(ClientError::HungUp)?;
    match frames::parse(&bytes).map_err(ClientError::Talk)? {
        Reply::Failed { fault } => Err(ClientError::Fault(fault)),
        Reply::Done => Ok(Reply::Done),
        other => Ok(other),
    }
}

/// What the raw frames of one stream mean.
fn raw(kind: Kind, bytes: Bytes) -> Option<Output> {
    match kind {
        Kind::Stdout => Some(Output::Stdout(bytes)),
        Kind::Stderr => Some(Output::Stderr(bytes)),
        Kind::Json | Kind::Stdin => None,
    }
}
