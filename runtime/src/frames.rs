//! Frames over tokio streams.

use bytes::Bytes;
use landfall_runtime_wire::frame::{self, Kind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The next frame; `None` at a clean end. Not cancel-safe: a dropped read loses the frame.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<(Kind, Bytes)>> {
    let mut header = [0; frame::HEADER];
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(&mut header[filled..]).await? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let (kind, length) = frame::parse_header(header).map_err(std::io::Error::other)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(Some((kind, payload.into())))
}

/// Writes one frame.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), kind: Kind, payload: &[u8]) -> std::io::Result<()> {
    let mut whole = Vec::with_capacity(frame::HEADER + payload.len());
    whole.extend_from_slice(&frame::header(kind, payload.len()));
    whole.extend_from_slice(payload);
    stream.write_all(&whole).await
}

/// Writes one JSON frame.
pub(crate) async fn write_json<T: serde::Serialize>(stream: &mut (impl AsyncWrite + Unpin), value: &T) -> std::io::Result<()> {
    stream.write_all(&frame::json(value)).await
}

/// Reads a JSON payload.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(payload: &[u8]) -> std::io::Result<T> {
    serde_json::from_slice(payload).map_err(std::io::Error::other)
}
