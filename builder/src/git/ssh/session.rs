//! One SSH connection: who it is, and the git it runs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use russh::keys::HashAlg;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, Pty, Sig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span, warn};

use super::command;
use crate::git::process::{GitChild, Mode, Parts};
use crate::git::{GitService, Identity, Receiver, explain};

const NO_SHELL: &str =
    "Landfall takes git pushes here and gives no shell.\nPush with: git push landfall main\nA shell in a dyno: landfall run bash";
/// After a pack over the limit, this many times the limit is read and thrown away, so that the client comes to read why.
const PATIENCE: u64 = 8;

/// russh's handler of one connection.
pub(super) struct Connection {
    receiver: Arc<Receiver>,
    stranger: Option<OwnedSemaphorePermit>,
    authenticated: CancellationToken,
    ended: CancellationToken,
    who: Option<Identity>,
    peer: IpAddr,
    channels: HashMap<ChannelId, Waiting>,
    open: Arc<()>,
}

struct Waiting {
    channel: Channel<Msg>,
    protocol: Option<String>,
    open: Arc<()>,
}

impl Connection {
    pub(super) fn new(
        receiver: Arc<Receiver>,
        peer: IpAddr,
        stranger: OwnedSemaphorePermit,
        authenticated: CancellationToken,
        ended: CancellationToken,
    ) -> Self {
        Self { receiver, stranger: Some(stranger), authenticated, ended, who: None, peer, channels: HashMap::new(), open: Arc::new(()) }
    }

    async fn owner(&self, key: &russh::keys::ssh_key::PublicKey) -> Option<Identity> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        match self.receiver.access().by_key(&fingerprint, Some(self.peer)).await {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "an SSH key could not be looked up");
                None
            }
        }
    }

    /// Says why not, and closes. Always "taken" first, or OpenSSH would not show the words.
    fn refuse(&mut self, id: ChannelId, words: &str, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if self.channels.remove(&id).is_some() {
            session.extended_data(id, 1, explain::problem(words).into_bytes())?;
            session.exit_status_request(id, 128)?;
            session.eof(id)?;
            session.close(id)?;
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.owner(offer.public_key).await.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.who = self.owner(key.public_key).await;
        Ok(if self.who.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.authenticated.cancel();
        self.stranger = None;
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if Arc::strong_count(&self.open) > self.receiver.config().max_channels {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.channels.insert(channel.id(), Waiting { channel, protocol: None, open: self.open.clone() });
        reply.accept().await;
        Ok(())
    }

    async fn env_request(&mut self, id: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<(), Self::Error> {
        match self.channels.get_mut(&id) {
            Some(waiting) if name == "GIT_PROTOCOL" && value.len() <= 64 => {
                waiting.protocol = Some(value.to_owned());
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some((service, repo)) = command::parse(line) else { return self.refuse(id, NO_SHELL, session) };
        let (Some(who), Some(waiting)) = (self.who.clone(), self.channels.remove(&id)) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let (receiver, ended) = (self.receiver.clone(), self.ended.clone());
        let span =
            info_span!("git.ssh", account = %who.label, service = service.program(), repo = %crate::source::printable(repo.as_bytes()));
        tokio::spawn(
            async move {
                // Ending the future ends git; see `GitChild`.
                ended.run_until_cancelled(run(&receiver, &who, &repo, service, waiting)).await;
            }
            .instrument(span),
        );
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.refuse(id, NO_SHELL, session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, _name: &str, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _cols: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn signal(&mut self, _id: ChannelId, _signal: Sig, _session: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// One git on one channel, to its end.
async fn run(receiver: &Receiver, who: &Identity, repo: &str, service: GitService, waiting: Waiting) {
    let Waiting { channel, protocol, open } = waiting;
    let (reader, writer) = channel.split();
    let mut errors = writer.make_writer_ext(Some(1));
    let status = match receiver.open(who, repo, service, Mode::Stateful, protocol.as_deref()).await {
        Err(error) => {
            info!(%error, "refused");
            let _ = errors.write_all(explain::problem(&error.to_string()).as_bytes()).await;
            Some(128)
        }
        Ok(git) => {
            let feed =
                Feed { reader, limit: receiver.config().max_push_bytes, over: CancellationToken::new(), eof: CancellationToken::new() };
            converse(git, feed, writer.make_writer(), errors, writer.make_writer_ext(Some(1))).await
        }
    };
    // `None`: the client is gone, nobody to tell.
    if let Some(status) = status {
        let _ = writer.exit_status(u32::try_from(status).unwrap_or(128)).await;
        let _ = writer.eof().await;
        let _ = writer.close().await;
    }
    drop(open);
}

/// Copies both ways until git ends (its status) or the client leaves (`None`).
async fn converse(
    mut git: GitChild,
    feed: Feed,
    output: impl AsyncWrite + Unpin,
    errors: impl AsyncWrite + Unpin,
    mut words: impl AsyncWrite + Unpin,
) -> Option<i32> {
    let Parts { stdin, stdout, stderr, end } = git.parts()?;
    let (limit, over, eof) = (feed.limit, feed.over.clone(), feed.eof.clone());
    let gone = feed.run(stdin);
    let tell = async {
        over.cancelled().await;
        for line in explain::too_big(limit) {
            let _ = words.write_all(format!("{line}\n").as_bytes()).await;
        }
        std::future::pending::<()>().await;
    };
    let talk = async {
        let ((), (), status) = tokio::join!(copy(stdout, output), copy(stderr, errors), end.wait());
        if over.is_cancelled() {
            // The client still sends; it reads the reason only when it is done.
            eof.cancelled().await;
        }
        status.unwrap_or(128)
    };
    tokio::select! {
        biased;
        status = talk => Some(status),
        () = gone => None,
        () = tell => None,
    }
}

/// What the client sends, on its way into git.
struct Feed {
    reader: ChannelReadHalf,
    limit: u64,
    over: CancellationToken,
    eof: CancellationToken,
}

impl Feed {
    /// Ends when the client has left.
    async fn run(mut self, mut stdin: Option<ChildStdin>) {
        let mut received = 0_u64;
        while let Some(message) = self.reader.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    received += data.len() as u64;
                    if received > self.limit {
                        self.over.cancel();
                        stdin = None;
                    }
                    if received > self.limit.saturating_mul(PATIENCE) {
                        return;
                    }
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&data).await.is_err()
                    {
                        // git has stopped reading; what it has to say comes on its other pipes.
                        stdin = None;
                    }
                }
                ChannelMsg::Eof => {
                    stdin = None;
                    self.eof.cancel();
                }
                ChannelMsg::Close => return,
                _ => {}
            }
        }
    }
}

/// Copies until either side ends. A client that does not read makes this wait, and git with it; nothing is held in memory.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
