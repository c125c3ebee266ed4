//! The head of a request: read within limits of size and time, and parsed strictly.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Limits;

/// Longest wait of one read, so that a connection at rest notices that others need its thread.
const SLICE: Duration = Duration::from_millis(250);

/// What matters of a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET`.
    pub method: String,
    /// Not decoded, without the query.
    pub path: String,
    /// With its `?`, or empty.
    pub query: String,
    /// The connection may serve another request.
    pub keep_alive: bool,
    headers: Vec<(String, String)>,
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRequest {
    /// The other side is done, or silent: nothing to answer.
    Gone,
    /// Answered with this status, then closed.
    Refused(u16),
}

impl Request {
    /// Parses a head without its last empty line.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, NoRequest> {
        let bad = || NoRequest::Refused(400);
        let head = std::str::from_utf8(head).map_err(|_| bad())?;
        let mut lines = head.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, version] = first[..] else { return Err(bad()) };
        let newer = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ if version.starts_with("HTTP/") => return Err(NoRequest::Refused(505)),
            _ => return Err(bad()),
        };
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            let value = value.trim_matches([' ', '\t']);
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) || value.contains(['\r', '\n', '\0']) {
                return Err(bad());
            }
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        if newer && headers.iter().filter(|(n, _)| n == "host").count() != 1 {
            return Err(bad());
        }
        // A proxy may name the whole URL.
        let target = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
            _ => target,
        };
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut request = Self { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), keep_alive: newer, headers };
        let says = |word: &str| request.header("connection").is_some_and(|v| v.split(',').any(|w| w.trim().eq_ignore_ascii_case(word)));
        let keep_alive = if newer { !says("close") } else { says("keep-alive") };
        // A body is not read: nothing here takes one.
        request.keep_alive = keep_alive && !request.has_body();
        Ok(request)
    }

    /// A header's value, by its lowercase name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Bytes follow that are not the next request.
    pub(crate) fn has_body(&self) -> bool {
        self.header("transfer-encoding").is_some() || self.header("content-length").is_some_and(|l| l != "0")
    }
}

/// Reads the next head from `stream`; `ahead` holds bytes that were read and not used. `crowded` shortens the wait for a first byte.
pub(crate) fn read(stream: &mut TcpStream, ahead: &mut Vec<u8>, limits: &Limits, crowded: impl Fn() -> bool) -> Result<Request, NoRequest> {
    let started = Instant::now();
    let mut first_byte = None;
    let mut chunk = [0; 4096];
    loop {
        while ahead.starts_with(b"\r\n") {
            ahead.drain(..2);
        }
        if let Some(end) = ahead.windows(4).position(|w| w == b"\r\n\r\n") {
            if end > limits.head_bytes {
                return Err(NoRequest::Refused(431));
            }
            let request = Request::parse(&ahead[..end]);
            ahead.drain(..end + 4);
            return request;
        }
        if ahead.len() > limits.head_bytes {
            return Err(NoRequest::Refused(431));
        }
        if !ahead.is_empty() {
            first_byte.get_or_insert_with(Instant::now);
        }
        let deadline = match first_byte {
            Some(at) => at + limits.head_time,
            None => started + if crowded() { limits.idle_time / 30 } else { limits.idle_time },
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(if first_byte.is_some() { NoRequest::Refused(408) } else { NoRequest::Gone });
        }
        stream.set_read_timeout(Some(left.min(SLICE))).map_err(|_| NoRequest::Gone)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(NoRequest::Gone),
            Ok(n) => ahead.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => return Err(NoRequest::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_and_refuses() {
        let read = Request::parse(b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nRange:  bytes=0-1 ").unwrap();
        assert_eq!((read.path.as_str(), read.query.as_str(), read.keep_alive), ("/a%20b", "?c=d", true));
        assert_eq!(read.header("range"), Some("bytes=0-1"));
        assert_eq!(Request::parse(b"GET http://x/y HTTP/1.1\r\nHost: x").unwrap().path, "/y");
        assert_eq!(Request::parse(b"GET /r?u=http://x/y HTTP/1.1\r\nHost: x").unwrap().path, "/r");
        let keep = |head: &[u8]| Request::parse(head).unwrap().keep_alive;
        assert!(!keep(b"GET / HTTP/1.0") && keep(b"GET / HTTP/1.0\r\nConnection: Keep-Alive"));
        assert!(!keep(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close") && !keep(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3"));
        for (head, status) in [
            (&b"GET / HTTP/1.1"[..], 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
            (b"GET /", 400),
            (b"GET /a b HTTP/1.1\r\nHost: x", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\n folded", 400),
            (b"GET / HTTP/1.1\r\nHost : x", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nc", 400),
            (b"GET / HTTP/2.0\r\nHost: x", 505),
            (b"\xff", 400),
        ] {
            assert_eq!(Request::parse(head), Err(NoRequest::Refused(status)), "{}", String::from_utf8_lossy(head));
        }
    }

    proptest! {
        #[test]
        fn never_panics(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&head);
            let _ = Request::parse(&[b"GET / HTTP/1.1\r\nHost: x\r\n", &head[..]].concat());
        }
    }
}
