//! An app's response head: checked, and written as the head the client gets.

use std::mem::MaybeUninit;

use super::token::{decimal, is_token, is_value, list};
use super::{Framing, MANY_HEADERS, MOST_NAMED};
use crate::config::Limits;

/// A response head that cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadResponse {
    /// H17.
    Malformed,
    /// H25.
    TooLarge,
}

/// What the rest of the exchange needs to know about a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// How the body comes from the app.
    pub(crate) framing: Framing,
    /// The app keeps the connection open.
    pub(crate) keep_alive: bool,
    /// The client gets the body in chunks.
    pub(crate) rechunk: bool,
    /// The client's connection can be used again after this response.
    pub(crate) keep_client: bool,
}

/// What the request says about the response to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) is_head: bool,
    pub(crate) is_http11: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// Reads a complete head and appends the client's to `out`, where it needs as much room as [`super::rewritten`] says.
#[inline(never)]
pub(crate) fn read(head: &[u8], asked: Asked, limits: &Limits, out: &mut Vec<u8>) -> Result<Response, BadResponse> {
    match read_with::<48>(head, asked, limits, out) {
        Err(BadResponse::TooLarge) => read_with::<MANY_HEADERS>(head, asked, limits, out),
        other => other,
    }
}

#[inline(never)]
fn read_with<const N: usize>(head: &[u8], asked: Asked, limits: &Limits, out: &mut Vec<u8>) -> Result<Response, BadResponse> {
    let mut slots = [const { MaybeUninit::uninit() }; N];
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut slots) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(BadResponse::TooLarge),
        _ => return Err(BadResponse::Malformed),
    }
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else { return Err(BadResponse::Malformed) };
    if !(100..=999).contains(&status) {
        return Err(BadResponse::Malformed);
    }
    let seen = Seen::collect(parsed.headers, limits)?;
    let switching = status == 101;
    if switching && !asked.upgrade {
        return Err(BadResponse::Malformed);
    }
    let bodyless = status < 200 || status == 204 || status == 304 || asked.is_head;
    let framing = match (bodyless, seen.chunked, seen.length) {
        (true, _, _) => Framing::None,
        (false, true, None) => Framing::Chunked,
        (false, true, Some(_)) => return Err(BadResponse::Malformed),
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::Close,
    };
    let rechunk = matches!(framing, Framing::Chunked | Framing::Close) && asked.is_http11;
    let keep_client = asked.keep_alive && (rechunk || !matches!(framing, Framing::Chunked | Framing::Close));
    let keep_alive = minor == 1 && !seen.close && framing != Framing::Close;

    out.extend_from_slice(b"HTTP/1.1 ");
    super::token::put_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(parsed.reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for header in parsed.headers.iter() {
        let name = header.name;
        let dropped = is_hop_by_hop(name)
            || (seen.names_others && connection_names(parsed.headers, name))
            || (name.len() == 14 && name.eq_ignore_ascii_case("content-length") && (status < 200 || status == 204 || seen.chunked));
        if !dropped {
            put(out, name.as_bytes(), header.value);
        }
    }
    if status >= 200 || switching {
        put(out, b"Via", b"1.1 landfall-router");
    }
    if rechunk || (seen.chunked && asked.is_head && asked.is_http11) {
        put(out, b"Transfer-Encoding", b"chunked");
    }
    if switching {
        put(out, b"Connection", b"Upgrade");
        if let Some(protocol) = seen.upgrade {
            put(out, b"Upgrade", protocol);
        }
    } else if status >= 200 {
        if !keep_client {
            put(out, b"Connection", b"close");
        } else if !asked.is_http11 {
            put(out, b"Connection", b"keep-alive");
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(Response { status, framing, keep_alive, rechunk, keep_client })
}

fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn is_hop_by_hop(name: &str) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 => is("te"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        _ => false,
    }
}

#[derive(Default)]
struct Seen<'h> {
    chunked: bool,
    length: Option<u64>,
    close: bool,
    names_others: bool,
    upgrade: Option<&'h [u8]>,
}

