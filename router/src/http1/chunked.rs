//! The chunked transfer coding, read strictly (RFC 9112, section 7.1): what is passed on is framed anew, so that an odd spelling
//! that this reader and the next would read differently never leaves the router. Extensions and trailers are dropped.

/// Bytes a chunk-size line may have, extensions included.
const MAX_SIZE_LINE: usize = 256;
/// Bytes all trailers together may have: each line must fit into the smallest buffer.
const MAX_TRAILERS: usize = 4096;

/// The framing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Skip this many bytes: framing.
    Framing(usize),
    /// This many bytes are content.
    Data(usize),
    /// The body ends after this many more bytes of framing.
    End(usize),
    /// More bytes are needed.
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailer(usize),
    Done,
}

/// Where the reader stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunked {
    state: State,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self { state: State::Size }
    }

    /// Says what `data` begins with. The caller takes as many bytes as the piece names before it asks again.
    pub(crate) fn next(&mut self, data: &[u8]) -> Result<Piece, BadChunk> {
        match self.state {
            State::Size => self.size_line(data),
            State::Data(left) => {
                if data.is_empty() {
                    return Ok(Piece::More);
                }
                let taken = left.min(data.len() as u64);
                self.state = if taken == left { State::DataEnd } else { State::Data(left - taken) };
                Ok(Piece::Data(taken as usize))
            }
            State::DataEnd => match data {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Ok(Piece::Framing(2))
                }
                [] | [b'\r'] => Ok(Piece::More),
                _ => Err(BadChunk),
            },
            State::Trailer(seen) => self.trailer(data, seen),
            State::Done => Ok(Piece::End(0)),
        }
    }

    fn size_line(&mut self, data: &[u8]) -> Result<Piece, BadChunk> {
        let Some(end) = line_end(data, MAX_SIZE_LINE)? else { return Ok(Piece::More) };
        let line = &data[..end];
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(end);
        let extension_ok = match line[digits..].trim_ascii_start() {
            [] => digits == end,
            [b';', rest @ ..] => super::token::is_value(rest),
            _ => false,
        };
        if digits == 0 || digits > 15 || !extension_ok {
            return Err(BadChunk);
        }
        let size = line[..digits].iter().fold(0u64, |sum, &digit| sum * 16 + u64::from((digit as char).to_digit(16).unwrap_or(0)));
        self.state = if size == 0 { State::Trailer(0) } else { State::Data(size) };
        Ok(Piece::Framing(end + 2))
    }

    fn trailer(&mut self, data: &[u8], seen: usize) -> Result<Piece, BadChunk> {
        let Some(end) = line_end(data, MAX_TRAILERS - seen)? else { return Ok(Piece::More) };
        if end == 0 {
            self.state = State::Done;
            return Ok(Piece::End(2));
        }
        let line = &data[..end];
        let colon = line.iter().position(|&byte| byte == b':').ok_or(BadChunk)?;
        if !super::token::is_token(&line[..colon]) || !super::token::is_value(&line[colon + 1..]) {
            return Err(BadChunk);
        }
        self.state = State::Trailer(seen + end + 2);
        if seen + end + 2 > MAX_TRAILERS { Err(BadChunk) } else { Ok(Piece::Framing(end + 2)) }
    }
}

/// Where the line's CR LF is; neither may stand alone.
fn line_end(data: &[u8], max: usize) -> Result<Option<usize>, BadChunk> {
    match memchr::memchr2(b'\r', b'\n', data) {
        Some(at) if at > max || data[at] == b'\n' => Err(BadChunk),
        Some(at) => match data.get(at + 1) {
            Some(b'\n') => Ok(Some(at)),
            Some(_) => Err(BadChunk),
            None => Ok(None),
        },
        None if data.len() > max => Err(BadChunk),
        None => Ok(None),
    }
}

/// Appends the start of a chunk of `size` bytes.
pub(crate) fn put_size(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut rest = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes as far as the bytes go: content, and whether the end was seen, and what is left after it.
    fn decode(mut data: &[u8]) -> Result<(Vec<u8>, Option<usize>), BadChunk> {
        let (mut chunked, mut out) = (Chunked::new(), Vec::new());
        loop {
            match chunked.next(data)? {
                Piece::Framing(n) => data = &data[n..],
                Piece::Data(n) => {
                    out.extend_from_slice(&data[..n]);
                    data = &data[n..];
                }
                Piece::End(n) => return Ok((out, Some(data.len() - n))),
                Piece::More => return Ok((out, None)),
            }
        }
    }

    #[test]
    fn good_bodies() {
        assert_eq!(decode(b"5\r\nhello\r\n0\r\n\r\nnext"), Ok((b"hello".to_vec(), Some(4))));
        assert_eq!(decode(b"5;x=y\r\nhello\r\n000\r\nA: b\r\n\r\n"), Ok((b"hello".to_vec(), Some(0))));
        assert_eq!(decode(b"A\r\nhello"), Ok((b"hello".to_vec(), None)));
    }

    #[test]
    fn bad_bodies() {
        for bad in [
            &b"\r\n"[..],
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n0\r\n",
            b"10000000000000000\r\n",
            b"ffffffffffffffff1\r\n",
            b"5\0\r\nhello\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\nA: \nb\r\n\r\n",
            b"5;\nhello\r\n",
        ] {
            assert_eq!(decode(bad), Err(BadChunk), "{:?}", String::from_utf8_lossy(bad));
        }
        assert_eq!(decode(&[b'1'; 300]), Err(BadChunk));
    }

    proptest::proptest! {
        #[test]
        fn what_is_framed_is_read_back(chunks: Vec<Vec<u8>>, tail: Vec<u8>) {
            let mut wire = Vec::new();
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                put_size(&mut wire, chunk.len());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            wire.extend_from_slice(&tail);
            proptest::prop_assert_eq!(decode(&wire), Ok((chunks.concat(), Some(tail.len()))));
        }

        #[test]
        fn any_bytes_are_survived(data: Vec<u8>) {
            let _ = decode(&data);
        }
    }
}
