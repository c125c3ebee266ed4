//! A plain HTTP/1.1 client, small enough to trust: one request a connection, or one kept open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Head, as it came.
    pub head: String,
    /// Body, chunks joined.
    pub body: String,
}

/// GET.
pub fn get(to: SocketAddr, host: &str, path: &str) -> Result<Answer> {
    request(to, "GET", host, path, &[], b"")
}

/// Any request.
pub fn request(to: SocketAddr, method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    raw(to, &[head.as_bytes(), body].concat())
}

/// These bytes, and whatever comes back until the peer closes.
pub fn raw(to: SocketAddr, bytes: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(90)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { bail!("no head in {:?}", String::from_utf8_lossy(bytes)) };
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).with_context(|| format!("no status in {head:?}"))?;
    let body = &bytes[at + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { joined(body)? } else { body.to_vec() };
    Ok(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
}

fn joined(mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end])?.trim(), 16)?;
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(bytes.get(end + 2..end + 2 + size).context("a cut chunk")?);
        bytes = &bytes[end + 4 + size..];
    }
}
