//! `GET /attach/<ticket>` with `Upgrade: landfall-attach/1`: a terminal joined to a process.
//!
//! The ticket in the path is the permission: it was given to an authorised caller by `POST /apps/{app}/dynos` (as `attach_url`) or
//! `POST /apps/{app}/dynos/{dyno}/actions/exec`, works once, and ends with the caller's right to the app. After `101 Switching Protocols` both sides speak the frames of
//! [`landfall_runtime_wire::frame`]:
//!
//! | from | frame | meaning |
//! | --- | --- | --- |
//! | client | `Stdin` | bytes for standard input; empty = end of input |
//! | client | `Json` `{"resize":{"cols":80,"rows":24}}` | the window changed |
//! | client | `Json` `{"signal":2}` | send this signal |
//! | server | `Stdout`, `Stderr` | output (a PTY's output is all `Stdout`) |
//! | server | `Json` `{"exit":0}` | it ended with this status; the last frame |
//! | server | `Json` `{"error":"…"}` | the process was lost; the last frame |
//!
//! Other transports (the Heroku CLI's TLS rendezvous) can take the secret in the ticket to [`crate::platform::Platform::attach`].

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use landfall_runtime_wire::frame::{self, Kind};
use landfall_store::Grant;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::ApiState;
use crate::error::{ApiError, ApiResult};
use crate::http::lasting::until_taken_away;
use crate::platform::{AttachInput, AttachOutput, Attachment};

/// What an attachment's ticket says: whose right it stands on, and the platform's own secret.
pub(crate) type Ticket = (Grant, String);
pub(crate) const PURPOSE: &str = "attach";

/// The name of the protocol in `Upgrade`.
pub const PROTOCOL: &str = "landfall-attach/1";

/// How long a client may take to read how its process ended.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(30);

/// Upgrades a request and carries frames until the process or the client ends.
pub(crate) async fn attach(State(state): State<ApiState>, Path(ticket): Path<String>, mut request: Request) -> ApiResult {
    let asked = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case(PROTOCOL));
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let (true, Some(upgrade)) = (asked, upgrade) else {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            format!("This address speaks {PROTOCOL}. Attach with: landfall run COMMAND"),
        ));
    };
    let gone = || ApiError::not_found("session", "It is over or was joined already. Start another one with: landfall run COMMAND");
    let (grant, secret): Ticket = state.config().ticket_key.open(PURPOSE, &ticket).ok_or_else(gone)?;
    if !state.store().grant_holds(&grant).await? {
        return Err(gone());
    }
    let attachment = state.platform().attach(secret).await?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(TokioIo::new(stream));
                carry(attachment, reader, writer, until_taken_away(state, grant)).await;
            }
            Err(error) => tracing::debug!(error.chain = %landfall_model::chain(&error), "attachment was not upgraded"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(response)
}

/// Both directions; the client's end of the stream ends the attachment, and so does the end of the client's right to it.
async fn carry(
    attachment: Attachment,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    taken_away: impl Future<Output = ()>,
) {
    let Attachment { input, output } = attachment;
    let told = tokio::select! {
        told = to_client(output, &mut writer) => told.is_ok(),
        _ = to_process(&mut reader, input) => false,
        () = taken_away => false,
    };
    if told {
        // Closing a connection with unread input would reset it, and the client might lose our last words.
        let _ = tokio::time::timeout(LAST_WORDS, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
    }
}

async fn to_client(mut output: mpsc::Receiver<AttachOutput>, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    while let Some(item) = output.recv().await {
        match item {
            AttachOutput::Stdout(bytes) => write_frames(writer, Kind::Stdout, &bytes).await?,
            AttachOutput::Stderr(bytes) => write_frames(writer, Kind::Stderr, &bytes).await?,
            AttachOutput::Exit(code) => {
                writer.write_all(&frame::json(&json!({ "exit": code }))).await?;
                return writer.shutdown().await;
            }
        }
        writer.flush().await?;
    }
    let lost = json!({ "error": "the connection to the dyno was lost; it may run on. See it with: landfall ps" });
    writer.write_all(&frame::json(&lost)).await?;
    writer.shutdown().await
}

async fn write_frames(writer: &mut (impl AsyncWrite + Unpin), kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
    for chunk in bytes.chunks(frame::MAX_PAYLOAD) {
        writer.write_all(&frame::header(kind, chunk.len())).await?;
        writer.write_all(chunk).await?;
    }
    Ok(())
}

/// Returns when the client is gone. Standard input that nobody reads makes it wait, and so the client.
async fn to_process(reader: &mut (impl AsyncRead + Unpin), input: mpsc::Sender<AttachInput>) -> std::io::Result<()> {
    loop {
        let mut header = [0; frame::HEADER];
        reader.read_exact(&mut header).await?;
        let (kind, length) = frame::parse_header(header).map_err(std::io::Error::other)?;
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload).await?;
        let item = match kind {
            Kind::Stdin if payload.is_empty() => Some(AttachInput::StdinEnd),
            Kind::Stdin => Some(AttachInput::Stdin(Bytes::from(payload))),
            Kind::Json => control(&payload),
            Kind::Stdout | Kind::Stderr => None,
        };
        if let Some(item) = item {
            // A process that takes no more input may still have something to say. What comes is read all the same, up to its end: that is
            // how one hears that the client left.
            let _ = input.send(item).await;
        }
    }
}

fn control(payload: &[u8]) -> Option<AttachInput> {
    let message: Value = serde_json::from_slice(payload).ok()?;
    if let Some(signal) = message["signal"].as_i64() {
        return i32::try_from(signal).ok().filter(|signal| (1..=64).contains(signal)).map(AttachInput::Signal);
    }
    let side = |name: &str| message["resize"][name].as_u64().and_then(|side| u16::try_from(side).ok());
    Some(AttachInput::Resize(side("cols")?, side("rows")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages() {
        assert_eq!(control(br#"{"resize":{"cols":80,"rows":24}}"#), Some(AttachInput::Resize(80, 24)));
        assert_eq!(control(br#"{"signal":2}"#), Some(AttachInput::Signal(2)));
        for bad in [&br#"{"signal":0}"#[..], br#"{"signal":999}"#, br#"{"resize":{"cols":80}}"#, b"{", b"[]"] {
            assert_eq!(control(bad), None);
        }
    }

    #[tokio::test]
    async fn the_exit_code_is_the_last_frame() {
        let (input, mut got) = mpsc::channel(4);
        let (send, output) = mpsc::channel(4);
        let (client, server) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(server);
        let task = tokio::spawn(carry(Attachment { input, output }, reader, writer, std::future::pending()));
        let (mut from, mut to) = tokio::io::split(client);
        to.write_all(&frame::header(Kind::Stdin, 2)).await.unwrap();
        to.write_all(b"hi").await.unwrap();
        to.write_all(&frame::header(Kind::Stdin, 0)).await.unwrap();
        assert_eq!(got.recv().await, Some(AttachInput::Stdin(Bytes::from_static(b"hi"))));
        assert_eq!(got.recv().await, Some(AttachInput::StdinEnd));
        send.send(AttachOutput::Stdout(Bytes::from_static(b"yo"))).await.unwrap();
        send.send(AttachOutput::Exit(3)).await.unwrap();
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).await.unwrap();
        to.write_all(&[0; 4096]).await.expect("what comes too late is read all the same");
        drop((from, to));
        let mut expected = frame::header(Kind::Stdout, 2).to_vec();
        expected.extend(b"yo");
        expected.extend(frame::json(&json!({ "exit": 3 })));
        assert_eq!(bytes, expected);
        task.await.unwrap();
    }
}
