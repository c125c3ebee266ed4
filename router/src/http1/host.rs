//! The `Host` field and the authority of an absolute-form target.

/// Longest DNS name, and so the longest host that can be in the table.
pub(crate) const MAX_HOST: usize = 253;

/// Splits `host[:port]` and checks both. The host may be a name, an IPv4 address or an IPv6 address in brackets.
pub(crate) fn split(authority: &[u8]) -> Option<&[u8]> {
    let (host, port) = if authority.first() == Some(&b'[') {
        let end = authority.iter().position(|&byte| byte == b']')?;
        let inner = &authority[1..end];
        if inner.is_empty() || !inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return None;
        }
        (&authority[..=end], &authority[end + 1..])
    } else {
        let end = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
        (&authority[..end], &authority[end..])
    };
    let good_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let good_host = host.first() == Some(&b'[') || is_name(host);
    (good_port && good_host).then_some(host)
}

/// Letters, digits, `-`, `_` and dots between non-empty labels; one dot may end it.
fn is_name(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.split(|&byte| byte == b'.').all(|label| {
            !label.is_empty() && label.len() <= 63 && label.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// The form in which hosts are looked up: lower case, no final dot.
pub(crate) fn fold<'b>(host: &[u8], buffer: &'b mut [u8; MAX_HOST]) -> Option<&'b str> {
    let host = host.strip_suffix(b".").unwrap_or(host);
    let folded = buffer.get_mut(..host.len())?;
    folded.copy_from_slice(host);
    folded.make_ascii_lowercase();
    std::str::from_utf8(folded).ok()
}

/// A host as the table may hold it: a name in the folded form, perhaps after `*.`.
pub(crate) fn is_table_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    is_name(name.as_bytes()) && !name.ends_with('.') && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}
