//! git's packet lines: just enough to put lines of ours before git's own.
//! <https://git-scm.com/docs/protocol-common#_pkt_line_format>

/// `001e# service=git-upload-pack\n` and the like.
pub(super) fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", payload.len() + 4).into_bytes();
    packet.extend_from_slice(payload);
    packet
}

/// A line on side band 2, which the client shows as `remote: …`.
pub(super) fn remote_line(text: &str) -> Vec<u8> {
    let mut payload = vec![2];
    payload.extend_from_slice(text.as_bytes());
    payload.push(b'\n');
    packet(&payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(packet(b"# service=git-upload-pack\n"), b"001e# service=git-upload-pack\n");
        assert_eq!(remote_line("hi"), b"0008\x02hi\n");
    }
}
