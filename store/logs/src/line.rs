//! One line, as written and as read back.

use std::borrow::Cow;

/// One line of a log, without its newline. It borrows nothing: `raw` is the whole line as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The whole line.
    pub raw: String,
}

impl Line {
    /// The time column as it stands.
    pub fn stamp(&self) -> &str {
        todo!()
    }
    /// Microseconds since 1970.
    pub fn micros(&self) -> i64 {
        todo!()
    }
    /// `app`, `heroku` or `landfall`.
    pub fn source(&self) -> &str {
        todo!()
    }
    /// `web.1`, `router`, …
    pub fn name(&self) -> &str {
        todo!()
    }
    /// What was said.
    pub fn text(&self) -> &str {
        todo!()
    }
}

/// Makes text safe to show: invalid UTF-8 becomes U+FFFD, control characters other than tab and SGR colour sequences become visible
/// escapes (`\r`, `\x1b`), so that no app can move the cursor or forge a line of the platform (trust rule R11).
pub fn clean_text(_text: &[u8]) -> Cow<'_, str> {
    todo!()
}
