//! The build log: one writer for the file that is kept and for whoever watches. Text is made safe to print (trust rule R11).

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::push::Lines;

/// A longer line is cut into pieces of this many bytes.
const MAX_LINE: usize = 4096;

pub(super) struct BuildLog {
    lines: Lines,
    state: Mutex<State>,
}

struct State {
    file: BufWriter<File>,
    left: u64,
    partial: Vec<u8>,
}

impl State {
    /// Whoever reads the file sees all there is, and nothing is lost with this process. What comes together is written together.
    fn kept(&mut self) {
        // A full disk ends the build elsewhere.
        let _ = self.file.flush();
    }
}

impl BuildLog {
    pub(super) fn create(path: &Path, lines: Lines, limit: u64) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        Ok(Self { lines, state: Mutex::new(State { file: BufWriter::new(file), left: limit, partial: Vec::new() }) })
    }

    /// `-----> text`
    pub(super) fn step(&self, text: &str) {
        self.line(&format!("-----> {text}"));
    }

    /// Seven spaces, text.
    pub(super) fn detail(&self, text: &str) {
        self.line(&format!("       {text}"));
    }

    /// ` !     text`
    pub(super) fn problem(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!(" !     {line}"));
        }
    }

    /// One line of ours.
    pub(super) fn line(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.emit(&mut state, text.as_bytes());
        state.kept();
    }

    /// The build's own output, not split at lines.
    pub(super) fn output(&self, mut bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            state.partial.extend_from_slice(&bytes[..end]);
            let line = std::mem::take(&mut state.partial);
            self.emit(&mut state, &line);
            bytes = &bytes[end + 1..];
        }
        state.partial.extend_from_slice(bytes);
        while state.partial.len() > MAX_LINE {
            let rest = state.partial.split_off(MAX_LINE);
            let line = std::mem::replace(&mut state.partial, rest);
            self.emit(&mut state, &line);
        }
        state.kept();
    }

    /// Writes out what has no line feed yet.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = std::mem::take(&mut state.partial);
        if !line.is_empty() {
            self.emit(&mut state, &line);
        }
        state.kept();
    }

    fn emit(&self, state: &mut State, line: &[u8]) {
        for piece in pieces(line) {
            let text = printable(piece);
            let cost = text.len() as u64 + 1;
            if state.left < cost {
                if state.left > 0 {
                    state.left = 0;
                    let words = " !     The build log is full; more output is not shown.";
                    let _ = writeln!(state.file, "{words}");
                    self.lines.line(words);
                }
                return;
            }
            state.left -= cost;
            // Whatever becomes of the file, the watcher gets the line.
            let _ = writeln!(state.file, "{text}");
            self.lines.line(&text);
        }
    }
}

fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = if line.is_empty() { Some(line) } else { None };
    whole.into_iter().chain(line.chunks(MAX_LINE))
}

/// Printable text and SGR colours, by the same rules as an app's log; of a line redrawn with carriage returns, what was there last.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}' {
            let (escape, after) = escape(rest);
            if is_colour(escape) {
                out.push_str(escape);
            }
            rest = after;
            continue;
        }
        if (!c.is_control() || c == '\t') && !moves_text(c) {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// SGR (ECMA-48, section 8.3.117), and no sequence that only ends like it: its parameters are numbers.
fn is_colour(escape: &str) -> bool {
    let parameters = escape.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
    parameters.is_some_and(|all| all.len() <= 64 && all.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':')))
}

/// Invisible characters that turn the reading direction, or break lines in some terminals.
fn moves_text(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A terminal escape at the start of `text`, and what follows it.
fn escape(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let end = match bytes.get(1) {
        Some(b'[') => bytes[2..].iter().position(|byte| !(b' '..=b'?').contains(byte)).map_or(bytes.len(), |at| {
            // The final byte belongs to it only if it is one.
            if (b'@'..=b'~').contains(&bytes[2 + at]) { 3 + at } else { 2 + at }
        }),
        Some(b']') => bytes.iter().position(|byte| *byte == 7).map_or(bytes.len(), |at| at + 1),
        _ => 1,
    };
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::LineSink;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl LineSink for Kept {
        fn line(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    #[test]
    fn lines_are_joined_cut_limited_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::default());
        let log = BuildLog::create(&dir.path().join("log"), kept.clone(), 10_000).unwrap();
        log.step("Building");
        log.output(b"half");
        log.output(b" line\n10%\r20%\rdone\r\nno end");
        let so_far = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(so_far, "-----> Building\nhalf line\ndone\n", "whoever follows the file sees each whole line at once");
        log.flush();
        log.output(&[b'x'; 9000]);
        log.flush();
        log.line(&"y".repeat(2000));
        log.line("lost");
        log.flush();
        let lines = kept.0.lock().unwrap().clone();
        assert_eq!(lines[..4], ["-----> Building", "half line", "done", "no end"]);
        assert_eq!(lines[4..7].iter().map(String::len).collect::<Vec<_>>(), [4096, 4096, 808]);
        assert_eq!(lines[7..], [" !     The build log is full; more output is not shown."]);
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), lines.join("\n") + "\n");
    }

    #[test]
    fn terminals_are_not_driven() {
        for (given, shown) in [
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("\x1b[2Jx", "x"),
            ("\x1b]0;title\x07x", "x"),
            ("a\x08\x00b\tc", "ab\tc"),
            ("\x1bcx", "cx"),
            ("\x1b[", ""),
            ("\x1b[1\u{9b}é", "é"),
            ("\x1b[38:5:1;4mx", "\x1b[38:5:1;4mx"),
            ("\x1b[>4;2mx\x1b[?4mx\x1b[1 mx", "xxx"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{2028}e", "abcde"),
        ] {
            assert_eq!(printable(given.as_bytes()), shown, "{given:?}");
        }
        assert_eq!(printable(b"\xff!"), "\u{fffd}!");
    }

    /// Bytes of which sequences are made, among any others.
    fn pieces_of_terminals() -> impl Strategy<Value = Vec<u8>> {
        let telling =
            ["\x1b", "[", "\x1b[", "m", "1", ";", ":", ">", "?", " ", "K", "\r", "\u{9b}", "\u{200e}", "\u{2028}", "\u{202e}", "\u{2069}"];
        let piece = prop_oneof![
            3 => proptest::sample::select(telling.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
            1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_but_text_and_colours(bytes in pieces_of_terminals()) {
            let text = printable(&bytes);
            for c in text.chars() {
                prop_assert!(!c.is_control() || c == '\t' || c == '\u{1b}', "{text:?}");
                let number = u32::from(c);
                let moves = [0x200e..=0x200f, 0x2028..=0x202e, 0x2066..=0x2069].iter().any(|range| range.contains(&number));
                prop_assert!(!moves, "{text:?}");
            }
            for escape in text.split('\u{1b}').skip(1) {
                let colour = escape.strip_prefix('[').and_then(|rest| rest.split_once('m'));
                prop_assert!(colour.is_some_and(|(numbers, _)| numbers.chars().all(|c| "0123456789;:".contains(c))), "{text:?}");
            }
        }
    }
}
