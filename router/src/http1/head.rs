//! Finding the end of a head, line by line, refusing what no good peer sends before anybody interprets it.

use memchr::memchr2;

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// Not HTTP, or HTTP that two parsers could read differently.
    Malformed,
    /// The first line is longer than allowed.
    FirstLine,
    /// A header line, the number of lines, or all together.
    Headers,
}

/// Sizes a head must keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) first_line: usize,
    pub(crate) line: usize,
    pub(crate) total: usize,
    pub(crate) lines: usize,
}

/// Where the search stands, so that each byte is looked at once however slowly they arrive.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct HeadScan {
    at: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScan {
    /// The length of the head at the start of `data`, its empty line included; `None` if more bytes are needed.
    /// Every line ends with CR LF, and neither occurs anywhere else; NUL occurs nowhere.
    pub(crate) fn find(&mut self, data: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        while let Some(offset) = memchr2(b'\r', b'\n', &data[self.at..]) {
            let at = self.at + offset;
            self.check(at, limits)?;
            match (data[at], data.get(at + 1)) {
                (b'\r', Some(b'\n')) => {}
                (b'\r', None) => {
                    self.at = at;
                    return Ok(None);
                }
                _ => return Err(HeadError::Malformed),
            }
            if at == self.line_start {
                // An empty first line is no head; callers skip those a client may send between requests.
                return if self.lines == 0 { Err(HeadError::Malformed) } else { Ok(Some(at + 2)) };
            }
            self.lines += 1;
            self.at = at + 2;
            self.line_start = self.at;
        }
        self.at = data.len();
        self.check(data.len(), limits).map(|()| None)
    }

    fn check(&self, line_end: usize, limits: &HeadLimits) -> Result<(), HeadError> {
        let line = line_end - self.line_start;
        if self.lines == 0 && line > limits.first_line {
            return Err(HeadError::FirstLine);
        }
        if self.lines > 0 && (line > limits.line || line_end > limits.total || (self.lines > limits.lines && line > 0)) {
            return Err(HeadError::Headers);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { first_line: 20, line: 30, total: 100, lines: 3 };

    fn find(data: &[u8]) -> Result<Option<usize>, HeadError> {
        HeadScan::default().find(data, &LIMITS)
    }

    #[test]
    fn ends_are_found_and_limits_kept() {
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody"), Ok(Some(24)));
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: b\r\n\r"), Ok(None));
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: b\n\r\n"), Err(HeadError::Malformed));
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: \rb\r\n\r\n"), Err(HeadError::Malformed));
        assert_eq!(find(b"\r\n\r\n"), Err(HeadError::Malformed));
        assert_eq!(find(&[b'a'; 21]), Err(HeadError::FirstLine));
        assert_eq!(find(b"GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), Err(HeadError::Headers));
        assert_eq!(find(b"GET\r\na:\r\nb:\r\nc:\r\n\r\n"), Ok(Some(19)));
        assert_eq!(find(b"GET\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n"), Err(HeadError::Headers));
    }

    proptest::proptest! {
        #[test]
        fn arrival_in_pieces_changes_nothing(data: Vec<u8>, cuts: Vec<proptest::sample::Index>) {
            let whole = find(&data);
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
            ends.push(data.len());
            ends.sort_unstable();
            let mut scan = HeadScan::default();
            let mut result = Ok(None);
            for end in ends {
                result = scan.find(&data[..end], &LIMITS);
                if result != Ok(None) {
                    break;
                }
            }
            proptest::prop_assert_eq!(result, whole);
        }
    }
}