impl<'h> Seen<'h> {
    fn collect(headers: &[httparse::Header<'h>], limits: &Limits) -> Result<Self, BadResponse> {
        let (mut seen, mut named) = (Self::default(), 0);
        for header in headers {
            let (name, value) = (header.name, header.value);
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if name.len() > limits.header_name || (is("set-cookie") && name.len() + value.len() > limits.cookie_line) {
                return Err(BadResponse::TooLarge);
            }
            if !is_token(name.as_bytes()) || !is_value(value) {
                return Err(BadResponse::Malformed);
            }
            match name.len() {
                7 if is("upgrade") => seen.upgrade = Some(value),
                10 if is("connection") => {
                    for member in list(value) {
                        named += 1;
                        if named > MOST_NAMED {
                            return Err(BadResponse::TooLarge);
                        }
                        if member.eq_ignore_ascii_case(b"close") {
                            seen.close = true;
                        } else if !member.eq_ignore_ascii_case(b"keep-alive") {
                            seen.names_others = true;
                        }
                    }
                }
                14 if is("content-length") => {
                    let length = decimal(value).ok_or(BadResponse::Malformed)?;
                    if seen.length.replace(length).is_some_and(|other| other != length) {
                        return Err(BadResponse::Malformed);
                    }
                }
                17 if is("transfer-encoding") => {
                    if seen.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(BadResponse::Malformed);
                    }
                    seen.chunked = true;
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}

/// Whether a `Connection` field says that this header is for us alone. The body's length cannot be taken away by naming it.
fn connection_names(headers: &[httparse::Header<'_>], name: &str) -> bool {
    !name.eq_ignore_ascii_case("content-length")
        && headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("connection"))
            .any(|header| list(header.value).any(|member| member.eq_ignore_ascii_case(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Asked = Asked { is_head: false, is_http11: true, keep_alive: true, upgrade: false };

    fn pass(head: &[u8], asked: Asked) -> Result<(Response, String), BadResponse> {
        let mut out = Vec::new();
        read(head, asked, &Limits::default(), &mut out).map(|response| (response, String::from_utf8(out).unwrap()))
    }

    #[test]
    fn hop_by_hop_headers_stay_behind() {
        let head = b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: timeout=5\r\nX-Secret: 1\r\nX-Ok: 2\r\n\r\n";
        insta::assert_snapshot!(pass(head, PLAIN).unwrap().1);
    }

    #[test]
    fn bodies_are_framed_for_the_client() {
        let framing = |head: &[u8], asked| {
            pass(head, asked).map(|(response, _)| (response.framing, response.rechunk, response.keep_alive, response.keep_client))
        };
        let old = Asked { is_http11: false, keep_alive: true, ..PLAIN };
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", PLAIN), Ok((Framing::Chunked, true, true, true)));
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", old), Ok((Framing::Chunked, false, true, false)));
        assert_eq!(framing(b"HTTP/1.0 200 OK\r\n\r\n", PLAIN), Ok((Framing::Close, true, false, true)));
        assert_eq!(framing(b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", PLAIN), Ok((Framing::None, false, true, true)));
        assert_eq!(framing(b"HTTP/1.1 204 No\r\n\r\n", PLAIN), Ok((Framing::None, false, true, true)));
        assert_eq!(
            framing(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Asked { is_head: true, ..PLAIN }),
            Ok((Framing::None, false, true, true))
        );
    }

    #[test]
    fn bad_heads_are_h17() {
        for bad in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\n\r\n",
        ] {
            assert_eq!(pass(bad, PLAIN).map(|_| ()), Err(BadResponse::Malformed), "{}", String::from_utf8_lossy(bad));
        }
        let crowded = format!("HTTP/1.1 200 OK\r\nConnection: close{}\r\n\r\n", ", x".repeat(MOST_NAMED));
        assert_eq!(pass(crowded.as_bytes(), PLAIN).map(|_| ()), Err(BadResponse::TooLarge));
        let cookie = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\n\r\n", "a".repeat(8192));
        assert_eq!(pass(cookie.as_bytes(), PLAIN).map(|_| ()), Err(BadResponse::TooLarge));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(head: Vec<u8>) {
            let _ = pass(&head, PLAIN);
        }
    }
}
