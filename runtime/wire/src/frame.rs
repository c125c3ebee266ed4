//! One frame: kind (1 byte), length (4 bytes, big endian), payload. Used by the agent's socket and by the shim's.

/// Longest payload a peer may send; longer is a protocol error, not an allocation.
pub const MAX_PAYLOAD: usize = 4 * 1024 * 1024;

/// Bytes before the payload.
pub const HEADER: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// JSON: a request, an answer or an event.
    Json = 1,
    /// Raw bytes for the container's standard input. Empty = end of input.
    Stdin = 2,
    /// Raw bytes from standard output (or the PTY).
    Stdout = 3,
    /// Raw bytes from standard error.
    Stderr = 4,
}

impl Kind {
    /// The kind of a byte, if there is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Json, Self::Stdin, Self::Stdout, Self::Stderr].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte is no kind.
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// The length is over [`MAX_PAYLOAD`].
    #[error("frame of {0} bytes is over the limit")]
    TooLong(usize),
}

/// Reads a header: kind and payload length.
pub fn parse_header(header: [u8; HEADER]) -> Result<(Kind, usize), FrameError> {
    let kind = Kind::from_byte(header[0]).ok_or(FrameError::UnknownKind(header[0]))?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    Ok((kind, length))
}

/// Writes a header.
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = u32::try_from(length).expect("payloads are under 4 MiB").to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// One JSON frame, whole.
pub fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let body = serde_json::to_vec(value).expect("wire types serialise");
    let mut frame = header(Kind::Json, body.len()).to_vec();
    frame.extend_from_slice(&body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_refuse() {
        assert_eq!(parse_header(header(Kind::Stdout, 70_000)), Ok((Kind::Stdout, 70_000)));
        assert_eq!(parse_header([9, 0, 0, 0, 0]), Err(FrameError::UnknownKind(9)));
        assert!(matches!(parse_header([1, 255, 0, 0, 0]), Err(FrameError::TooLong(_))));
    }
}
