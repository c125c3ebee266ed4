//! Request targets: a path, or a whole address whose path it is.

use super::Reject;

#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// The authority of an absolute-form target, and the path and query byte for byte.
pub(super) fn split_target<'a>(method: &[u8], target: &'a [u8]) -> Result<(Option<&'a [u8]>, Path<'a>), Reject> {
    if method == b"CONNECT" {
        return Err(Reject(405));
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        return Ok((None, Path { prefix: b"", rest: target }));
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .ok_or(Reject(400))?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let prefix: &[u8] = match rest.first() {
        Some(b'/') => b"",
        None if method == b"OPTIONS" => b"*",
        _ => b"/",
    };
    Ok((Some(authority), Path { prefix, rest }))
}
