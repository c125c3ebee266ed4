//! One line, as written and as read back.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::stamp;

/// One line of a log, without its newline: exactly what a person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The whole line.
    pub raw: String,
    /// Where it stands among all lines of the log.
    pub(crate) place: i64,
}

impl Line {
    /// A line of a segment whose places are `shift` after its stamps; `None` if it is none (a torn write before a crash, or something else's file).
    pub(crate) fn parse(raw: &[u8], shift: i64) -> Option<Self> {
        if !stamp::is_stamped(raw) {
            return None;
        }
        let raw = String::from_utf8_lossy(raw).into_owned();
        let speaker = &raw[stamp::LEN + 1..];
        let colon = speaker.find("]: ")?;
        speaker[..colon].find('[')?;
        let place = stamp::micros(&raw[..stamp::LEN])?.saturating_add(shift);
        Some(Self { raw, place })
    }

    /// The time column as it stands.
    pub fn stamp(&self) -> &str {
        &self.raw[..stamp::LEN]
    }

    /// `app`, `heroku` or `landfall`.
    pub fn source(&self) -> &str {
        self.speaker().0
    }

    /// `web.1`, `router`, …
    pub fn name(&self) -> &str {
        self.speaker().1
    }

    /// What was said.
    pub fn text(&self) -> &str {
        self.speaker().2
    }

    fn speaker(&self) -> (&str, &str, &str) {
        let rest = self.raw.get(stamp::LEN + 1..).unwrap_or_default();
        let (speaker, text) = rest.split_once("]: ").unwrap_or((rest, ""));
        let (source, name) = speaker.split_once('[').unwrap_or((speaker, ""));
        (source, name, text)
    }
}

/// Makes text safe to show: invalid UTF-8 becomes U+FFFD, control characters other than tab and SGR colour sequences become visible
/// escapes (`\r`, `\x1b`), so that no app can move the cursor or forge a line of the platform (trust rule R11). Characters that turn the
/// reading direction or break lines in some terminals (U+2028, U+202E, …) are escaped too.
pub fn clean_text(text: &[u8]) -> Cow<'_, str> {
    if text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return String::from_utf8_lossy(text);
    }
    let decoded = String::from_utf8_lossy(text);
    if !decoded.chars().any(needs_care) {
        return decoded;
    }
    let mut clean = String::with_capacity(decoded.len() + 16);
    let mut rest = &*decoded;
    while let Some(c) = rest.chars().next() {
        let colour = sgr_len(rest);
        if colour > 0 {
            clean.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => clean.push_str("\\r"),
            '\n' => clean.push_str("\\n"),
            c if needs_care(c) && u32::from(c) < 0x100 => drop(write!(clean, "\\x{:02x}", u32::from(c))),
            c if needs_care(c) => drop(write!(clean, "\\u{{{:x}}}", u32::from(c))),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

fn needs_care(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Length of the SGR sequence (`ESC [ digits and ; m`) at the start, or 0. ECMA-48, section 8.3.117.
fn sgr_len(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let parameters = rest.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b';' | b':')).count();
    if parameters <= 64 && rest.as_bytes().get(parameters) == Some(&b'm') { parameters + 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_colours_kept() {
        for (given, shown) in [
            ("plain\ttext", "plain\ttext"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[2Jgone", "\\x1b[2Jgone"),
            ("a\rb\x00c\x07", "a\\rb\\x00c\\x07"),
            ("x\u{9b}31m", "x\\x9b31m"),
            ("\u{202e}drow", "\\u{202e}drow"),
            ("héllo ✓", "héllo ✓"),
        ] {
            assert_eq!(clean_text(given.as_bytes()), shown);
        }
        assert_eq!(clean_text(b"a\xffb"), "a\u{fffd}b");
    }

    proptest::proptest! {
        #[test]
        fn nothing_dangerous_is_left(bytes: Vec<u8>) {
            let clean = clean_text(&bytes).into_owned();
            let mut rest = clean.as_str();
            while let Some(c) = rest.chars().next() {
                let colour = sgr_len(rest);
                proptest::prop_assert!(colour > 0 || !needs_care(c));
                rest = &rest[colour.max(c.len_utf8())..];
            }
        }
    }
}
