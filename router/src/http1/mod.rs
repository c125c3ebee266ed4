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
/// Headers that are looked at, whatever the limits say.
const MANY_HEADERS: usize = 1024;

/// The longest that a head of so many bytes can be when it is passed on: a line gains a space after its colon (`a:` becomes `a: `), and
/// fields of our own are added.
pub(crate) fn rewritten(length: usize) -> usize {
    const SHORTEST_LINE: usize = "a:\r\n".len();
    const OURS: usize = 512;
    length + (length / SHORTEST_LINE).min(MANY_HEADERS) + OURS
}

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
