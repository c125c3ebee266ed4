//! What a request line says, in Heroku's words.

use crate::code::Code;
use crate::http1::request::Request;
use crate::http1::token::put_decimal;

/// Bytes of `fwd` that are shown: clients can make it as long as a header may be.
const MAX_FORWARDED: usize = 512;

/// One request, ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) request: &'a Request,
    pub(crate) code: Option<Code>,
    /// Empty if no dyno was asked; then connect and service are empty as well.
    pub(crate) dyno: &'a str,
    pub(crate) connect_ms: u64,
    pub(crate) service_ms: u64,
    pub(crate) status: u16,
    /// Of the body, as sent to the client.
    pub(crate) bytes: u64,
    pub(crate) protocol: &'static str,
}

impl Line<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.code {
            None => out.extend_from_slice(b"at=info"),
            Some(code) => {
                out.extend_from_slice(b"at=error code=");
                out.extend_from_slice(code.name().as_bytes());
                out.extend_from_slice(b" desc=\"");
                out.extend_from_slice(code.description().as_bytes());
                out.push(b'"');
            }
        }
        out.extend_from_slice(b" method=");
        out.extend_from_slice(self.request.method());
        out.extend_from_slice(b" path=\"");
        put_quoted(out, self.request.target());
        out.extend_from_slice(b"\" host=");
        out.extend_from_slice(self.request.host());
        out.extend_from_slice(b" request_id=");
        out.extend_from_slice(self.request.id());
        out.extend_from_slice(b" fwd=\"");
        let forwarded = self.request.forwarded();
        put_quoted(out, &forwarded[forwarded.len().saturating_sub(MAX_FORWARDED)..]);
        out.extend_from_slice(b"\" dyno=");
        out.extend_from_slice(self.dyno.as_bytes());
        out.extend_from_slice(b" connect=");
        self.put_ms(out, self.connect_ms);
        out.extend_from_slice(b" service=");
        self.put_ms(out, self.service_ms);
        out.extend_from_slice(b" status=");
        put_decimal(out, u64::from(self.status));
        out.extend_from_slice(b" bytes=");
        put_decimal(out, self.bytes);
        out.extend_from_slice(b" protocol=");
        out.extend_from_slice(self.protocol.as_bytes());
    }

    fn put_ms(&self, out: &mut Vec<u8>, ms: u64) {
        if !self.dyno.is_empty() {
            put_decimal(out, ms);
            out.extend_from_slice(b"ms");
        }
    }
}

/// A client's words must not end the quotes, nor be anything but text.
fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if byte == b'"' || !(0x20..0x7f).contains(&byte) {
            out.extend_from_slice(&[b'%', b"0123456789ABCDEF"[usize::from(byte >> 4)], b"0123456789ABCDEF"[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::http1::request::Origin;

    fn request() -> Request {
        let mut request = Request::new(&Budget::new(0));
        let origin = Origin { peer: "1.2.3.4", proto: "http", port: 8080, start_ms: 0, random: [7; 16] };
        let head = b"GET /a\"b\xc3\xa9?x HTTP/1.1\r\nHost: blog.localhost:8080\r\nX-Forwarded-For: \"9.9.9.9\r\n\r\n";
        request.read(head, &origin, 1000).unwrap();
        request
    }

    fn line(code: Option<Code>, dyno: &str) -> String {
        let mut out = Vec::new();
        let status = code.map_or(200, Code::status);
        let line = Line { request: &request(), code, dyno, connect_ms: 0, service_ms: 12, status, bytes: 13, protocol: "http" };
        line.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_have_herokus_shape() {
        insta::assert_snapshot!([line(None, "web.1"), line(Some(Code::H12), "web.1"), line(Some(Code::H14), "")].join("\n"));
    }
}
