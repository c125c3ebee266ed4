//! What a request's header fields say, and which of them are passed on.

use super::Reject;
use crate::http1::token::{decimal, is_token, is_value, list};
use crate::http1::{Framing, MOST_NAMED};

/// Headers that are not passed on as they came: hop by hop, written anew, or (`Forwarded` and all of `X-Forwarded-`) a proxy's to say and
/// believed by apps. `_` counts as `-`, since many apps cannot tell them apart.
pub(super) fn is_ours(name: &[u8]) -> bool {
    let is =
        |other: &[u8]| name.iter().zip(other).all(|(&byte, &other)| byte.to_ascii_lowercase() == other || (byte == b'_' && other == b'-'));
    match name.len() {
        2 => is(b"te"),
        4 => is(b"host"),
        7 => is(b"trailer") || is(b"upgrade"),
        9 => is(b"forwarded"),
        10 => is(b"connection") || is(b"keep-alive"),
        12 => is(b"x-request-id") || is(b"connect-time"),
        14 if is(b"content-length") || is(b"http2-settings") => true,
        15 if is(b"x-request-start") => true,
        16 if is(b"proxy-connection") => true,
        17 if is(b"transfer-encoding") => true,
        13.. => is(b"x-forwarded-"),
        _ => false,
    }
}

/// What the headers say about framing and routing.
pub(super) struct Seen<'h> {
    pub(super) host: Option<&'h [u8]>,
    pub(super) framing: Framing,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) names_others: bool,
    pub(super) upgrade: Option<&'h [u8]>,
    pub(super) bad_expectation: bool,
    pub(super) request_id: Option<&'h [u8]>,
}

impl<'h> Seen<'h> {
    pub(super) fn collect(headers: &[httparse::Header<'h>], max_name: usize, is_http11: bool) -> Result<Self, Reject> {
        let mut seen = Self {
            host: None,
            framing: Framing::None,
            close: false,
            keep_alive: false,
            names_others: false,
            upgrade: None,
            bad_expectation: false,
            request_id: None,
        };
        let (mut hosts, mut lengths, mut codings, mut ids, mut named, mut wants_upgrade) = (0, 0, 0, 0, 0, false);
        for header in headers {
            let (name, value) = (header.name.as_bytes(), header.value);
            if name.len() > max_name {
                return Err(Reject(431));
            }
            if !is_token(name) || !is_value(value) {
                return Err(Reject(400));
            }
            let is = |other: &str| header.name.eq_ignore_ascii_case(other);
            match name.len() {
                4 if is("host") => {
                    hosts += 1;
                    seen.host = Some(value);
                }
                6 if is("expect") => seen.bad_expectation |= !value.eq_ignore_ascii_case(b"100-continue"),
                7 if is("upgrade") => seen.upgrade = Some(value),
                10 if is("connection") => {
                    for member in list(value) {
                        named += 1;
                        if named > MOST_NAMED {
                            return Err(Reject(400));
                        }
                        match member.len() {
                            5 if member.eq_ignore_ascii_case(b"close") => seen.close = true,
                            7 if member.eq_ignore_ascii_case(b"upgrade") => wants_upgrade = true,
                            10 if member.eq_ignore_ascii_case(b"keep-alive") => seen.keep_alive = true,
                            _ => seen.names_others = true,
                        }
                    }
                }
                12 if is("x-request-id") => {
                    ids += 1;
                    seen.request_id = (ids == 1).then_some(value);
                }
                14 if is("content-length") => {
                    lengths += 1;
                    seen.framing = Framing::Length(decimal(value).ok_or(Reject(400))?);
                }
                17 if is("transfer-encoding") => {
                    codings += 1;
                    if !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Reject(400));
                    }
                    seen.framing = Framing::Chunked;
                }
                _ => {}
            }
        }
        if hosts != 1 || lengths + codings > 1 || (codings > 0 && !is_http11) {
            return Err(Reject(400));
        }
        // No h2c: an app that agreed to it would speak a protocol that is not checked here.
        let h2c = |value: &[u8]| list(value).any(|member| member.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"h2c")));
        seen.upgrade = seen.upgrade.filter(|value| wants_upgrade && !value.is_empty() && !h2c(value));
        Ok(seen)
    }
}

/// Whether a `Connection` field says that this header is for us alone.
pub(super) fn connection_names(headers: &[httparse::Header<'_>], name: &[u8]) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .any(|header| list(header.value).any(|member| member.eq_ignore_ascii_case(name)))
}
