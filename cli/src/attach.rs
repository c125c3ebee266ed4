//! This terminal, joined to a process in a dyno: raw mode, window size, signals, piped input, exit code.
//!
//! The wire is an HTTP upgrade to `landfall-attach/1`; inside are the frames of `landfall_runtime_wire::frame`.

use std::io::IsTerminal as _;

use landfall_runtime_wire::frame::{self, Kind};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use crate::error::{CliError, Result};

/// How long a signal may wait behind input that the process does not read.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// Our exit code when our own output is closed (`| head`): as if SIGPIPE had ended us, without a word.
const NOBODY_READS: u8 = 128 + 13;

/// Whether both ends of this process are a terminal, so that the dyno should get one too.
pub(crate) fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// This terminal's size: columns, rows.
pub(crate) fn window() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal in raw mode; as it was again when this is dropped.
struct RawMode(Termios);

impl RawMode {
    fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Joins the process behind `url` until it ends; gives its exit code.
/// `api` is where the API was reached: the same way leads to what it says, whatever it believes its own address to be.
pub(crate) fn run(api: &str, url: &str, tty: bool) -> Result<u8> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| CliError::io("starting", error, "try again"))?;
    let code = runtime.block_on(join(&same_way(api, url)?, tty));
    // A read of standard input may still block in its thread; it must not hold us.
    runtime.shutdown_background();
    code
}

async fn join(url: &str, tty: bool) -> Result<u8> {
    let (reader, writer) = tokio::io::split(upgrade(url).await?);
    let signals = Signals::watch().map_err(lost)?;
    let _raw = if tty { RawMode::enter() } else { None };
    tokio::select! {
        code = outwards(reader) => code,
        error = inwards(writer, signals, tty) => Err(error),
    }
}

fn lost(error: std::io::Error) -> CliError {
    CliError::io("the connection to the dyno broke", error, "landfall ps")
}

/// Shows what the process says until it ends; gives its exit code.
async fn outwards(mut reader: impl AsyncRead + Unpin) -> Result<u8> {
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    let mut frames = Frames::default();
    while let Some((kind, payload)) = frames.next(&mut reader).await.map_err(lost)? {
        let shown = match kind {
            Kind::Stdout => show(&mut out, &payload).await,
            Kind::Stderr => show(&mut err, &payload).await,
            Kind::Json => match exit_code(&payload)? {
                Some(code) => return Ok(code),
                None => Ok(()),
            },
            Kind::Stdin => Ok(()),
        };
        if shown.is_err() {
            return Ok(NOBODY_READS);
        }
    }
    Err(CliError::new("the connection ended before the process did; it may run on", "landfall ps"))
}

async fn show(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Passes on what is typed, the window's size and signals. Ends only when a signal cannot reach the process: when the way in is closed, what the
/// process still says, and how it ends, is worth waiting for.
async fn inwards(mut writer: impl AsyncWrite + Unpin, mut signals: Signals, tty: bool) -> CliError {
    let mut input = standard_input();
    let mut input_open = true;
    let mut unsent: Vec<u8> = Vec::new();
    let mut patience = None;
    if tty {
        // It may have changed since the dyno was asked for.
        unsent.extend(resize());
    }
    loop {
        let stuck = async {
            match patience {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            bytes = input.recv(), if input_open && unsent.is_empty() => {
                let bytes = bytes.unwrap_or_default();
                input_open = !bytes.is_empty();
                unsent.extend(frame::header(Kind::Stdin, bytes.len()));
                unsent.extend(bytes);
            }
            signal = signals.next() => match signal {
                Signal::Resized if tty => unsent.extend(resize()),
                Signal::Resized => {}
                Signal::Told(number) => {
                    unsent.extend(frame::json(&json!({ "signal": number })));
                    patience.get_or_insert_with(|| tokio::time::Instant::now() + PATIENCE);
                }
            },
            sent = writer.write(&unsent), if !unsent.is_empty() => match sent {
                Ok(count) if count > 0 => {
                    unsent.drain(..count);
                    patience = patience.filter(|_| !unsent.is_empty());
                }
                _ => return std::future::pending().await,
            },
            () = stuck => return CliError::new("the process does not read its input, so the signal did not reach it; it is told to stop", "landfall ps"),
        }
    }
}

fn resize() -> Vec<u8> {
    window().map(|(cols, rows)| frame::json(&json!({ "resize": { "cols": cols, "rows": rows } }))).unwrap_or_default()
}

/// What this process is told from outside.
struct Signals {
    resized: unix::Signal,
    interrupted: unix::Signal,
    terminated: unix::Signal,
}

/// One of them.
enum Signal {
    /// The window has a new size.
    Resized,
    /// Meant for the process, by number.
    Told(i32),
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        let signal = unix::signal;
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.resized.recv() => Signal::Resized,
            _ = self.interrupted.recv() => Signal::Told(2),
            _ = self.terminated.recv() => Signal::Told(15),
        }
    }
}

