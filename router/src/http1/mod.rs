//! HTTP/1.1 as bytes: heads, framing, and what may be passed on. No sockets here.

pub(crate) mod chunked;
pub(crate) mod head;
pub(crate) mod host;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod token;

/// Headers that one `Connection` field may name, `close` and the like included: each is looked for among all headers. Real heads name one
/// or two.
const MOST_NAMED: usize = 32;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Until the last chunk.
    Chunked,
    /// Until the connection ends (responses only).
    Close,
}
