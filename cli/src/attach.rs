//! This terminal, joined to a process in a dyno: raw mode, window size, signals, piped input, exit code.
//!
//! The wire is an HTTP upgrade to `landfall-attach/1`; inside are the frames of `landfall_runtime_wire::frame`.

use std::io::IsTerminal as _;

use landfall_runtime_wire::frame::{self, Kind};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{CliError, Result};

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
pub(crate) fn run(url: &str, tty: bool) -> Result<u8> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| CliError::io("starting", error, "try again"))?;
    let code = runtime.block_on(join(url, tty));
    // A read of standard input may still block in its thread; it must not hold us.
    runtime.shutdown_background();
    code
}

async fn join(url: &str, tty: bool) -> Result<u8> {
    let lost = |error: std::io::Error| CliError::io("the connection to the dyno broke", error, "landfall ps");
    let mut stream = upgrade(url).await?;
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let mut input = standard_input();
    let mut resized = signal(SignalKind::window_change()).map_err(lost)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(lost)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(lost)?;
    let _raw = if tty { RawMode::enter() } else { None };
    let mut out = tokio::io::stdout();
    let mut err = tokio::io::stderr();
    let mut frames = Frames::default();
    let mut input_open = true;
    loop {
        tokio::select! {
            frame = frames.next(&mut reader) => {
                let Some((kind, payload)) = frame.map_err(lost)? else {
                    return Err(CliError::new("the connection ended before the process did; it may run on", "landfall ps"));
                };
                match kind {
                    Kind::Stdout => { out.write_all(&payload).await.map_err(lost)?; out.flush().await.map_err(lost)?; }
                    Kind::Stderr => { err.write_all(&payload).await.map_err(lost)?; err.flush().await.map_err(lost)?; }
                    Kind::Json => if let Some(code) = exit_code(&payload)? { return Ok(code) },
                    Kind::Stdin => {}
                }
            }
            bytes = input.recv(), if input_open => {
                let bytes = bytes.unwrap_or_default();
                input_open = !bytes.is_empty();
                writer.write_all(&frame::header(Kind::Stdin, bytes.len())).await.map_err(lost)?;
                writer.write_all(&bytes).await.map_err(lost)?;
            }
            _ = resized.recv(), if tty => if let Some((cols, rows)) = window() {
                writer.write_all(&frame::json(&json!({ "resize": { "cols": cols, "rows": rows } }))).await.map_err(lost)?;
            },
            _ = interrupted.recv() => writer.write_all(&frame::json(&json!({ "signal": 2 }))).await.map_err(lost)?,
            _ = terminated.recv() => writer.write_all(&frame::json(&json!({ "signal": 15 }))).await.map_err(lost)?,
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
    async fn next(&mut self, reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<Option<(Kind, Vec<u8>)>> {
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
