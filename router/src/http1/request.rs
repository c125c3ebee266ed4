//! A client's request head: checked strictly, and written once as the head the app gets.
//!
//! The library splits lines into names and values; what those may be is decided here (rules H1 to H4).

mod fields;
mod target;

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use super::token::{is_token, put_decimal};
use super::{Framing, MANY_HEADERS, host, rewritten};
use crate::budget::{Budget, BudgetVec, REWRITTEN};
use fields::{Seen, connection_names, is_ours};
use target::{Path, split_target};

/// A head that is refused, with the status the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reject(pub(crate) u16);

/// What the connection, not the client's words, says about the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The client's address as text.
    pub(crate) peer: &'a str,
    /// `http` or `https`.
    pub(crate) proto: &'static str,
    /// The port the client connected to.
    pub(crate) port: u16,
    /// Milliseconds since 1970.
    pub(crate) start_ms: u64,
    /// For the request id if the client gave none that will do.
    pub(crate) random: [u8; 16],
}

/// A request, as the app will get it. One per connection, used again for each request: nothing is allocated once it has grown.
#[derive(Debug)]
pub(crate) struct Request {
    /// The head for the app without its end: `Connect-Time` and the empty line are added when it is sent.
    head: BudgetVec,
    method: Range<usize>,
    target: Range<usize>,
    host: Range<usize>,
    id: Range<usize>,
    forwarded: Range<usize>,
    pub(crate) framing: Option<Framing>,
    pub(crate) is_http11: bool,
    pub(crate) keep_alive: bool,
    /// The client asks for another protocol, and may get it if the app agrees.
    pub(crate) upgrade: bool,
    /// `Expect` with something else than `100-continue`.
    pub(crate) bad_expectation: bool,
}

/// Longest head that is split with the small header table on the stack.
const FEW_HEADERS: usize = 48;