fn exit_code(payload: &[u8]) -> Result<Option<u8>> {
    let message: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
    if let Some(problem) = message["error"].as_str() {
        return Err(CliError::new(problem, "landfall ps"));
    }
    Ok(message["exit"].as_i64().map(|code| u8::try_from(code & 0xff).unwrap_or(1)))
}

/// Standard input as chunks; the channel closes at its end.
fn standard_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut buffer = vec![0; 32 * 1024];
        let mut stdin = std::io::stdin().lock();
        while let Ok(count) = stdin.read(&mut buffer) {
            if count == 0 || sender.blocking_send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Frames out of a byte stream; keeps what a cancelled read had already taken.
#[derive(Default)]
struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    async fn next(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<(Kind, Vec<u8>)>> {
        loop {
            if let Some(header) = self.pending.first_chunk::<{ frame::HEADER }>() {
                let (kind, length) = frame::parse_header(*header).map_err(std::io::Error::other)?;
                if self.pending.len() >= frame::HEADER + length {
                    let rest = self.pending.split_off(frame::HEADER + length);
                    let payload = std::mem::replace(&mut self.pending, rest).split_off(frame::HEADER);
                    return Ok(Some((kind, payload)));
                }
            }
            if reader.read_buf(&mut self.pending).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// The path of `url`, at `api`.
fn same_way(api: &str, url: &str) -> Result<String> {
    let bad = |error| CliError::io(format!("the attach address {url:?}"), error, "landfall run COMMAND");
    let url: http::Uri = url.parse().map_err(bad)?;
    Ok(format!("{}{}", api.trim_end_matches('/'), url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)))
}

/// Asks for the upgrade and returns the bare stream after the 101.
async fn upgrade(url: &str) -> Result<BufReader<TcpStream>> {
    let again = "landfall run COMMAND";
    let uri: http::Uri = url.parse().map_err(|error| CliError::io(format!("the attach address {url:?}"), error, again))?;
    if uri.scheme_str() != Some("http") {
        return Err(CliError::new(
            "attaching works over http only so far; use an SSH tunnel to the server",
            "ssh -L 5000:127.0.0.1:5000 SERVER",
        ));
    }
    let host = uri.host().unwrap_or("127.0.0.1");
    let port = uri.port_u16().unwrap_or(80);
    let stream =
        TcpStream::connect((host, port)).await.map_err(|error| CliError::io(format!("connecting to {host}:{port}"), error, again))?;
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: landfall-attach/1\r\n\r\n");
    let lost = |error| CliError::io("asking for the attachment", error, again);
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        head.push(stream.read_u8().await.map_err(lost)?);
    }
    if head.starts_with(b"HTTP/1.1 101") {
        return Ok(stream);
    }
    let mut body = vec![0; 4096];
    let count = stream.read(&mut body).await.unwrap_or(0);
    let answer: Value = serde_json::from_slice(&body[..count]).unwrap_or(Value::Null);
    Err(CliError::new(answer["message"].as_str().unwrap_or("the server refused the attachment").to_owned(), again))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_any_split() {
        let mut bytes = frame::json(&json!({ "exit": 7 }));
        bytes.extend(frame::header(Kind::Stdout, 3));
        bytes.extend(b"abc");
        for cut in 0..bytes.len() {
            let mut reader = tokio_test_chain(&bytes[..cut], &bytes[cut..]);
            let mut frames = Frames::default();
            let (kind, payload) = frames.next(&mut reader).await.unwrap().unwrap();
            assert_eq!((kind, exit_code(&payload).unwrap()), (Kind::Json, Some(7)));
            assert_eq!(frames.next(&mut reader).await.unwrap().unwrap(), (Kind::Stdout, b"abc".to_vec()));
            assert!(frames.next(&mut reader).await.unwrap().is_none());
        }
    }

    fn tokio_test_chain<'a>(first: &'a [u8], second: &'a [u8]) -> impl tokio::io::AsyncRead + Unpin + 'a {
        tokio::io::AsyncReadExt::chain(first, second)
    }
}
