//! The controller's side of the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::types::{AppRoutes, Drained, Operation, Reply, ReplyBody, Request, Stats, Table};

/// Why the router did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("cannot reach the router at {}; is it running? start it with: landfall router", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The last failure.
        #[source]
        source: std::io::Error,
    },
    /// The router did not answer in time.
    #[error("the router at {} did not answer within {waited:?}", path.display())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The router understood and refused; nothing changed.
    #[error("the router refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// What came back is not a reply to what was asked.
    #[error("the router at {} speaks another language; are controller and router of one version?", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
    },
}

/// The controller's hand on the router. Share it by reference or `Arc`; operations that change the table happen one after another.
///
/// It remembers what it last sent. When the connection was lost (the router was restarted), the next operation first sends that
/// whole table again: [`Client::sync`] does only this, and is for the reconcile loop's timer.
///
/// Not cancel-safe in one respect: a dropped call may or may not have taken effect. Repeat it.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    patience: Duration,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    stream: Option<BufReader<UnixStream>>,
    wanted: Option<Table>,
    next_id: u64,
}

impl Link {
    /// Keeps what the next connection must send: also what failed on the way, not what was refused.
    fn remember(&mut self, result: &Result<(), ClientError>, generation: u64, id: &str, app: Option<AppRoutes>) {
        if matches!(result, Err(ClientError::Refused { .. })) {
            return;
        }
        if let Some(wanted) = &mut self.wanted {
            wanted.generation = wanted.generation.max(generation);
            wanted.apps.retain(|other| other.id != id);
            wanted.apps.extend(app);
        }
    }
}

impl Client {
    /// How long an operation tries to reach the router, and then waits for its answer.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// A client for the router at `path`. Connects when first used.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), patience: Self::PATIENCE, link: Mutex::default() }
    }

    /// The same with another patience than [`Client::PATIENCE`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes `table` all there is. Returns once it is in force and on disk.
    pub async fn replace_table(&self, table: Table) -> Result<(), ClientError> {
        let mut link = self.link.lock().await;
        link.wanted = Some(table.clone());
        link.stream = None;
        self.ready(&mut link).await
    }

    /// Adds or replaces one app.
    pub async fn replace_app(&self, generation: u64, app: AppRoutes) -> Result<(), ClientError> {
        let mut link = self.link.lock().await;
        let result = self.apply(&mut link, Operation::ReplaceApp { generation, app: app.clone() }).await;
        link.remember(&result, generation, &app.id.clone(), Some(app));
        result
    }

    /// Forgets one app.
    pub async fn remove_app(&self, generation: u64, app: impl Into<String>) -> Result<(), ClientError> {
        let app = app.into();
        let mut link = self.link.lock().await;
        let result = self.apply(&mut link, Operation::RemoveApp { generation, app: app.clone() }).await;
        link.remember(&result, generation, &app, None);
        result
    }

    /// Makes sure the router has what was last sent, also when it was restarted in between. Cheap when it has. Tells the generation of its
    /// table: a change must have a later one.
    pub async fn sync(&self) -> Result<u64, ClientError> {
        let mut link = self.link.lock().await;
        match self.ask(&mut link, Operation::Ping).await? {
            ReplyBody::Pong { generation } => Ok(generation),
            _ => Err(self.protocol()),
        }
    }

    /// Returns when the last request through `backend` ended, or after `deadline`. Uses a connection of its own.
    pub async fn drain(&self, backend: impl Into<String>, deadline: Duration) -> Result<Drained, ClientError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        match self.alone(Operation::Drain { backend: backend.into(), deadline_ms }, self.patience.saturating_add(deadline)).await? {
            ReplyBody::Drained(drained) => Ok(drained),
            _ => Err(self.protocol()),
        }
    }

    /// The router's numbers.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        match self.alone(Operation::Stats, self.patience).await? {
            ReplyBody::Stats(stats) => Ok(stats),
            _ => Err(self.protocol()),
        }
    }

    /// Returns once the router that answers now is gone. Uses a connection of its own. Cancel-safe.
    pub async fn until_gone(&self) -> Result<(), ClientError> {
        let mut stream = connect(&self.path, Instant::now() + self.patience).await?;
        // It sends nothing unasked: what can be read is the end.
        let _end = stream.read(&mut [0]).await;
        Ok(())
    }

    async fn apply(&self, link: &mut Link, change: Operation) -> Result<(), ClientError> {
        self.ask(link, change).await.map(|_| ())
    }

    /// On a fresh connection if the old one turns out to be dead.
    async fn ask(&self, link: &mut Link, operation: Operation) -> Result<ReplyBody, ClientError> {
        if link.stream.is_some() {
            match self.call(link, operation.clone()).await {
                Err(ClientError::Unreachable { .. }) => link.stream = None,
                other => return other,
            }
        }
        self.ready(link).await?;
        self.call(link, operation).await
    }

    /// Connects and sends the table that should be in force.
    async fn ready(&self, link: &mut Link) -> Result<(), ClientError> {
        link.stream = Some(BufReader::new(connect(&self.path, Instant::now() + self.patience).await?));
        if let Some(table) = link.wanted.clone() {
            self.call(link, Operation::ReplaceTable { table }).await?;
        }
        Ok(())
    }

    async fn call(&self, link: &mut Link, operation: Operation) -> Result<ReplyBody, ClientError> {
        link.next_id += 1;
        let request = Request { id: link.next_id, operation };
        // Taken out, so that a call dropped half-way leaves no connection that is out of step.
        let mut stream = link.stream.take().ok_or_else(|| self.protocol())?;
        let reply = self.exchange(&mut stream, &request, self.patience).await;
        if matches!(reply, Ok(_) | Err(ClientError::Refused { .. })) {
            link.stream = Some(stream);
        }
        reply
    }

    async fn alone(&self, operation: Operation, patience: Duration) -> Result<ReplyBody, ClientError> {
        let stream = connect(&self.path, Instant::now() + self.patience).await?;
        self.exchange(&mut BufReader::new(stream), &Request { id: 1, operation }, patience).await
    }

    async fn exchange(&self, stream: &mut BufReader<UnixStream>, request: &Request, patience: Duration) -> Result<ReplyBody, ClientError> {
        let unreachable = |source| ClientError::Unreachable { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(request).map_err(|_| self.protocol())?;
        line.push(b'\n');
        let talk = async {
            stream.write_all(&line).await.map_err(unreachable)?;
            let mut answer = Vec::new();
            let read = stream.take(super::MAX_LINE as u64).read_until(b'\n', &mut answer).await.map_err(unreachable)?;
            if read == 0 {
                return Err(unreachable(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let reply: Reply = serde_json::from_slice(&answer).map_err(|_| self.protocol())?;
            match reply.body {
                ReplyBody::Refused { reason } => Err(ClientError::Refused { reason }),
                _ if reply.id != request.id => Err(self.protocol()),
                body => Ok(body),
            }
        };
        let waited = tokio::time::timeout(patience, talk).await;
        waited.unwrap_or_else(|_| Err(ClientError::Timeout { path: self.path.clone(), waited: patience }))
    }

    fn protocol(&self) -> ClientError {
        ClientError::Protocol { path: self.path.clone() }
    }
}

/// Tries until `until`, with pauses that double from 10 ms to 500 ms.
async fn connect(path: &Path, until: Instant) -> Result<UnixStream, ClientError> {
    let mut pause = Duration::from_millis(10);
    loop {
        let source = match timeout_at(until, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::TimedOut.into(),
        };
        if Instant::now() + pause >= until {
            return Err(ClientError::Unreachable { path: path.to_owned(), source });
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}