impl Request {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            head: BudgetVec::new(REWRITTEN, budget),
            method: 0..0,
            target: 0..0,
            host: 0..0,
            id: 0..0,
            forwarded: 0..0,
            framing: None,
            is_http11: false,
            keep_alive: false,
            upgrade: false,
            bad_expectation: false,
        }
    }

    /// Gives memory back. What is left of the request may not be looked at any more.
    pub(crate) fn shrink(&mut self) {
        self.head.release();
    }

    pub(crate) fn method(&self) -> &[u8] {
        &self.head[self.method.clone()]
    }

    pub(crate) fn target(&self) -> &[u8] {
        &self.head[self.target.clone()]
    }

    /// Without the port.
    pub(crate) fn host(&self) -> &[u8] {
        &self.head[self.host.clone()]
    }

    pub(crate) fn id(&self) -> &[u8] {
        &self.head[self.id.clone()]
    }

    /// The whole `X-Forwarded-For` that the app gets.
    pub(crate) fn forwarded(&self) -> &[u8] {
        &self.head[self.forwarded.clone()]
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing.unwrap_or(Framing::None)
    }

    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.framing(), Framing::None | Framing::Length(0))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }

    /// Sending it twice does what sending it once does (RFC 9110, section 9.2.2), and there is no body that would be needed again.
    pub(crate) fn may_repeat(&self) -> bool {
        !self.has_body() && !self.upgrade && matches!(self.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
    }

    /// The complete head for an app that was connected to in this time. Ends what [`Request::read`] began; may be called again.
    pub(crate) fn finish(&mut self, connect_ms: u64, length: usize) -> &[u8] {
        self.head.truncate(length);
        self.head.extend_from_slice(b"Connect-Time: ");
        put_decimal(&mut self.head, connect_ms);
        self.head.extend_from_slice(b"\r\n\r\n");
        &self.head
    }

    /// Length of the unfinished head, for [`Request::finish`].
    pub(crate) fn len(&self) -> usize {
        self.head.len()
    }

    /// Reads one head, which [`super::head::HeadScan`] found to be complete. 503 if there is no memory for it.
    pub(crate) fn read(&mut self, head: &[u8], origin: &Origin<'_>, max_name: usize) -> Result<(), Reject> {
        if !self.head.fit(rewritten(head.len())) {
            return Err(Reject(503));
        }
        match self.read_with::<FEW_HEADERS>(head, origin, max_name) {
            Err(Reject(431)) => self.read_with::<MANY_HEADERS>(head, origin, max_name),
            other => other,
        }
    }

    #[inline(never)]
    fn read_with<const N: usize>(&mut self, head: &[u8], origin: &Origin<'_>, max_name: usize) -> Result<(), Reject> {
        let mut slots = [const { MaybeUninit::uninit() }; N];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut slots) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Reject(431)),
            Err(httparse::Error::Version) => return Err(version_reject(head)),
            _ => return Err(Reject(400)),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else { return Err(Reject(400)) };
        let (method, target) = (method.as_bytes(), target.as_bytes());
        if !is_token(method) || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return Err(Reject(400));
        }
        self.is_http11 = minor == 1;
        let seen = Seen::collect(parsed.headers, max_name, self.is_http11)?;
        let (authority, path) = split_target(method, target)?;
        let host_field = seen.host.ok_or(Reject(400))?;
        host::split(host_field).ok_or(Reject(400))?;
        let authority = authority.unwrap_or(host_field);
        let host = host::split(authority).ok_or(Reject(400))?;

        self.framing = Some(seen.framing);
        self.keep_alive = if self.is_http11 { !seen.close } else { seen.keep_alive && !seen.close };
        self.upgrade = seen.upgrade.is_some() && seen.framing == Framing::None && self.is_http11;
        self.bad_expectation = seen.bad_expectation;
        self.write(method, path, authority, host.len(), &seen, origin, parsed.headers);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.head.len();
        self.head.extend_from_slice(bytes);
        start..self.head.len()
    }

    #[allow(clippy::too_many_arguments)]
    fn write(
        &mut self,
        method: &[u8],
        path: Path<'_>,
        authority: &[u8],
        host_len: usize,
        seen: &Seen<'_>,
        origin: &Origin<'_>,
        headers: &[httparse::Header<'_>],
    ) {
        self.head.clear();
        self.method = self.put(method);
        self.put(b" ");
        let target = self.head.len();
        self.put(path.prefix);
        self.put(path.rest);
        self.target = target..self.head.len();
        self.put(b" HTTP/1.1\r\nHost: ");
        let host = self.put(authority);
        self.host = host.start..host.start + host_len;
        self.put(b"\r\n");
        for header in headers {
            let name = header.name.as_bytes();
            let stays = is_ours(name) || (seen.names_others && connection_names(headers, name));
            if !stays {
                self.put(name);
                self.put(b": ");
                self.put(header.value);
                self.put(b"\r\n");
            }
        }
        self.put(b"X-Forwarded-For: ");
        let forwarded = self.head.len();
        for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for") && !header.value.is_empty()) {
            self.put(header.value);
            self.put(b", ");
        }
        self.put(origin.peer.as_bytes());
        self.forwarded = forwarded..self.head.len();
        self.put(b"\r\nX-Forwarded-Proto: ");
        self.put(origin.proto.as_bytes());
        self.put(b"\r\nX-Forwarded-Port: ");
        put_decimal(&mut self.head, u64::from(origin.port));
        self.put(b"\r\nX-Request-Id: ");
        self.id = if let Some(id) = seen.request_id.filter(|id| good_request_id(id)) {
            self.put(id)
        } else {
            let mut text = [0u8; uuid::fmt::Hyphenated::LENGTH];
            let id = uuid::Builder::from_random_bytes(origin.random).into_uuid();
            let id = id.hyphenated().encode_lower(&mut text).as_bytes();
            self.put(id)
        };
        self.put(b"\r\nX-Request-Start: ");
        put_decimal(&mut self.head, origin.start_ms);
        self.put(b"\r\nVia: 1.1 landfall-router\r\n");
        match seen.framing {
            Framing::Length(length) => {
                self.put(b"Content-Length: ");
                put_decimal(&mut self.head, length);
                self.put(b"\r\n");
            }
            Framing::Chunked => {
                self.put(b"Transfer-Encoding: chunked\r\n");
            }
            Framing::None | Framing::Close => {}
        }
        if let Some(protocol) = seen.upgrade.filter(|_| self.upgrade) {
            self.put(b"Connection: Upgrade\r\nUpgrade: ");
            self.put(protocol);
            self.put(b"\r\n");
        }
    }
}

/// A later HTTP is 505; anything else after the target is no HTTP at all.
fn version_reject(head: &[u8]) -> Reject {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let version = words.nth(2).filter(|_| words.next().is_none()).unwrap_or_default();
    let is_later = matches!(version, [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', minor] if minor.is_ascii_digit());
    Reject(if is_later { 505 } else { 400 })
}

/// Kept as it came; anything else is replaced.
fn good_request_id(id: &[u8]) -> bool {
    (20..=200).contains(&id.len()) && id.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-'))
}

#[cfg(test)]
mod tests;
